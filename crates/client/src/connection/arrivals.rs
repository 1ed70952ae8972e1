//! What becomes of a frame that arrives: the answer to a request in flight, a push, or the gateway's own word.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chatlane_protocol::frames::ErrorFrame;
use chatlane_protocol::{Request, RequestId, ServerFrame};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::{Closed, RequestError};

type Answer = Result<ServerFrame, RequestError>;

/// What the task of a connection and its callers share.
#[derive(Debug)]
pub(super) struct Arrivals {
    open: Mutex<Open>,
    closed: watch::Sender<Option<Closed>>,
}

#[derive(Debug)]
struct Open {
    in_flight: HashMap<RequestId, InFlight>,
    pushes: Vec<UnboundedSender<ServerFrame>>,
    frames: Vec<UnboundedSender<String>>,
    quiet_since: Instant,
}

#[derive(Debug)]
struct InFlight {
    answer: oneshot::Sender<Answer>,
    is_hello: bool,
}

/// One request in flight; forgotten when dropped.
pub(super) struct Waiting<'a> {
    arrivals: &'a Arrivals,
    id: RequestId,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting<'_> {
    /// Waits without limit.
    pub(super) async fn answer(mut self) -> Answer {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_replaced| Err(RequestError::Unknown("another request took its id".to_owned())))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        // A request that took its id stays: its receiver is open.
        let mut open = self.arrivals.lock();
        if open.in_flight.get(&self.id).is_some_and(|in_flight| in_flight.answer.is_closed()) {
            open.in_flight.remove(&self.id);
        }
    }
}

impl Arrivals {
    pub(super) fn new(now: Instant) -> Self {
        let open = Open { in_flight: HashMap::new(), pushes: vec![], frames: vec![], quiet_since: now };
        Self { open: Mutex::new(open), closed: watch::Sender::new(None) }
    }

    /// Nothing here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check_open(&self) -> Result<(), Closed> {
        self.closed.borrow().clone().map_or(Ok(()), Err)
    }

    /// Registers a request before it is sent.
    pub(super) fn expect(&self, request: &Request) -> Result<Waiting<'_>, RequestError> {
        let mut open = self.lock();
        self.check_open().map_err(RequestError::Closed)?;
        let (sender, answer) = oneshot::channel();
        let id = request.id().clone();
        open.in_flight.insert(id.clone(), InFlight { answer: sender, is_hello: matches!(request, Request::Hello(_)) });
        Ok(Waiting { arrivals: self, id, answer })
    }

    pub(super) fn pushes(&self) -> UnboundedReceiver<ServerFrame> {
        let (sender, receiver) = unbounded_channel();
        let mut open = self.lock();
        if self.check_open().is_ok() {
            open.pushes.push(sender);
        }
        receiver
    }

    pub(super) fn frames(&self) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        let mut open = self.lock();
        if self.check_open().is_ok() {
            open.frames.push(sender);
        }
        receiver
    }

    pub(super) fn touch(&self, now: Instant) {
        self.lock().quiet_since = now;
    }

    pub(super) fn quiet_since(&self) -> Instant {
        self.lock().quiet_since
    }

    pub(super) async fn closed(&self) -> Closed {
        let mut closed = self.closed.subscribe();
        loop {
            if let Some(closed) = closed.borrow_and_update().clone() {
                return closed;
            }
            // The sender is in `self`.
            let _changed = closed.changed().await;
        }
    }

    /// Takes one frame.
    pub(super) fn arrived(&self, text: &str, now: Instant) {
        let mut open = self.lock();
        open.quiet_since = now;
        open.frames.retain(|receiver| receiver.send(text.to_owned()).is_ok());
        match read(text) {
            // An answer that nobody waits for belongs to a request that was given up, or to a text that was sent raw.
            Arrival::Answer(id, answer) => {
                if let Some(in_flight) = open.in_flight.remove(&id) {
                    let _given_up = in_flight.answer.send(answer);
                }
            }
            Arrival::Push(frame) => {
                if matches!(frame, ServerFrame::Goaway(_)) {
                    // `hello` on a connection that was displaced is answered by `goaway`, which has no id.
                    open.fail(|in_flight| in_flight.is_hello, &RequestError::Displaced);
                }
                open.pushes.retain(|receiver| receiver.send(frame.clone()).is_ok());
            }
            // It names no request: each of them may be the one, whatever became of it.
            Arrival::GatewayFailure(message) => open.fail(|_| true, &RequestError::Unknown(message)),
        }
    }

    /// The socket has ended: everybody who waits learns it, and so does everybody who comes later.
    pub(super) fn end(&self, closed: &Closed) {
        let mut open = self.lock();
        self.closed.send_replace(Some(closed.clone()));
        open.fail(|_| true, &RequestError::Closed(closed.clone()));
        open.pushes.clear();
        open.frames.clear();
    }
}

