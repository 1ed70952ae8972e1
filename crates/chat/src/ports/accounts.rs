//! What each user has spent, and whether their handshakes are admitted.

use std::collections::BTreeMap;

use chatlane_protocol::{ConnectionId, UnixMillis, UserId};

use super::gate::Gate;
use super::{Connection, Failure, port};

port! {
    /// What each user has spent, and whether their handshakes are admitted. See [`crate::limit`].
    pub trait Accounts {
        /// Adds units to what the user has spent in a window of time; answers what was spent in each. Windows before `first` are forgotten
        /// sooner or later.
        writes fn charge(user: &UserId; window: u64, units: u64, first: u64, now: UnixMillis) -> Result<BTreeMap<u64, u64>, Failure>;

        /// The user's gate; open where nothing is known of them.
        reads fn gate(user: &UserId;) -> Result<Gate, Failure>;

        /// The same, of which a write of a second ago may be missing; half the price.
        reads fn recent_gate(user: &UserId;) -> Result<Gate, Failure>;

        /// Puts this gate in the place of the one that was there; `None`: another one is there. Answers all connections of the user then.
        writes fn shut(user: &UserId; was: Gate, gate: Gate) -> Result<Option<ConnectionsOfUser>, Failure>;

        /// Notes a connection that is about to open, unless the gate is shut: from then on [`Self::shut`] answers it, and a hello makes it a
        /// session. Answers the gate, and all of the user's connections that were noted and have not said hello, this one included.
        writes fn admit(user: &UserId, connection: &Connection; now: UnixMillis) -> Result<(Gate, Vec<Connection>), Failure>;
    }
}

/// All connections of a user, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionsOfUser {
    /// Those that have said hello.
    pub greeted: Vec<ConnectionId>,
    /// Those that were admitted and have not.
    pub pending: Vec<ConnectionId>,
}
