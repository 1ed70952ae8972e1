//! Route `open`: the direct conversation with another user. See [`chatlane_chat::open`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::open::OpenRefused;
use chatlane_chat::ports::{Clock, FanOutQueue, Heads, MessageLog, Outbound, Sessions};
use chatlane_chat::{Settings, open};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `open`.
pub async fn handle<S, Q, O, C>(
    store: &S,
    queue: &Q,
    outbound: &O,
    clock: &C,
    settings: &Settings,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent>
where
    S: MessageLog + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
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
