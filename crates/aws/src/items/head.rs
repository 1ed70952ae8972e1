//! How far the delivery of a conversation has begun: an item of its own, because it is written for every message.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `head`: sort key |
//! | `e` | N | the epoch of the last entry whose delivery has begun, 0 before the first |
//! | `s` | N | its seq |
//! | `n` | N | countable messages up to it; missing in items of before: 0 |
//! | `t` | N | when it was accepted, ms; missing in items of before: 0 |
//! | `nm` | N | members up to it; missing, with the next three: a direct conversation, or no entry since it is written |
//! | `mc` | N | the seq of the last change of membership or roles up to it |
//! | `sc` | N | the seq of the last change of settings up to it |
//! | `z` | BOOL | whether it is large |
//!
//! Table: conversations. Scope: one conversation; kept for ever. Written at zero by `open` and `manage`, then raised by `fan_out`, never lowered. Read
//! by key (batch), and from the answer of the update. A hint: the log decides.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, ReturnValuesOnConditionCheckFailure};
pub use chatlane_chat::log::Head;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConversationId, GroupMarks, Seq, UnixMillis};
use serde_json::{Value, json};

use super::json::{from_json, to_json};
use super::{Item, Read, conversation_key, n};

/// The sort key.
const SORT: &str = "head";

/// The field of a request that has the values of its expressions.
const VALUES: &str = "ExpressionAttributeValues";

/// The key of a conversation's head.
pub fn key(conversation: &ConversationId) -> Item {
    conversation_key(conversation, SORT)
}

fn attributes(head: Head) -> Vec<(&'static str, AttributeValue)> {
    let mut all = vec![("e", n(head.position.epoch)), ("s", n(head.position.seq)), ("n", n(head.count)), ("t", n(head.time))];
    if let Some(group) = head.group {
        let seqs = [("mc", n(group.membership_changed)), ("sc", n(group.settings_changed))];
        all.extend(seqs.into_iter().chain([("nm", n(group.members)), ("z", AttributeValue::Bool(group.large))]));
    }
    all
}

/// A head's item.
pub fn item(conversation: &ConversationId, head: Head) -> Item {
    let mut item = key(conversation);
    item.extend(attributes(head).into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// An item as a head. One of an earlier version has neither count nor time until its next entry.
pub fn read(item: &Item) -> Result<Head, Failure> {
    let read = Read::of(item, "read a head");
    Ok(Head {
        position: read.position()?,
        count: if read.has("n") { read.number("n")? } else { 0 },
        time: if read.has("t") { read.time("t")? } else { UnixMillis::ZERO },
        group: if read.has("nm") { Some(group(&read)?) } else { None },
    })
}

fn group(read: &Read<'_>) -> Result<GroupMarks, Failure> {
    Ok(GroupMarks {
        members: read.small("nm")?,
        membership_changed: read.seq("mc")?,
        settings_changed: read.seq("sc")?,
        large: read.boolean("z")?,
    })
}

/// The conversation of an item.
pub fn conversation(item: &Item) -> Result<ConversationId, Failure> {
    Read::of(item, "read a head").conversation()
}

/// Puts it at zero; in a transaction.
pub fn create(conversation: &ConversationId) -> PutBuilder {
    Put::builder().set_item(Some(item(conversation, Head::default())))
}

/// Raises the head to `to` if it is lower; makes none. Answers the item as it was, also where it is refused.
pub fn raise(update: UpdateItemFluentBuilder, conversation: &ConversationId, to: Head) -> UpdateItemFluentBuilder {
    update
        .set_key(Some(key(conversation)))
        .update_expression(format!(
            "SET {}",
            attributes(to).iter().map(|(name, _)| format!("{name} = :{name}")).collect::<Vec<_>>().join(", ")
        ))
        .condition_expression("attribute_exists(c) AND (e < :e OR (e = :e AND s < :s))")
        .set_expression_attribute_values(Some(raise_values(to)))
        .return_values(ReturnValue::AllOld)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn raise_values(to: Head) -> Item {
    attributes(to).into_iter().map(|(name, value)| (format!(":{name}"), value)).collect()
}

/// The seq that [`raise`] asks for in a request's JSON: for who watches requests.
pub fn raised_to(request: &Value) -> Option<Seq> {
    Read::of(&from_json(request.get(VALUES)?)?, "read a request").seq(":s").ok()
}

/// What [`raised_to`] reads of such a request.
pub fn raise_request(to: Head) -> Value {
    json!({ "TableName": "conversations", VALUES: to_json(&raise_values(to)) })
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn a_head_of_an_earlier_version_has_neither_count_nor_time() {
        let mut item = item(&builders::conversation("d1"), builders::head(7));
        item.remove("n");
        item.remove("t");
        assert_eq!(read(&item).unwrap(), Head { position: builders::position(7), ..Head::default() });
    }

    const MARKS: GroupMarks = GroupMarks { members: 3, membership_changed: Seq::FIRST, settings_changed: Seq::FIRST, large: false };

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written(id in any::conversation(), head in any::head()) {
            let (item, marked) = (item(&id, head), item(&id, Head { group: Some(MARKS), ..head }));
            prop_assert_eq!((conversation(&item).unwrap(), read(&item).unwrap()), (id, head));
            prop_assert_eq!(raised_to(&raise_request(head)).unwrap(), head.position.seq);
            form::is_needed(&item, &["c", "k", "n", "t", "nm"], read);
            form::is_documented(include_str!("head.rs"), [marked]);
        }
    }
}
