//! What became of a post.

use super::Failure;

/// What became of a post. Where it came to nothing, why: for the log of whoever posts much.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum PostOutcome {
    /// The gateway took it. Says nothing about the device.
    Posted,
    /// There is no such connection any more.
    Gone,
    /// Not posted: the account posts too much, or the client does not read and its buffer is full. The connection lives.
    Throttled(Failure),
    /// Timed out or failed: it may have been posted.
    Unknown(Failure),
    /// The gateway refuses this deployment's posts, whatever the connection: rights or an address are wrong.
    Refused(Failure),
}
