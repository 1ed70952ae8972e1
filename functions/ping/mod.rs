//! Route `ping`: the server's time. Touches nothing.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::ports::Clock;
use chatlane_protocol::frames::PingAnswer;
use chatlane_protocol::{Request, ServerFrame};

use crate::websocket::{ForeignEvent, ProxyAnswer, admit, misrouted};

/// Answers one `ping`.
pub fn handle<C: Clock>(clock: &C, event: &ApiGatewayWebsocketProxyRequest) -> Result<ProxyAnswer, ForeignEvent> {
    let frame = match admit(clock, event)? {
        Err(frame) => frame,
        Ok((_, Request::Ping(request))) => ServerFrame::Ping(PingAnswer { id: request.id, server_time_ms: clock.now() }),
        Ok((_, request)) => misrouted(&request),
    };
    Ok(ProxyAnswer::of(&frame))
}
