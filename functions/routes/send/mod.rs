//! Route `send`: messages into one conversation. See [`chatlane_chat::requests::send`].

use chatlane_aws::{Backend, Conversations, Gateway, Log, Queue, Users};
use chatlane_chat::ports::{Clock, Connections, Deployments, FanOutQueue, Heads, Memberships, MessageLog, Outbound};
use chatlane_chat::requests::send;
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::exchange;

use crate::start::route;
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, (), Users, Queue, Gateway>;
    given: Deployed by deployed;
    opens: |ports| [deployed.settings(ports), ports.queue.open_connection()];
}

/// Answers one `send`.
pub async fn handle(
    ports: &(impl MessageLog + Memberships + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock),
    deployed: &Deployed,
    event: Event,
) -> Answered {
    answer::<exchange::Send>(ports, &event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        Ok(send::send(ports, &settings, &caller, request).await?)
    })
    .await
}
