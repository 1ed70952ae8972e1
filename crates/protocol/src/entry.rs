//! One entry of a conversation's log, as clients see it.

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::ids::{ClientMessageId, UserId};
use crate::position::{Position, UnixMillis};

/// One entry. A client that does not know its `kind` keeps its place and goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place: consecutive seqs from 1 (L1).
    pub position: Position,
    /// Who wrote it.
    pub sender: UserId,
    /// The sender's own name for it, unique per sender and conversation for ever (L2).
    pub client_message_id: ClientMessageId,
    /// When the server accepted it. For display: order is the seq.
    pub time_ms: UnixMillis,
    /// How many countable messages the log holds up to here, this one included. Unread = count at head − count at the read cursor.
    pub count: u64,
    /// What it says.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// The kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryKind {
    /// Entry 1: the conversation exists and these are its members.
    Created {
        /// In the order of their ids.
        members: Vec<UserId>,
    },
    /// A message.
    Message {
        /// As the sender gave it.
        body: Body,
    },
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}
