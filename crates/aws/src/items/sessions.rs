//! Which connections a user has: one item, one attribute for each connection.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `u` | S | the user, percent-encoded: partition key |
//! | `k` | S | `sessions`: sort key |
//! | `c:<connection>` | M | one connection |
//! | `c:<connection>.d` | S | its device |
//! | `c:<connection>.a` | N | when the gateway accepted it, ms |
//! | `c:<connection>.x` | N | when its token expires, ms; never lowered |
//! | `p:<connection>` | M | the same of one that was admitted and has not said hello: nothing is posted to it |
//! | `h<number>` | N | how many hellos there were in this minute since 1970 |
//! | `g` | N | the gate: shut until then, ms; missing: it never was |
//! | `gn` | N | how often it was shut in a row; there if `g` is |
//! | `ttl` | N | when `DynamoDB` may remove the item, seconds since 1970; lowered only by a gate |
//!
//! Table: users. Scope: one user; removed by its `ttl` 2 h 10 min after the last handshake or hello, because the gateway ends every
//! connection after 2 h, or 2 h 10 min after its gate opens again. Written by `connect` (`p:`, and removes one that is refused after all), `hello` (makes a `p:`
//! a `c:`), `refresh` (`x` alone), `disconnect`, `hello` and `fan_out` (remove connections), by every function where a gate is shut, and by
//! an operator who shuts one. Read by key with all connections (batch) or one, and from the answer of the update.

use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
pub use chatlane_chat::ports::Connection;
use chatlane_chat::ports::{ConnectionsOfUser, Failure, Gate};
use chatlane_protocol::{ConnectionId, UnixMillis, UserId};
use serde_json::Value;

use super::{Item, Read, map, n, s, unreadable, user_key};

/// The attribute by which `DynamoDB` removes the item.
pub const TTL: &str = "ttl";

/// The sort key.
const SORT: &str = "sessions";

/// The start of a connection's attribute.
const CONNECTION_PREFIX: &str = "c:";

/// The same of one that has not said hello.
const PENDING_PREFIX: &str = "p:";

/// The start of the attribute of a minute.
const HELLOS_PREFIX: &str = "h";

/// How long the item outlives its last handshake or hello.
const LIFE_MS: u64 = (2 * 60 + 10) * 60 * 1000;

const ATTEMPTED: &str = "read a session";

/// The `ttl` of an item that a handshake or a hello writes now.
pub const fn ttl_at(now: UnixMillis) -> u64 {
    now.plus_ms(LIFE_MS).get() / 1000
}

/// Whether a request's JSON reads the gate as it was a moment ago: for who watches requests.
pub fn asks_for_a_recent_gate(request: &Value) -> bool {
    request["Key"]["k"]["S"] == SORT && request["ConsistentRead"] == false
}

/// The key of a user's sessions.
pub fn key(user: &UserId) -> Item {
    map([("u", s(user_key(user))), ("k", s(SORT))])
}

/// The item that registrations of these sessions leave.
pub fn item<'a>(user: &UserId, sessions: impl IntoIterator<Item = &'a Connection>, ttl: u64) -> Item {
    let mut item = key(user);
    item.extend(map([(TTL, n(ttl))]));
    item.extend(sessions.into_iter().map(|session| (name(&session.connection), value(session))));
    item
}

/// The user of an item.
pub fn user(item: &Item) -> Result<UserId, Failure> {
    Read::of(item, ATTEMPTED).user_of_key("u")
}

/// All connections in an item that have said hello, in no order.
pub fn read(item: &Item) -> Result<Vec<Connection>, Failure> {
    read_all(item, CONNECTION_PREFIX)
}

/// All that were admitted and have not, in no order.
pub fn pending(item: &Item) -> Result<Vec<Connection>, Failure> {
    read_all(item, PENDING_PREFIX)
}

fn read_all(item: &Item, prefix: &str) -> Result<Vec<Connection>, Failure> {
    let connections = item.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    connections.map(|(connection, value)| read_value(connection, value)).collect()
}

/// The ids of both.
pub fn ids(item: &Item) -> Result<ConnectionsOfUser, Failure> {
    let ids = |all: Vec<Connection>| all.into_iter().map(|connection| connection.connection).collect();
    Ok(ConnectionsOfUser { greeted: ids(read(item)?), pending: ids(pending(item)?) })
}

/// The gate in an item.
pub fn gate(item: &Item) -> Result<Gate, Failure> {
    let read = Read::of(item, "read a gate");
    Ok(if read.has("g") { Gate { until: read.time("g")?, times: read.small("gn")? } } else { Gate::default() })
}

/// One connection in an item.
pub fn read_one(item: &Item, connection: &ConnectionId) -> Result<Option<Connection>, Failure> {
    item.get(&name(connection)).map(|value| read_value(connection.as_str(), value)).transpose()
}

/// The `ttl` of an item.
pub fn ttl(item: &Item) -> Option<u64> {
    item.get(TTL)?.as_n().ok()?.parse().ok()
}

