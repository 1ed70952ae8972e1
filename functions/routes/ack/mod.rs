//! Route `ack`: entries have reached a device. See [`chatlane_chat::requests::cursors`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{Clock, Connections, Deployments, Inboxes as InboxesPort, Memberships, MessageLog, Outbound};
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_chat::settings::Deployed;
use chatlane_protocol::request::{Exchange as _, exchange};

use crate::start::route;
use crate::websocket::{Answered, Event, respond};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, (), Gateway>;
    given: Deployed by deployed;
    opens: |ports| [deployed.settings(ports)];
}

/// Answers one `ack`.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Memberships + Connections + Deployments + Outbound + Clock),
    deployed: &Deployed,
    event: Event,
) -> Answered {
    respond::<exchange::Ack, _>(ports, &event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        let done = cursors::answer(ports, &settings, &caller, request, Cursor::Delivered).await?;
        Ok(done.answer.map(exchange::Ack::frame))
    })
    .await
}
