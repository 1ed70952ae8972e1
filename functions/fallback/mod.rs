//! Route `$default`: whatever the gateway could not route, which is malformed or has an unknown action. Changes nothing.

use chatlane_chat::ports::{Clock, Outbound, Sessions};

use crate::websocket::{Answered, Event, answer, misrouted};

/// Answers with the one typed error that fits.
pub async fn handle(store: &impl Sessions, outbound: &impl Outbound, clock: &impl Clock, event: Event) -> Answered {
    // A known action comes here only where the gateway's routes are not the template's.
    answer(store, outbound, clock, &event, async |_, request| misrouted(&request)).await
}
