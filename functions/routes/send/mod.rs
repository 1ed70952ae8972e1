//! Route `send`: messages into one conversation. See [`chatlane_chat::requests::send`].

use chatlane_aws::{Backend, Conversations, Gateway, Log, Queue, Users};
use chatlane_chat::Settings;
use chatlane_chat::log::hash::DedupeKey;
use chatlane_chat::ports::{Clock, Connections, FanOutQueue, Heads, Memberships, MessageLog, Outbound, last};
use chatlane_chat::requests::send;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use futures_util::future::join;
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::start::{RouteEvent, nowhere, open_connection};
use crate::websocket::{Answered, Event, answer};

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, (), Users, Queue, Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Settings, DedupeKey) {
    (env.ports(), env.settings(), env.dedupe_key())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, settings, key) = &env.give(asks)?;
    let ports = &ports.make().await;
    join(open_connection(last(ports, &nowhere())), open_connection(ports.queue.open_connection())).await;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, settings, key, event.payload))).await
}

/// Answers one `send`.
pub async fn handle(
    ports: &(impl MessageLog + Memberships + Heads + Connections + FanOutQueue + Outbound + Clock),
    settings: &Settings,
    key: &DedupeKey,
    event: Event,
) -> Answered {
    answer::<exchange::Send>(ports, &event, async |caller, request| {
        Ok(ServerFrame::Send(send::send(ports, settings, key, &caller, request).await?.answer))
    })
    .await
}
