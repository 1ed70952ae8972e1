//! What clients ask. One JSON object per request, `action` flat and at the top (the gateway routes by it), `id` echoed by the answer.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use crate::actions::cursors::{PositionIn, Positions};
pub use crate::actions::hello::{Hello, Known};
pub use crate::actions::history::History;
pub use crate::actions::open::Open;
pub use crate::actions::ping::Ping;
pub use crate::actions::probe::Probe;
pub use crate::actions::refresh::Refresh;
pub use crate::actions::send::{NewMessage, SendMessages};
pub use crate::actions::sync::{Sync, SyncFrom};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{ConversationId, RequestId};
use crate::limits::{CONVERSATIONS_PER_REQUEST_MAX, HISTORY_ENTRIES_MAX, MESSAGES_PER_SEND_MAX, OPEN_CONVERSATIONS_MAX, PROBED_IDS_MAX};

/// A request, parsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Request {
    /// The first request of every connection.
    Hello(Hello),
    /// Find or create the direct conversation with another user.
    Open(Open),
    /// Append messages to one conversation.
    Send(SendMessages),
    /// What was missed, of many conversations.
    Sync(Sync),
    /// Older entries of one conversation.
    History(History),
    /// Which of these messages are in the log?
    Probe(Probe),
    /// Entries have reached this device.
    Ack(Positions),
    /// The user has read.
    Read(Positions),
    /// A new token for this connection.
    Refresh(Refresh),
    /// Is this connection alive, and where do these conversations stand?
    Ping(Ping),
}

/// A text that is no request: the error to answer, with the request's `id` where one could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// The `id` of the request, if it has a good one.
    pub id: Option<RequestId>,
    /// What to answer.
    pub refusal: Refusal,
}

/// Reads what every request has, so that a bad one can still be answered by its `id`.
#[derive(Deserialize)]
struct Envelope {
    action: String,
    id: RequestId,
}

/// Reads the `id` where the rest is wrong.
#[derive(Deserialize)]
struct OnlyId {
    id: RequestId,
}

impl Request {
    /// The request's `id`.
    pub const fn id(&self) -> &RequestId {
        match self {
            Self::Hello(Hello { id, .. })
            | Self::Open(Open { id, .. })
            | Self::Send(SendMessages { id, .. })
            | Self::Sync(Sync { id, .. })
            | Self::History(History { id, .. })
            | Self::Probe(Probe { id, .. })
            | Self::Ack(Positions { id, .. })
            | Self::Read(Positions { id, .. })
            | Self::Refresh(Refresh { id, .. })
            | Self::Ping(Ping { id, .. }) => id,
        }
    }

