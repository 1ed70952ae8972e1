//! Route `$default`: whatever the gateway could not route, which is malformed or has an unknown action. Touches nothing.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::ports::Clock;

use crate::websocket::{ForeignEvent, ProxyAnswer, admit, misrouted};

/// Answers with the one typed error that fits.
pub fn handle<C: Clock>(clock: &C, event: &ApiGatewayWebsocketProxyRequest) -> Result<ProxyAnswer, ForeignEvent> {
    let frame = match admit(clock, event)? {
        Err(frame) => frame,
        // A known action comes here only where the gateway's routes are not the template's.
        Ok((_, request)) => misrouted(&request),
    };
    Ok(ProxyAnswer::of(&frame))
}
