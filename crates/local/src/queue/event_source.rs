//! The event source mapping: the part of AWS Lambda that polls a queue, invokes a function with batches and deletes what it handled.
//!
//! Sources: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>. `ReportBatchItemFailures` is always on, the batch window 0.
//! Not modelled: gradual scaling of pollers (here: at once, up to the limit), filters, the 6 MB limit of a batch's payload.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, warn};

use super::message::{self, BATCH_MAX, Received};
use super::{Queue, QueueError, REGION, arn};
use crate::lambda::{Functions, InvokeError};

/// First pause after a throttled invocation; it doubles up to [`PAUSE_MAX`]. AWS documents a back-off, not its numbers.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Which queue feeds which function, and how.
#[derive(Clone, Debug)]
pub struct EventSourceSettings {
    /// The queue's name.
    pub queue: String,
    /// The function's name.
    pub function: String,
    /// Most concurrent invocations. AWS: `MaximumConcurrency`, 2 … 1,000.
    pub concurrency_max: usize,
}

/// A running mapping. Dropping it stops it; messages that were being handled become visible again after their visibility timeout.
#[derive(Debug)]
pub struct EventSource {
    poller: JoinHandle<()>,
}

impl EventSource {
    /// Starts to poll.
    ///
    /// # Errors
    /// [`QueueError::Unknown`] if there is no such queue.
    pub fn start(queue: &Queue, settings: EventSourceSettings, functions: Functions) -> Result<Self, QueueError> {
        let changed = queue.named(&settings.queue)?.changed.subscribe();
        let mapping = Arc::new(Mapping { queue: queue.clone(), settings, functions });
        Ok(Self { poller: tokio::spawn(mapping.poll(changed)) })
    }

    /// Stops polling and abandons the invocations in progress. Returns when none of them can delete a message any more.
    pub async fn stop(mut self) {
        self.poller.abort();
        // Only the task's end matters: it was cancelled, or it had ended with an error that it logged.
        let _ended = (&mut self.poller).await;
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

struct Mapping {
    queue: Queue,
    settings: EventSourceSettings,
    functions: Functions,
}

impl Mapping {
    async fn poll(self: Arc<Self>, mut changed: tokio::sync::watch::Receiver<()>) {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency_max));
        // Owned by this task, so that they end with it.
        let mut invocations = JoinSet::new();
        loop {
            // First a free slot, then messages: the visibility timeout of a received message is running.
            let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes the semaphore");
            while invocations.try_join_next().is_some() {}
            changed.mark_unchanged();
            match self.next_batch(&mut changed).await {
                Ok(batch) if batch.is_empty() => (),
                Ok(batch) => {
                    let mapping = Arc::clone(&self);
                    invocations.spawn(async move {
                        mapping.handle(batch).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // `local` cannot deliver any more; the user sees why.
                    error!(queue = self.settings.queue, error = format!("{:#}", anyhow::Error::new(error)), "polling a queue has stopped");
                    return;
                }
            }
        }
    }

    /// The visible messages. If there are none, it waits until there may be some and returns none.
    async fn next_batch(&self, changed: &mut tokio::sync::watch::Receiver<()>) -> Result<Vec<Received>, QueueError> {
        let name = &self.settings.queue;
        let batch = self.queue.receive(name, BATCH_MAX)?;
        if batch.is_empty() {
            self.queue.wait_for_message(name, changed).await?;
        }
        Ok(batch)
    }

    async fn handle(&self, batch: Vec<Received>) {
        let event = Bytes::from(event(&self.settings.queue, &batch).to_string());
        let failed = match self.invoke(event).await {
            Ok(answer) => failed(&answer, &batch),
            Err(error) => {
                let function = &self.settings.function;
                warn!(function, messages = batch.len(), %error, "a batch was not handled and will be delivered again");
                return;
            }
        };
        let handled = batch.iter().filter(|message| !failed.contains(&message.id)).map(|message| message.receipt.as_str());
        if let Err(error) = self.queue.delete(&self.settings.queue, handled) {
            let error = format!("{:#}", anyhow::Error::new(error));
            error!(queue = self.settings.queue, error, "handled messages could not be deleted and will be delivered again");
        }
    }

    /// Invokes the function. While it is throttled, tries again as long as the messages stay hidden.
    async fn invoke(&self, event: Bytes) -> Result<Bytes, InvokeError> {
        let visibility = self.queue.named(&self.settings.queue).map(|queue| queue.settings.visibility_timeout).unwrap_or_default();
        let hidden_until_ms = self.queue.now_ms() + super::millis(visibility);
        let mut pause = PAUSE_MIN;
        loop {
            let outcome = self.functions.invoke(&self.settings.function, event.clone()).await;
            let is_throttled = matches!(outcome, Err(InvokeError::Throttled { .. }));
            if !is_throttled || self.queue.now_ms() + super::millis(pause) >= hidden_until_ms {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The event for a batch.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>, "Example standard queue message event".
fn event(queue: &str, batch: &[Received]) -> Value {
    let records = batch.iter().map(|message| {
        json!({
            "messageId": message.id,
            "receiptHandle": message.receipt,
            "body": message.body,
            "attributes": message.system_attributes(),
            "messageAttributes": {},
            "md5OfBody": message::body_md5(&message.body),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn(queue),
            "awsRegion": REGION,
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "batchItemFailures")]
    failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

/// The ids of the messages that were not handled, by the function's answer.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>, "Success and failure conditions":
/// an empty or null answer or list is a complete success; an answer that cannot be read, an empty or missing identifier and an
/// identifier that is not in the batch are a complete failure.
pub(super) fn failed(answer: &[u8], batch: &[Received]) -> BTreeSet<String> {
    let batch: BTreeSet<String> = batch.iter().map(|message| message.id.clone()).collect();
    let answer = if answer.is_empty() { b"null" } else { answer };
    let Ok(answer) = serde_json::from_slice::<Option<Answer>>(answer) else { return batch };
    let failures = answer.and_then(|answer| answer.failures).unwrap_or_default();
    let failed: BTreeSet<String> = failures.into_iter().map(|failure| failure.id).collect();
    if failed.is_subset(&batch) { failed } else { batch }
}
