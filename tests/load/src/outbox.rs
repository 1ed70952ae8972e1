//! Sends messages until they are stored: the same ids and the same anchors each time, with the waits that `docs/PROTOCOL.md` asks for.

use std::time::Duration;

use anyhow::{bail, ensure};
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

/// Sends 1 to 25 messages of one conversation in one request, and what is not stored of them again, until all are. `stored` is told where
/// each is, in their order; `setback` why an attempt is repeated.
///
/// # Errors
/// What no repetition mends.
pub async fn send(
    connection: &Connection,
    conversation: &ConversationId,
    mut messages: Vec<NewMessage>,
    mut stored: impl FnMut(&NewMessage, Stored),
    setback: impl Fn(String),
) -> anyhow::Result<()> {
    let mut back_off = BACK_OFF;
    while !messages.is_empty() {
        let (reason, at_least) = match connection.send(conversation.clone(), messages.clone()).await {
            Ok(answer) => {
                ensure!(answer.results.len() == messages.len(), "{} results for {} messages", answer.results.len(), messages.len());
                let mut refused = None;
                for (result, message) in answer.results.into_iter().zip(messages.clone()) {
                    match result.outcome {
                        Outcome::Ok(at) | Outcome::Duplicate(at) => {
                            stored(&message, at);
                            messages.remove(0);
                        }
                        Outcome::Refused(refusal) if refusal.retryable => refused = Some(refusal),
                        Outcome::NotAttempted if refused.is_some() => {}
                        other => bail!("a message will not be stored: {other:?}"),
                    }
                }
                let Some(refusal) = refused else { continue };
                named(&refusal)
            }
            Err(RequestError::Refused(refusal)) if refusal.retryable => named(&refusal),
            Err(RequestError::Unknown(reason)) => (reason, None),
            Err(error) => bail!("a message was sent in vain: {error}"),
        };
        setback(reason);
        tokio::time::sleep(at_least.unwrap_or_default() + jittered(at_least.map_or(back_off, |_| BACK_OFF / 10))).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
    Ok(())
}

/// The word of a refusal, and how long it asks to wait.
fn named(refusal: &Refusal) -> (String, Option<Duration>) {
    (format!("{:?}", refusal.code), refusal.retry_after_ms.map(Duration::from_millis))
}

/// At random between half and all of it.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..=1.0))
}
