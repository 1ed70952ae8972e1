//! One entry of a conversation's log, as clients see it.

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::position::{Position, Seq, UnixMillis};

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

impl Entry {
    /// Bytes of the live frame that carries only this message, with the longest position, time and count: what is compared with
    /// [`crate::limits::ENTRY_BYTES_MAX`], so that the answer does not depend on where the entry lands.
    pub fn live_frame_bytes_max(conversation: &ConversationId, sender: &UserId, id: &ClientMessageId, body: &Body) -> usize {
        let entry = Self {
            position: Position::new(u32::MAX, Seq::MAX),
            sender: sender.clone(),
            client_message_id: id.clone(),
            time_ms: UnixMillis::MAX,
            count: crate::limits::INTEGER_MAX,
            kind: EntryKind::Message { body: body.clone() },
        };
        crate::frames::live_frame(conversation, &[crate::frames::encode(&entry)]).len()
    }
}
