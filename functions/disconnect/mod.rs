//! Route `$disconnect`: forgets the connection. A hint only: API Gateway may send it late or never, and a fan-out that meets 410 does
//! the same.

use chatlane_chat::ports::Sessions;

use crate::websocket::{Answered, Event, ProxyAnswer, caller};

/// Removes the session of this connection and of no other.
pub async fn handle(store: &impl Sessions, event: Event) -> Answered {
    let caller = caller(&event.request_context)?;
    if let Err(unavailable) = store.remove(&caller.user, std::slice::from_ref(&caller.connection)).await {
        // Nobody waits for this answer. The next post to the connection gets 410 and removes the session.
        tracing::warn!("the session of a closed connection stays until a post meets it: {unavailable}");
    }
    Ok(ProxyAnswer { status_code: 200, body: String::new() })
}
