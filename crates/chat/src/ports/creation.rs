//! New conversations, and changes of groups: what is written in one transaction over several tables.

use chatlane_protocol::{Seq, UnixMillis, UserId};

use super::{Description, Failure, InboxRow, Member, Put, Span, port};
use crate::log::entry::Entry;

port! {
    /// What is written in one transaction over several tables.
    pub trait Creations {
        /// Creates a conversation: entry 1, its head at zero, its title and metadata, its members and their inbox rows; and counts it among
        /// those that the entry's sender has created on the entry's day (UTC).
        writes fn create(creation: &Creation;) -> Result<Created, Failure>;

        /// Stores the entry if its slot is free, with the rows that it changes, if those are as they were (L1, L2, L3, M1).
        /// [`Put::Contended`] also where a row is another.
        writes fn change(change: &Change;) -> Result<Put, Failure>;

        /// How many groups the user is a member of.
        reads fn groups_of(user: &UserId;) -> Result<usize, Failure>;

        /// Counts so many users more, at most `a_day_max`, among those whom `by` has added on the day of this time (UTC). `false`: that would be more than
        /// so many, and nothing is counted.
        writes fn count_added(by: &UserId; at: UnixMillis, users: u64, a_day_max: u64) -> Result<bool, Failure>;
    }
}

/// A new conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Entry 1.
    pub entry: Entry,
    /// Its members; the version of each is entry 1.
    pub members: Vec<Joining>,
    /// What it is called.
    pub description: Description,
    /// So many conversations its creator may create on one day.
    pub a_day_max: u64,
}

/// The two rows of a new member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// In the conversation.
    pub member: Member,
    /// In the user's inbox.
    pub row: InboxRow,
}

/// An entry, and the rows that it changes: at most 98 items with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry.
    pub entry: Entry,
    /// Rows, no user twice.
    pub rows: Vec<RowChange>,
    /// What the conversation is called from here on, if that changes.
    pub description: Option<Description>,
}

/// What becomes of a user's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// They are made; the user had none.
    Join(Joining),
    /// Role and version change, in both; the cursors stay.
    Role {
        /// As it is to be.
        member: Member,
        /// The version that the row had.
        was: Seq,
    },
    /// They go.
    Leave {
        /// As it was.
        member: Member,
        /// All spans of the user that are kept, this one behind the others.
        spans: Vec<Span>,
    },
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
