//! Which connections belong to whom: one item for each user, one attribute for each connection.

use std::collections::BTreeSet;

use chatlane_chat::ports::{Connection, Connections, Failure, Registered};
use chatlane_protocol::{ConnectionId, UnixMillis, UserId};

use super::table::refused;
use super::{Backend, Part, Users};
use crate::failure::unavailable;
use crate::items::sessions;

/// Minutes of hellos that an item keeps beside the current one: one write in so many removes them.
const OTHER_MINUTES_MAX: usize = 8;

/// Updates of one registration: the second knows what refused the first, and only another writer refuses that.
const UPDATES_MAX: usize = 3;

impl<L: Part, C: Part, I: Part, Q: Part, G: Part> Connections for Backend<L, C, I, Users, Q, G> {
    async fn register(&self, user: &UserId, session: &Connection, now: UnixMillis) -> Result<Registered, Failure> {
        let mut ttl = Some(sessions::ttl_at(now));
        let mut session = session.clone();
        for _ in 0..UPDATES_MAX {
            let update = sessions::register(self.users.0.update_item(), user, &session, now, ttl);
            let error = match update.send().await {
                Ok(written) => {
                    let item = written.attributes.unwrap_or_default();
                    let other_minutes = sessions::other_minutes(&item, now);
                    if other_minutes.len() > OTHER_MINUTES_MAX {
                        self.users.0.forget(sessions::key(user), &other_minutes, "forget minutes of hellos").await?;
                    }
                    let (all, in_this_minute) = (sessions::read(&item)?, sessions::hellos(&item, now)?);
                    return Ok(Registered { all, in_this_minute, gate: sessions::gate(&item)? });
                }
                Err(error) => error,
            };
            let Some(refused) = refused(&error) else { return Err(unavailable("write a session", &error)) };
            // A refresh has given the connection longer, or another machine's clock is ahead: neither time is ever lowered.
            let item = refused.item.clone().unwrap_or_default();
            if let Some(kept) = sessions::read_one(&item, &session.connection)? {
                session.expires = session.expires.max(kept.expires);
            }
            ttl = ttl.filter(|expiry_s| sessions::ttl(&item).is_none_or(|kept| kept <= *expiry_s));
        }
        Err(Failure::unavailable("write a session", "others were writing it"))
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Failure> {
        if connections.is_empty() {
            return Ok(());
        }
        match sessions::remove(self.users.0.update_item(), user, connections).send().await {
            Ok(_) => Ok(()),
            Err(error) if refused(&error).is_some() => Ok(()), // no item, no session
            Err(error) => Err(unavailable("remove a session", &error)),
        }
    }

    async fn session(&self, user: &UserId, connection: &ConnectionId) -> Result<Option<Connection>, Failure> {
        let attempted = "read a session";
        let get = sessions::get_one(self.users.0.get_item(), user, connection);
        let item = get.send().await.map_err(|error| unavailable(attempted, &error))?.item;
        sessions::read_one(&item.unwrap_or_default(), connection)
    }

    async fn prolong(&self, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> Result<Option<Connection>, Failure> {
        let update = sessions::prolong(self.users.0.update_item(), user, connection, expires).send().await;
        let item = match update {
            Ok(prolonged) => prolonged.attributes,
            Err(error) => match refused(&error) {
                // It has as long already (also by this very request, sent twice by the SDK), or there is none.
                Some(refused) => refused.item.clone(),
                None => return Err(unavailable("prolong a session", &error)),
            },
        };
        sessions::read_one(&item.unwrap_or_default(), connection)
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Connection)>, Failure> {
        let keys = users.iter().collect::<BTreeSet<_>>().into_iter().map(sessions::key).collect();
        let mut found = vec![];
        for item in self.users.0.get_many(keys, "read sessions").await? {
            let user = sessions::user(&item)?;
            found.extend(sessions::read(&item)?.into_iter().map(|session| (user.clone(), session)));
        }
        Ok(found)
    }
}
