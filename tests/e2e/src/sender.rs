//! A sender that does not give up: whatever comes back, it repeats the same message, with the same id and the same anchor, until the
//! message is in the log. What the documented client does with its outbox, without a client.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chatlane_protocol::frames::Stored;
use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{ConversationId, Outcome, Refusal, ServerFrame};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::{Device, DeviceError};

/// First wait where the answer names none, as with the gateway's own error frames.
const RETRY_AFTER_MS: u64 = 50;

/// The random part of a wait grows with the number of attempts, up to this.
const JITTER_MS_MAX: u64 = 1000;

/// The seed of this run: `CHATLANE_SEED`, else a new one. Prints it.
///
/// # Panics
/// If the variable is no number.
pub fn seed() -> u64 {
    let seed = std::env::var("CHATLANE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("CHATLANE_SEED is a number"));
    println!("seed {seed}");
    seed
}

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
    random: StdRng,
    /// So far.
    pub tally: Tally,
}

impl Sender {
    /// With its own randomness: the jitter of its waits.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), tally: Tally::default() }
    }

    /// Sends until the message is in the log. Never before the time that a refusal named.
    ///
    /// # Panics
    /// If the answer is final, or a refusal that may be repeated does not say when.
    pub async fn send(&mut self, device: &Device, conversation: &ConversationId, message: &NewMessage) -> Sent {
        let mut jitter_ms = RETRY_AFTER_MS;
        loop {
            self.tally.attempts += 1;
            let request = json!({ "action": "send", "conversation": conversation, "messages": [message] });
            let (setback, retry_after_ms) = match device.request(request).await {
                Ok(answer) => match outcome(answer) {
                    Outcome::Ok(stored) => return Sent::New(stored),
                    Outcome::Duplicate(stored) => {
                        self.tally.duplicates += 1;
                        return Sent::Duplicate(stored);
                    }
                    Outcome::Refused(Refusal { code, retryable: true, retry_after_ms, .. }) => {
                        let code = serde_json::to_value(code).expect("a code is a text");
                        (code.as_str().unwrap_or_default().to_owned(), retry_after_ms.expect("a refusal that may be repeated says when"))
                    }
                    last => panic!("{} will not be stored: {last:?}", message.client_message_id),
                },
                Err(DeviceError::GatewayError(frame)) => (frame["message"].as_str().unwrap_or_default().to_owned(), RETRY_AFTER_MS),
                Err(error) => panic!("{} was sent in vain: {error}", message.client_message_id),
            };
            *self.tally.setbacks.entry(setback).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(retry_after_ms + self.random.random_range(0..=jitter_ms))).await;
            jitter_ms = (jitter_ms * 2).min(JITTER_MS_MAX);
        }
    }
}

/// What became of the only message of a request; a request that was refused whole refused its message.
fn outcome(answer: serde_json::Value) -> Outcome {
    let frame = serde_json::from_value(answer).expect("an answer has its documented form");
    match frame {
        ServerFrame::Send(mut answer) if answer.results.len() == 1 => answer.results.remove(0).outcome,
        ServerFrame::Error(error) => Outcome::Refused(error.refusal),
        other => panic!("not the answer to one message: {other:?}"),
    }
}
