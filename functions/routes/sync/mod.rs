//! Route `sync`: what a device has missed. See [`chatlane_chat::requests::sync`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::ports::{
    Accounts, Clock, Connections, Deployments, FanOutQueue, Heads, Inboxes as InboxesPort, Memberships, MessageLog, Meter, Outbound,
};
use chatlane_chat::requests::sync;
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::exchange;

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;
    given: Deployed by deployed, UserLimit by limit;
    opens: |ports| [deployed.settings(ports)];
}

/// Answers one `sync`.
pub async fn handle(
    ports: &(
         impl MessageLog + InboxesPort + Memberships + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock + Accounts + Meter
     ),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    answer::<exchange::Sync>(ports, limit, &event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        Ok(sync::sync(ports, &settings, &caller, request).await?)
    })
    .await
}
