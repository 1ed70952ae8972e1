//! What is done to messages that are in the log: each an entry of its own, written with what it changes in one transaction.

use std::collections::BTreeSet;

use chatlane_protocol::{ConversationId, ReactionKey, Seq, UserId};

use super::{Failure, Put, port};
use crate::log::entry::Entry;
use crate::log::kinds::MessageEntry;
use crate::log::reactions::{Reacted, Reactions};

port! {
    /// What is done to messages that are in the log.
    pub trait Amendments {
        /// The entry in this slot, read so that no transaction is seen half; waits out those in the way.
        reads fn entry_consistent(conversation: &ConversationId; seq: Seq) -> Result<Option<Entry>, Failure>;

        /// What was put beside the message in this slot, and what of it is this user's: read as one whole, as that.
        reads fn reacted(conversation: &ConversationId, user: &UserId; target: Seq) -> Result<Reacted, Failure>;

        /// What was put beside the messages in these slots, both ends included, ascending; of those beside which there was ever something.
        reads fn reactions(conversation: &ConversationId; first: Seq, last: Seq) -> Result<Vec<(Seq, Reactions)>, Failure>;

        /// Stores the entry if its slot is free, with what it changes, if that is as it was read (L1, L2, L3). [`Put::Contended`] also
        /// where it is not.
        writes fn amend(amendment: &Amendment;) -> Result<Put, Failure>;
    }
}

/// An entry, and what it changes: at most 23 items in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The entry.
    pub entry: Entry,
    /// What it changes.
    pub amends: Amends,
}

/// What an amendment changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amends {
    /// What a message says.
    Edit {
        /// The message, as it was read.
        was: Entry,
        /// As it is to be.
        becomes: MessageEntry,
    },
    /// A message becomes [`Kind::Deleted`](crate::log::Kind::Deleted); the words of these edits of it go; nobody reacts to it any more.
    Deletion {
        /// The message, as it was read.
        was: Entry,
        /// The edits.
        edits: Vec<Seq>,
    },
    /// What stands beside a message.
    Reaction {
        /// The message.
        target: Seq,
        /// All of it and the sender's own, as it was read.
        was: Reacted,
        /// All of it, as it is to be.
        all: Reactions,
        /// The sender's own, as it is to be.
        own: BTreeSet<ReactionKey>,
    },
}
