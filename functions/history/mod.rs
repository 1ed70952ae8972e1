//! Route `history`: older entries of one conversation. See [`chatlane_chat::requests::history`].

use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::history::{self, NotRead};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, error, misrouted};

/// Answers one `history`.
pub async fn handle(
    store: &(impl MessageLog + Cursors + Sessions),
    outbound: &impl Outbound,
    clock: &impl Clock,
    event: Event,
) -> Answered {
    let serve = async |caller, request| match request {
        Request::History(request) => match history::history(store, &caller, &request).await {
            Ok(answer) => ServerFrame::History(answer),
            Err(refused) => {
                if let NotRead::Unavailable(unavailable) = &refused {
                    tracing::warn!(conversation = %request.conversation, "history not answered: {unavailable}");
                }
                error(Some(request.id), refused.to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
