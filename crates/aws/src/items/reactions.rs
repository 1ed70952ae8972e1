//! The reactions to a message, counted.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `reactions#<seq>`, the message's seq in 16 digits: sort key |
//! | `s` | N | the message's seq |
//! | `t` | N | the seq of the last reaction that is counted |
//! | `x` | BOOL | the message was deleted; else missing |
//! | `r` | M of M | by reaction: `n` N, how many users; `u` B, the hashes of at most 20 of them, 8 bytes each |
//!
//! Table: conversations. Scope: one message; kept for ever. Written by `send`, in the transaction of each reaction, under the condition that
//! it is as it was read; closed in that of the message's deletion. Read by key in a transaction, and by queries of several messages of one
//! conversation.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use chatlane_chat::log::reactions::{Reactions, Reactors};
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConversationId, ReactionKey, Seq};

use super::{Item, NEW, Read, conversation_key, map, n, s, set};

/// The sort key.
fn sort(target: Seq) -> String {
    format!("reactions#{:016}", target.get())
}

/// The key of a message's reactions.
pub fn key(conversation: &ConversationId, target: Seq) -> Item {
    conversation_key(conversation, &sort(target))
}

/// The item.
pub fn item(conversation: &ConversationId, target: Seq, reactions: &Reactions) -> Item {
    let mut item = key(conversation, target);
    let reactors = |(key, reactors): (&ReactionKey, &Reactors)| {
        let users: Vec<u8> = reactors.users.iter().flat_map(|user| user.to_be_bytes()).collect();
        let reactors = map([("n", n(reactors.count)), ("u", AttributeValue::B(Blob::new(users)))]);
        (key.as_str().to_owned(), AttributeValue::M(reactors))
    };
    let counts = reactions.counts.iter().map(reactors).collect();
    item.extend(map([("s", n(target)), ("t", n(reactions.to)), ("r", AttributeValue::M(counts))]));
    item.extend(reactions.closed.then(|| ("x".to_owned(), AttributeValue::Bool(true))));
    item
}

/// An item as the reactions to the message of this seq.
pub fn read(item: &Item) -> Result<(Seq, Reactions), Failure> {
    let read = Read::of(item, "read reactions");
    let reactors = |(key, value): (&String, &AttributeValue)| {
        let reactors = Read::of(value.as_m().map_err(|_| read.bad("r"))?, "read reactions");
        let users = reactors.bytes("u")?;
        let users = users.chunks_exact(8).filter_map(|user| Some(u64::from_be_bytes(user.try_into().ok()?))).collect();
        let key = ReactionKey::new(key.as_str()).map_err(|_| read.bad("r"))?;
        Ok((key, Reactors { count: reactors.small("n")?, users }))
    };
    let counts = read.map("r")?.iter().map(reactors).collect::<Result<_, Failure>>()?;
    let closed = read.optional("x", Read::boolean)?.unwrap_or_default();
    Ok((read.seq("s")?, Reactions { to: read.seq("t")?, closed, counts }))
}

/// Makes of it what these are, where there is what was read; in a transaction. What a later version has added stays.
pub fn becomes(conversation: &ConversationId, target: Seq, was: Option<&Reactions>, reactions: &Reactions) -> UpdateBuilder {
    let update = set(key(conversation, target), item(conversation, target, reactions));
    match was {
        None => update.condition_expression(NEW),
        Some(was) => update.condition_expression("t = :was AND attribute_not_exists(x)").expression_attribute_values(":was", n(was.to)),
    }
}

/// Nobody reacts any more, whatever is there; in a transaction.
pub fn close(conversation: &ConversationId, target: Seq, by: Seq) -> UpdateBuilder {
    let closed = Reactions { to: by, closed: true, ..Reactions::default() };
    set(key(conversation, target), item(conversation, target, &closed))
}

/// Those to the messages of these seqs, both ends included, ascending.
pub fn query(query: QueryFluentBuilder, conversation: &ConversationId, first: Seq, last: Seq) -> QueryFluentBuilder {
    query
        .key_condition_expression("c = :c AND k BETWEEN :first AND :last")
        .expression_attribute_values(":c", s(conversation.as_str()))
        .expression_attribute_values(":first", s(sort(first)))
        .expression_attribute_values(":last", s(sort(last)))
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders::conversation;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    fn reactions() -> impl Strategy<Value = Reactions> {
        let reactors = (1..300_u32, vec(any::<u64>(), 0..20)).prop_map(|(count, users)| Reactors { count, users });
        let key = "[a-z👍ü]{1,8}".prop_map(|key| ReactionKey::new(key).unwrap());
        (any::seq(), any::<bool>(), btree_map(key, reactors, 1..4)).prop_map(|(to, closed, counts)| Reactions { to, closed, counts })
    }

    #[test]
    fn what_is_no_reaction_is_named() {
        let item = |key: &str, value| {
            let mut item = item(&conversation("g1"), Seq::FIRST, &Reactions::default());
            item.insert("r".to_owned(), AttributeValue::M(map([(key, value)])));
            item
        };
        let good = || AttributeValue::M(map([("n", n(1_u64)), ("u", AttributeValue::B(Blob::new([])))]));
        for bad in [item("", good()), item("+1", s("x"))] {
            assert!(read(&bad).unwrap_err().to_string().contains("`r`"));
        }
        assert!(read(&item("+1", AttributeValue::M(Item::new()))).unwrap_err().to_string().contains("`u`"));
    }

    #[test]
    fn keys_ascend_with_seqs() {
        let seqs = [Seq::FIRST, Seq::try_from(10).unwrap(), Seq::try_from(9_999).unwrap(), Seq::MAX];
        assert!(seqs.map(sort).is_sorted_by(|one, next| one < next && one.len() == next.len()));
    }

    proptest! {
        #[test]
        fn reactions_are_read_as_they_were_written(conversation in any::conversation(), target in any::seq(), reactions in reactions()) {
            let item = item(&conversation, target, &reactions);
            prop_assert_eq!(read(&item).unwrap(), (target, reactions));
            form::is_needed(&item, &["c", "k", "x"], read);
            form::is_documented(include_str!("reactions.rs"), [super::item(&conversation, target, &Reactions { closed: true, ..Reactions::default() })]);
        }
    }
}
