//! A sender that does not give up: whatever comes back, it repeats the same messages, with the same ids and the same anchors, until they
//! are in the log. What the documented client does with its outbox, without a client.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chatlane_protocol::frames::{SendAnswer, Stored};
use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{ConversationId, Outcome, Refusal};
use serde_json::json;

use crate::{Device, DeviceError, Dice};

/// First wait where the answer names none, as with the gateway's own error frames.
const RETRY_AFTER_MS: u64 = 50;

/// The random part of a wait grows with the number of attempts, up to this.
const JITTER_MS_MAX: u64 = 1000;

/// How a message got into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The attempt that was answered stored it.
    New(Stored),
    /// An earlier attempt had stored it (L2).
    Duplicate(Stored),
}

impl Sent {
    /// Where it is.
    pub const fn stored(self) -> Stored {
        match self {
            Self::New(stored) | Self::Duplicate(stored) => stored,
        }
    }
}

/// What happened on the way. `Display` is one line.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests.
    pub attempts: u64,
    /// Messages that an earlier attempt had stored.
    pub duplicates: u64,
    /// Why attempts were repeated, and how often: codes of refusals, texts of the gateway's own error frames.
    pub setbacks: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.duplicates += other.duplicates;
        for (setback, times) in &other.setbacks {
            *self.setbacks.entry(setback.clone()).or_default() += times;
        }
    }

    /// An attempt was repeated for this reason.
    pub fn note(&mut self, setback: String) {
        *self.setbacks.entry(setback).or_default() += 1;
    }

    /// How often attempts were repeated for this reason.
    pub fn setback(&self, reason: &str) -> u64 {
        self.setbacks.get(reason).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempts, {} duplicates", self.attempts, self.duplicates)?;
        self.setbacks.iter().try_for_each(|(setback, times)| write!(f, ", {times} × {setback}"))
    }
}

/// One device's sending side.
#[derive(Debug)]
pub struct Sender {
    dice: Dice,
    /// So far.
    pub tally: Tally,
}

impl Sender {
    /// With its own chance: the jitter of its waits.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), tally: Tally::default() }
    }

    /// Sends until the message is in the log. Never before the time that a refusal named.
    ///
    /// # Panics
    /// If the answer is final, or a refusal that may be repeated does not say when.
    pub async fn send(&mut self, device: &Device, conversation: &ConversationId, message: &NewMessage) -> Sent {
        let mut sent = None;
        let all = self.send_all(device, conversation, vec![message.clone()], |_, one| sent = Some(one)).await;
        all.unwrap_or_else(|error| panic!("{} will not be stored: {error:#}", message.client_message_id));
        sent.expect("all of one message are stored")
    }

    /// Sends 1 to 25 messages in one request, and what is not stored of them again, until all are. `stored` is told where each is, in
    /// their order.
    ///
    /// # Errors
    /// What no repetition mends.
    pub async fn send_all(
        &mut self,
        device: &Device,
        conversation: &ConversationId,
        mut messages: Vec<NewMessage>,
        mut stored: impl FnMut(&NewMessage, Sent),
    ) -> anyhow::Result<()> {
        let mut jitter_ms = RETRY_AFTER_MS;
        loop {
            self.tally.attempts += 1;
            let (setback, retry_after_ms) = match device.send(conversation, &messages).await {
                Ok(answer) => match self.settle(answer, &mut messages, &mut stored)? {
                    None => return Ok(()),
                    Some(refusal) => named(&refusal)?,
                },
                Err(DeviceError::Refused(refusal)) if refusal.retryable => named(&refusal)?,
                Err(DeviceError::GatewayError(frame)) => (frame["message"].as_str().unwrap_or_default().to_owned(), RETRY_AFTER_MS),
                Err(error) => return Err(error.into()),
            };
            self.tally.note(setback);
            tokio::time::sleep(Duration::from_millis(retry_after_ms + self.dice.between(0, jitter_ms))).await;
            jitter_ms = (jitter_ms * 2).min(JITTER_MS_MAX);
        }
    }
    /// Takes out what is stored. Answers why the rest is not, if there is one.
    fn settle(
        &mut self,
        answer: SendAnswer,
        messages: &mut Vec<NewMessage>,
        mut stored: impl FnMut(&NewMessage, Sent),
    ) -> anyhow::Result<Option<Refusal>> {
        ensure!(answer.results.len() == messages.len(), "{} results for {} messages", answer.results.len(), messages.len());
        for result in answer.results {
            let sent = match result.outcome {
                Outcome::Ok(at) => Sent::New(at),
                Outcome::Duplicate(at) => Sent::Duplicate(at),
                Outcome::Refused(refusal) if refusal.retryable => return Ok(Some(refusal)), // and nothing behind it was tried
                last => bail!("{last:?}"),
            };
            self.tally.duplicates += u64::from(matches!(sent, Sent::Duplicate(_)));
            stored(&messages.remove(0), sent);
        }
        Ok(None)
    }
}

/// The word of a refusal, and how long it asks to wait.
fn named(refusal: &Refusal) -> anyhow::Result<(String, u64)> {
    let wait_ms = refusal.retry_after_ms.context("a refusal that may be repeated says when")?;
    Ok((json!(refusal.code).as_str().unwrap_or_default().to_owned(), wait_ms))
}
