//! Who asks, and for how long they may.

use chatlane_protocol::frames::{ErrorFrame, RefreshAnswer, encode};
use chatlane_protocol::{ConnectionId, DeviceId, ErrorCode, Refusal, RequestId, ServerFrame, UnixMillis, UserId};

use crate::log::append::BUSY_RETRY_AFTER_MS;
use crate::ports::{Clock, Outbound, Sessions, Unavailable};

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
    /// When the token's time is over, leeway included.
    pub expires: UnixMillis,
}

/// Whether the caller's time is not over. The gateway replays what the authorizer said at the handshake, so nothing is read before that
/// time; after it the session is, which a `refresh` may have prolonged. A caller whose time is over is told so, as a post, and then the
/// connection is closed: `None`, and there is nothing left to answer.
pub async fn admit<S: Sessions, O: Outbound, C: Clock>(
    store: &S,
    outbound: &O,
    clock: &C,
    caller: Caller,
    request: Option<&RequestId>,
) -> Result<Option<Caller>, Unavailable> {
    if caller.expires > clock.now() {
        return Ok(Some(caller));
    }
    let session = store.session(&caller.user, &caller.connection).await?;
    if let Some(session) = session.filter(|session| session.device == caller.device && session.expires > clock.now()) {
        return Ok(Some(Caller { expires: session.expires, ..caller }));
    }
    let refusal = Refusal::new(ErrorCode::TokenExpired, "the token's time is over: connect again with a new one");
    let frame = encode(&ServerFrame::Error(ErrorFrame { id: request.cloned(), refusal }));
    // Not the answer: that would come after the close. If either is lost, the next request on this connection does it again.
    let _told = outbound.post(&caller.connection, &frame).await;
    let _closed = outbound.close(&caller.connection).await;
    Ok(None)
}

/// Why a connection was not prolonged; it is as before.
#[derive(Debug, thiserror::Error)]
pub enum NotRefreshed {
    /// The token breaks a rule, or is another user's or device's.
    #[error("the token was not accepted")]
    Token,
    /// There is no session to prolong.
    #[error("the connection is not known: say hello, then refresh")]
    Resync,
    /// The backend, or the keys of the issuer.
    #[error("the outcome is unknown; retry")]
    Unavailable(#[from] Unavailable),
}

impl NotRefreshed {
    /// The one place where refusals of `refresh` become codes.
    pub fn to_wire(&self) -> Refusal {
        match self {
            Self::Token => Refusal::new(ErrorCode::TokenRefused, self.to_string()),
            Self::Resync => Refusal::new(ErrorCode::Resync, self.to_string()),
            Self::Unavailable(_) => Refusal::new(ErrorCode::Unavailable, self.to_string()).after_ms(BUSY_RETRY_AFTER_MS),
        }
    }
}

/// Prolongs the caller's session to `expires`, which a verified token of `user` (for this device) grants. Never shortens it.
pub async fn refresh<S: Sessions>(
    store: &S,
    caller: &Caller,
    request: &RequestId,
    user: &UserId,
    expires: UnixMillis,
) -> Result<RefreshAnswer, NotRefreshed> {
    if *user != caller.user {
        return Err(NotRefreshed::Token);
    }
    let session = store.prolong(&caller.user, &caller.connection, expires).await?.ok_or(NotRefreshed::Resync)?;
    Ok(RefreshAnswer { id: request.clone(), expires_ms: session.expires })
}
