//! Route `send`: messages into one conversation. See [`chatlane_chat::requests::send`].

use chatlane_chat::Settings;
use chatlane_chat::log::append::Refused;
use chatlane_chat::ports::{Clock, FanOutQueue, Heads, Memberships, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::send;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, error, misrouted};

/// Answers one `send`.
pub async fn handle(
    store: &(impl MessageLog + Memberships + Heads + Sessions),
    queue: &impl FanOutQueue,
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    event: Event,
) -> Answered {
    let serve = async |caller, request| match request {
        Request::Send(request) => match send::send(store, queue, clock, settings, &caller, &request).await {
            Ok(answer) => ServerFrame::Send(answer),
            Err(unavailable) => {
                tracing::warn!(conversation = %request.conversation, "send not acknowledged: {unavailable}");
                error(Some(request.id), Refused::Unavailable(unavailable).to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
