//! Route `history`: older entries of one conversation. See [`chatlane_chat::requests::history`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{
    Accounts, Amendments, Clock, Connections, Deployments, Inboxes as InboxesPort, Memberships, MessageLog, Meter, Outbound,
};
use chatlane_chat::requests::history;
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::exchange;

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, (), Gateway>;
    given: Deployed by deployed, UserLimit by limit;
    opens: |ports| [deployed.settings(ports)];
}

/// Answers one `history`.
pub async fn handle(
    ports: &(impl MessageLog + Amendments + InboxesPort + Memberships + Connections + Deployments + Outbound + Clock + Accounts + Meter),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    answer::<exchange::History>(ports, limit, &event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        history::history(ports, &settings.keys.users, &caller, request).await
    })
    .await
}
