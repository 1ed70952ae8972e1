//! Sends one message until it is stored: the same id and the same anchor each time, with the waits that `docs/PROTOCOL.md` asks for.

use std::time::Duration;

use anyhow::bail;
use chatlane_client::Connection;
use chatlane_client::connection::RequestError;
use chatlane_protocol::frames::{Outcome, Stored};
use chatlane_protocol::{Body, ClientMessageId, ConversationId, NewMessage, Position, Refusal};

/// First wait where an answer names none.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Waits do not grow beyond this.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// A new text message.
///
/// # Panics
/// If the text is empty.
pub fn message(text: impl Into<String>, anchor: Position) -> NewMessage {
    let client_message_id = ClientMessageId::new(uuid::Uuid::now_v7().to_string()).expect("a UUID is a client message id");
    NewMessage { client_message_id, anchor, body: Body::text(text).expect("not empty") }
}

/// Sends until it is stored; `setback` is told why an attempt is repeated.
///
/// # Errors
/// What no repetition mends.
pub async fn send(
    connection: &Connection,
    conversation: &ConversationId,
    message: &NewMessage,
    setback: impl Fn(String),
) -> anyhow::Result<Stored> {
    let mut back_off = BACK_OFF;
    loop {
        let (reason, at_least) = match connection.send(conversation.clone(), vec![message.clone()]).await {
            Ok(answer) => match answer.results.into_iter().next().map(|result| result.outcome) {
                Some(Outcome::Ok(stored) | Outcome::Duplicate(stored)) => return Ok(stored),
                Some(Outcome::Refused(refusal)) if refusal.retryable => named(&refusal),
                other => bail!("a message will not be stored: {other:?}"),
            },
            Err(RequestError::Refused(refusal)) if refusal.retryable => named(&refusal),
            Err(RequestError::Unknown(reason)) => (reason, None),
            Err(error) => bail!("a message was sent in vain: {error}"),
        };
        setback(reason);
        tokio::time::sleep(at_least.unwrap_or_default() + jittered(at_least.map_or(back_off, |_| BACK_OFF / 10))).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

/// The word of a refusal, and how long it asks to wait.
fn named(refusal: &Refusal) -> (String, Option<Duration>) {
    (format!("{:?}", refusal.code), refusal.retry_after_ms.map(Duration::from_millis))
}

/// At random between half and all of it.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..=1.0))
}
