//! Route `ping`: whether the connection is known, and where the named conversations stand. See [`chatlane_chat::requests::ping`].

use chatlane_chat::ports::{Clock, Cursors, Heads, Outbound, Sessions};
use chatlane_chat::requests::ping;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, misrouted, unavailable};

/// Answers one `ping`.
pub async fn handle(store: &(impl Sessions + Cursors + Heads), outbound: &impl Outbound, clock: &impl Clock, event: Event) -> Answered {
    let serve = async |caller, request| match request {
        Request::Ping(request) => match ping::ping(store, clock, &caller, &request).await {
            Ok(answer) => ServerFrame::Ping(answer),
            Err(cause) => unavailable("ping", request.id, cause),
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
