//! `ack` and `read`: entries have reached this device, the user has read. Two actions with one form.

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::ids::{ConversationId, RequestId};
use crate::position::Position;
use crate::reading::{Bounded, are_bounded, false_or_null, object, object_or_null, objects};

/// A client sends `ack` and `read` not more often than once in so long; positions in between are merged.
pub const CURSORS_EVERY_MS: u64 = 1000;

/// `ack` and `read`: 1 to 100 positions of as many conversations. Cursors only move forward, so both are idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Echoed.
    pub id: RequestId,
    /// No conversation twice.
    #[serde(deserialize_with = "objects")]
    pub positions: Vec<PositionIn>,
    /// Whether nobody else is told how far the user has read; of a `read` only, and of the `read` marks of an `ack`.
    #[serde(default, deserialize_with = "false_or_null", skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Whether the client wants no answer if every result would be `ok`.
    #[serde(default, deserialize_with = "false_or_null", skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

impl Bounded for Positions {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = are_bounded(1, self.positions.iter().map(|position| &position.conversation));
        (!good).then_some("`positions` must hold 1 to 100 positions, no conversation twice")
    }
}

/// A position in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionIn {
    /// Which.
    pub conversation: ConversationId,
    /// Of an entry of it.
    #[serde(deserialize_with = "object")]
    pub position: Position,
    /// In an `ack`: how far the user has read, if that is to move too.
    #[serde(default, deserialize_with = "object_or_null", skip_serializing_if = "Option::is_none")]
    pub read: Option<Position>,
}

impl PositionIn {
    /// Without a read mark.
    pub const fn new(conversation: ConversationId, position: Position) -> Self {
        Self { conversation, position, read: None }
    }
}

/// The answer to `ack` and `read`: one result per position, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorsAnswer {
    /// Of the request.
    pub id: RequestId,
    /// As many as the request had positions.
    pub results: Vec<CursorResult>,
}

/// What became of one position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorResult {
    /// Which.
    pub conversation: ConversationId,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: CursorOutcome,
}

/// What became of one position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum CursorOutcome {
    /// The cursor is there, or was beyond it before.
    Ok,
    /// It has not moved, or (`unavailable`) may have.
    Refused(Refusal),
}
