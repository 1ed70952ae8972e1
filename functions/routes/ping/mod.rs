//! Route `ping`: whether the connection is known, and the status of the named conversations. See [`chatlane_chat::requests::ping`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Heads, Inboxes as InboxesPort, Memberships, Meter, Outbound};
use chatlane_chat::requests::ping;
use chatlane_protocol::request::{Exchange as _, exchange};

use crate::limit::UserLimit;
use crate::start::{nobody, route};
use crate::websocket::{Answered, Event, respond};

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
    respond::<exchange::Ping, _>(ports, limit, &event, async |user, mine, request| {
        Ok(exchange::Ping::frame(ping::ping(ports, user, &mine.connection, request).await?.answer))
    })
    .await
}
