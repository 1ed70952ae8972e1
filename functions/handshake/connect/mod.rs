//! Route `$connect`: admits whom the authorizer let through, and writes nothing. Until this has answered, a post to the connection gets
//! 410, which would remove the session of a live socket: sessions are written by `hello`.

use std::collections::BTreeMap;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_protocol::SUBPROTOCOL;
use lambda_runtime::{Error, service_fn};
use serde::Serialize;

use crate::environment::Environment;
use crate::start::RouteEvent;
use crate::websocket::{ForeignEvent, caller, header};

const SUBPROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeAnswer {
    /// Below 300 admits.
    pub status_code: u16,
    /// What the handshake answers beside what the gateway adds.
    pub headers: BTreeMap<&'static str, &'static str>,
}

/// It is given nothing.
pub const fn asks(_env: &mut Environment) {}

/// Runs its loop.
pub async fn run(_env: Environment) -> Result<(), Error> {
    lambda_runtime::run(service_fn(|event: RouteEvent| async move { handle(&event.payload) })).await
}

/// Admits, and echoes the subprotocol if the client offered it; never the token that it offered beside it.
pub fn handle(event: &ApiGatewayWebsocketProxyRequest) -> Result<HandshakeAnswer, ForeignEvent> {
    caller(&event.request_context)?;
    let offered = header(&event.multi_value_headers, &event.headers, SUBPROTOCOL_HEADER);
    let echoed = offered.is_some_and(|offered| offered.split(',').any(|name| name.trim() == SUBPROTOCOL));
    let headers = if echoed { BTreeMap::from([(SUBPROTOCOL_HEADER, SUBPROTOCOL)]) } else { BTreeMap::new() };
    Ok(HandshakeAnswer { status_code: 200, headers })
}
