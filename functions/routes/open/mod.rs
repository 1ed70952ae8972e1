//! Route `open`: the direct conversation with another user. See [`chatlane_chat::requests::open`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Creations, Deployments, FanOutQueue, Heads, MessageLog, Meter, Outbound};
use chatlane_chat::requests::open;
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::exchange;

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;
    given: Deployed by founding, UserLimit by limit;
    opens: |ports| [founding.settings(ports), ports.queue.open_connection()];
}

/// Answers one `open`.
pub async fn handle(
    ports: &(impl MessageLog + Creations + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock + Accounts + Meter),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    answer::<exchange::Open>(ports, limit, &event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        open::open(ports, &settings, &caller, request).await
    })
    .await
}
