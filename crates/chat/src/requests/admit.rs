//! A handshake: whether the user's gate is open, and whether they have not too many connections that never said hello.

use chatlane_protocol::limits::PENDING_CONNECTIONS_MAX;
use chatlane_protocol::{ConnectionId, UserId};

use crate::limit::ShutGates;
use crate::ports::{Accounts, Clock, Connection, Connections};

/// For so long the gateway keeps a connection.
const LIFE_MS: u64 = 2 * 60 * 60 * 1000;

/// When who has too many connections may try again.
const RETRY_AFTER_MS: u64 = 60_000;

/// A connection that was admitted is refused after all: it is noted no more.
pub async fn forget<P: Connections>(ports: &P, user: &UserId, connection: &ConnectionId) {
    if let Err(failure) = ports.remove(user, std::slice::from_ref(connection)).await {
        failure.log("a connection that is refused stays noted");
    }
}

/// Admits a connection, which is noted; or answers after how many milliseconds to try again. Where that cannot be found out, it is admitted.
pub async fn admit<P>(ports: &P, known: &ShutGates, user: &UserId, connection: &Connection) -> Result<(), u64>
where
    P: Accounts + Connections + Clock,
{
    let now = ports.now();
    if let Some(shut_for_ms) = known.shut_for_ms(user, now) {
        return Err(shut_for_ms);
    }
    let (gate, pending) = match ports.admit(user, connection, now).await {
        Ok(admitted) => admitted,
        Err(failure) => {
            failure.log("a connection is admitted, and not noted");
            return Ok(());
        }
    };
    if let Some(shut_for_ms) = gate.shut_for_ms(now) {
        known.found(user, now, shut_for_ms);
        return Err(shut_for_ms);
    }
    if pending.len() <= PENDING_CONNECTIONS_MAX {
        return Ok(());
    }
    // Disconnects get lost: what is as old as no connection gets, or has no token any more, is not there.
    let is_dead = |connection: &&Connection| connection.expires <= now || now.since_ms(connection.connected_at) > LIFE_MS;
    let mut gone: Vec<ConnectionId> = pending.iter().filter(is_dead).map(|connection| connection.connection.clone()).collect();
    let is_crowded = pending.len() - gone.len() > PENDING_CONNECTIONS_MAX;
    gone.extend(is_crowded.then(|| connection.connection.clone()));
    if let Err(failure) = ports.remove(user, &gone).await {
        failure.log("connections that are not there stay noted");
    }
    if is_crowded {
        known.found(user, now, RETRY_AFTER_MS);
        return Err(RETRY_AFTER_MS);
    }
    Ok(())
}
