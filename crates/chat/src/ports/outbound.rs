//! The way to a live connection.

use chatlane_protocol::ConnectionId;

use super::delivery::Delivery;
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
