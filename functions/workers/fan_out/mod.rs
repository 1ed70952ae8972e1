//! The queue's worker: delivers tasks to live connections. See [`chatlane_chat::workers::fan_out`].

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use chatlane_aws::{Backend, Conversations, Gateway, Log, Queue, Users};
use chatlane_chat::ports::{Clock, Connections, Failure, FanOutQueue, Heads, Memberships, MessageLog, Outbound, last};
use chatlane_chat::workers::fan_out::{self, FanOutOutcome, Received};
use chatlane_chat::workers::task::Task;
use chatlane_protocol::UnixMillis;
use futures_util::future::join_all;
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::start::{nowhere, open_connection};

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, (), Users, Queue, Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> PortsToBe<Ports> {
    env.ports()
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let ports = &env.give(asks)?.make().await;
    let nowhere = nowhere();
    tokio::join!(open_connection(last(ports, &nowhere)), open_connection(ports.gateway.open_connection()));
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move { Ok::<_, Error>(handle(ports, event.payload).await) })).await
}

/// Delivers a batch; answers which messages the queue must hand out again. After its last receive a message is in the dead-letter queue.
pub async fn handle<P>(ports: &P, event: SqsEvent) -> SqsBatchResponse
where
    P: MessageLog + Memberships + Heads + Connections + FanOutQueue + Outbound + Clock,
{
    let deliver = |message: SqsMessage| async move {
        let delivered = deliver(ports, &message).await;
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
            Ok(report) if report.swept => tracing::info!("entries whose delivery nobody had begun are queued"),
            Ok(_) => {}
            Err(failure) => {
                failure.log(&format!("message {message_id} is handed back to the queue"));
                let mut item = BatchItemFailure::default();
                item.item_identifier = message_id;
                answer.batch_item_failures.push(item);
            }
        }
    }
    answer
}

async fn deliver<P>(ports: &P, message: &SqsMessage) -> Result<FanOutOutcome, Failure>
where
    P: MessageLog + Memberships + Heads + Connections + FanOutQueue + Outbound + Clock,
{
    let body = message.body.as_deref().unwrap_or_default();
    let task: Task =
        serde_json::from_str(body).map_err(|_| Failure::unreadable("read a message of the queue", "it is no delivery task"))?;
    let number = |name: &str| message.attributes.get(name).and_then(|text| text.parse::<u64>().ok());
    // Without the count the message is taken for a repeated one: that posts more, never less.
    let times = number("ApproximateReceiveCount").and_then(|times| u32::try_from(times).ok()).unwrap_or(2);
    let accepted = number("SentTimestamp").and_then(|ms| UnixMillis::try_from(ms).ok()).unwrap_or(UnixMillis::MAX);
    let received = Received { times, accepted };
    fan_out::fan_out(ports, &task, received).await
}
