//! What one user has put beside a message.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `reaction#<seq>#<user>`, the message's seq, the user percent-encoded: sort key |
//! | `u` | S | the user |
//! | `r` | L of S | the reactions, ascending |
//!
//! Table: conversations. Scope: one user and message; kept for ever. Written by `send`, in the transaction of each reaction of the user, with
//! [`reactions`](super::reactions), whose condition holds for both. Read by key in a transaction.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConversationId, ReactionKey, Seq, UserId};

use super::{Item, Read, conversation_key, map, s, set, user_key};

/// The key of a user's reactions to a message.
pub fn key(conversation: &ConversationId, target: Seq, user: &UserId) -> Item {
    conversation_key(conversation, &format!("reaction#{}#{}", target.get(), user_key(user)))
}

/// The item.
pub fn item(conversation: &ConversationId, target: Seq, user: &UserId, own: &BTreeSet<ReactionKey>) -> Item {
    let mut item = key(conversation, target, user);
    let own = own.iter().map(|key| s(key.as_str())).collect();
    item.extend(map([("u", s(user.as_str())), ("r", AttributeValue::L(own))]));
    item
}

/// An item as what the user has put there.
pub fn read(item: &Item) -> Result<BTreeSet<ReactionKey>, Failure> {
    let read = Read::of(item, "read a user's reactions");
    let own = read.value("r")?.as_l().map_err(|_| read.bad("r"))?;
    let key = |value: &AttributeValue| ReactionKey::new(value.as_s().ok()?.as_str()).ok();
    own.iter().map(|value| key(value).ok_or_else(|| read.bad("r"))).collect()
}

/// Makes of it what this is, whatever is there; in a transaction. What a later version has added stays.
pub fn becomes(conversation: &ConversationId, target: Seq, user: &UserId, own: &BTreeSet<ReactionKey>) -> UpdateBuilder {
    set(key(conversation, target, user), item(conversation, target, user, own))
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn what_is_no_reaction_is_named() {
        for bad in [s("x"), AttributeValue::L(vec![s("")])] {
            assert!(read(&map([("r", bad)])).unwrap_err().to_string().contains("`r`"));
        }
    }

    proptest! {
        #[test]
        fn own_reactions_are_read_as_they_were_written(
            conversation in any::conversation(),
            target in any::seq(),
            user in any::user(),
            own in btree_set("[a-z👍ü]{1,8}".prop_map(|key| ReactionKey::new(key).unwrap()), 0..4),
        ) {
            let item = item(&conversation, target, &user, &own);
            prop_assert_eq!(read(&item).unwrap(), own);
            form::is_needed(&item, &["c", "k", "u"], read);
            form::is_documented(include_str!("reaction.rs"), [item]);
        }
    }
}
