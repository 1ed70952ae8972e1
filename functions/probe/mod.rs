//! Route `probe`: which messages are in the log. See [`chatlane_chat::probe`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::Settings;
use chatlane_chat::anchor::BadPosition;
use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_chat::probe::{self, NotProbed};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `probe`.
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
        Request::Probe(request) => match probe::probe(store, settings, &caller, &request).await {
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
