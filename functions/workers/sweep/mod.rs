//! The worker of the log's stream: looks whether the delivery of what was stored has begun. See [`chatlane_chat::workers::sweep`].

use chatlane_aws::items::entry::slot;
use chatlane_aws::{Backend, Conversations, Log, Queue};
use chatlane_chat::ports::{Clock, Deployments, Failure, FanOutQueue, Heads, MessageLog};
use chatlane_chat::settings::Deployed;
use chatlane_chat::workers::sweep::{self, Swept};
use chatlane_protocol::{ConversationId, Seq};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::Value;

use crate::environment::{Environment, PortsToBe};

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, (), (), Queue>;

/// A batch of the stream, as far as it is looked at. The event source mapping lets only insertions through.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>, "Example event".
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamEvent {
    records: Vec<Record>,
}

#[derive(Clone, Debug, Deserialize)]
struct Record {
    dynamodb: Changed,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changed {
    keys: Value,
}

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Deployed) {
    (env.ports(), env.deployed())
}

/// Runs its loop. Nobody waits for it: its connections are opened by its first event.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, deployed) = &env.give(asks)?;
    let ports = &ports.make().await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<StreamEvent>| async move {
        Ok::<_, Error>(handle(ports, deployed, event.payload).await?)
    }))
    .await
}

/// Sweeps a batch. An error: all of it has to come again, in halves, so that what cannot be read is parted from the rest.
pub async fn handle<P>(ports: &P, deployed: &Deployed, event: StreamEvent) -> Result<(), Failure>
where
    P: MessageLog + Heads + FanOutQueue + Deployments + Clock,
{
    let records = event.records.len();
    match swept(ports, deployed, event).await {
        Ok(Swept { checks: 0, .. }) => Ok(()),
        Ok(Swept { conversations, checks }) => {
            tracing::info!(records, conversations, checks, "entries whose delivery has not begun are looked at again");
            Ok(())
        }
        Err(failure) => {
            failure.log(&format!("a batch of {records} records of the log is handed back"));
            Err(failure)
        }
    }
}

async fn swept<P>(ports: &P, deployed: &Deployed, event: StreamEvent) -> Result<Swept, Failure>
where
    P: MessageLog + Heads + FanOutQueue + Deployments + Clock,
{
    // All of them are read before anything is queued: a batch with one that cannot be read queues nothing twice.
    let slots: Vec<(ConversationId, Seq)> = event.records.iter().map(|record| slot(&record.dynamodb.keys)).collect::<Result<_, _>>()?;
    let settings = deployed.settings(ports).await?;
    sweep::sweep(ports, &settings, slots).await
}
