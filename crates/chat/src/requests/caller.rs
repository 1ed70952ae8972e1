//! Who asks, and for how long they may by a socket.

use chatlane_protocol::frames::{ErrorFrame, encode};
use chatlane_protocol::{ConnectionId, DeviceId, RequestId, ServerFrame, UserId};

use crate::ports::{Clock, Connection, Connections, Failure, Outbound};
use crate::refusal::Refused;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The installation.
    pub device: DeviceId,
    /// The socket by which they ask: the answer is all that is sent to it. None over HTTPS.
    pub connection: Option<ConnectionId>,
}

impl Caller {
    /// By this connection of theirs.
    pub fn on(user: &UserId, mine: &Connection) -> Self {
        Self { user: user.clone(), device: mine.device, connection: Some(mine.connection.clone()) }
    }
}

/// The user's connection by which a frame came, if its token has not expired. The gateway replays what the authorizer said at the handshake,
/// so nothing is read before that time; after it the session is, which a `refresh` may have prolonged. An expired caller is posted
/// `token_expired`, and then the connection is closed: `None`, and there is nothing left to answer.
pub async fn unexpired<P: Connections + Outbound + Clock>(
    ports: &P,
    user: &UserId,
    mine: Connection,
    request: Option<&RequestId>,
) -> Result<Option<Connection>, Failure> {
    if mine.expires > ports.now() {
        return Ok(Some(mine));
    }
    let session = ports.session(user, &mine.connection).await?;
    if let Some(session) = session.filter(|session| session.device == mine.device && session.expires > ports.now()) {
        return Ok(Some(Connection { expires: session.expires, ..mine }));
    }
    part(ports, &mine.connection, request, &Refused::TokenExpired).await;
    Ok(None)
}

/// Posts the refusal of a request, and closes the connection.
pub async fn part<P: Outbound>(ports: &P, connection: &ConnectionId, request: Option<&RequestId>, refused: &Refused) {
    let frame = encode(&ServerFrame::Error(ErrorFrame { id: request.cloned(), refusal: refused.to_wire() }));
    // Not the answer: that would come after the close. If either is lost, the next request on this connection does it again.
    let _posted = ports.post(connection, &frame).await;
    let _closed = ports.close(connection).await;
}
