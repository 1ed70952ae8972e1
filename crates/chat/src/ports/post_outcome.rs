//! What became of a post.

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PostOutcome {
    /// The gateway took it. Says nothing about the device.
    Posted,
    /// There is no such connection any more.
    Gone,
    /// Throttled, timed out or failed: it may have been posted.
    Unknown,
    /// The gateway refuses this deployment's posts, whatever the connection: rights or an address are wrong.
    Refused,
}
