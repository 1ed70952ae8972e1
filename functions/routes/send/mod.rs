//! Routes `send`, `edit`, `delete` and `react`: messages into one conversation, and what is done to them. One function, because they read and
//! write the same, and the three are warm where `send` is. See [`chatlane_chat::requests::send`] and [`chatlane_chat::requests::change`].

use chatlane_aws::{Backend, Conversations, Gateway, Log, Queue, Users};
use chatlane_chat::log::AmendmentEntry;
use chatlane_chat::ports::{
    Accounts, Amendments, Clock, Connections, Deployments, FanOutQueue, Heads, Memberships, MessageLog, Meter, Outbound,
};
use chatlane_chat::requests::send;
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::{Action, exchange};

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, action, answer, change, not_routed};

route! {
    ports: Backend<Log, Conversations, (), Users, Queue, Gateway>;
    given: Deployed by deployed, UserLimit by limit;
    opens: |ports| [deployed.settings(ports), ports.queue.open_connection()];
}

/// Answers one request of any of its routes.
pub async fn handle(
    ports: &(impl MessageLog + Amendments + Memberships + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock + Accounts + Meter),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    match action(&event) {
        Some(Action::Send) => {
            answer::<exchange::Send>(ports, limit, &event, async |caller, request| {
                let settings = deployed.settings(ports).await?;
                Ok(send::send(ports, &settings, &caller, request).await?)
            })
            .await
        }
        Some(Action::Edit) => change::<exchange::Edit, AmendmentEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::Delete) => change::<exchange::Delete, AmendmentEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::React) => change::<exchange::React, AmendmentEntry, _>(ports, deployed, limit, &event).await,
        _ => not_routed(),
    }
}
