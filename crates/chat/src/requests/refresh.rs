//! `refresh`: a new token of the same user and device keeps the connection. Whether the token is good is judged before.

use chatlane_protocol::frames::RefreshAnswer;
use chatlane_protocol::{ConnectionId, RequestId, UnixMillis, UserId};

use crate::done::Done;
use crate::ports::Connections;
use crate::refusal::Refused;

/// Prolongs the caller's session of this connection to `expires`, which a verified token of `user` (for this device) grants. Never shortens it.
pub async fn refresh<P: Connections>(
    ports: &P,
    caller: &UserId,
    mine: &ConnectionId,
    request: &RequestId,
    user: &UserId,
    expires: UnixMillis,
) -> Result<Done<RefreshAnswer>, Refused> {
    if user != caller {
        return Err(Refused::TokenRefused);
    }
    let session = ports.prolong(caller, mine, expires).await?.ok_or(Refused::Resync)?;
    Ok(Done::read(RefreshAnswer { id: request.clone(), expires_ms: session.expires }))
}
