//! Route `send`: messages into one conversation. See [`chatlane_chat::requests::send`].

use chatlane_aws::{Backend, Conversations, Gateway, Log, Queue, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Deployments, FanOutQueue, Heads, Memberships, MessageLog, Meter, Outbound};
use chatlane_chat::requests::send;
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::exchange;

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, (), Users, Queue, Gateway>;
    given: Deployed by deployed, UserLimit by limit;
    opens: |ports| [deployed.settings(ports), ports.queue.open_connection()];
}

/// Answers one `send`.
pub async fn handle(
    ports: &(impl MessageLog + Memberships + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock + Accounts + Meter),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    answer::<exchange::Send>(ports, limit, &event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        Ok(send::send(ports, &settings, &caller, request).await?)
    })
    .await
}
