//! Route `open`: the direct conversation with another user. See [`chatlane_chat::requests::open`].

use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, FanOutQueue, Heads, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::open;
use chatlane_chat::requests::open::OpenRefused;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, error, misrouted};

/// Answers one `open`.
pub async fn handle(
    store: &(impl MessageLog + Heads + Sessions),
    queue: &impl FanOutQueue,
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    event: Event,
) -> Answered {
    let serve = async |caller, request| match request {
        Request::Open(request) => match open::open(store, queue, clock, settings, &caller, &request).await {
            Ok(answer) => ServerFrame::Open(answer),
            Err(refused) => {
                if let OpenRefused::Unavailable(unavailable) = &refused {
                    tracing::warn!("open not answered: {unavailable}");
                }
                error(Some(request.id), refused.to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
