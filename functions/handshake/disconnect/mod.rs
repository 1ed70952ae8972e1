//! Route `$disconnect`: forgets the connection. A hint only: API Gateway may send it late or never, and a fan-out that meets 410 does
//! the same.

use chatlane_aws::{Backend, Users};
use chatlane_chat::ports::Connections;

use crate::start::route;
use crate::websocket::{Answered, Event, ProxyAnswer, caller};

route! {
    ports: Backend<(), (), (), Users>;
    given: ;
    opens: |ports| [];
}

/// Removes the session of this connection and of no other.
pub async fn handle(ports: &impl Connections, event: Event) -> Answered {
    let (user, mine) = caller(&event.request_context)?;
    if let Err(failure) = ports.remove(&user, std::slice::from_ref(&mine.connection)).await {
        // Nobody waits for this answer. The next post to the connection gets 410 and removes the session.
        failure.log("the session of a closed connection stays until a post meets it");
    }
    Ok(ProxyAnswer { status_code: 200, body: String::new() })
}
