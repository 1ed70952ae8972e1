//! Route `ping`: whether the connection is known, and the status of the named conversations. See [`chatlane_chat::requests::ping`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Users};
use chatlane_chat::ports::{Clock, Connections, Heads, Inboxes as InboxesPort, Outbound};
use chatlane_chat::requests::ping;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::start::{RouteEvent, nobody, open_connection};
use crate::websocket::{Answered, Event, answer};

/// The ports that it is given.
pub type Ports = Backend<(), Conversations, Inboxes, Users, (), Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> PortsToBe<Ports> {
    env.ports()
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let ports = &env.give(asks)?.make().await;
    let (user, connection) = nobody();
    open_connection(ports.session(&user, &connection)).await;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, event.payload))).await
}

/// Answers one `ping`.
pub async fn handle(ports: &(impl Connections + InboxesPort + Heads + Outbound + Clock), event: Event) -> Answered {
    answer::<exchange::Ping>(ports, &event, async |caller, request| {
        Ok(ServerFrame::Ping(ping::ping(ports, &caller, request).await?.answer))
    })
    .await
}
