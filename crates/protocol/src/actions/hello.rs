//! `hello`: makes the connection known and brings the caller's conversations, a page an answer.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cursors::CURSORS_EVERY_MS;
use super::open::ConversationHead;
use super::ping::PING_AFTER_IDLE_MS;
use super::send::{ANCHOR_BYTES_MAX, ANCHOR_ENTRIES_MAX, MESSAGES_PER_SEND_MAX};
use crate::entry::Entry;
use crate::group::{GroupMarks, Role};
use crate::ids::{ConversationId, DeviceId, RequestId, UserId};
use crate::integer::{Small, small};
use crate::position::{Position, Seq, UnixMillis};
use crate::prefs::Prefs;
use crate::reading::{Bounded, list_or_null};
use crate::shared_limits::{ENTRY_BYTES_MAX, GAP_WAIT_MS, WEBSOCKET_FRAME_BYTES_MAX};

/// The oldest and the newest protocol version that this server speaks.
pub const VERSION_MIN: u32 = 1;

/// See [`VERSION_MIN`].
pub const VERSION_MAX: u32 = 1;

/// What a client may send as `known` in one request: leaves room for the rest within a WebSocket frame.
pub const KNOWN_BYTES_MAX: usize = 30 * 1024;

/// Conversations that one page of `hello` looks at. Ours: five batch reads.
pub const HELLO_ROWS_MAX: usize = 500;

/// Conversations of a `hello` page whose last entry comes with them. Ours: a screen of them.
pub const LAST_ENTRIES_MAX: usize = 20;

/// When a client should open its next connection: after this, so that the gateway's limit of two hours never hits it.
/// Source: API Gateway quotas: connection duration 2 hours. Spread by ± [`RECONNECT_SPREAD_MS`].
pub const RECONNECT_IN_MS: u64 = 105 * 60 * 1000;

/// See [`RECONNECT_IN_MS`].
pub const RECONNECT_SPREAD_MS: u64 = 10 * 60 * 1000;

/// The least that `reconnect_in_ms` is: for a `hello` said again on an old connection.
pub const RECONNECT_IN_MS_MIN: u64 = 10_000;

/// `hello`: makes the connection known, then asks for the caller's conversations, a page an answer, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Echoed.
    pub id: RequestId,
    /// The protocol version that the client speaks.
    #[serde(deserialize_with = "small")]
    pub v: u32,
    /// The `next` of the page before; absent in the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ConversationId>,
    /// What the device has of the conversations after `after`: ascending by id, none twice. Rows that say the same are not answered.
    #[serde(default, deserialize_with = "list_or_null", skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Known>,
    /// Where `known` ends because the request was full; the page ends there too. Not before the last of `known`, and after `after`.
    /// Absent: `known` is all that the device has after `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_to: Option<ConversationId>,
}

impl Bounded for Hello {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let known = || self.known.iter().map(|known| &known.conversation);
        let ascending = self.after.iter().chain(known()).is_sorted_by(|one, next| one < next);
        let ends = |end: &ConversationId| self.after.as_ref() < Some(end) && known().next_back() <= Some(end);
        let good = ascending && self.known_to.as_ref().is_none_or(ends);
        (!good).then_some("`known` must be ascending, after `after` and up to `known_to`")
    }
}

/// What a device has of one conversation: `[conversation, epoch, seq, epoch, seq]`, and the version of the preferences if there are any. An
/// array, because a phone sends a thousand of them. A later version may write more behind these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub conversation: ConversationId,
    /// The highest position that the device knows: all entries up to it are stored on it, or it means to fetch them by itself.
    pub have: Position,
    /// The user's read position as the device knows it.
    pub read: Position,
    /// The version of the preferences that the device has; 0: none.
    pub prefs: u64,
}

