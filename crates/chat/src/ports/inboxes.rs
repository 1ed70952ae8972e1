//! The conversations of each user, and how far the user and each device is in them (C1).

use std::collections::BTreeMap;

use chatlane_protocol::{ConversationId, DeviceId, Position, Seq, UserId};

use super::{Failure, port};

port! {
    /// The conversations of each user, with the cursors. Rows are made and removed with the membership: moving a cursor never makes one.
    pub trait Inboxes {
        /// At most `limit` conversations of the user with ids above `after`, in the order of their ids. Fewer than `limit`: there are no
        /// more.
        reads fn inbox(user: &UserId; after: Option<ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Failure>;

        /// The user's rows of these conversations, none named twice, in their order; `None`: not a member.
        reads fn inbox_rows(user: &UserId, conversations: &[ConversationId];) -> Result<Vec<Option<InboxRow>>, Failure>;

        /// Moves cursors forward, each only if it is lower: the delivered position of `device`, and the read cursor if there is one.
        /// Answers the row as it was before and as it is now; `None`: there is no row, and none was made.
        writes fn advance(user: &UserId, conversation: &ConversationId; device: DeviceId, to: Advance) -> Result<Option<Advanced>, Failure>;
    }
}

/// One conversation in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Which.
    pub conversation: ConversationId,
    /// The other member of a direct conversation.
    pub with: Option<UserId>,
    /// The first entry that the user may see, as in the member's row.
    pub visible_from: Seq,
    /// How far the user has read.
    pub read: ReadCursor,
    /// How far each of the user's devices has the entries; devices that never said so are missing.
    pub delivered: BTreeMap<DeviceId, Position>,
}

impl InboxRow {
    /// Of a user who has just become a member.
    pub const fn new(conversation: ConversationId, with: Option<UserId>, visible_from: Seq) -> Self {
        Self { conversation, with, visible_from, read: ReadCursor::NONE, delivered: BTreeMap::new() }
    }

    /// What has reached the furthest of the user's devices.
    pub fn delivered_furthest(&self) -> Position {
        self.delivered.values().copied().max().unwrap_or(Position::ZERO)
    }
}

/// How far a user has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadCursor {
    /// The last entry read.
    pub position: Position,
    /// Countable messages up to it.
    pub count: u64,
}

impl ReadCursor {
    /// Nothing yet.
    pub const NONE: Self = Self { position: Position::ZERO, count: 0 };
}

/// Where cursors are to be at least. The entry is known to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Of the device.
    pub delivered: Position,
    /// Of the user.
    pub read: Option<ReadCursor>,
}

/// A row before and after its cursors were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// As it was.
    pub before: InboxRow,
    /// As it is.
    pub after: InboxRow,
}
