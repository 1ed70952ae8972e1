//! Route `open`: the direct conversation with another user. See [`chatlane_chat::requests::open`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, Creations, FanOutQueue, Heads, MessageLog, Outbound, last};
use chatlane_chat::requests::open;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use futures_util::future::join;
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
    join(open_connection(last(ports, &nowhere())), open_connection(ports.queue.open_connection())).await;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, settings, event.payload))).await
}

/// Answers one `open`.
pub async fn handle(
    ports: &(impl MessageLog + Creations + Heads + Connections + FanOutQueue + Outbound + Clock),
    settings: &Settings,
    event: Event,
) -> Answered {
    answer::<exchange::Open>(ports, &event, async |caller, request| {
        Ok(ServerFrame::Open(open::open(ports, settings, &caller, request).await?.answer))
    })
    .await
}
