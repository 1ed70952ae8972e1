//! When a user was a member of a conversation that they have left, or been removed from.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `left#<user>`, the user percent-encoded: sort key |
//! | `u` | S | the user |
//! | `sp` | L of M | the spans, the oldest first, the last 20: `f` N, the seq of the first entry that they could see, and `e` N, the last, epoch × 10¹⁶ + seq |
//!
//! Table: conversations. Scope: one user in one conversation; kept for ever, also where the user is a member again. Written by `manage`, in
//! the transaction that removes the [`member`](super::member). Read by key in a transaction.

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put};
use chatlane_chat::ports::{Failure, Span};
use chatlane_protocol::{ConversationId, UserId};

use super::{Item, Read, conversation_key, cursor, map, n, s, user_key};

/// The start of the sort key.
const SORT_PREFIX: &str = "left#";

/// The key of who has left.
pub fn key(conversation: &ConversationId, user: &UserId) -> Item {
    conversation_key(conversation, &format!("{SORT_PREFIX}{}", user_key(user)))
}

/// The item of who has left.
pub fn item(conversation: &ConversationId, user: &UserId, spans: &[Span]) -> Item {
    let span = |span: &Span| AttributeValue::M(map([("f", n(span.from)), ("e", cursor(span.end))]));
    let mut item = key(conversation, user);
    item.extend(map([("u", s(user.as_str())), ("sp", AttributeValue::L(spans.iter().map(span).collect()))]));
    item
}

/// An item as spans.
pub fn read(item: &Item) -> Result<Vec<Span>, Failure> {
    let read = Read::of(item, "read who has left");
    let spans = read.value("sp")?.as_l().map_err(|_| read.bad("sp"))?;
    let span = |value: &AttributeValue| {
        let span = Read::of(value.as_m().map_err(|_| read.bad("sp"))?, "read who has left");
        Ok(Span { from: span.seq("f")?, end: span.cursor("e")? })
    };
    spans.iter().map(span).collect()
}

/// Puts it, whatever is there; in a transaction.
pub fn create(conversation: &ConversationId, user: &UserId, spans: &[Span]) -> PutBuilder {
    Put::builder().set_item(Some(item(conversation, user, spans)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn a_span_that_is_none_is_named() {
        let spans = |value| map([("sp", value)]);
        for bad in [s("x"), AttributeValue::L(vec![s("x")])] {
            assert!(read(&spans(bad)).unwrap_err().to_string().contains("`sp`"));
        }
        for (one, other) in [("f", "e"), ("e", "f")] {
            let span = AttributeValue::M(map([(one, n(1_u64))]));
            assert!(read(&spans(AttributeValue::L(vec![span]))).unwrap_err().to_string().contains(&format!("`{other}`")));
        }
    }

    proptest! {
        #[test]
        fn spans_are_read_as_they_were_written(
            conversation in any::conversation(),
            user in any::user(),
            spans in vec((any::seq(), any::position()).prop_map(|(from, end)| Span { from, end }), 0..3),
        ) {
            let item = item(&conversation, &user, &spans);
            prop_assert_eq!(read(&item).unwrap(), spans);
            form::is_needed(&item, &["c", "k", "u"], read);
            form::is_documented(include_str!("left.rs"), [item]);
        }
    }
}
