//! Route `probe`: which messages are in the log. See [`chatlane_chat::requests::probe`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, FanOutQueue, Heads, Inboxes as InboxesPort, MessageLog, Outbound, last};
use chatlane_chat::requests::probe;
use chatlane_protocol::request::exchange;

use crate::start::{nowhere, route};
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;
    given: Settings by settings;
    opens: |ports| [last(ports, &nowhere())];
}

/// Answers one `probe`.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Heads + Connections + FanOutQueue + Outbound + Clock),
    settings: &Settings,
    event: Event,
) -> Answered {
    answer::<exchange::Probe>(ports, &event, async |caller, request| Ok(probe::probe(ports, settings, &caller, request).await?)).await
}
