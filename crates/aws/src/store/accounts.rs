//! What a user has spent, and their gate. The account is an item of its own; the gate stands with the user's connections, so that one update
//! shuts it and learns what is to be closed, and one admits a connection and learns that it is open.

use std::collections::BTreeMap;

use chatlane_chat::ports::{Accounts, Connection, ConnectionsOfUser, Failure, Gate, Meter};
use chatlane_protocol::{UnixMillis, UserId};

use super::table::refused;
use super::{Backend, Part, Users};
use crate::failure::unavailable;
use crate::items::{sessions, spent};
use crate::meter;

/// Windows that count no more which an account keeps at most, of who pauses for long.
const OVER_MAX: usize = 100;

/// Updates that only another writer can refuse.
const UPDATES_MAX: usize = 3;

impl<L: Part, C: Part, I: Part, U: Part, Q: Part, G: Part> Meter for Backend<L, C, I, U, Q, G> {
    async fn metered<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        meter::metered(work).await
    }
}

impl<L: Part, C: Part, I: Part, Q: Part, G: Part> Accounts for Backend<L, C, I, Users, Q, G> {
    async fn charge(&self, user: &UserId, window: u64, units: u64, first: u64, now: UnixMillis) -> Result<BTreeMap<u64, u64>, Failure> {
        let update = spent::charge(self.users.0.update_item(), user, window, units, first, now);
        let charged = update.send().await.map_err(|error| unavailable("charge a user", &error))?;
        let spent = spent::read(&charged.attributes.unwrap_or_default())?;
        let over: Vec<String> = spent.range(..first).map(|(window, _)| spent::name(*window)).collect();
        if over.len() > OVER_MAX {
            self.users.0.forget(spent::key(user), &over, "forget what was spent").await?;
        }
        Ok(spent)
    }

    async fn gate(&self, user: &UserId) -> Result<Gate, Failure> {
        let item = self.users.0.get(sessions::key(user), "read a gate").await?;
        sessions::gate(&item.unwrap_or_default())
    }

    async fn recent_gate(&self, user: &UserId) -> Result<Gate, Failure> {
        let get = self.users.0.get_item().consistent_read(false).set_key(Some(sessions::key(user)));
        let item = get.send().await.map_err(|error| unavailable("read a gate", &error))?.item;
        sessions::gate(&item.unwrap_or_default())
    }

    async fn shut(&self, user: &UserId, was: Gate, gate: Gate) -> Result<Option<ConnectionsOfUser>, Failure> {
        match sessions::shut(self.users.0.update_item(), user, was, gate).send().await {
            Ok(shut) => Ok(Some(sessions::ids(&shut.attributes.unwrap_or_default())?)),
            Err(error) if refused(&error).is_some() => Ok(None),
            Err(error) => Err(unavailable("shut a gate", &error)),
        }
    }

    async fn admit(&self, user: &UserId, connection: &Connection, now: UnixMillis) -> Result<(Gate, Vec<Connection>), Failure> {
        let attempted = "admit a connection";
        let mut ttl = Some(sessions::ttl_at(now));
        for _ in 0..UPDATES_MAX {
            let error = match sessions::admit(self.users.0.update_item(), user, connection, now, ttl).send().await {
                Ok(admitted) => {
                    let item = admitted.attributes.unwrap_or_default();
                    return Ok((sessions::gate(&item)?, sessions::pending(&item)?));
                }
                Err(error) => error,
            };
            let Some(refused) = refused(&error) else { return Err(unavailable(attempted, &error)) };
            let item = refused.item.clone().unwrap_or_default();
            let gate = sessions::gate(&item)?;
            if gate.shut_for_ms(now).is_some() {
                return Ok((gate, vec![]));
            }
            ttl = ttl.filter(|expiry_s| sessions::ttl(&item).is_none_or(|kept| kept <= *expiry_s));
        }
        Err(Failure::unavailable(attempted, "others were writing the user's connections"))
    }
}