    /// Parses one request. Unknown fields are ignored, null in an optional field counts as missing; missing, repeated or wrong fields are
    /// [`ErrorCode::BadRequest`].
    pub fn parse(text: &str) -> Result<Self, BadRequest> {
        // All of the text, also of fields that are ignored below, is JSON of at most 127 levels: gateways read it whole to route it.
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| BadRequest { id: None, refusal: bad_request(&error) })?;
        if !objects_where_objects_belong(&json) {
            let id = json.get("id").and_then(|id| RequestId::new(id.as_str()?).ok());
            return Err(BadRequest { id, refusal: Refusal::new(ErrorCode::BadRequest, "an array stands where an object belongs") });
        }
        let Envelope { action, id } = serde_json::from_str(text).map_err(|error| BadRequest {
            id: serde_json::from_str::<OnlyId>(text).ok().map(|only| only.id),
            refusal: bad_request(&error),
        })?;
        let fields = |error: serde_json::Error| BadRequest { id: Some(id.clone()), refusal: bad_request(&error) };
        let request = match action.as_str() {
            "hello" => serde_json::from_str(text).map(Self::Hello).map_err(fields)?,
            "open" => serde_json::from_str(text).map(Self::Open).map_err(fields)?,
            "send" => serde_json::from_str(text).map(Self::Send).map_err(fields)?,
            "sync" => serde_json::from_str(text).map(Self::Sync).map_err(fields)?,
            "history" => serde_json::from_str(text).map(Self::History).map_err(fields)?,
            "probe" => serde_json::from_str(text).map(Self::Probe).map_err(fields)?,
            "ack" => serde_json::from_str(text).map(Self::Ack).map_err(fields)?,
            "read" => serde_json::from_str(text).map(Self::Read).map_err(fields)?,
            "refresh" => serde_json::from_str(text).map(Self::Refresh).map_err(fields)?,
            "ping" => serde_json::from_str(text).map(Self::Ping).map_err(fields)?,
            _ => return Err(BadRequest { id: Some(id), refusal: Refusal::new(ErrorCode::UnknownAction, "no such action") }),
        };
        match request.out_of_bounds() {
            None => Ok(request),
            Some(why) => Err(BadRequest { id: Some(id.clone()), refusal: Refusal::new(ErrorCode::BadRequest, why) }),
        }
    }

    /// What is wrong with the length or the order of the request's lists.
    fn out_of_bounds(&self) -> Option<&'static str> {
        match self {
            Self::Hello(hello) => {
                let known = || hello.known.iter().map(|known| &known.conversation);
                let ascending = hello.after.iter().chain(known()).is_sorted_by(|one, next| one < next);
                let ends = |end: &ConversationId| hello.after.as_ref() < Some(end) && known().next_back() <= Some(end);
                let good = ascending && hello.known_to.as_ref().is_none_or(ends);
                (!good).then_some("`known` must be ascending, after `after` and up to `known_to`")
            }
            Self::Send(send) => {
                let good = (1..=MESSAGES_PER_SEND_MAX).contains(&send.messages.len());
                (!good).then_some("`messages` must hold 1 to 25 messages")
            }
            Self::Sync(sync) => {
                let good = once(1, sync.conversations.iter().map(|from| &from.conversation))
                    && once(0, sync.ack.iter().map(|position| &position.conversation));
                (!good).then_some("`conversations` must hold 1 to 100 conversations, `ack` at most 100, none twice")
            }
            Self::Ack(request) | Self::Read(request) => {
                let good = once(1, request.positions.iter().map(|position| &position.conversation));
                (!good).then_some("`positions` must hold 1 to 100 positions, no conversation twice")
            }
            Self::Probe(probe) => {
                let good = (1..=PROBED_IDS_MAX).contains(&probe.ids.len());
                (!good).then_some("`ids` must hold 1 to 25 client message ids")
            }
            Self::History(history) => {
                let limit = history.limit.map_or(1, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                (!(1..=HISTORY_ENTRIES_MAX).contains(&limit)).then_some("`limit` must be 1 to 100")
            }
            Self::Ping(ping) => {
                let good = ping.open.len() <= OPEN_CONVERSATIONS_MAX && once(0, ping.open.iter());
                (!good).then_some("`open` must hold at most 20 conversations, none twice")
            }
            Self::Open(_) | Self::Refresh(_) => None,
        }
    }
}

/// Whether there are `min` to 100 conversations and none twice: they become keys of one batch read, which refuses a key that is repeated.
fn once<'a>(min: usize, conversations: impl ExactSizeIterator<Item = &'a ConversationId>) -> bool {
    let count = conversations.len();
    (min..=CONVERSATIONS_PER_REQUEST_MAX).contains(&count) && conversations.collect::<BTreeSet<_>>().len() == count
}

/// serde reads a struct from an array too, field by field; the protocol does not, but for `known`.
fn objects_where_objects_belong(request: &serde_json::Value) -> bool {
    let no_array =
        |value: &serde_json::Value, names: &[&str]| names.iter().all(|name| value.get(name).is_none_or(|field| !field.is_array()));
    let objects = |name: &str| {
        let items = request.get(name).and_then(serde_json::Value::as_array);
        items.is_none_or(|items| items.iter().all(|item| item.is_object() && no_array(item, &["anchor", "body", "after", "position"])))
    };
    !request.is_array()
        && match request.get("action").and_then(serde_json::Value::as_str) {
            Some("send") => objects("messages"),
            Some("sync") => objects("conversations") && objects("ack"),
            Some("ack" | "read") => objects("positions"),
            Some("probe") => no_array(request, &["anchor"]),
            _ => true,
        }
}

/// Says which field is wrong and where, never what it held: serde repeats the value in "invalid type" and "invalid value".
fn bad_request(error: &serde_json::Error) -> Refusal {
    let what = if error.is_data() {
        let text = error.to_string();
        if text.starts_with("invalid ") {
            format!("a value of the wrong type at line {} column {}", error.line(), error.column())
        } else {
            text
        }
    } else {
        format!("not one JSON object: malformed at line {} column {}", error.line(), error.column())
    };
    Refusal::new(ErrorCode::BadRequest, what)
}