fn name(connection: &ConnectionId) -> String {
    format!("{CONNECTION_PREFIX}{connection}")
}

fn hellos_name(minute: u64) -> String {
    format!("{HELLOS_PREFIX}{minute}")
}

const fn minute(now: UnixMillis) -> u64 {
    now.get() / 60_000
}

/// How many hellos an item counts in this minute.
pub fn hellos(item: &Item, now: UnixMillis) -> Result<u64, Failure> {
    Ok(Read::of(item, ATTEMPTED).optional(&hellos_name(minute(now)), Read::number)?.unwrap_or_default())
}

/// The attributes of other minutes than this one.
pub fn other_minutes(item: &Item, now: UnixMillis) -> Vec<String> {
    let this = hellos_name(minute(now));
    let is_minute = |name: &&String| name.strip_prefix(HELLOS_PREFIX).is_some_and(|number| number.parse::<u64>().is_ok()) && **name != this;
    item.keys().filter(is_minute).cloned().collect()
}

fn pending_name(connection: &ConnectionId) -> String {
    format!("{PENDING_PREFIX}{connection}")
}

fn value(session: &Connection) -> AttributeValue {
    AttributeValue::M(map([("d", s(session.device.to_string())), ("a", n(session.connected_at)), ("x", n(session.expires))]))
}

fn read_value(connection: &str, value: &AttributeValue) -> Result<Connection, Failure> {
    let bad = || unreadable(ATTEMPTED, CONNECTION_PREFIX);
    let read = Read::of(value.as_m().map_err(|_| bad())?, ATTEMPTED);
    Ok(Connection {
        connection: ConnectionId::new(connection).map_err(|_| bad())?,
        device: read.device("d")?,
        connected_at: read.time("a")?,
        expires: read.time("x")?,
    })
}

/// Writes the session in the place of what was admitted, counts it in this minute, and writes the `ttl` unless it is to stay; refused where
/// that would lower the session's `expires` or the `ttl`. Answers the item as it is then, or as it is where it is refused.
pub fn register(
    update: UpdateItemFluentBuilder,
    user: &UserId,
    session: &Connection,
    now: UnixMillis,
    ttl: Option<u64>,
) -> UpdateItemFluentBuilder {
    let rest = format!("REMOVE #p ADD {} :one", hellos_name(minute(now)));
    let not_lowered = "(attribute_not_exists(#c) OR #c.x <= :x)";
    let update = update
        .set_key(Some(key(user)))
        .expression_attribute_names("#c", name(&session.connection))
        .expression_attribute_names("#p", pending_name(&session.connection))
        .expression_attribute_values(":c", value(session))
        .expression_attribute_values(":one", n(1_u64))
        .expression_attribute_values(":x", n(session.expires))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match ttl {
        Some(ttl) => update
            .update_expression(format!("SET #c = :c, #t = :t {rest}"))
            .condition_expression(format!("{not_lowered} AND (attribute_not_exists(#t) OR #t <= :t)"))
            .expression_attribute_names("#t", TTL)
            .expression_attribute_values(":t", n(ttl)),
        None => update.update_expression(format!("SET #c = :c {rest}")).condition_expression(not_lowered),
    }
}

/// Notes a connection that is about to open, and the `ttl` unless it is to stay; refused while the gate is shut, and where that would lower
/// the `ttl`. Answers as [`register`].
pub fn admit(
    update: UpdateItemFluentBuilder,
    user: &UserId,
    connection: &Connection,
    now: UnixMillis,
    ttl: Option<u64>,
) -> UpdateItemFluentBuilder {
    // As `Gate::shut_for_ms` says it.
    let is_open = "(attribute_not_exists(g) OR g <= :now OR (gn > :zero AND g > :far))";
    let update = update
        .set_key(Some(key(user)))
        .expression_attribute_names("#p", pending_name(&connection.connection))
        .expression_attribute_values(":p", value(connection))
        .expression_attribute_values(":now", n(now))
        .expression_attribute_values(":zero", n(0_u64))
        .expression_attribute_values(":far", n(now.plus_ms(Gate::FAR_MS)))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match ttl {
        Some(ttl) => update
            .update_expression("SET #p = :p, #t = :t")
            .condition_expression(format!("{is_open} AND (attribute_not_exists(#t) OR #t <= :t)"))
            .expression_attribute_names("#t", TTL)
            .expression_attribute_values(":t", n(ttl)),
        None => update.update_expression("SET #p = :p").condition_expression(is_open),
    }
}

