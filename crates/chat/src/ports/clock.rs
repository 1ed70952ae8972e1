//! The time.

use chatlane_protocol::UnixMillis;

/// The current time.
pub trait Clock: Sync {
    /// By this machine's clock; may jump and be wrong.
    fn now(&self) -> UnixMillis;

    /// Milliseconds since some moment: never goes back, whatever becomes of the clock. For how long something took.
    fn steady_ms(&self) -> u64;
}
