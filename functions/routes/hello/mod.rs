//! Route `hello`: makes the connection routable and answers the status of every conversation. See [`chatlane_chat::requests::hello`].

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{
    Accounts, Clock, Connections, Deployments, Heads, Inboxes as InboxesPort, Memberships, MessageLog, Meter, Outbound,
};
use chatlane_chat::requests::hello::{self, Greeting};
use chatlane_chat::settings::Deployed;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::limit::UserLimit;
use crate::start::{RouteEvent, open_connection};
use crate::websocket::{Answered, Event, respond};

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, Inboxes, Users, (), Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Deployed, UserLimit) {
    (env.ports(), env.founding(), env.limit())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, deployed, limit) = &env.give(asks)?;
    let ports = &ports.make().await;
    open_connection(deployed.settings(ports)).await;
    let entropy = &RandomState::new();
    lambda_runtime::run(service_fn(|event: RouteEvent| {
        let mut hasher = entropy.build_hasher();
        hasher.write(event.context.request_id.as_bytes());
        handle(ports, deployed, limit, hasher.finish(), event.payload)
    }))
    .await
}

/// Answers one `hello`; `spread` is a random number.
pub async fn handle(
    ports: &(impl Connections + InboxesPort + Memberships + Heads + MessageLog + Deployments + Outbound + Clock + Accounts + Meter),
    deployed: &Deployed,
    limit: &UserLimit,
    spread: u64,
    event: Event,
) -> Answered {
    respond::<exchange::Hello, _>(ports, limit, &event, async |user, mine, request| {
        let settings = deployed.settings(ports).await?;
        Ok(match hello::hello(ports, &settings, spread, user, mine, request).await?.answer {
            Greeting::Welcome(answer) => Some(ServerFrame::Hello(answer)),
            Greeting::Parted => None,
        })
    })
    .await
}
