//! Route `read`: a user has read. See [`chatlane_chat::requests::cursors`].

use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, Inboxes, MessageLog, Outbound};
use chatlane_chat::requests::cursors::Cursor;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::request::exchange;
use lambda_runtime::{Error, service_fn};

pub use super::cursors::{Ports, asks};
use super::cursors::{advance, start};
use crate::environment::Environment;
use crate::start::RouteEvent;
use crate::websocket::{Answered, Event, answer};

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, settings) = &start(env).await?;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, settings, event.payload))).await
}

/// Answers one `read`.
pub async fn handle(ports: &(impl MessageLog + Inboxes + Connections + Outbound + Clock), settings: &Settings, event: Event) -> Answered {
    answer::<exchange::Read>(ports, &event, async |caller, request| {
        Ok(ServerFrame::Read(advance(ports, settings, &caller, &request.id, &request.positions, Cursor::Read).await?))
    })
    .await
}
