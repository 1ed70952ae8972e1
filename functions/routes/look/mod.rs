//! Routes `info` and `members`: what groups are called and how they are set, and who belongs to one. See [`chatlane_chat::requests::look`].

use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Inboxes as InboxesPort, Memberships, MessageLog, Meter, Outbound, last};
use chatlane_chat::requests::look;
use chatlane_protocol::request::{Action, exchange};

use crate::limit::UserLimit;
use crate::start::{nowhere, route};
use crate::websocket::{Answered, Event, action, answer, not_routed};

route! {
    ports: Backend<Log, Conversations, Inboxes, Users, (), Gateway>;
    given: UserLimit by limit;
    opens: |ports| [last(ports, &nowhere())];
}

/// Answers one request of either route.
pub async fn handle(
    ports: &(impl MessageLog + InboxesPort + Memberships + Connections + Outbound + Clock + Accounts + Meter),
    limit: &UserLimit,
    event: Event,
) -> Answered {
    match action(&event) {
        Some(Action::Info) => {
            answer::<exchange::Info>(ports, limit, &event, async |caller, request| Ok(look::info(ports, &caller, request).await?)).await
        }
        Some(Action::Members) => {
            answer::<exchange::Members>(ports, limit, &event, async |caller, request| look::members(ports, &caller, request).await).await
        }
        _ => not_routed(),
    }
}
