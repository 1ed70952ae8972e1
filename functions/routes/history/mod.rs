//! Route `history`: older entries of one conversation. See [`chatlane_chat::requests::history`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Inboxes as InboxesPort, Memberships, MessageLog, Meter, Outbound, last};
use chatlane_chat::requests::history;
use chatlane_protocol::request::exchange;

use crate::limit::UserLimit;
use crate::start::{nowhere, route};
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, (), Gateway>;
    given: UserLimit by limit;
    opens: |ports| [last(ports, &nowhere())];
}

/// Answers one `history`.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Memberships + Connections + Outbound + Clock + Accounts + Meter),
    limit: &UserLimit,
    event: Event,
) -> Answered {
    answer::<exchange::History>(ports, limit, &event, async |caller, request| Ok(history::history(ports, &caller, request).await?)).await
}
