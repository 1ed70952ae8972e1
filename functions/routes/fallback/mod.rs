//! Route `$default`: whatever the gateway could not route, which is malformed or has an unknown action. Changes nothing.

use chatlane_aws::{Backend, Gateway, Users};
use chatlane_chat::ports::{Accounts, Clock, Connections, Meter, Outbound};
use chatlane_protocol::request::refuse;

use crate::limit::UserLimit;
use crate::start::route;
use crate::websocket::{Answered, Event, answer_unexpired, body, error};

route! {
    ports: Backend<(), (), (), Users, (), Gateway>;
    given: UserLimit by limit;
    opens: |ports| [];
}

/// Answers with the one typed error that fits.
pub async fn handle(ports: &(impl Connections + Outbound + Clock + Accounts + Meter), limit: &UserLimit, event: Event) -> Answered {
    let bad = refuse(body(&event));
    answer_unexpired(ports, limit, &event, bad.id.clone(), async |_, _| Ok(error(bad.id, bad.refusal))).await
}
