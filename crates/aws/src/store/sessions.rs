//! Which connections belong to whom: one item for each user, one attribute for each connection.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use chatlane_chat::ports::{Session, Sessions, Unavailable};
use chatlane_protocol::{ConnectionId, UnixMillis, UserId};

use super::{Store, refused};
use crate::failure::unavailable;
use crate::table::{self, n};

/// How long a sessions item outlives its last hello: the gateway ends every connection after 2 h.
const SESSIONS_LIFE_MS: u64 = (2 * 60 + 10) * 60 * 1000;

/// Updates of one registration: the second knows what refused the first, and only another writer refuses that.
const UPDATES_MAX: usize = 3;

impl Sessions for Store {
    async fn register(&self, user: &UserId, session: &Session, now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        let mut ttl = Some(now.plus_ms(SESSIONS_LIFE_MS).get() / 1000);
        let mut session = session.clone();
        for _ in 0..UPDATES_MAX {
            let mut update = self
                .client
                .update_item()
                .table_name(&self.tables.users)
                .set_key(Some(table::sessions_key(user)))
                .expression_attribute_names("#c", table::connection_attribute(&session.connection))
                .expression_attribute_values(":c", table::session_value(&session))
                .expression_attribute_values(":x", n(session.expires))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let not_lowered = "(attribute_not_exists(#c) OR #c.x <= :x)";
            update = match ttl {
                Some(expiry_s) => update
                    .update_expression("SET #c = :c, #t = :t")
                    .condition_expression(format!("{not_lowered} AND (attribute_not_exists(#t) OR #t <= :t)"))
                    .expression_attribute_names("#t", table::TTL)
                    .expression_attribute_values(":t", n(expiry_s)),
                None => update.update_expression("SET #c = :c").condition_expression(not_lowered),
            };
            let error = match update.send().await {
                Ok(written) => return table::read_sessions(&written.attributes.unwrap_or_default()),
                Err(error) => error,
            };
            let Some(refused) = refused(&error) else { return Err(unavailable("write a session", &error)) };
            // A refresh has given the connection longer, or another machine's clock is ahead: neither time is ever lowered.
            let item = refused.item.clone().unwrap_or_default();
            if let Some(kept) = table::read_session(&item, &session.connection)? {
                session.expires = session.expires.max(kept.expires);
            }
            ttl = ttl.filter(|expiry_s| table::ttl(&item).is_none_or(|kept| kept <= *expiry_s));
        }
        Err(Unavailable::new("write a session", "others were writing it"))
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Unavailable> {
        if connections.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = (0..connections.len()).map(|index| format!("#c{index}")).collect();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.tables.users)
            .set_key(Some(table::sessions_key(user)))
            .update_expression(format!("REMOVE {}", names.join(", ")))
            .condition_expression("attribute_exists(u)");
        for (name, connection) in names.iter().zip(connections) {
            update = update.expression_attribute_names(name, table::connection_attribute(connection));
        }
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if refused(&error).is_some() => Ok(()), // no item, no session
            Err(error) => Err(unavailable("remove a session", &error)),
        }
    }

    async fn session(&self, user: &UserId, connection: &ConnectionId) -> Result<Option<Session>, Unavailable> {
        let attempted = "read a session";
        let get = self
            .client
            .get_item()
            .table_name(&self.tables.users)
            .set_key(Some(table::sessions_key(user)))
            .consistent_read(true)
            .projection_expression("#c")
            .expression_attribute_names("#c", table::connection_attribute(connection));
        let item = get.send().await.map_err(|error| unavailable(attempted, &error))?.item;
        table::read_session(&item.unwrap_or_default(), connection)
    }

    async fn prolong(&self, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> Result<Option<Session>, Unavailable> {
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.users)
            .set_key(Some(table::sessions_key(user)))
            .update_expression("SET #c.x = :x")
            .condition_expression("attribute_exists(#c) AND #c.x < :x")
            .expression_attribute_names("#c", table::connection_attribute(connection))
            .expression_attribute_values(":x", n(expires))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let item = match update {
            Ok(prolonged) => prolonged.attributes,
            Err(error) => match refused(&error) {
                // It has as long already (also by this very request, sent twice by the SDK), or there is none.
                Some(refused) => refused.item.clone(),
                None => return Err(unavailable("prolong a session", &error)),
            },
        };
        table::read_session(&item.unwrap_or_default(), connection)
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        let by_key: HashMap<String, &UserId> = users.iter().map(|user| (table::user_key(user), user)).collect();
        let keys = by_key.values().map(|user| table::sessions_key(user)).collect();
        let mut sessions = vec![];
        for item in self.get_many(&self.tables.users, keys, "read sessions").await? {
            let Some(user) = item.get("u").and_then(|value| value.as_s().ok()).and_then(|key| by_key.get(key)) else { continue };
            sessions.extend(table::read_sessions(&item)?.into_iter().map(|session| ((*user).clone(), session)));
        }
        Ok(sessions)
    }
}
