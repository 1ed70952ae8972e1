//! Route `ack`: entries have reached a device. See [`chatlane_chat::cursors`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::Settings;
use chatlane_chat::append::Refused;
use chatlane_chat::cursors::{self, Cursor};
use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_protocol::frames::CursorsAnswer;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `ack`.
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
        Request::Ack(request) => {
            let moved = cursors::advance(store, outbound, clock, settings, &caller, &request.positions, Cursor::Delivered).await;
            match moved {
                Ok(results) => ServerFrame::Ack(CursorsAnswer { id: request.id, results }),
                Err(unavailable) => {
                    tracing::warn!("ack not answered: {unavailable}");
                    error(Some(request.id), Refused::Unavailable(unavailable).to_wire())
                }
            }
        }
        request => misrouted(&request),
    };
    answer(store, outbound, clock, &event, serve).await
}
