//! The time.

use chatlane_protocol::UnixMillis;

/// The current time.
pub trait Clock: Sync {
    /// By this machine's clock; may jump and be wrong.
    fn now(&self) -> UnixMillis;
}
