//! Route `$connect`: admits whom the authorizer let through, unless their gate is shut, and notes the connection as one that may say hello.
//! It writes no session: until this has answered, a post to the connection gets 410, which would remove the session of a live socket.

use std::collections::BTreeMap;

use chatlane_aws::{Backend, Gateway, Users};
use chatlane_chat::limit::FRAME_UNITS;
use chatlane_chat::ports::{Accounts, Clock, Connections, Meter, Outbound};
use chatlane_chat::requests::admit::{admit, forget};
use chatlane_protocol::SUBPROTOCOL;
use serde::Serialize;

use crate::limit::UserLimit;
use crate::start::{nobody, route};
use crate::websocket::{Event, ForeignEvent, caller, header};

const SUBPROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeAnswer {
    /// Below 300 admits.
    pub status_code: u16,
    /// What the handshake answers beside what the gateway adds.
    pub headers: BTreeMap<&'static str, String>,
}

route! {
    ports: Backend<(), (), (), Users, (), Gateway>;
    given: UserLimit by limit;
    opens: |ports| [ports.gate(&nobody().0)];
}

/// Admits, and echoes the subprotocol if the client offered it; never the token that it offered beside it. Who is shut out, or has too many
/// connections that have not said hello, is answered 429.
pub async fn handle(
    ports: &(impl Connections + Accounts + Outbound + Clock + Meter),
    limit: &UserLimit,
    event: Event,
) -> Result<HandshakeAnswer, ForeignEvent> {
    let (user, opening) = caller(&event.request_context)?;
    let was_known = limit.gates.shut_for_ms(&user, ports.now()).is_some();
    let (mut admission, units) = ports.metered(admit(ports, &limit.gates, &user, &opening)).await;
    // Who is known to be shut out cost nothing but invocations: a charge would be dearer.
    let charged = if was_known {
        None
    } else {
        limit.charge(ports, &user, Some(&opening.connection), FRAME_UNITS + units, event.request_context.request_id.as_deref()).await
    };
    if let Some(retry_after_ms) = charged {
        if admission.is_ok() {
            forget(ports, &user, &opening.connection).await;
        }
        admission = Err(retry_after_ms);
    }
    let offered = header(&event.multi_value_headers, &event.headers, SUBPROTOCOL_HEADER);
    let echoed = offered.is_some_and(|offered| offered.split(',').any(|name| name.trim() == SUBPROTOCOL));
    let (status_code, headers) = match admission {
        Ok(()) if echoed => (200, BTreeMap::from([(SUBPROTOCOL_HEADER, SUBPROTOCOL.to_owned())])),
        Ok(()) => (200, BTreeMap::new()),
        Err(retry_after_ms) => (429, BTreeMap::from([("Retry-After", retry_after_ms.div_ceil(1000).to_string())])),
    };
    Ok(HandshakeAnswer { status_code, headers })
}
