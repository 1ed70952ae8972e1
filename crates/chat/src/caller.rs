//! Who asks.

use chatlane_protocol::{ConnectionId, DeviceId, UnixMillis, UserId};

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
