//! Route `send`: messages into one conversation. See [`chatlane_chat::send`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::append::Refused;
use chatlane_chat::ports::{Clock, FanOutQueue, Heads, Memberships, MessageLog, Outbound, Sessions};
use chatlane_chat::{Settings, send};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `send`.
pub async fn handle<S, Q, O, C>(
    store: &S,
    queue: &Q,
    outbound: &O,
    clock: &C,
    settings: &Settings,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent>
where
    S: MessageLog + Memberships + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
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
