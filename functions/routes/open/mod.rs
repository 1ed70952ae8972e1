//! Route `open`: the direct conversation with another user. See [`chatlane_chat::requests::open`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Connections, Creations, FanOutQueue, Heads, MessageLog, Outbound, last};
use chatlane_chat::requests::open;
use chatlane_protocol::request::exchange;

use crate::start::{nowhere, route};
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;
    given: Settings by settings;
    opens: |ports| [last(ports, &nowhere()), ports.queue.open_connection()];
}

/// Answers one `open`.
pub async fn handle(
    ports: &(impl MessageLog + Creations + Heads + Connections + FanOutQueue + Outbound + Clock),
    settings: &Settings,
    event: Event,
) -> Answered {
    answer::<exchange::Open>(ports, &event, async |caller, request| Ok(open::open(ports, settings, &caller, request).await?)).await
}
