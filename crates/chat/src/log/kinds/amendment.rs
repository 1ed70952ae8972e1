//! What members do to a message that is in the log: they edit it, delete it, react to it. Each is an entry of its own, and changes its target in
//! the transaction that appends it; [`crate::log::amend`] judges it and says how.

use chatlane_protocol::{Body, EntryKind, Reacting, Seq};

/// What is done to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmendmentEntry {
    /// It says something else from here on.
    Edit {
        /// Which.
        target: Seq,
        /// What. `None`: the message was deleted since.
        body: Option<Body>,
    },
    /// It is deleted from here on.
    Deletion {
        /// Which.
        target: Seq,
    },
    /// The sender puts something beside it, or takes it away.
    Reaction(Reacting),
}

impl AmendmentEntry {
    /// The message.
    pub const fn target(&self) -> Seq {
        match self {
            Self::Edit { target, .. } | Self::Deletion { target } => *target,
            Self::Reaction(reacting) => reacting.target,
        }
    }

    /// Whether `stored` can be what came of this wish: the words of an edit go when its message is deleted.
    pub fn may_have_become(&self, stored: &Self) -> bool {
        match stored {
            Self::Edit { target, body: None } => matches!(self, Self::Edit { target: wanted, .. } if wanted == target),
            _ => self == stored,
        }
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        match self.clone() {
            Self::Edit { target, body } => EntryKind::Edit { target, body },
            Self::Deletion { target } => EntryKind::Deletion { target },
            Self::Reaction(reacting) => EntryKind::Reaction(reacting),
        }
    }
}
