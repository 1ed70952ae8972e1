//! Who asks, and for how long they may.

use chatlane_protocol::frames::{ErrorFrame, encode};
use chatlane_protocol::{ConnectionId, DeviceId, RequestId, ServerFrame, UnixMillis, UserId};

use crate::ports::{Clock, Connections, Failure, Outbound};
use crate::refusal::Refused;

/// Who asks, as the authorizer established it; the gateway replays it on every frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The installation.
    pub device: DeviceId,
    /// The socket.
    pub connection: ConnectionId,
    /// When the gateway accepted the socket.
    pub connected_at: UnixMillis,
    /// When the token expires, leeway included.
    pub expires: UnixMillis,
}

/// The caller, if their token has not expired. The gateway replays what the authorizer said at the handshake, so nothing is read before
/// that time; after it the session is, which a `refresh` may have prolonged. An expired caller is posted `token_expired`, and then the
/// connection is closed: `None`, and there is nothing left to answer.
pub async fn unexpired<P: Connections + Outbound + Clock>(
    ports: &P,
    caller: Caller,
    request: Option<&RequestId>,
) -> Result<Option<Caller>, Failure> {
    if caller.expires > ports.now() {
        return Ok(Some(caller));
    }
    let session = ports.session(&caller.user, &caller.connection).await?;
    if let Some(session) = session.filter(|session| session.device == caller.device && session.expires > ports.now()) {
        return Ok(Some(Caller { expires: session.expires, ..caller }));
    }
    part(ports, &caller.connection, request, &Refused::TokenExpired).await;
    Ok(None)
}

/// Posts the refusal of a request, and closes the connection.
pub async fn part<P: Outbound>(ports: &P, connection: &ConnectionId, request: Option<&RequestId>, refused: &Refused) {
    let frame = encode(&ServerFrame::Error(ErrorFrame { id: request.cloned(), refusal: refused.to_wire() }));
    // Not the answer: that would come after the close. If either is lost, the next request on this connection does it again.
    let _posted = ports.post(connection, &frame).await;
    let _closed = ports.close(connection).await;
}
