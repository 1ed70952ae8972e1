//! What servers say: answers (with the request's `id`) and pushes (without). `type` names the frame; a client ignores one it does not know.

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::error::Refusal;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, RequestId, UserId};
use crate::position::{Position, UnixMillis};

/// Any frame from the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answers `hello`.
    Hello(Box<HelloAnswer>),
    /// Answers `open`.
    Open(OpenAnswer),
    /// Answers `send`.
    Send(SendAnswer),
    /// Answers `ping`.
    Ping(PingAnswer),
    /// New entries of one conversation.
    Entries(Entries),
    /// A request was refused whole.
    Error(ErrorFrame),
    /// This connection gets nothing any more.
    Goaway(Goaway),
    /// A frame of a later version.
    #[serde(other)]
    Unknown,
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
    /// Limits and thresholds.
    pub limits: Limits,
    /// One page of the caller's conversations, in the order of their ids.
    pub conversations: Vec<ConversationHead>,
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
    /// Send `ping` after this long without a frame in either direction.
    pub ping_after_idle_ms: u64,
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

/// The answer to `open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAnswer {
    /// Of the request.
    pub id: RequestId,
    /// The conversation.
    #[serde(flatten)]
    pub conversation: ConversationHead,
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
    /// Not stored by this attempt. An earlier attempt may still have been: only the log tells.
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

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingAnswer {
    /// Of the request.
    pub id: RequestId,
    /// The server's clock.
    pub server_time_ms: UnixMillis,
}

/// 1…n entries of one conversation, ascending by seq. May repeat, overtake or be lost on the way: show an entry only at `have + 1` (D1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// Whose.
    pub conversation: ConversationId,
    /// Ascending, consecutive.
    pub entries: Vec<Entry>,
}

/// A request was refused whole, and changed nothing.
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
}

/// Why a connection gets nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoawayReason {
    /// The same device said hello on a newer connection, or the user has more than 16. Final until the person acts.
    Displaced,
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}

/// The JSON text of a value of this crate. These types always have one: their maps have text keys and they hold no foreign types.
pub fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The live frame of entries that are already encoded: the fan-out encodes an entry once for all its receivers.
/// The same text as [`encode`] of [`ServerFrame::Entries`].
pub fn live_frame(conversation: &ConversationId, entries: &[String]) -> String {
    let mut frame = String::with_capacity(64 + entries.iter().map(|entry| entry.len() + 1).sum::<usize>());
    frame.push_str(r#"{"type":"entries","conversation":""#);
    frame.push_str(conversation.as_str()); // needs no escaping: A-Z a-z 0-9 _ -
    frame.push_str(r#"","entries":["#);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            frame.push(',');
        }
        frame.push_str(entry);
    }
    frame.push_str("]}");
    frame
}
