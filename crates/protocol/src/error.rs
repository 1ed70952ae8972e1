//! What goes wrong, in one closed list.

use serde::{Deserialize, Serialize};

use crate::position::Position;

/// Why a request, or one message of a `send`, was refused. Codes are stable; the text beside them is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, a missing, repeated or wrong field, a value out of its bounds.
    BadRequest,
    /// No such `action`.
    UnknownAction,
    /// The client's protocol version is older than the oldest that the server speaks.
    UpgradeRequired,
    /// The token's time is over. The server closes the connection behind this; open a new one with a new token.
    TokenExpired,
    /// The token of a `refresh` breaks a rule, or is another user's or device's. The connection is as before.
    TokenRefused,
    /// The server does not know this connection, or not any more: say hello again on it, then repeat.
    Resync,
    /// No such conversation, or not for this user: always the same answer (R1).
    NotFound,
    /// The conversation's policy does not let this member do that.
    Forbidden,
    /// A group has 200 members, and 20 owners, at most.
    MembersFull,
    /// The last owner of a group leaves only with a successor.
    LastOwner,
    /// Whoever is to get a role, or to succeed, is no member.
    NoMember,
    /// What is to be edited, deleted, answered or reacted to is no message, or none that the caller may see, or was deleted.
    NoMessage,
    /// The message is too old to be edited, or was edited too often.
    NotEditable,
    /// There are as many different reactions to the message as there may be.
    ReactionsFull,
    /// The entry's live frame, as encoded, would exceed `entry_bytes_max`.
    TooLarge,
    /// The anchor, or a position in its place (of `sync`, `probe`, `ack`, `read`), names no entry of this conversation.
    AnchorUnknown,
    /// The anchor is too far behind the tail; `tail` says where that is.
    AnchorStale,
    /// The entries after the anchor are not all there any more.
    AnchorTooOld,
    /// The anchor is from before a restore; `common` is the last position that both know.
    EpochChanged,
    /// The conversation takes no more for the moment.
    RateLimited,
    /// Others were faster six times in a row.
    Busy,
    /// The outcome is unknown: safe to retry with the same client message id.
    Unavailable,
    /// A code that this client does not know yet; `retryable` still holds.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Whether the same request, with the same ids, can succeed later.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Busy | Self::Unavailable)
    }
}

/// A refusal as it travels: the code, whether and when to retry, and what the client needs to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// Whether the same request, with the same ids, can succeed later.
    pub retryable: bool,
    /// Not before this many milliseconds (add jitter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// With `anchor_stale`: the last position of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Position>,
    /// With `epoch_changed`: the last position that the client's copy and the server's log have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common: Option<Position>,
    /// For people; not stable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and the retry hint that belongs to it.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, retryable: code.retryable(), retry_after_ms: None, tail: None, common: None, message: message.into() }
    }

    /// The same, not to be retried before `ms` milliseconds.
    #[must_use]
    pub const fn after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}
