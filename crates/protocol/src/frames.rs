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
    /// Answers `sync`.
    Sync(SyncAnswer),
    /// Answers `history`.
    History(HistoryAnswer),
    /// Answers `probe`.
    Probe(ProbeAnswer),
    /// Answers `ack`.
    Ack(CursorsAnswer),
    /// Answers `read`.
    Read(CursorsAnswer),
    /// Answers `refresh`.
    Refresh(RefreshAnswer),
    /// Answers `ping`.
    Ping(PingAnswer),
    /// New entries of one conversation.
    Entries(Entries),
    /// How far another member is.
    Receipt(Receipt),
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
    /// When the token's time is over, leeway included, by the server's clock: `refresh` before.
    pub expires_ms: UnixMillis,
    /// Limits and thresholds.
    pub limits: Limits,
    /// One page of the caller's conversations, in the order of their ids, without those that stand as the request's `known` says.
    pub conversations: Vec<ConversationRow>,
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

/// One conversation of the caller, as `hello` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationRow {
    /// Which, with whom, how far.
    #[serde(flatten)]
    pub conversation: ConversationHead,
    /// Countable messages up to the head. Unread: `count` − `read_count`.
    pub count: u64,
    /// When the entry at the head was accepted; 0 where there is no head yet. For the order of a list.
    pub time_ms: UnixMillis,
    /// How far the user has read, on any device.
    pub read: Position,
    /// Countable messages up to `read`.
    pub read_count: u64,
    /// The entry at the head; with the most recent conversations of a page, as far as it has room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Entry>,
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

/// The answer to `sync`: one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the conversations that the page has come to, in the order of the request.
    pub pages: Vec<SyncPage>,
    /// Whether every conversation of the request is in `pages` and done or refused. If not: ask again, for what is not done.
    pub done: bool,
    /// Whether the request had an `ack` and all of its positions are told now. If not: they are to be told again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acked: bool,
}

/// What a page has of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPage {
    /// Which.
    pub conversation: ConversationId,
    /// Its entries, or why there are none.
    #[serde(flatten)]
    pub outcome: SyncOutcome,
}

/// What a page has of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum SyncOutcome {
    /// The next entries.
    Ok(Missed),
    /// `not_found`, `anchor_unknown`, `anchor_too_old` or `epoch_changed`: about this conversation only.
    Refused(Refusal),
}

/// The next entries of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The entries before these are not for this user: the device goes on as if it had those up to `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    /// Ascending, consecutive, from the one after `after` or after `skip`.
    pub entries: Vec<Entry>,
    /// Whether that is all there was when it was read.
    pub done: bool,
}

/// Entries that are not for this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The last of them.
    pub to: Position,
}

/// The answer to `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// Ascending, consecutive; the last one is the one before `before`.
    pub entries: Vec<Entry>,
    /// Whether there is nothing before these for this user.
    pub done: bool,
}

/// The answer to `probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// Messages of the caller with one of the ids, in the order of the log.
    pub found: Vec<Found>,
    /// Everything up to here was looked through: an anchor for those that were not found.
    pub reached: Position,
    /// Whether that was the end of the log when it was read. If not: probe again from `reached`.
    pub done: bool,
}

/// A message that is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub client_message_id: ClientMessageId,
    /// Its place.
    #[serde(flatten)]
    pub stored: Stored,
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

/// The answer to `refresh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshAnswer {
    /// Of the request.
    pub id: RequestId,
    /// When the connection's time is over now, leeway included, by the server's clock.
    pub expires_ms: UnixMillis,
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
    /// How far the other members are; of direct conversations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cursors: Vec<MemberCursors>,
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

/// A hint, pushed when another member's cursor moves: may be lost or overtaken; cursors only move forward, so a lower one is an old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where.
    pub conversation: ConversationId,
    /// Who, and how far.
    #[serde(flatten)]
    pub cursors: MemberCursors,
    /// Not worth anything after so long.
    pub ttl_ms: u64,
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
    /// Do not connect again before this long (add jitter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
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

/// The JSON text of a value of this crate, or of a list of them.
///
/// # Panics
///
/// Never for this crate's types. `serde_json` fails for a map whose keys are not texts, and where a `Serialize` says so; these have neither.
pub fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the types of the protocol have a JSON text")
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
