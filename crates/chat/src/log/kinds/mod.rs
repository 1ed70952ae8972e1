//! What an entry is: a file for each kind says how it changes the facts, and how it looks on the wire. How it is
//! stored is for the backend to say.

pub mod amendment;
pub mod change;
pub mod created;
pub mod message;

use chatlane_protocol::frames::encode;
use chatlane_protocol::{EntryKind, Seq, UserId};
use serde_json::{Map, Value};

pub use amendment::AmendmentEntry;
pub use change::ChangeEntry;
pub use created::{CreatedEntry, GroupCreatedEntry, direct_conversation, group_conversation};
pub use message::MessageEntry;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entry 1 of a direct conversation.
    Created(CreatedEntry),
    /// Entry 1 of a group.
    GroupCreated(GroupCreatedEntry),
    /// A message.
    Message(MessageEntry),
    /// A message that was deleted: place, sender, id and facts are left.
    Deleted,
    /// What was done to a message.
    Amendment(AmendmentEntry),
    /// A change of a group.
    Change(ChangeEntry),
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
    /// Of the words of the wire: what is stored in them. `None`: it is stored in another way, or the kind is not known.
    pub fn of_wire(kind: EntryKind) -> Option<Self> {
        Some(match kind {
            EntryKind::GroupCreated { members, settings } => Self::GroupCreated(GroupCreatedEntry { members, settings }),
            EntryKind::Added { users } => Self::Change(ChangeEntry::Added(users)),
            EntryKind::Removed { users } => Self::Change(ChangeEntry::Removed(users)),
            EntryKind::Left { successor } => Self::Change(ChangeEntry::Left { successor }),
            EntryKind::Role { user, role } => Self::Change(ChangeEntry::Role { user, role }),
            EntryKind::Settings { settings } => Self::Change(ChangeEntry::Settings(settings)),
            EntryKind::Closed => Self::Change(ChangeEntry::Closed),
            EntryKind::Deleted => Self::Deleted,
            EntryKind::Edit { target, body } => Self::Amendment(AmendmentEntry::Edit { target, body }),
            EntryKind::Deletion { target } => Self::Amendment(AmendmentEntry::Deletion { target }),
            EntryKind::Reaction(reacting) => Self::Amendment(AmendmentEntry::Reaction(reacting)),
            EntryKind::Created { .. } | EntryKind::Message(_) | EntryKind::Hidden | EntryKind::Unknown => return None,
        })
    }

    /// Whether rows of members are written or removed with such an entry.
    pub const fn writes_memberships(&self) -> bool {
        match self {
            Self::Created(_) | Self::GroupCreated(_) => true,
            Self::Change(change) => match change {
                ChangeEntry::Added(_) | ChangeEntry::Removed(_) | ChangeEntry::Left { .. } => true,
                ChangeEntry::Role { .. } | ChangeEntry::Settings(_) | ChangeEntry::Closed => false,
            },
            Self::Message(_) | Self::Deleted | Self::Amendment(_) | Self::Later(_) => false,
        }
    }

    /// Who becomes a member by such an entry of `sender`, or ceases to be one: it is for them too.
    pub const fn named<'a>(&'a self, sender: &'a UserId) -> &'a [UserId] {
        match self {
            Self::Change(ChangeEntry::Added(users) | ChangeEntry::Removed(users)) => users.as_slice(),
            Self::Change(ChangeEntry::Left { .. }) => std::slice::from_ref(sender),
            // For members only.
            Self::Change(ChangeEntry::Role { .. } | ChangeEntry::Settings(_) | ChangeEntry::Closed)
            | Self::Created(_)
            | Self::GroupCreated(_)
            | Self::Message(_)
            | Self::Deleted
            | Self::Amendment(_)
            | Self::Later(_) => &[],
        }
    }

    /// Whether this is an edit of that message, or may be one in the words of a later version.
    pub fn may_be_edit_of(&self, message: Seq) -> bool {
        match self {
            Self::Amendment(AmendmentEntry::Edit { target, .. }) => *target == message,
            Self::Later(later) => later.kind == "edit",
            _ => false,
        }
    }

    /// Bytes beside what every entry has.
    pub fn stored_bytes(&self) -> usize {
        match self {
            Self::Created(created) => created.stored_bytes(),
            Self::Message(message) => message.stored_bytes(),
            Self::GroupCreated(_) | Self::Deleted | Self::Amendment(_) | Self::Change(_) => encode(&self.to_wire()).len(),
            Self::Later(later) => later.wire.as_ref().map_or(0, String::len),
        }
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        match self {
            Self::Created(created) => created.to_wire(),
            Self::GroupCreated(created) => created.to_wire(),
            Self::Message(message) => message.to_wire(),
            Self::Deleted => EntryKind::Deleted,
            Self::Amendment(amendment) => amendment.to_wire(),
            Self::Change(change) => change.to_wire(),
            Self::Later(_) => EntryKind::Unknown, // and what its writer said
        }
    }
}
