//! The conversations of each user, and how far the user and each device is in them (C1).

use std::collections::BTreeMap;

use chatlane_protocol::frames::{MemberCursors, ReadMark};
use chatlane_protocol::{ConversationId, DeviceId, Position, Prefs, PrefsChange, Role, Seq, UserId};

use super::{Failure, Member, port};

port! {
    /// The conversations of each user, with the cursors. Rows are made and removed with the membership: moving a cursor never makes one.
    pub trait Inboxes {
        /// At most `limit` conversations of the user with ids above `after`, in the order of their ids. Fewer than `limit`: there are no
        /// more. A row that cannot be read is the failure of its conversation only.
        reads fn inbox(user: &UserId; after: Option<ConversationId>, limit: usize) -> Result<Vec<InboxPlace>, Failure>;

        /// The user's rows of these conversations, none named twice, in their order; `None`: not a member. A row that cannot be read is the
        /// failure of its conversation only.
        reads fn inbox_rows(user: &UserId, conversations: &[ConversationId];) -> Result<Vec<Result<Option<InboxRow>, Failure>>, Failure>;

        /// The rows of these users, none named twice, in this conversation, in their order; `None`: no member, or the row cannot be read.
        reads fn rows_of(conversation: &ConversationId, users: &[UserId];) -> Result<Vec<Option<InboxRow>>, Failure>;

        /// Sets preferences, field by field, and raises their version. Answers all as they are now; `None`: there is no row, and none was
        /// made.
        writes fn prefer(user: &UserId, conversation: &ConversationId; change: PrefsChange) -> Result<Option<Prefs>, Failure>;

        /// The entry in this slot mentions the user: noted if it is higher than the last that did. Makes no row.
        writes fn mention(user: &UserId, conversation: &ConversationId; at: Seq) -> Result<(), Failure>;

        /// Moves cursors forward, each only if it is lower. Answers the row as it was before and as it is now; `None`: there is no row, and
        /// none was made. What is to be dropped may stay.
        writes fn advance(user: &UserId, conversation: &ConversationId; device: DeviceId, to: Advance) -> Result<Option<Advanced>, Failure>;
    }
}

/// Devices whose delivered positions a row keeps, if it has room for so many: it stays one write unit for ever, however many browsers a user
/// has had.
pub const DEVICES_MAX: usize = 16;

/// Bytes of a row of one write unit that are left to the ids of users and to devices. The rest: the conversation's id, all other cursors and
/// preferences.
const ROOM_BYTES: usize = 1024 - 110;

/// Bytes of one device in a row.
const DEVICE_BYTES: usize = 44;

/// Positions that one write drops; a row of before there was a limit takes several.
const DROPPED_MAX: usize = 32;

/// A conversation of a user's inbox, and its row if that can be read.
pub type InboxPlace = (ConversationId, Result<InboxRow, Failure>);

/// One conversation in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Which.
    pub conversation: ConversationId,
    /// The other member of a direct conversation.
    pub with: Option<UserId>,
    /// The first entry that the user may see, as in the member's row.
    pub visible_from: Seq,
    /// The seq of the entry that wrote the membership, as in the member's row.
    pub version: Seq,
    /// What the user may do, as in the member's row.
    pub role: Role,
    /// How far the user has read.
    pub read: ReadCursor,
    /// How far others are told that the user has read. `None`: as far as they have; they have never read anything in private.
    pub shown: Option<Position>,
    /// What the user prefers.
    pub prefs: Prefs,
    /// The last entry that mentions the user.
    pub mentioned: Option<Seq>,
    /// How far each of the user's devices has the entries; devices that never said so are missing.
    pub delivered: BTreeMap<DeviceId, Position>,
}

impl InboxRow {
    /// Of a user who has just become this member.
    pub const fn new(conversation: ConversationId, with: Option<UserId>, member: &Member) -> Self {
        let Member { visible_from, version, role, .. } = *member;
        let prefs = Prefs { version: 0, muted_until_ms: None, mentions: false, pinned: false, archived: false, unread: false };
        Self {
            conversation,
            with,
            visible_from,
            version,
            role,
            read: ReadCursor::NONE,
            shown: None,
            prefs,
            mentioned: None,
            delivered: BTreeMap::new(),
        }
    }

    /// As many devices as the row of this user has room for, at most [`DEVICES_MAX`]. A character of the user's id may take three bytes.
    fn devices_max(&self, user: &UserId) -> usize {
        let escaped: usize = user.as_str().bytes().map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 }).sum();
        let ids = escaped + self.with.as_ref().map_or(0, |with| with.as_str().len());
        (ROOM_BYTES.saturating_sub(ids) / DEVICE_BYTES).min(DEVICES_MAX)
    }

    /// Which delivered positions of other devices are dropped when this device of the row's user moves to `to`: those furthest behind it,
    /// until there is room for the rest with it. `None`: there is none, since too many devices have as much.
    pub fn room_for(&self, user: &UserId, device: DeviceId, to: Position) -> Option<Vec<(DeviceId, Position)>> {
        let others = || self.delivered.iter().filter(|(other, _)| **other != device).map(|(other, at)| (*other, *at));
        let mut lower: Vec<_> = others().filter(|(_, at)| *at < to).collect();
        let too_many = (others().count() + 1).saturating_sub(self.devices_max(user));
        if lower.is_empty() && too_many > 0 && !self.delivered.contains_key(&device) {
            return None;
        }
        lower.sort_by_key(|(_, at)| *at);
        lower.truncate(too_many.min(DROPPED_MAX));
        Some(lower)
    }

    /// What has reached the furthest of the user's devices.
    pub fn delivered_furthest(&self) -> Position {
        self.delivered.values().copied().max().unwrap_or(Position::ZERO)
    }

    /// How far the user has read, as their own devices are told.
    pub fn read_mark(&self) -> ReadMark {
        let ReadCursor { position: read, count: read_count } = self.read;
        ReadMark { read, read_count, read_private: self.shown.is_some_and(|shown| shown < read) }
    }

    /// As another user is told of it: what is read has been delivered.
    pub fn told_to_others(&self, user: UserId) -> MemberCursors {
        let read = self.shown.unwrap_or(self.read.position);
        MemberCursors { user, delivered: self.delivered_furthest().max(read), read }
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

/// Where cursors are to be at least. The entries are known to exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Of the device.
    pub delivered: Option<Position>,
    /// Of the user.
    pub read: Option<ReadCursor>,
    /// What others are told of `read`.
    pub shown: Shown,
    /// Delivered positions of other devices, each dropped if it is still this.
    pub dropped: Vec<(DeviceId, Position)>,
}

/// What others are to be told of the read cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// All of it. Where something was read in private meanwhile: at least this.
    #[default]
    Follows,
    /// At least this, where something was read in private before; else all.
    To(Position),
    /// No more than before. This is the read cursor as it was, which others go on being told of.
    Stays(Position),
}

/// A row before and after its cursors were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// As it was.
    pub before: InboxRow,
    /// As it is.
    pub after: InboxRow,
}
