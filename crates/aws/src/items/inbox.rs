//! One conversation in a user's inbox, with the cursors of the user and of each device (C1).
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `u` | S | the user, percent-encoded: partition key |
//! | `c` | S | the conversation: sort key |
//! | `w` | S | the other member of a direct conversation; else missing |
//! | `f` | N | the seq of the first entry that the user may see; never changes |
//! | `v` | N | the seq of the entry that wrote the membership; missing in rows of before, all of direct conversations: 1 |
//! | `o` | S | the role, as in the member's item; missing: `m` |
//! | `r` | N | the read cursor, epoch × 10¹⁶ + seq; missing: nothing is read |
//! | `rn` | N | countable messages up to it; there if `r` is |
//! | `p` | N | how far others are told that the user has read, as `r`; missing: as far as `r` |
//! | `pv` | N | the version of the preferences; missing: nothing was ever set |
//! | `mu` | N | until when it is muted, ms; missing: it is not |
//! | `mo` | BOOL | mentions disturb although it is muted; there if true, as the next three |
//! | `pi` | BOOL | pinned |
//! | `ar` | BOOL | archived |
//! | `un` | BOOL | to look unread |
//! | `m` | N | the seq of the last entry that mentions the user; missing: none does |
//! | `d:<device>` | N | the delivered cursor of a device (32 hexadecimal digits), as `r`, of the 16 furthest; missing: it never said so |
//!
//! Table: inboxes. Scope: one membership. Made, without cursors by `open`, with the read cursor by `manage`, and removed by `manage` with the
//! member's item; `ack` and `read` move cursors, each only forward, `manage` sets
//! preferences, and `fan_out` notes mentions, only forward too: none of them makes a row. Read by key (batch), a user's in the order of the conversations' ids by a query, and from the answer of the update.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, Select, Update};
use chatlane_chat::log::Role;
use chatlane_chat::ports::{Advance, Failure, InboxRow, Member, ReadCursor, Shown};
use chatlane_protocol::{ConversationId, DeviceId, Prefs, PrefsChange, Seq, UnixMillis, UserId};

use super::{Item, Read, cursor, map, n, role_letter, s, user_key};

/// The start of a device's attribute.
const DELIVERED_PREFIX: &str = "d:";

/// The key of a row.
pub fn key(user: &UserId, conversation: &ConversationId) -> Item {
    map([("u", s(user_key(user))), ("c", s(conversation.as_str()))])
}

/// The user's row as an item.
pub fn item(user: &UserId, row: &InboxRow) -> Item {
    let mut item = key(user, &row.conversation);
    item.extend(map([("f", n(row.visible_from)), ("v", n(row.version))]));
    item.extend(map(row.with.iter().map(|with| ("w", s(with.as_str())))));
    item.extend(map((row.role != Role::Member).then(|| ("o", s(role_letter(row.role))))));
    if row.read != ReadCursor::NONE {
        item.extend(map([("r", cursor(row.read.position)), ("rn", n(row.read.count))]));
    }
    let Prefs { version, muted_until_ms, mentions, pinned, archived, unread } = row.prefs;
    let flags = [("mo", mentions), ("pi", pinned), ("ar", archived), ("un", unread)];
    item.extend(map(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, AttributeValue::Bool(true)))));
    let numbers =
        [("pv", Some(version).filter(|version| *version > 0)), ("mu", muted_until_ms.map(u64::from)), ("m", row.mentioned.map(u64::from))];
    item.extend(map(numbers.into_iter().filter_map(|(name, number)| Some((name, n(number?))))));
    item.extend(row.shown.map(|shown| ("p".to_owned(), cursor(shown))));
    item.extend(row.delivered.iter().map(|(device, position)| (delivered_name(*device), cursor(*position))));
    item
}

