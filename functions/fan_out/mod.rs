//! The queue's worker: delivers tasks to live connections. See [`chatlane_chat::workers::fan_out`].

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use chatlane_chat::ports::{Clock, FanOutQueue, Heads, Memberships, MessageLog, Outbound, Sessions, Unavailable};
use chatlane_chat::workers::fan_out::{self, Received, Report};
use chatlane_chat::workers::task::Task;
use chatlane_protocol::UnixMillis;
use futures_util::future::join_all;

/// Delivers a batch; answers which messages the queue must hand out again. After its last receive a message is in the dead-letter queue.
pub async fn handle<S, Q, O, C>(store: &S, queue: &Q, outbound: &O, clock: &C, event: SqsEvent) -> SqsBatchResponse
where
    S: MessageLog + Memberships + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
    let deliver = |message: SqsMessage| async move {
        let delivered = deliver(store, queue, outbound, clock, &message).await;
        (message.message_id.unwrap_or_default(), delivered)
    };
    let mut answer = SqsBatchResponse::default();
    for (message_id, delivered) in join_all(event.records.into_iter().map(deliver)).await {
        match delivered {
            Ok(report) if report.given_up > 0 => {
                tracing::error!(
                    given_up = report.given_up,
                    "connections could not be posted to in five attempts or two minutes; they get no pushes until their next hello"
                );
            }
            Ok(_) => {}
            Err(failure) => {
                tracing::warn!(message_id, "a delivery task is handed back to the queue: {failure}");
                let mut item = BatchItemFailure::default();
                item.item_identifier = message_id;
                answer.batch_item_failures.push(item);
            }
        }
    }
    answer
}

async fn deliver<S, Q, O, C>(store: &S, queue: &Q, outbound: &O, clock: &C, message: &SqsMessage) -> Result<Report, Unavailable>
where
    S: MessageLog + Memberships + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
    let body = message.body.as_deref().unwrap_or_default();
    let task: Task = serde_json::from_str(body).map_err(|_| Unavailable::new("read a delivery task", "it is not one"))?;
    let number = |name: &str| message.attributes.get(name).and_then(|text| text.parse::<u64>().ok());
    // Without the count the message is taken for a repeated one: that posts more, never less.
    let times = number("ApproximateReceiveCount").and_then(|times| u32::try_from(times).ok()).unwrap_or(2);
    let accepted = number("SentTimestamp").and_then(|ms| UnixMillis::try_from(ms).ok()).unwrap_or(UnixMillis::MAX);
    let received = Received { times, accepted };
    fan_out::fan_out(store, queue, outbound, clock, &task, received).await
}
