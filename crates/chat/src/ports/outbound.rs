//! The way to a live connection.

use chatlane_protocol::ConnectionId;

use super::port;
use super::post_outcome::PostOutcome;

port! {
    /// The way to a live connection.
    pub trait Outbound {
        /// Posts one frame. Tries it once, for at most a second: whoever posts much has a time by which it must be done.
        posts fn post(connection: &ConnectionId, frame: &str;) -> PostOutcome;

        /// Ends the connection, behind what was posted to it; [`PostOutcome::Posted`] if the gateway took that.
        posts fn close(connection: &ConnectionId;) -> PostOutcome;
    }
}