/// An item as a row.
pub fn read(item: &Item) -> Result<InboxRow, Failure> {
    let read = Read::of(item, "read an inbox row");
    let mut delivered = BTreeMap::new();
    for name in item.keys().filter(|name| name.starts_with(DELIVERED_PREFIX)) {
        delivered.insert(delivered_device(name).ok_or_else(|| read.bad(DELIVERED_PREFIX))?, read.cursor(name)?);
    }
    Ok(InboxRow {
        conversation: read.conversation()?,
        with: if read.has("w") { Some(read.user("w")?) } else { None },
        visible_from: read.seq("f")?,
        version: read.optional("v", Read::seq)?.unwrap_or(Seq::FIRST),
        role: read.optional("o", Read::role)?.unwrap_or(Role::Member),
        read: if read.has("r") { ReadCursor { position: read.cursor("r")?, count: read.number("rn")? } } else { ReadCursor::NONE },
        shown: read.optional("p", Read::cursor)?,
        prefs: prefs(&read)?,
        mentioned: read.optional("m", Read::seq)?,
        delivered,
    })
}

fn prefs(read: &Read<'_>) -> Result<Prefs, Failure> {
    let flag = |name| Ok(read.optional(name, Read::boolean)?.unwrap_or_default());
    Ok(Prefs {
        version: read.optional("pv", Read::number)?.unwrap_or_default(),
        muted_until_ms: read.optional("mu", Read::time)?,
        mentions: flag("mo")?,
        pinned: flag("pi")?,
        archived: flag("ar")?,
        unread: flag("un")?,
    })
}

/// Sets preferences, field by field, and raises their version; makes no row. Answers the item as it is then.
pub fn prefer(
    update: UpdateItemFluentBuilder,
    user: &UserId,
    conversation: &ConversationId,
    change: &PrefsChange,
) -> UpdateItemFluentBuilder {
    let PrefsChange { muted_until_ms, mentions, pinned, archived, unread } = *change;
    let flags = [("mo", mentions), ("pi", pinned), ("ar", archived), ("un", unread)];
    let flags = flags.into_iter().filter_map(|(name, set)| Some((name, set?.then_some(AttributeValue::Bool(true)))));
    let muted = muted_until_ms.map(|until| ("mu", Some(until).filter(|until| *until > UnixMillis::ZERO).map(n)));
    let (mut sets, mut removes, mut update) = (vec![], vec![], update);
    for (name, value) in flags.chain(muted) {
        match value {
            Some(value) => {
                sets.push(format!("{name} = :{name}"));
                update = update.expression_attribute_values(format!(":{name}"), value);
            }
            None => removes.push(name),
        }
    }
    let parts = [("SET", sets.join(", ")), ("REMOVE", removes.join(", "))];
    let parts = parts.into_iter().filter(|(_, list)| !list.is_empty()).map(|(verb, list)| format!("{verb} {list} "));
    update
        .set_key(Some(key(user, conversation)))
        .update_expression(format!("{}ADD pv :one", parts.collect::<String>()))
        .condition_expression("attribute_exists(u)")
        .expression_attribute_values(":one", n(1_u64))
        .return_values(ReturnValue::AllNew)
}

/// Notes that this entry mentions the user, if it is above the last that did; makes no row.
pub fn mention(update: UpdateItemFluentBuilder, user: &UserId, conversation: &ConversationId, at: Seq) -> UpdateItemFluentBuilder {
    update
        .set_key(Some(key(user, conversation)))
        .update_expression("SET m = :m")
        .condition_expression("attribute_exists(u) AND (attribute_not_exists(m) OR m < :m)")
        .expression_attribute_values(":m", n(at))
}

/// The conversation of an item.
pub fn conversation(item: &Item) -> Result<ConversationId, Failure> {
    Read::of(item, "read an inbox row").conversation()
}

/// The user of an item.
pub fn user(item: &Item) -> Result<UserId, Failure> {
    Read::of(item, "read an inbox row").user_of_key("u")
}

fn delivered_name(device: DeviceId) -> String {
    format!("{DELIVERED_PREFIX}{}", device.to_string().replace('-', ""))
}

