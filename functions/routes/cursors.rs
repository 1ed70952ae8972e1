//! What the routes `ack` and `read` share: the same list of positions, for another cursor. See [`chatlane_chat::requests::cursors`].

use chatlane_aws::{Backend, Gateway, Inboxes, Log, Users};
use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, Failure, Inboxes as InboxesPort, MessageLog, Outbound, last};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_protocol::RequestId;
use chatlane_protocol::frames::CursorsAnswer;
use chatlane_protocol::request::PositionIn;
use lambda_runtime::Error;

use crate::environment::{Environment, PortsToBe};
use crate::start::{nowhere, open_connection};

/// The ports that both are given.
pub type Ports = Backend<Log, (), Inboxes, Users, (), Gateway>;

/// What both are given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Settings) {
    (env.ports(), env.settings())
}

/// Their start.
pub(super) async fn start(env: Environment) -> Result<(Ports, Settings), Error> {
    let (ports, settings) = env.give(asks)?;
    let ports = ports.make().await;
    open_connection(last(&ports, &nowhere())).await;
    Ok((ports, settings))
}

/// Moves this cursor for one request.
pub(super) async fn advance(
    ports: &(impl MessageLog + InboxesPort + Connections + Outbound + Clock),
    settings: &Settings,
    caller: &Caller,
    id: &RequestId,
    positions: &[PositionIn],
    cursor: Cursor,
) -> Result<CursorsAnswer, Failure> {
    let results = cursors::advance(ports, settings, caller, positions, cursor).await?.answer;
    Ok(CursorsAnswer { id: id.clone(), results })
}
