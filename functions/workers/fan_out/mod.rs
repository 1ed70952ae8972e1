//! The queue's worker: delivers tasks to live connections. See [`chatlane_chat::workers::fan_out`].

use std::slice;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::limit::{DELIVERY_UNITS, POST_UNITS};
use chatlane_chat::ports::{
    Accounts, Clock, Connections, Deployments, Failure, FanOutQueue, Heads, Inboxes as InboxesPort, Memberships, MessageLog, Meter,
    Outbound,
};
use chatlane_chat::settings::Deployed;
use chatlane_chat::workers::fan_out::{self, FanOutOutcome, Received};
use chatlane_chat::workers::task::Task;
use chatlane_protocol::UnixMillis;
use futures_util::future::join_all;
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::limit::UserLimit;
use crate::start::open_connection;

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Deployed, UserLimit) {
    (env.ports(), env.deployed(), env.limit())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, deployed, limit) = &env.give(asks)?;
    let ports = &ports.make().await;
    tokio::join!(open_connection(deployed.settings(ports)), open_connection(ports.gateway.open_connection()));
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(handle(ports, deployed, limit, event.payload, event.context.deadline).await)
    }))
    .await
}

/// Delivers a batch in the time until `ends_ms` (since 1970), when Lambda ends the function; answers which messages the queue must hand
/// out again. After its last receive a message is in the dead-letter queue.
pub async fn handle<P>(ports: &P, deployed: &Deployed, limit: &UserLimit, event: SqsEvent, ends_ms: u64) -> SqsBatchResponse
where
    P: MessageLog + Memberships + InboxesPort + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock + Accounts + Meter,
{
    let deliver = |message: SqsMessage| async move {
        let (delivered, units) = ports.metered(deliver(ports, deployed, &message, time(ends_ms))).await;
        if let Ok(outcome) = &delivered {
            let of_posts = |posts: usize| POST_UNITS * posts as u64;
            let units = (DELIVERY_UNITS + units).saturating_sub(of_posts(outcome.not_theirs.posts));
            let id = message.message_id.as_deref();
            limit.charge_shares(ports, &outcome.payers, units, id).await;
            let own = outcome.not_theirs.own.iter();
            join_all(own.map(|(user, posts)| limit.charge_shares(ports, slice::from_ref(user), of_posts(*posts), id))).await;
        }
        (message.message_id.unwrap_or_default(), delivered)
    };
    let mut answer = SqsBatchResponse::default();
    for (message_id, delivered) in join_all(event.records.into_iter().map(deliver)).await {
        match delivered {
            Ok(outcome) => log(&outcome),
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

/// One line a task, whatever the number of connections that did not take it.
fn log(outcome: &FanOutOutcome) {
    if outcome.swept {
        tracing::info!("entries whose delivery nobody had begun are queued");
    }
    let Some(cause) = &outcome.cause else { return };
    let FanOutOutcome { posted, throttled, left, skipped, given_up, .. } = *outcome;
    if given_up > 0 {
        let what = "connections could not be posted to in five attempts or two minutes; they get no pushes until their next hello";
        tracing::error!(posted, throttled, left, skipped, given_up, "{what}: {cause}");
    } else {
        tracing::warn!(posted, throttled, left, skipped, "not all connections took a task's entries: {cause}");
    }
}

fn time(ms: u64) -> UnixMillis {
    UnixMillis::try_from(ms).unwrap_or(UnixMillis::MAX)
}

async fn deliver<P>(ports: &P, deployed: &Deployed, message: &SqsMessage, ends: UnixMillis) -> Result<FanOutOutcome, Failure>
where
    P: MessageLog + Memberships + InboxesPort + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock,
{
    let body = message.body.as_deref().unwrap_or_default();
    let task: Task =
        serde_json::from_str(body).map_err(|_| Failure::unreadable("read a message of the queue", "it is no delivery task"))?;
    let number = |name: &str| message.attributes.get(name).and_then(|text| text.parse::<u64>().ok());
    // Without the count the message is taken for a repeated one: that posts more, never less.
    let times = number("ApproximateReceiveCount").and_then(|times| u32::try_from(times).ok()).unwrap_or(2);
    // Without the time it is taken for a redriven one, with the same effect.
    let accepted = number("SentTimestamp").map_or(UnixMillis::MAX, time);
    let settings = deployed.settings(ports).await?;
    fan_out::fan_out(ports, &settings.keys.users, &task, Received { times, accepted }, ends).await
}
