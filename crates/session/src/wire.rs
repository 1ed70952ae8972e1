//! What a text from the server is: the answer to a request, a push, or the gateway's own word.

use chatlane_protocol::frames::{ChangeAnswer, ErrorFrame};
use chatlane_protocol::request::Exchange;
use chatlane_protocol::{Refusal, RequestId, ServerFrame};
use serde_json::Value;

/// A text, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It has the `id` of a request.
    Answer(RequestId, Answer),
    /// It has none.
    Push(ServerFrame),
    /// API Gateway's own frame: it names no request, so each that is in flight may be the one, whatever became of it.
    GatewayFailure,
    /// Nothing that this client knows.
    Nothing,
}

/// What a request was answered, before anybody has looked whether it fits the request: [`Answered`] says that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A frame that is no error.
    Frame(ServerFrame),
    /// Refused whole.
    Refused(Refusal),
    /// Nothing, or nothing that can be read: its outcome is unknown.
    Lost(Loss),
}

/// Why an outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The socket is gone. Connecting again has its own back-off.
    Socket,
    /// The socket is there: repeating needs a back-off.
    Answer,
}

/// What became of a request, as whoever made it has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answered<T> {
    /// The answer of the request's own type.
    Answer(T),
    /// Refused for good: the same request would be refused again.
    Refused(Refusal),
    /// Refused for now, or the outcome is unknown: the request is repeated after a back-off, and not before `retry_after_ms`.
    TryAgain {
        /// As the server named it.
        retry_after_ms: Option<u64>,
    },
    /// The outcome is unknown, and the socket is gone. Connecting again has its own back-off.
    SocketLost,
}

impl Answer {
    /// What became of a request of the action `E`.
    pub(super) fn to<E: Exchange>(self) -> Answered<E::Answer> {
        self.into_one(E::answer)
    }

    /// What became of a change of a conversation: one answer for all of them.
    pub(super) fn into_change(self) -> Answered<ChangeAnswer> {
        self.into_one(change)
    }

    fn into_one<T>(self, read: impl FnOnce(ServerFrame) -> Option<T>) -> Answered<T> {
        match self {
            // A frame of another kind than the request's says nothing about the outcome.
            Self::Frame(frame) => read(frame).map_or(Answered::TryAgain { retry_after_ms: None }, Answered::Answer),
            Self::Refused(refusal) if refusal.retryable => Answered::TryAgain { retry_after_ms: refusal.retry_after_ms },
            Self::Refused(refusal) => Answered::Refused(refusal),
            Self::Lost(Loss::Answer) => Answered::TryAgain { retry_after_ms: None },
            Self::Lost(Loss::Socket) => Answered::SocketLost,
        }
    }
}

/// The answer to a change that this frame carries.
pub(super) fn change(frame: ServerFrame) -> Option<ChangeAnswer> {
    use ServerFrame::{Add, Close, Delete, Edit, Leave, React, Remove, Role, Settings};
    match frame {
        Edit(answer) | Delete(answer) | React(answer) | Add(answer) | Remove(answer) | Leave(answer) | Role(answer) | Settings(answer)
        | Close(answer) => Some(answer),
        _ => None,
    }
}

/// Reads one text. Forward rule: what is unknown is still an answer if it has an `id`.
pub(super) fn read(text: &str) -> Arrival {
    let frame = serde_json::from_str(text).unwrap_or(ServerFrame::Unknown);
    match (frame.id().cloned(), frame) {
        (Some(id), ServerFrame::Error(ErrorFrame { refusal, .. })) => Arrival::Answer(id, Answer::Refused(refusal)),
        (Some(id), frame) => Arrival::Answer(id, Answer::Frame(frame)),
        (None, ServerFrame::Unknown) => read_unknown(text),
        (None, frame) => Arrival::Push(frame),
    }
}

fn read_unknown(text: &str) -> Arrival {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| json.get(name).and_then(Value::as_str);
    let id = field("id").and_then(|id| RequestId::new(id).ok());
    match (field("type"), id, field("message")) {
        (Some(_), Some(id), _) => Arrival::Answer(id, Answer::Lost(Loss::Answer)),
        // API Gateway's frames are {"message", "connectionId", "requestId"} (docs/PROTOCOL.md §10).
        (None, _, Some(_)) => Arrival::GatewayFailure,
        _ => Arrival::Nothing,
    }
}

/// The name of a request. A number is printable and short enough.
pub(super) fn request_id(number: u64) -> RequestId {
    RequestId::new(number.to_string()).expect("a number is 1 to 20 digits")
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::ErrorCode;

    use super::*;

    fn id(text: &str) -> RequestId {
        RequestId::new(text).unwrap()
    }

    #[test]
    fn an_answer_is_what_has_the_id_of_a_request() {
        let texts = [
            r#"{"type":"ping","id":"7","server_time_ms":1}"#,
            r#"{"type":"refresh","id":"7","expires_ms":1}"#,
            r#"{"type":"ack","id":"7","results":[]}"#,
            r#"{"type":"sync","id":"7","pages":[],"done":true}"#,
            r#"{"type":"open","id":"7","conversation":"d1","head":{"epoch":1,"seq":1}}"#,
            r#"{"type":"send","id":"7","conversation":"d1","results":[]}"#,
            r#"{"type":"history","id":"7","conversation":"d1","entries":[],"done":true}"#,
            r#"{"type":"probe","id":"7","conversation":"d1","found":[],"reached":{"epoch":1,"seq":1},"done":true}"#,
        ];
        for text in texts {
            assert!(matches!(read(text), Arrival::Answer(found, Answer::Frame(_)) if found == id("7")), "{text}");
        }
        let text = r#"{"type":"error","id":"8","code":"not_found","retryable":false}"#;
        assert_eq!(read(text), Arrival::Answer(id("8"), Answer::Refused(Refusal::new(ErrorCode::NotFound, ""))));
    }

    #[test]
    fn an_answer_of_a_later_version_still_ends_its_request() {
        let lost = || Arrival::Answer(id("7"), Answer::Lost(Loss::Answer));
        assert_eq!(read(r#"{"type":"teleport","id":"7"}"#), lost());
        assert_eq!(read(r#"{"type":"ping","id":"7","server_time_ms":"noon"}"#), lost());
    }

    #[test]
    fn what_has_no_id_is_a_push_or_nothing() {
        assert!(matches!(read(r#"{"type":"goaway","reason":"displaced"}"#), Arrival::Push(ServerFrame::Goaway(_))));
        assert!(matches!(read(r#"{"type":"entries","conversation":"d1","entries":[]}"#), Arrival::Push(ServerFrame::Entries(_))));
        let error = r#"{"type":"error","code":"token_expired","retryable":false}"#;
        assert!(matches!(read(error), Arrival::Push(ServerFrame::Error(_))));
        for text in [r#"{"type":"teleport"}"#, r#"{"type":"entries"}"#, "[1]", "{}", "not JSON"] {
            assert_eq!(read(text), Arrival::Nothing, "{text}");
        }
    }

    #[test]
    fn a_message_without_a_type_is_the_gateways() {
        for message in ["Internal server error", "Forbidden", "Too Many Requests"] {
            let text = format!(r#"{{"message":"{message}","connectionId":"c=","requestId":"r="}}"#);
            assert_eq!(read(&text), Arrival::GatewayFailure);
        }
    }
}
