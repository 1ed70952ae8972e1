//! Which live connections belong to whom. What is stored of a connection that has said hello is its *session*.

use chatlane_protocol::{ConnectionId, DeviceId, UnixMillis, UserId};

use super::gate::Gate;
use super::{Failure, port};

port! {
    /// Which live connections belong to whom.
    pub trait Connections {
        /// Adds the session or replaces the one of its connection, whose `expires` is not lowered.
        writes fn register(user: &UserId, session: &Connection; now: UnixMillis) -> Result<Registered, Failure>;

        /// Removes these connections and no others; unknown ones are no error, and nothing is created.
        writes fn remove(user: &UserId, connections: &[ConnectionId];) -> Result<(), Failure>;

        /// The session of one connection.
        reads fn session(user: &UserId, connection: &ConnectionId;) -> Result<Option<Connection>, Failure>;

        /// Moves the session's `expires` to this time if that is later; answers the session as it is then. `None`: there is no such
        /// session, and none was made.
        writes fn prolong(user: &UserId, connection: &ConnectionId; expires: UnixMillis) -> Result<Option<Connection>, Failure>;

        /// The sessions of each of these users, also expired ones, in no order.
        reads fn of_users(users: &[UserId];) -> Result<Vec<(UserId, Connection)>, Failure>;
    }
}

/// A user's sessions after one was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// All of them, in no order.
    pub all: Vec<Connection>,
    /// How many were registered in this minute, this one included.
    pub in_this_minute: u64,
    /// The user's gate.
    pub gate: Gate,
}

/// One connection of a user; once it has said hello, its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The gateway's name for it.
    pub connection: ConnectionId,
    /// The installation behind it.
    pub device: DeviceId,
    /// When the gateway accepted it; orders connections of one device.
    pub connected_at: UnixMillis,
    /// When its token's time is over; nothing is posted to it after that.
    pub expires: UnixMillis,
}
