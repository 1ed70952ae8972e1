//! `open`: finds or creates the direct conversation with another user.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientMessageId, ConversationId, RequestId, UserId};
use crate::position::Position;
use crate::reading::Bounded;

/// `open`: idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Echoed.
    pub id: RequestId,
    /// The other user.
    pub with: UserId,
    /// Names the `created` entry, if this request writes it.
    pub client_message_id: ClientMessageId,
}

impl Bounded for Open {}

/// The answer to `open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAnswer {
    /// Of the request.
    pub id: RequestId,
    /// The conversation.
    #[serde(flatten)]
    pub conversation: ConversationHead,
}

/// One conversation of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationHead {
    /// Its id.
    pub conversation: ConversationId,
    /// The other member of a direct conversation; absent for every other kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<UserId>,
    /// The highest position whose delivery has begun; entries up to it exist.
    pub head: Position,
}
