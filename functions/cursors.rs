//! What the routes `ack` and `read` share: the same list of positions, for another cursor. See [`chatlane_chat::requests::cursors`].

use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_protocol::frames::CursorsAnswer;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, misrouted, unavailable};

/// Answers one request to move this cursor.
pub async fn advance(
    store: &(impl MessageLog + Cursors + Sessions),
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    event: &Event,
    cursor: Cursor,
) -> Answered {
    let serve = async |caller, request| {
        let (action, request, frame): (_, _, fn(CursorsAnswer) -> ServerFrame) = match (cursor, request) {
            (Cursor::Delivered, Request::Ack(request)) => ("ack", request, ServerFrame::Ack),
            (Cursor::Read, Request::Read(request)) => ("read", request, ServerFrame::Read),
            (_, request) => return misrouted(&request),
        };
        match cursors::advance(store, outbound, clock, settings, &caller, &request.positions, cursor).await {
            Ok(results) => frame(CursorsAnswer { id: request.id, results }),
            Err(cause) => unavailable(action, request.id, cause),
        }
    };
    answer(store, outbound, clock, event, serve).await
}
