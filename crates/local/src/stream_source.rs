//! The event source mapping of a table's stream: the part of AWS Lambda that polls it and invokes a function with batches, in their order,
//! one at a time.
//!
//! Sources: <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html> and the pages below it on batching, errors and filters.
//! `BisectBatchOnFunctionError` is on, the filter lets insertions through. A batch that fails is halved; a record that fails alone is tried
//! `retries_max` times more, and then told to the on-failure queue. Halving counts as no try.
//! Not modelled: more than one shard, the 6 MB limit of a batch's payload, `ParallelizationFactor`, the age of records.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::embedded::{Stream, StreamRecord};
use crate::lambda::{Functions, InvokeError};
use crate::queue::{ACCOUNT, Queue, REGION};

/// Lambda asks a shard for records four times a second ("Polling and batching streams").
const POLL_EVERY: Duration = Duration::from_millis(250);

/// First pause before a record is tried again, or after a throttled invocation; it doubles up to [`PAUSE_MAX`]. AWS documents a back-off,
/// not its numbers.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Which function gets the batches, and which.
#[derive(Clone, Debug)]
pub struct StreamSourceSettings {
    /// The function's name.
    pub function: String,
    /// So long records are gathered from the first one on. AWS: `MaximumBatchingWindowInSeconds`, 0 … 300; here any duration.
    pub window: Duration,
    /// Most records of a batch; so many end the window. AWS: `BatchSize`, 1 … 10,000.
    pub batch_max: usize,
    /// How often a record that fails alone is tried again. AWS: `MaximumRetryAttempts`.
    pub retries_max: u32,
    /// The queue that is told which records were given up.
    pub failures: String,
}

/// A running mapping. Dropping it stops it; a batch that was being handled comes again at the next start.
#[derive(Debug)]
pub struct StreamSource {
    poller: JoinHandle<()>,
}

impl StreamSource {
    /// Starts to poll.
    pub fn start(stream: Stream, settings: StreamSourceSettings, functions: Functions, queue: Queue) -> Self {
        let mapping = Mapping { stream: Arc::new(stream), settings, functions, queue };
        Self { poller: tokio::spawn(async move { mapping.poll().await }) }
    }

    /// Stops polling and abandons the invocation in progress. Returns when that is done.
    pub async fn stop(mut self) {
        self.poller.abort();
        // Only the task's end matters: it was cancelled, or it had ended with an error that it logged.
        let _ended = (&mut self.poller).await;
    }
}

impl Drop for StreamSource {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

struct Mapping {
    stream: Arc<Stream>,
    settings: StreamSourceSettings,
    functions: Functions,
    queue: Queue,
}

impl Mapping {
    async fn poll(&self) {
        loop {
            if let Err(error) = self.next_batch().await {
                // Nothing is swept any more; the user sees why.
                error!(table = self.stream.table(), error = format!("{error:#}"), "polling a stream has stopped");
                return;
            }
        }
    }

    /// Gathers a batch, sees to it, and removes its records.
    async fn next_batch(&self) -> anyhow::Result<()> {
        let batch_max = self.settings.batch_max;
        let first = loop {
            match self.with_stream(|stream| stream.read(1)).await?.pop() {
                Some(first) => break first,
                None => tokio::time::sleep(POLL_EVERY).await,
            }
        };
        // What waited before this process began has not to wait anew.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let waited = since_1970.saturating_sub(Duration::from_secs(u64::try_from(first.created_s).unwrap_or_default()));
        let ends = Instant::now() + self.settings.window.saturating_sub(waited);
        while Instant::now() < ends && self.with_stream(move |stream| stream.count(batch_max)).await? < batch_max {
            tokio::time::sleep_until(ends.min(Instant::now() + POLL_EVERY)).await;
        }
        let records = self.with_stream(move |stream| stream.read(batch_max)).await?;
        let Some(last) = records.last().map(|record| record.number) else { return Ok(()) };
        let inserted: Vec<StreamRecord> = records.into_iter().filter(|record| record.event == "INSERT").collect();
        if !inserted.is_empty() {
            self.handle(inserted).await?;
        }
        self.with_stream(move |stream| stream.forget(last)).await
    }

    /// dynoxide may be writing the file.
    async fn with_stream<T: Send + 'static>(&self, ask: impl FnOnce(&Stream) -> rusqlite::Result<T> + Send + 'static) -> anyhow::Result<T> {
        let stream = Arc::clone(&self.stream);
        Ok(tokio::task::spawn_blocking(move || ask(&stream)).await??)
    }

    /// Returns when every record is handled or given up.
    async fn handle(&self, batch: Vec<StreamRecord>) -> anyhow::Result<()> {
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            let Err(mut error) = self.invoke(&batch).await else { continue };
            let function = &self.settings.function;
            warn!(function, records = batch.len(), %error, "a batch of a stream was not handled");
            if batch.len() > 1 {
                let second = batch.split_off(batch.len() / 2);
                waiting.extend([second, batch]);
                continue;
            }
            let (mut retries, mut pause) = (0, PAUSE_MIN);
            loop {
                if retries == self.settings.retries_max {
                    let given_up = self.given_up(&batch, retries + 1, &error);
                    self.queue.send(&self.settings.failures, given_up.to_string())?;
                    warn!(function, queue = self.settings.failures, "a record of a stream is given up");
                    break;
                }
                retries += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                match self.invoke(&batch).await {
                    Ok(_) => break,
                    Err(again) => error = again,
                }
            }
        }
        Ok(())
    }

    /// Invokes the function; while it is throttled, again.
    async fn invoke(&self, batch: &[StreamRecord]) -> Result<Bytes, InvokeError> {
        let event = Bytes::from(event(self.stream.table(), batch).to_string());
        let mut pause = PAUSE_MIN;
        loop {
            let outcome = self.functions.invoke(&self.settings.function, event.clone()).await;
            if !matches!(outcome, Err(InvokeError::Throttled { .. })) {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// What the on-failure queue is told: which records, not what was in them.
    ///
    /// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>, "Example execution record".
    fn given_up(&self, batch: &[StreamRecord], tries: u32, error: &InvokeError) -> Value {
        let number = |record: Option<&StreamRecord>| record.map(sequence_number);
        json!({
            "requestContext": {
                "functionArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.settings.function),
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": tries,
            },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": error.to_string() },
            "version": "1.0",
            "DDBStreamBatchInfo": {
                "shardId": SHARD,
                "startSequenceNumber": number(batch.first()),
                "endSequenceNumber": number(batch.last()),
                "batchSize": batch.len(),
                "streamArn": arn(self.stream.table()),
            },
        })
    }
}

/// The one shard of a stream.
const SHARD: &str = "shardId-00000000000000000000-00000000";

/// The event for a batch.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>, "Example event".
fn event(table: &str, batch: &[StreamRecord]) -> Value {
    let records = batch.iter().map(|record| {
        json!({
            "eventID": record.id,
            "eventName": record.event,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": {
                "ApproximateCreationDateTime": record.created_s,
                "Keys": record.keys,
                "SequenceNumber": sequence_number(record),
                "SizeBytes": record.keys.to_string().len(),
                "StreamViewType": "KEYS_ONLY",
            },
            "eventSourceARN": arn(table),
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// 21 digits, as the shortest that `DynamoDB` has.
fn sequence_number(record: &StreamRecord) -> String {
    format!("1{:020}", record.number)
}

/// The ARN of a local table's stream.
fn arn(table: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/local")
}

#[cfg(test)]
mod tests;
