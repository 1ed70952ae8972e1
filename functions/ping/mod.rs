//! Route `ping`: whether the connection is known, and where the named conversations stand. See [`chatlane_chat::ping`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::append::Refused;
use chatlane_chat::ping;
use chatlane_chat::ports::{Clock, Cursors, Heads, Outbound, Sessions};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `ping`.
pub async fn handle<S, O, C>(
    store: &S,
    outbound: &O,
    clock: &C,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent>
where
    S: Sessions + Cursors + Heads,
    O: Outbound,
    C: Clock,
{
    let serve = async |caller, request| match request {
        Request::Ping(request) => match ping::ping(store, clock, &caller, &request).await {
            Ok(answer) => ServerFrame::Ping(answer),
            Err(unavailable) => {
                tracing::warn!("ping not answered: {unavailable}");
                error(Some(request.id), Refused::Unavailable(unavailable).to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
