//! Route `hello`: makes the connection routable and tells where every conversation stands. See [`chatlane_chat::requests::hello`].

use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Heads, Memberships, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::hello;
use chatlane_chat::requests::hello::{Greeting, HelloRefused};
use chatlane_protocol::frames::{Goaway, GoawayReason};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{Answered, Event, answer, error, misrouted};

/// Answers one `hello`; `spread` is a random number.
pub async fn handle(
    store: &(impl Sessions + Memberships + Heads + MessageLog),
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    spread: u64,
    event: Event,
) -> Answered {
    let serve = async |caller, request| match request {
        Request::Hello(request) => match hello::hello(store, outbound, clock, settings, spread, &caller, &request).await {
            Ok(Greeting::Welcome(answer)) => ServerFrame::Hello(answer),
            Ok(Greeting::Displaced) => ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None }),
            Err(refused) => {
                if let HelloRefused::Unavailable(unavailable) = &refused {
                    tracing::warn!("hello not answered: {unavailable}");
                }
                error(Some(request.id), refused.to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
