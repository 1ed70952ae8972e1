//! That a user was a member of a conversation once: by it, what concerns them is found later.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `u` | S | the user, percent-encoded: partition key |
//! | `k` | S | `was#<conversation>`: sort key |
//! | `t` | N | when they left, or were removed, the last time, ms |
//!
//! Table: users. Scope: one user and conversation; kept for ever. Written by `manage`, in the transaction that removes the
//! [`member`](super::member). Nothing reads it yet.

use aws_sdk_dynamodb::types::Put;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use chatlane_protocol::{ConversationId, UnixMillis, UserId};

use super::{Item, map, n, s, user_key};

/// The item of who has left at this time.
pub fn item(user: &UserId, conversation: &ConversationId, at: UnixMillis) -> Item {
    map([("u", s(user_key(user))), ("k", s(format!("was#{conversation}"))), ("t", n(at))])
}

/// Puts it, whatever is there; in a transaction.
pub fn create(user: &UserId, conversation: &ConversationId, at: UnixMillis) -> PutBuilder {
    Put::builder().set_item(Some(item(user, conversation, at)))
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders::{conversation, start, user};

    use super::*;
    use crate::items::testing::form;

    #[test]
    fn every_attribute_is_documented() {
        form::is_documented(include_str!("was.rs"), [item(&user("alice"), &conversation("g1"), start())]);
    }
}