impl Serialize for Known {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { conversation, have, read, prefs } = self;
        let row = (conversation, have.epoch, have.seq, read.epoch, read.seq);
        match prefs {
            0 => row.serialize(to),
            prefs => (row.0, row.1, row.2, row.3, row.4, prefs).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(row: D) -> Result<Self, D::Error> {
        row.deserialize_seq(KnownVisitor)
    }
}

struct KnownVisitor;

impl<'de> Visitor<'de> for KnownVisitor {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of five or six values: conversation, epoch, seq, epoch, seq, version of the preferences")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Known, A::Error> {
        fn value<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(row: &mut A) -> Result<T, A::Error> {
            row.next_element()?.ok_or_else(|| {
                A::Error::custom("a row has five or six values: conversation, epoch, seq, epoch, seq, version of the preferences")
            })
        }
        let conversation = value(&mut row)?;
        let position = |row: &mut A| Ok(Position::new(value::<Small, A>(row)?.0, value(row)?));
        let (have, read) = (position(&mut row)?, position(&mut row)?);
        let prefs = row.next_element::<Seq>()?.unwrap_or(Seq::ZERO).get();
        while row.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Known { conversation, have, read, prefs })
    }
}

/// The answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// Of the request.
    pub id: RequestId,
    /// The protocol versions that the server speaks.
    pub versions: Versions,
    /// Who the token says the caller is.
    pub user: UserId,
    /// The device of this connection.
    pub device: DeviceId,
    /// The server's clock.
    pub server_time_ms: UnixMillis,
    /// The deployment's epoch; new entries carry it.
    pub epoch: u32,
    /// Open the next connection after this long.
    pub reconnect_in_ms: u64,
    /// When the token's time is over, leeway included, by the server's clock: `refresh` before.
    pub expires_ms: UnixMillis,
    /// Limits and thresholds.
    pub limits: Limits,
    /// One page of the caller's conversations, in the order of their ids, without those that stand as the request's `known` says.
    pub conversations: Vec<ConversationRow>,
    /// Of the request's `known` that lie on this page, those that are not among the caller's conversations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<ConversationId>,
    /// Ask for the next page with `after` set to this; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ConversationId>,
}

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// The limits that a client obeys, as this deployment has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// One entry's live frame, as encoded.
    pub entry_bytes_max: usize,
    /// One request.
    pub request_bytes_max: usize,
    /// Messages of one `send`.
    pub messages_per_send_max: usize,
    /// Entries that an anchor may be behind the tail.
    pub anchor_entries_max: usize,
    /// Bytes of entries that an anchor may be behind the tail.
    pub anchor_bytes_max: usize,
    /// How long to keep a gap open, plus a random part up to as much again.
    pub gap_wait_ms: u64,
    /// Send `ping` after this long without a push or an answer to `ping`.
    pub ping_after_idle_ms: u64,
    /// Send `ack` and `read` not more often than this.
    pub cursors_every_ms: u64,
}

impl Limits {
    /// As the protocol has them. A deployment may have others, which its `hello` answers.
    pub const DEFAULT: Self = Self {
        entry_bytes_max: ENTRY_BYTES_MAX,
        request_bytes_max: WEBSOCKET_FRAME_BYTES_MAX,
        messages_per_send_max: MESSAGES_PER_SEND_MAX,
        anchor_entries_max: ANCHOR_ENTRIES_MAX,
        anchor_bytes_max: ANCHOR_BYTES_MAX,
        gap_wait_ms: GAP_WAIT_MS,
        ping_after_idle_ms: PING_AFTER_IDLE_MS,
        cursors_every_ms: CURSORS_EVERY_MS,
    };
}

/// One conversation of the caller, as `hello` answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationRow {
    /// Which, with whom, how far.
    #[serde(flatten)]
    pub conversation: ConversationHead,
    /// The caller's role in a group; absent for a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What a group is at the head; absent where no delivery has begun yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupMarks>,
    /// Countable messages up to the head. Unread: `count` − `read_count`.
    pub count: u64,
    /// When the entry at the head was accepted; 0 where there is no head yet. For the order of a list.
    pub time_ms: UnixMillis,
    /// How far the user has read, on any device.
    pub read: Position,
    /// Countable messages up to `read`.
    pub read_count: u64,
    /// Whether the others are told of less: some of it was read in private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_private: bool,
    /// The last entry that mentions the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentioned: Option<Seq>,
    /// What the user prefers about it; absent: nothing was ever set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefs: Option<Prefs>,
    /// The entry at the head; with the most recent conversations of a page, as far as it has room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Entry>,
}