/// Puts a gate in the place of the one that was there; refused where another one is. Answers the item as it is then.
pub fn shut(update: UpdateItemFluentBuilder, user: &UserId, was: Gate, gate: Gate) -> UpdateItemFluentBuilder {
    let update = update
        .set_key(Some(key(user)))
        // Later than any hello's, for nobody connects before it is open again.
        .update_expression("SET g = :g, gn = :n, #t = :t")
        .expression_attribute_names("#t", TTL)
        .expression_attribute_values(":g", n(gate.until))
        .expression_attribute_values(":n", n(gate.times))
        .expression_attribute_values(":t", n(ttl_at(gate.until)))
        .return_values(ReturnValue::AllNew);
    if was == Gate::default() {
        update.condition_expression("attribute_not_exists(g)")
    } else {
        update
            .condition_expression("g = :was AND gn = :times")
            .expression_attribute_values(":was", n(was.until))
            .expression_attribute_values(":times", n(was.times))
    }
}

/// Moves a session's `expires` to a later time; refused where it is as late or where there is no such session. Answers as [`register`].
pub fn prolong(update: UpdateItemFluentBuilder, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> UpdateItemFluentBuilder {
    update
        .set_key(Some(key(user)))
        .update_expression("SET #c.x = :x")
        .condition_expression("attribute_exists(#c) AND #c.x < :x")
        .expression_attribute_names("#c", name(connection))
        .expression_attribute_values(":x", n(expires))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

/// Removes these connections, of which there is at least one; refused where there is no item.
pub fn remove(update: UpdateItemFluentBuilder, user: &UserId, connections: &[ConnectionId]) -> UpdateItemFluentBuilder {
    let names: Vec<String> = (0..2 * connections.len()).map(|index| format!("#c{index}")).collect();
    let mut update = update
        .set_key(Some(key(user)))
        .update_expression(format!("REMOVE {}", names.join(", ")))
        .condition_expression("attribute_exists(u)");
    for (placeholder, name) in names.iter().zip(connections.iter().flat_map(|connection| [name(connection), pending_name(connection)])) {
        update = update.expression_attribute_names(placeholder, name);
    }
    update
}

/// What a request's JSON does, in words: for who watches requests.
pub fn does(request: &Value) -> &'static str {
    let update = request["UpdateExpression"].as_str().unwrap_or_default();
    match update.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["REMOVE", name] if name.starts_with(HELLOS_PREFIX) => "minutes forgotten",
        ["REMOVE", _] => "session removed",
        ["SET", "#p"] => "connection noted",
        ["SET", "g"] => "gate shut",
        _ => "session written",
    }
}

/// Asks for one connection alone.
pub fn get_one(get: GetItemFluentBuilder, user: &UserId, connection: &ConnectionId) -> GetItemFluentBuilder {
    get.set_key(Some(key(user))).projection_expression("#c").expression_attribute_names("#c", name(connection))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chatlane_chat::testing::builders;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    fn by_connection(sessions: Vec<Connection>) -> BTreeMap<ConnectionId, Connection> {
        sessions.into_iter().map(|session| (session.connection.clone(), session)).collect()
    }

    #[test]
    fn every_attribute_is_documented_and_each_that_is_needed_is_missed() {
        let session = builders::session("a=");
        let (connection, value) = (name(&session.connection), value(&session));
        form::is_needed(value.as_m().unwrap(), &[], |value| read_value("a=", &AttributeValue::M(value.clone())));
        let inside = value.as_m().unwrap().keys().map(|name| (format!("{CONNECTION_PREFIX}<connection>.{name}"), s("")));
        let mut item = item(&builders::user("alice"), [&session], ttl_at(builders::start()));
        item.remove(&connection);
        let others = [
            ("c:<connection>", value.clone()),
            ("p:<connection>", value.clone()),
            ("g", n(7_u64)),
            ("gn", n(1_u64)),
            ("h<number>", n(2_u64)),
        ];
        form::is_documented(include_str!("sessions.rs"), [item, inside.collect(), map(others)]);
    }

    #[test]
    fn a_gate_is_read_whole_or_is_open() {
        assert_eq!(gate(&Item::new()).unwrap(), Gate::default());
        let shut = map([("g", n(7_u64)), ("gn", n(2_u64))]);
        assert_eq!(gate(&shut).unwrap(), Gate { until: UnixMillis::ZERO.plus_ms(7), times: 2 });
        form::is_needed(&shut, &["g"], gate);
    }

    #[test]
    fn a_connection_that_is_none_is_named_by_its_attribute() {
        for item in [map([("c:x", s("nothing"))]), map([("c:", value(&builders::session("a=")))])] {
            assert!(read(&item).unwrap_err().to_string().contains("`c:`"));
        }
    }

    proptest! {
        #[test]
        fn sessions_are_read_as_they_were_written(id in any::user(), sessions in vec(any::session(), 0..4), end: u32) {
            let sessions = by_connection(sessions);
            let item = item(&id, sessions.values(), end.into());
            for session in sessions.values() {
                prop_assert_eq!(read_one(&item, &session.connection).unwrap(), Some(session.clone()));
            }
            prop_assert_eq!((user(&item).unwrap(), ttl(&item)), (id, Some(end.into())));
            prop_assert_eq!(by_connection(read(&item).unwrap()), sessions);
        }
    }
}
