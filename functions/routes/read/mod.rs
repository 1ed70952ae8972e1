//! Route `read`: a user has read. See [`chatlane_chat::requests::cursors`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Deployments, Inboxes as InboxesPort, Memberships, MessageLog, Meter, Outbound};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::{Exchange as _, exchange};

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, respond};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, (), Gateway>;
    given: Deployed by deployed, UserLimit by limit;
    opens: |ports| [deployed.settings(ports)];
}

/// Answers one `read`.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Memberships + Connections + Deployments + Outbound + Clock + Accounts + Meter),
    deployed: &Deployed,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    respond::<exchange::Read, _>(ports, limit, &event, async |user, mine, request| {
        let settings = deployed.settings(ports).await?;
        let done = cursors::answer(ports, &settings, &Caller::on(user, mine), request, Cursor::Read).await?;
        Ok(done.answer.map(exchange::Read::frame))
    })
    .await
}
