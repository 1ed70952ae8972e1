//! `send`: appends messages to one conversation.

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::error::Refusal;
use crate::ids::{ClientMessageId, ConversationId, RequestId, UserId};
use crate::position::{Position, Seq, UnixMillis};
use crate::reading::{Bounded, are_distinct, list_or_null, object, objects};
use crate::shared_limits::MENTIONS_MAX;

/// Messages of one `send`. Ours: 25 entries of 1 KB fill one WebSocket frame.
pub const MESSAGES_PER_SEND_MAX: usize = 25;

/// Entries behind the tail that an anchor may be (bound of the scan that a send pays for). Ours.
pub const ANCHOR_ENTRIES_MAX: usize = 200;

/// Bytes of entries behind the tail that an anchor may be. Ours: 32 read units.
pub const ANCHOR_BYTES_MAX: usize = 128 * 1024;

/// `send`: 1 to 25 messages of one conversation, kept in this order (L5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMessages {
    /// Echoed.
    pub id: RequestId,
    /// Where to.
    pub conversation: ConversationId,
    /// In the order in which the device made them.
    #[serde(deserialize_with = "objects")]
    pub messages: Vec<NewMessage>,
}

impl Bounded for SendMessages {
    fn out_of_bounds(&self) -> Option<&'static str> {
        if !(1..=MESSAGES_PER_SEND_MAX).contains(&self.messages.len()) {
            return Some("`messages` must hold 1 to 25 messages");
        }
        let good = |message: &NewMessage| message.mentions.len() <= MENTIONS_MAX && are_distinct(&message.mentions);
        (!self.messages.iter().all(good)).then_some("`mentions` must hold at most 20 users, none twice")
    }
}

/// One message to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// Made and stored before the first attempt; the same for every retry.
    pub client_message_id: ClientMessageId,
    /// The highest position of the conversation that the client knew when it created the message; the same for every retry.
    #[serde(deserialize_with = "object")]
    pub anchor: Position,
    /// What it says.
    #[serde(deserialize_with = "object")]
    pub body: Body,
    /// The entry that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Seq>,
    /// Whom it mentions: at most 20, none twice.
    #[serde(default, deserialize_with = "list_or_null", skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
}

impl NewMessage {
    /// A message that answers nothing and mentions nobody.
    pub const fn new(client_message_id: ClientMessageId, anchor: Position, body: Body) -> Self {
        Self { client_message_id, anchor, body, reply_to: None, mentions: vec![] }
    }
}

/// The answer to `send`: one result per message, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// As many as the request had messages.
    pub results: Vec<MessageResult>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageResult {
    /// Of the message.
    pub client_message_id: ClientMessageId,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// Stored, durable, its delivery begun.
    Ok(Stored),
    /// It was stored by an earlier attempt: here.
    Duplicate(Stored),
    /// The sender used this client message id for another body.
    Conflict(Stored),
    /// Not stored by this attempt. An earlier attempt may still have been: only the log can say.
    Refused(Refusal),
    /// A message before it was neither `ok` nor `duplicate`.
    NotAttempted,
}

/// Where a message stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its place.
    pub position: Position,
    /// When it was accepted.
    pub time_ms: UnixMillis,
    /// Countable messages up to here.
    pub count: u64,
}
