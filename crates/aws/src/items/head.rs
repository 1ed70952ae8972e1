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
//!
//! Table: conversations. Scope: one conversation; kept for ever. Written at zero by `open`, then raised by `fan_out`, never lowered. Read
//! by key (batch), and from the answer of the update. A hint: the log decides.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure};
pub use chatlane_chat::log::Head;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConversationId, Seq, UnixMillis};
use serde_json::{Value, json};

use super::json::{from_json, to_json};
use super::{Item, Read, conversation_key, map, n};

/// The sort key.
const SORT: &str = "head";

/// The field of a request that has the values of its expressions.
const VALUES: &str = "ExpressionAttributeValues";

/// The key of a conversation's head.
pub fn key(conversation: &ConversationId) -> Item {
    conversation_key(conversation, SORT)
}

/// A head's item.
pub fn item(conversation: &ConversationId, head: Head) -> Item {
    let mut item = key(conversation);
    item.extend(map([("e", n(head.position.epoch)), ("s", n(head.position.seq)), ("n", n(head.count)), ("t", n(head.time))]));
    item
}

/// An item as a head. One of an earlier version has neither count nor time until its next entry.
pub fn read(item: &Item) -> Result<Head, Failure> {
    let read = Read::of(item, "read a head");
    Ok(Head {
        position: read.position()?,
        count: if read.has("n") { read.number("n")? } else { 0 },
        time: if read.has("t") { read.time("t")? } else { UnixMillis::ZERO },
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
        .update_expression("SET e = :e, s = :s, n = :n, t = :t")
        .condition_expression("attribute_exists(c) AND (e < :e OR (e = :e AND s < :s))")
        .set_expression_attribute_values(Some(raise_values(to)))
        .return_values(ReturnValue::AllOld)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn raise_values(to: Head) -> Item {
    map([(":e", n(to.position.epoch)), (":s", n(to.position.seq)), (":n", n(to.count)), (":t", n(to.time))])
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

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written(id in any::conversation(), head in any::head()) {
            let item = item(&id, head);
            prop_assert_eq!((conversation(&item).unwrap(), read(&item).unwrap()), (id, head));
            prop_assert_eq!(raised_to(&raise_request(head)).unwrap(), head.position.seq);
            form::is_needed(&item, &["c", "k", "n", "t"], read);
            form::is_documented(include_str!("head.rs"), [item]);
        }
    }
}
