//! The way to a live connection.

use chatlane_protocol::ConnectionId;

use super::port;

port! {
    /// The way to a live connection.
    pub trait Outbound {
        /// Posts one frame.
        posts fn post(connection: &ConnectionId, frame: &str;) -> Delivery;

        /// Ends the connection, behind what was posted to it; [`Delivery::Posted`] if the gateway took that.
        posts fn close(connection: &ConnectionId;) -> Delivery;
    }
}

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The gateway took it. Says nothing about the device.
    Posted,
    /// There is no such connection any more.
    Gone,
    /// Throttled, timed out or failed: it may have been posted.
    Unknown,
    /// The gateway refuses this deployment's posts, whatever the connection: rights or an address are wrong.
    Refused,
}
