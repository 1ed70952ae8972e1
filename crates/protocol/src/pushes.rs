//! Frames that are no answers: what happens in a conversation or to a connection, and the refusal of a whole request.

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::error::Refusal;
use crate::ids::{ConversationId, RequestId, UserId};
use crate::position::Position;
use crate::prefs::Prefs;

/// How long a receipt is worth showing. Ours.
pub const RECEIPT_TTL_MS: u64 = 30_000;

/// 1…n entries of one conversation, ascending by seq. May repeat, overtake or be lost on the way: show an entry only at `have + 1` (D1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// Whose.
    pub conversation: ConversationId,
    /// Ascending, consecutive.
    pub entries: Vec<Entry>,
}

/// A hint, pushed when another member's cursor moves, and when the user's own read mark was moved by another device: may be lost or
/// overtaken; cursors only move forward, so a lower one is an old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where.
    pub conversation: ConversationId,
    /// Who, and how far.
    #[serde(flatten)]
    pub cursors: MemberCursors,
    /// Of the user's own: countable messages up to the read mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_count: Option<u64>,
    /// Of the user's own: whether the others are told of less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_private: bool,
    /// Not worth anything after so long.
    pub ttl_ms: u64,
}

/// How far a member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCursors {
    /// Who.
    pub user: UserId,
    /// What has reached the furthest of their devices.
    pub delivered: Position,
    /// What they have read.
    pub read: Position,
}

/// How far the user has read, on any device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMark {
    /// The last entry.
    pub read: Position,
    /// Countable messages up to it.
    pub read_count: u64,
    /// Whether the others are told of less: some of it was read in private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_private: bool,
}

/// Pushed to the user's other devices when preferences change. A hint: with a lower version than the device has it is an old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefsChanged {
    /// Where.
    pub conversation: ConversationId,
    /// All of them.
    pub prefs: Prefs,
}

/// A request was refused whole. What it asked for may have been done where the code is `unavailable` or `rate_limited`; else it changed
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// Of the request, where it had a good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// Why, and whether to retry.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// This connection gets nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goaway {
    /// Why.
    pub reason: GoawayReason,
    /// Do not connect again before this long (add jitter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Why a connection gets nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoawayReason {
    /// The same device said hello on a newer connection, or the user has more than 16. Final until the user acts.
    Displaced,
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}
