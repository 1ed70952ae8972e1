//! Route `history`: older entries of one conversation. See [`chatlane_chat::requests::history`].

use chatlane_aws::{Backend, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{Clock, Connections, Inboxes as InboxesPort, MessageLog, Outbound, last};
use chatlane_chat::requests::history;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::start::{RouteEvent, nowhere, open_connection};
use crate::websocket::{Answered, Event, answer};

/// The ports that it is given.
pub type Ports = Backend<Log, (), Inboxes, Users, (), Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> PortsToBe<Ports> {
    env.ports()
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let ports = &env.give(asks)?.make().await;
    open_connection(last(ports, &nowhere())).await;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, event.payload))).await
}

/// Answers one `history`.
pub async fn handle(ports: &(impl MessageLog + InboxesPort + Connections + Outbound + Clock), event: Event) -> Answered {
    answer::<exchange::History>(ports, &event, async |caller, request| {
        Ok(ServerFrame::History(history::history(ports, &caller, request).await?.answer))
    })
    .await
}
