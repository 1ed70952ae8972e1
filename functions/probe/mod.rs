//! Route `probe`: which messages are in the log. See [`chatlane_chat::requests::probe`].

use chatlane_chat::Settings;
use chatlane_chat::log::anchor::BadPosition;
use chatlane_chat::ports::{Clock, Cursors, FanOutQueue, Heads, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::probe::{self, NotProbed};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, error, misrouted};

/// Answers one `probe`.
pub async fn handle(
    store: &(impl MessageLog + Cursors + Heads + Sessions),
    queue: &impl FanOutQueue,
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    event: Event,
) -> Answered {
    let serve = async |caller, request| match request {
        Request::Probe(request) => match probe::probe(store, queue, clock, settings, &caller, &request).await {
            Ok(answer) => ServerFrame::Probe(answer),
            Err(refused) => {
                if let NotProbed::Anchor(BadPosition::Unavailable(unavailable)) = &refused {
                    tracing::warn!(conversation = %request.conversation, "probe not answered: {unavailable}");
                }
                error(Some(request.id), refused.to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
