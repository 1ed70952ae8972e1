//! What an entry is: one file for each kind says who may write it, how it changes the facts, and how it looks on the wire. How it is
//! stored is for the backend to say.

pub mod created;
pub mod message;

use chatlane_protocol::{ClientMessageId, ConversationId, Entry as WireEntry, EntryKind, UserId};

use super::facts::{Facts, Policy, Role};
pub use created::{CreatedEntry, direct_conversation};
pub use message::MessageEntry;
use serde_json::{Map, Value};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entry 1.
    Created(CreatedEntry),
    /// A message.
    Message(MessageEntry),
    /// Of a later version of this code, met after a roll-back; or one of which a part is missing. It keeps its place, its id and its facts.
    Later(LaterEntry),
}

/// An entry whose kind this code does not know, as it is stored (K1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaterEntry {
    /// The name of its kind, as stored.
    pub kind: String,
    /// The text that its writer gave for the wire: the kind and what it says, as one JSON object. `None`: there is none.
    pub wire: Option<String>,
}

impl LaterEntry {
    /// What its writer said, for the wire.
    pub fn said(&self) -> Option<Map<String, Value>> {
        serde_json::from_str(self.wire.as_deref()?).ok()
    }
}

impl Kind {
    /// M1: whether a member of this role may append such an entry under this policy.
    pub fn is_permitted(&self, policy: &Policy, role: Role) -> bool {
        match self {
            Self::Message(_) => MessageEntry::is_permitted(policy, role),
            Self::Created(_) | Self::Later(_) => false, // by creation only; by a later version only
        }
    }

    /// Whether admission takes tokens for it.
    pub const fn is_admitted_by_rate(&self) -> bool {
        matches!(self, Self::Message(_))
    }

    /// The facts behind such an entry, if it follows on `tail`, an entry of the same sender (`after_own`) or of another; the bucket is the
    /// tail's.
    pub fn facts_after(&self, tail: &Facts, after_own: bool) -> Facts {
        match self {
            Self::Message(_) => MessageEntry::facts_after(tail, after_own),
            Self::Created(_) | Self::Later(_) => tail.clone(),
        }
    }

    /// Whether an attempt to append this is the one that wrote `stored`, and not another entry under the same client message id.
    pub fn is_the_same_as(&self, stored: &Self) -> bool {
        match (self, stored) {
            (Self::Message(this), Self::Message(stored)) => this.hash.may_be_of_the_same_body_as(&stored.hash), // the stored body may have been edited since
            // What it was nobody here can tell; the sender has used the id once.
            (_, Self::Later(_)) => true,
            _ => false,
        }
    }

    /// Bytes beside what every entry has.
    pub fn stored_bytes(&self) -> usize {
        match self {
            Self::Created(created) => created.stored_bytes(),
            Self::Message(message) => message.stored_bytes(),
            Self::Later(later) => later.wire.as_ref().map_or(0, String::len),
        }
    }

    /// Bytes of the live frame that carries only such an entry, as encoded, with the longest numbers.
    pub fn live_frame_bytes_max(&self, conversation: &ConversationId, sender: &UserId, id: &ClientMessageId) -> usize {
        match self {
            Self::Message(message) => WireEntry::live_frame_bytes_max(conversation, sender, id, &message.body),
            Self::Created(_) | Self::Later(_) => 0, // nobody drafts one
        }
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        match self {
            Self::Created(created) => created.to_wire(),
            Self::Message(message) => message.to_wire(),
            Self::Later(_) => EntryKind::Unknown, // and what its writer said
        }
    }
}
