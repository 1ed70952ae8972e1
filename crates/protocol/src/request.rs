//! What clients ask. One JSON object per request, `action` flat and at the top (the gateway routes by it), `id` echoed by the answer.

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{ClientMessageId, ConversationId, RequestId, UserId};
use crate::limits::MESSAGES_PER_SEND_MAX;
use crate::position::Position;

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
    /// Is this connection alive?
    Ping(Ping),
}

/// `hello`: makes the connection known, then asks for the caller's conversations, a page an answer, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Echoed.
    pub id: RequestId,
    /// The protocol version that the client speaks.
    pub v: u32,
    /// The `next` of the page before; absent in the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ConversationId>,
}

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

/// `send`: 1 to 25 messages of one conversation, kept in this order (L5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMessages {
    /// Echoed.
    pub id: RequestId,
    /// Where to.
    pub conversation: ConversationId,
    /// In the order in which the device made them.
    pub messages: Vec<NewMessage>,
}

/// One message to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// Made and stored before the first attempt; the same for every retry.
    pub client_message_id: ClientMessageId,
    /// The highest position of the conversation that the client knew when it created the message; the same for every retry.
    pub anchor: Position,
    /// What it says.
    pub body: Body,
}

/// `ping`: answered with the server's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Echoed.
    pub id: RequestId,
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
            Self::Hello(Hello { id, .. }) | Self::Open(Open { id, .. }) | Self::Send(SendMessages { id, .. }) | Self::Ping(Ping { id }) => {
                id
            }
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
        match action.as_str() {
            "hello" => serde_json::from_str(text).map(Self::Hello).map_err(fields),
            "open" => serde_json::from_str(text).map(Self::Open).map_err(fields),
            "send" => {
                let send: SendMessages = serde_json::from_str(text).map_err(fields)?;
                if (1..=MESSAGES_PER_SEND_MAX).contains(&send.messages.len()) {
                    Ok(Self::Send(send))
                } else {
                    let refusal = Refusal::new(ErrorCode::BadRequest, "`messages` must hold 1 to 25 messages");
                    Err(BadRequest { id: Some(send.id), refusal })
                }
            }
            "ping" => serde_json::from_str(text).map(Self::Ping).map_err(fields),
            _ => Err(BadRequest { id: Some(id), refusal: Refusal::new(ErrorCode::UnknownAction, "no such action") }),
        }
    }
}

/// serde reads a struct from an array too, field by field; the protocol does not.
fn objects_where_objects_belong(request: &serde_json::Value) -> bool {
    let messages = request.get("messages").and_then(serde_json::Value::as_array);
    let message = |message: &serde_json::Value| {
        message.is_object() && ["anchor", "body"].iter().all(|name| message.get(name).is_none_or(|field| !field.is_array()))
    };
    !request.is_array() && messages.is_none_or(|messages| messages.iter().all(message))
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
