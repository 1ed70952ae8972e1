//! New conversations.

use super::{Failure, Member, port};
use crate::log::entry::Entry;

port! {
    /// Makes conversations.
    pub trait Creations {
        /// Creates a conversation in one transaction: entry 1, its head at zero, its members and their inbox rows; and counts it among those
        /// that the entry's sender has created on the entry's day (UTC).
        writes fn create(creation: &Creation;) -> Result<Created, Failure>;
    }
}

/// A new conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Entry 1, of kind `created`.
    pub entry: Entry,
    /// Its members; the version of each is entry 1.
    pub members: Vec<Member>,
    /// So many conversations its creator may create on one day.
    pub a_day_max: u64,
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// All of it is stored.
    New,
    /// The conversation exists; nothing was stored.
    Exists,
    /// Another transaction was in the way; nothing was stored.
    Contended,
    /// Its creator has created as many on this day as they may; nothing was stored.
    TooMany,
}