fn delivered_device(name: &str) -> Option<DeviceId> {
    let hex = name.strip_prefix(DELIVERED_PREFIX)?;
    let hyphenated = format!("{}-{}-{}-{}-{}", hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?);
    DeviceId::new(&hyphenated).ok()
}

/// Puts it, whatever is there; in a transaction.
pub fn create(user: &UserId, row: &InboxRow) -> PutBuilder {
    Put::builder().set_item(Some(item(user, row)))
}

/// Gives the role of this member, and the version, to the row; makes none; in a transaction.
pub fn set_role(conversation: &ConversationId, member: &Member) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(key(&member.user, conversation)))
        .update_expression("SET o = :o, v = :v")
        .condition_expression("attribute_exists(u)")
        .expression_attribute_values(":o", s(role_letter(member.role)))
        .expression_attribute_values(":v", n(member.version))
}

/// Removes it, if it is there; in a transaction.
pub fn remove(user: &UserId, conversation: &ConversationId) -> DeleteBuilder {
    Delete::builder().set_key(Some(key(user, conversation)))
}

/// A user's rows, in the order of their conversations' ids. A page of it begins behind the [`key`] of a row.
pub fn query(query: QueryFluentBuilder, user: &UserId) -> QueryFluentBuilder {
    query.key_condition_expression("u = :u").expression_attribute_values(":u", s(user_key(user)))
}

/// How many of a user's rows are of groups.
pub fn query_groups(groups: QueryFluentBuilder, user: &UserId) -> QueryFluentBuilder {
    query(groups, user).filter_expression("attribute_not_exists(w)").select(Select::Count)
}

/// What of `to` the row has not got yet, with what is to be dropped and is as it was named; nothing is dropped for nothing. A device that
/// never said anything is below every position.
pub fn above(to: Advance, device: DeviceId, row: &InboxRow) -> Advance {
    let shown = match to.shown {
        Shown::To(at) if row.shown.is_none_or(|shown| shown >= at) => Shown::Follows,
        Shown::Stays(_) if to.read.is_none_or(|to| row.read.position >= to.position) => Shown::Follows,
        // Others are told what they were told last, not what they were when the row was read.
        Shown::Stays(_) if row.shown.is_none() => Shown::Stays(row.read.position),
        Shown::Follows => match to.read {
            Some(read) if row.shown.is_some_and(|shown| shown < read.position) => Shown::To(read.position),
            _ => Shown::Follows,
        },
        shown => shown,
    };
    let to = Advance {
        shown,
        dropped: to.dropped.into_iter().filter(|(other, at)| row.delivered.get(other) == Some(at)).collect(),
        delivered: to.delivered.filter(|to| row.delivered.get(&device).is_none_or(|has| has < to)),
        read: to.read.filter(|to| row.read.position < to.position),
    };
    let moves = to.delivered.is_some() || to.read.is_some() || matches!(to.shown, Shown::To(_));
    if moves { to } else { Advance::default() }
}

/// What an update that was not refused makes of the row.
pub fn applied(to: &Advance, device: DeviceId, mut row: InboxRow) -> InboxRow {
    row.delivered.extend(to.delivered.map(|to| (device, to)));
    row.read = to.read.unwrap_or(row.read);
    match to.shown {
        Shown::Follows => {}
        Shown::To(at) => row.shown = Some(at),
        Shown::Stays(at) => _ = row.shown.get_or_insert(at),
    }
    row.delivered.retain(|device, at| !to.dropped.contains(&(*device, *at)));
    row
}

