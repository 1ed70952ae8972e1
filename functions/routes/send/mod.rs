//! Route `send`: messages into one conversation. See [`chatlane_chat::requests::send`].

use chatlane_aws::{Backend, Conversations, Gateway, Log, Queue, Users};
use chatlane_chat::Settings;
use chatlane_chat::log::hash::DedupeKey;
use chatlane_chat::ports::{Clock, Connections, FanOutQueue, Heads, Memberships, MessageLog, Outbound, last};
use chatlane_chat::requests::send;
use chatlane_protocol::request::exchange;

use crate::start::{nowhere, route};
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, (), Users, Queue, Gateway>;
    given: Settings by settings, DedupeKey by dedupe_key;
    opens: |ports| [last(ports, &nowhere()), ports.queue.open_connection()];
}

/// Answers one `send`.
pub async fn handle(
    ports: &(impl MessageLog + Memberships + Heads + Connections + FanOutQueue + Outbound + Clock),
    settings: &Settings,
    key: &DedupeKey,
    event: Event,
) -> Answered {
    answer::<exchange::Send>(ports, &event, async |caller, request| Ok(send::send(ports, settings, key, &caller, request).await?)).await
}
