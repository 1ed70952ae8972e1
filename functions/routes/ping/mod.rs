//! Route `ping`: whether the connection is known, and the status of the named conversations. See [`chatlane_chat::requests::ping`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Heads, Inboxes as InboxesPort, Memberships, Meter, Outbound};
use chatlane_chat::requests::ping;
use chatlane_protocol::request::exchange;

use crate::limit::UserLimit;
use crate::start::{nobody, route};
use crate::websocket::{Answered, Event, answer};

route! {
    ports: Backend<(), Conversations, Inboxes, Users, (), Gateway>;
    given: UserLimit by limit;
    opens: |ports| [ports.session(&nobody().0, &nobody().1)];
}

/// Answers one `ping`.
pub async fn handle(
    ports: &(impl Connections + InboxesPort + Heads + Memberships + Outbound + Clock + Accounts + Meter),
    limit: &UserLimit,
    event: Event,
) -> Answered {
    answer::<exchange::Ping>(ports, limit, &event, async |caller, request| Ok(ping::ping(ports, &caller, request).await?)).await
}
