//! Route `history`: older entries of one conversation. See [`chatlane_chat::history`].

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::history::{self, NotRead};
use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, error, misrouted};

/// Answers one `history`.
pub async fn handle<S, O, C>(
    store: &S,
    outbound: &O,
    clock: &C,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent>
where
    S: MessageLog + Cursors + Sessions,
    O: Outbound,
    C: Clock,
{
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
