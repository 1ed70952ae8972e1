//! Route `sync`: what a device has missed. See [`chatlane_chat::requests::sync`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, FanOutQueue, Heads, Inboxes as InboxesPort, MessageLog, Outbound, last};
use chatlane_chat::requests::sync;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::start::{RouteEvent, nowhere, open_connection};
use crate::websocket::{Answered, Event, answer};

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Settings) {
    (env.ports(), env.settings())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, settings) = &env.give(asks)?;
    let ports = &ports.make().await;
    open_connection(last(ports, &nowhere())).await;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, settings, event.payload))).await
}

/// Answers one `sync`.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Heads + Connections + FanOutQueue + Outbound + Clock),
    settings: &Settings,
    event: Event,
) -> Answered {
    answer::<exchange::Sync>(ports, &event, async |caller, request| {
        Ok(ServerFrame::Sync(sync::sync(ports, settings, &caller, request).await?.answer))
    })
    .await
}
