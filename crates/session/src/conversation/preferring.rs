//! What the session remembers, beside the row, of what the user prefers.

use super::super::retry::Retry;

/// The requests for what the user wishes, and what is to be told anew.
#[derive(Clone, Debug)]
pub(in super::super) struct Preferring {
    pub(in super::super) retry: Retry,
    /// The log was restored: `hello` has yet to tell what the user prefers now, and the last message that mentions them.
    pub(in super::super) doubted: bool,
    /// The server has told what the user prefers since it was asked by `hello`.
    pub(in super::super) heard: bool,
}

impl Default for Preferring {
    fn default() -> Self {
        Self { retry: Retry::NEW, doubted: false, heard: false }
    }
}
