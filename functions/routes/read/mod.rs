//! Route `read`: a user has read. See [`chatlane_chat::requests::cursors`].

use chatlane_aws::{Backend, Gateway, Inboxes, Log, Users};
use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, Inboxes as InboxesPort, MessageLog, Outbound, last};
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_protocol::request::exchange;

use crate::start::{nowhere, route};
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, (), Inboxes, Users, (), Gateway>;
    given: Settings by settings;
    opens: |ports| [last(ports, &nowhere())];
}

/// Answers one `read`.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Connections + Outbound + Clock),
    settings: &Settings,
    event: Event,
) -> Answered {
    answer::<exchange::Read>(ports, &event, async |caller, request| {
        Ok(cursors::answer(ports, settings, &caller, request, Cursor::Read).await?)
    })
    .await
}
