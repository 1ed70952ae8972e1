//! Route `sync`: what a device has missed. See [`chatlane_chat::requests::sync`].

use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Cursors, FanOutQueue, Heads, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::sync;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, misrouted, unavailable};

/// Answers one `sync`.
pub async fn handle(
    store: &(impl MessageLog + Cursors + Heads + Sessions),
    queue: &impl FanOutQueue,
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    event: Event,
) -> Answered {
    let serve = async |caller, request| match request {
        Request::Sync(request) => match sync::sync(store, queue, outbound, clock, settings, &caller, &request).await {
            Ok(answer) => ServerFrame::Sync(answer),
            Err(cause) => unavailable("sync", request.id, cause),
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
