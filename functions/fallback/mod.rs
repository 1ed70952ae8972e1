//! Route `$default`: whatever the gateway could not route, which is malformed or has an unknown action. Changes nothing.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::ports::{Clock, Outbound, Sessions};

use crate::websocket::{ForeignEvent, ProxyAnswer, answer, misrouted};

/// Answers with the one typed error that fits.
pub async fn handle<S, O, C>(
    store: &S,
    outbound: &O,
    clock: &C,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent>
where
    S: Sessions,
    O: Outbound,
    C: Clock,
{
    // A known action comes here only where the gateway's routes are not the template's.
    answer(store, outbound, clock, &event, async |_, request| misrouted(&request)).await
}
