//! Routes `create`, `add`, `remove`, `leave`, `role`, `settings`, `close` and `prefs`: groups, what changes them, and what a user prefers about
//! a conversation. One function, because that happens rarely: each of eight would be cold whenever it is called. See [`chatlane_chat::requests::create`]
//! and [`chatlane_chat::requests::change`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::log::ChangeEntry;
use chatlane_chat::ports::{
    Accounts, Clock, Connections, Creations, Deployments, FanOutQueue, Heads, Inboxes as InboxesPort, Memberships, MessageLog, Meter,
    Outbound,
};
use chatlane_chat::requests::{create, prefs};
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::{Action, exchange};

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, action, answer, change, not_routed};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;
    given: Deployed by founding, UserLimit by limit;
    opens: |ports| [founding.settings(ports), ports.queue.open_connection()];
}

/// Answers one request of any of its routes.
pub async fn handle(
    ports: &(
         impl MessageLog
         + Memberships
         + Creations
         + InboxesPort
         + Heads
         + Connections
         + FanOutQueue
         + Deployments
         + Outbound
         + Clock
         + Accounts
         + Meter
     ),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    match action(&event) {
        Some(Action::Create) => {
            answer::<exchange::Create>(ports, limit, &event, async |caller, request| {
                let settings = deployed.settings(ports).await?;
                create::create(ports, &settings, &caller, request).await
            })
            .await
        }
        Some(Action::Add) => change::<exchange::Add, ChangeEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::Remove) => change::<exchange::Remove, ChangeEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::Leave) => change::<exchange::Leave, ChangeEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::Role) => change::<exchange::Role, ChangeEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::Settings) => change::<exchange::Settings, ChangeEntry, _>(ports, deployed, limit, &event).await,
        Some(Action::Prefs) => {
            answer::<exchange::Prefs>(ports, limit, &event, async |caller, request| prefs::prefs(ports, &caller, request).await).await
        }
        Some(Action::Close) => change::<exchange::Close, ChangeEntry, _>(ports, deployed, limit, &event).await,
        _ => not_routed(),
    }
}