/// Moves all of them if all are lower, and drops what is to be dropped if that is as it was named; else nothing. Makes no row. Answers the
/// item as it was, also where it is refused.
pub fn update(
    update: UpdateItemFluentBuilder,
    user: &UserId,
    conversation: &ConversationId,
    device: DeviceId,
    to: &Advance,
) -> UpdateItemFluentBuilder {
    let mut update = update.set_key(Some(key(user, conversation)));
    let (mut sets, mut removes, mut conditions) = (vec![], vec![], vec!["attribute_exists(u)".to_owned()]);
    if let Some(to) = to.delivered {
        sets.push("#d = :d");
        conditions.push("(attribute_not_exists(#d) OR #d < :d)".to_owned());
        update = update.expression_attribute_names("#d", delivered_name(device)).expression_attribute_values(":d", cursor(to));
    }
    if let Some(to) = to.read {
        sets.push("r = :r, rn = :rn");
        conditions.push("(attribute_not_exists(r) OR r < :r)".to_owned());
        update = update.expression_attribute_values(":r", cursor(to.position)).expression_attribute_values(":rn", n(to.count));
    }
    match to.shown {
        Shown::Follows if to.read.is_some() => conditions.push("attribute_not_exists(p)".to_owned()),
        Shown::Follows => {}
        Shown::To(at) => {
            sets.push("p = :p");
            conditions.push("p < :p".to_owned());
            update = update.expression_attribute_values(":p", cursor(at));
        }
        Shown::Stays(at) => {
            sets.push("p = if_not_exists(p, :p)");
            let was = if at.is_zero() { "attribute_not_exists(r)" } else { "r = :p" };
            conditions.push(format!("(attribute_exists(p) OR {was})"));
            update = update.expression_attribute_values(":p", cursor(at));
        }
    }
    for (number, (device, at)) in to.dropped.iter().enumerate() {
        let (name, value) = (format!("#x{number}"), format!(":x{number}"));
        conditions.push(format!("{name} = {value}"));
        removes.push(name.clone());
        update = update.expression_attribute_names(name, delivered_name(*device)).expression_attribute_values(value, cursor(*at));
    }
    let mut expression = format!("SET {}", sets.join(", "));
    if !removes.is_empty() {
        expression = format!("{expression} REMOVE {}", removes.join(", "));
    }
    update
        .update_expression(expression)
        .condition_expression(conditions.join(" AND "))
        .return_values(ReturnValue::AllOld)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn a_cursor_that_is_no_position_is_named_by_its_attribute() {
        let row = |name: &str, value| {
            let row = InboxRow::new(builders::conversation("d1"), None, &builders::member(&builders::user("alice")));
            let mut item = item(&builders::user("alice"), &row);
            item.extend(map([(name, value), ("rn", n(0u64))]));
            read(&item).unwrap_err().to_string()
        };
        let number = |text: &str| AttributeValue::N(text.to_owned());
        // A text; a fraction; a seq above 2^53 - 1; an epoch above 32 bits.
        for bad in [s("1"), number("1.5"), number("9007199254740992"), number("42949672960000000000000001")] {
            assert!(row("r", bad.clone()).contains("`r`"), "{bad:?}");
            let device = "d:3f0c2f642d0f4a1c9a470f8f2a4cf001";
            assert!(row(device, bad.clone()).contains(device), "{bad:?}");
        }
        for bad in ["d:", "d:3f0c", "d:3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001", "d:ü0c2f642d0f4a1c9a470f8f2a4cf001"] {
            assert!(row(bad, n(1u64)).contains("`d:`"), "{bad}");
        }
    }

    #[test]
    fn every_attribute_is_documented_and_each_that_is_needed_is_missed() {
        let items: Vec<Item> = any::some((any::user(), any::row())).iter().map(|(user, row)| item(user, row)).collect();
        for item in &items {
            let cursors = item.keys().map(String::as_str).filter(|name| name.starts_with(DELIVERED_PREFIX));
            form::is_needed(
                item,
                &cursors.chain(["u", "w", "v", "o", "r", "p", "pv", "mu", "mo", "pi", "ar", "un", "m"]).collect::<Vec<_>>(),
                read,
            );
        }
        form::is_documented(include_str!("inbox.rs"), items);
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(user in any::user(), row in any::row()) {
            prop_assert_eq!(read(&item(&user, &row)).unwrap(), row);
        }
    }
}
