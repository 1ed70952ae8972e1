//! `ping`: whether the server knows this connection, and the status of the conversations that the user looks at.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, RequestId};
use crate::position::{Position, UnixMillis};
use crate::pushes::{MemberCursors, ReadMark};
use crate::reading::{Bounded, are_bounded, list_or_null};

/// Conversations of one `ping`. Ours.
pub const OPEN_CONVERSATIONS_MAX: usize = 20;

/// A client to which nothing was pushed and no `ping` was answered for this long sends `ping`.
/// Source: API Gateway quotas: idle connection timeout 10 minutes; networks forget sooner.
pub const PING_AFTER_IDLE_MS: u64 = 4 * 60 * 1000;

/// `ping`: answered with the server's time, and with where the named conversations stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Echoed.
    pub id: RequestId,
    /// What the user looks at: at most 20, none twice.
    #[serde(default, deserialize_with = "list_or_null", skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<ConversationId>,
}

impl Bounded for Ping {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = self.open.len() <= OPEN_CONVERSATIONS_MAX && are_bounded(0, self.open.iter());
        (!good).then_some("`open` must hold at most 20 conversations, none twice")
    }
}

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingAnswer {
    /// Of the request.
    pub id: RequestId,
    /// The server's clock.
    pub server_time_ms: UnixMillis,
    /// The server does not know this connection any more, nothing is pushed to it: say hello again on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
    /// Those of the request's `open` of which the caller is a member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<ConversationStatus>,
}

/// The status of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationStatus {
    /// Which.
    pub conversation: ConversationId,
    /// The highest position whose delivery has begun.
    pub head: Position,
    /// Countable messages up to `head`.
    pub count: u64,
    /// How far the caller has read; servers of before do not say.
    #[serde(flatten)]
    pub own: Option<ReadMark>,
    /// How far the other members are; of direct conversations and of groups of at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cursors: Vec<MemberCursors>,
}