impl Open {
    fn fail(&mut self, which: impl Fn(&InFlight) -> bool, error: &RequestError) {
        for (_, in_flight) in self.in_flight.extract_if(|_, in_flight| which(in_flight)) {
            let _given_up = in_flight.answer.send(Err(error.clone()));
        }
    }
}

#[derive(Debug, PartialEq)]
enum Arrival {
    Answer(RequestId, Answer),
    Push(ServerFrame),
    GatewayFailure(String),
}

/// Classifies a frame. Forward rule: whatever is unknown is still an answer if it has an `id`, and a push if it has none.
fn read(text: &str) -> Arrival {
    let frame = serde_json::from_str(text).unwrap_or(ServerFrame::Unknown);
    match (frame.id().cloned(), frame) {
        (Some(id), ServerFrame::Error(ErrorFrame { refusal, .. })) => Arrival::Answer(id, Err(RequestError::Refused(refusal))),
        (Some(id), frame) => Arrival::Answer(id, Ok(frame)),
        (None, frame @ ServerFrame::Unknown) => {
            let json: Value = serde_json::from_str(text).unwrap_or_default();
            let field = |name: &str| json.get(name).and_then(Value::as_str);
            let id = field("id").and_then(|id| RequestId::new(id).ok());
            match (field("type"), id, field("message")) {
                (Some(_), Some(id), _) => Arrival::Answer(id, Err(RequestError::Unreadable)),
                // API Gateway's own frames have `message`, `connectionId` and `requestId`: "Internal server error" and the like.
                (None, _, Some(message)) => Arrival::GatewayFailure(message.to_owned()),
                _ => Arrival::Push(frame),
            }
        }
        (None, frame) => Arrival::Push(frame),
    }
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::frames::{Goaway, GoawayReason};
    use chatlane_protocol::{ErrorCode, Refusal};

    use super::*;

    fn id(text: &str) -> RequestId {
        RequestId::new(text).unwrap()
    }

    #[test]
    fn an_answer_is_what_has_the_id_of_a_request() {
        let Arrival::Answer(found, Ok(ServerFrame::Ping(_))) = read(r#"{"type":"ping","id":"7","server_time_ms":1}"#) else {
            panic!("an answer")
        };
        assert_eq!(found, id("7"));
        let refusal = Refusal::new(ErrorCode::NotFound, "");
        let text = r#"{"type":"error","id":"8","code":"not_found","retryable":false}"#;
        assert_eq!(read(text), Arrival::Answer(id("8"), Err(RequestError::Refused(refusal))));
    }

    #[test]
    fn an_answer_of_a_later_version_is_still_the_answer_to_its_request() {
        let unreadable = || Arrival::Answer(id("7"), Err(RequestError::Unreadable));
        assert_eq!(read(r#"{"type":"teleport","id":"7"}"#), unreadable());
        assert_eq!(read(r#"{"type":"ping","id":"7","server_time_ms":"noon"}"#), unreadable());
    }

    #[test]
    fn what_has_no_id_is_a_push() {
        let goaway = ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None });
        assert_eq!(read(r#"{"type":"goaway","reason":"displaced"}"#), Arrival::Push(goaway));
        let text = r#"{"type":"error","code":"bad_request","retryable":false}"#;
        assert!(matches!(read(text), Arrival::Push(ServerFrame::Error(_))));
        for text in [r#"{"type":"teleport"}"#, r#"{"type":"entries"}"#, "[1]", "{}", "not JSON"] {
            assert_eq!(read(text), Arrival::Push(ServerFrame::Unknown), "{text}");
        }
    }

    #[test]
    fn a_message_without_a_type_is_the_gateways() {
        let text = r#"{"message":"Internal server error","connectionId":"c=","requestId":"r="}"#;
        assert_eq!(read(text), Arrival::GatewayFailure("Internal server error".to_owned()));
    }
}
