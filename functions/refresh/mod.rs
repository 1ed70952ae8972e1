//! Route `refresh`: a new token keeps the connection. Judged as the handshake's is, see [`crate::authorize`]; what it prolongs is the
//! session, see [`chatlane_chat::requests::caller`].

use chatlane_chat::ports::{Clock, Outbound, Sessions, Unavailable};
use chatlane_chat::requests::caller::{self, NotRefreshed};
use chatlane_protocol::{Request, ServerFrame};

use crate::authorize::jwks::{FetchKeys, KeySource};
use crate::authorize::token::TokenPolicy;
use crate::authorize::{Denied, grant};
use crate::websocket::{Answered, Event, answer, error, misrouted};

/// Answers one `refresh`.
pub async fn handle(
    keys: &KeySource<impl FetchKeys>,
    policy: &TokenPolicy,
    store: &impl Sessions,
    outbound: &impl Outbound,
    clock: &impl Clock,
    event: Event,
) -> Answered {
    let serve = async |caller: caller::Caller, request| match request {
        Request::Refresh(request) => {
            let granted = match grant(keys, policy, clock, request.token.as_str(), caller.device).await {
                Ok((user, expires)) => caller::refresh(store, &caller, &request.id, &user, expires).await,
                Err(Denied::Keys(_)) => Err(Unavailable::new("verify a token", "the issuer's keys cannot be had").into()),
                Err(Denied::Token(_) | Denied::Device) => Err(NotRefreshed::Token),
            };
            match granted {
                Ok(answer) => ServerFrame::Refresh(answer),
                Err(refused) => {
                    if let NotRefreshed::Unavailable(unavailable) = &refused {
                        tracing::warn!("a connection was not prolonged: {unavailable}");
                    }
                    error(Some(request.id), refused.to_wire())
                }
            }
        }
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
