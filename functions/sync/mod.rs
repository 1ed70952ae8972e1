//! Route `sync`: what a device has missed. See [`chatlane_chat::sync`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::append::Refused;
use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_chat::{Settings, sync};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `sync`.
pub async fn handle<S, O, C>(
    store: &S,
    outbound: &O,
    clock: &C,
    settings: &Settings,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent>
where
    S: MessageLog + Cursors + Sessions,
    O: Outbound,
    C: Clock,
{
    let serve = async |caller, request| match request {
        Request::Sync(request) => match sync::sync(store, outbound, clock, settings, &caller, &request).await {
            Ok(answer) => ServerFrame::Sync(answer),
            Err(unavailable) => {
                tracing::warn!("sync not answered: {unavailable}");
                error(Some(request.id), Refused::Unavailable(unavailable).to_wire())
            }
        },
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
