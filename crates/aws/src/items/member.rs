//! One member of a conversation.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `member#<user>`, the user percent-encoded: sort key |
//! | `u` | S | the user |
//! | `r` | S | the role: `m` member, `o` moderator, `a` admin, `w` owner |
//! | `f` | N | the seq of the first entry that the member may see; never changes |
//! | `v` | N | the seq of the entry that wrote this item |
//!
//! Table: conversations. Scope: one membership. Written by `open` and `manage`, in the transaction that writes the entry, and removed by
//! `manage`, which leaves [`left`](super::left). Read by key, by key in a
//! transaction, and all of a conversation by a query.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{Delete, Put, Update};
use chatlane_chat::ports::{Failure, Member};
use chatlane_protocol::{ConversationId, Seq, UserId};

use super::{Item, NEW, Read, conversation_key, map, n, role_letter, s, user_key};

/// The start of the sort key.
const SORT_PREFIX: &str = "member#";

/// The key of a member.
pub fn key(conversation: &ConversationId, user: &UserId) -> Item {
    conversation_key(conversation, &format!("{SORT_PREFIX}{}", user_key(user)))
}

/// A member's item.
pub fn item(conversation: &ConversationId, member: &Member) -> Item {
    let mut item = key(conversation, &member.user);
    item.extend(map([
        ("u", s(member.user.as_str())),
        ("r", s(role_letter(member.role))),
        ("f", n(member.visible_from)),
        ("v", n(member.version)),
    ]));
    item
}

/// An item as a member.
pub fn read(item: &Item) -> Result<Member, Failure> {
    let read = Read::of(item, "read a member");
    Ok(Member { user: read.user("u")?, role: read.role("r")?, visible_from: read.seq("f")?, version: read.seq("v")? })
}

/// Gives the member's role and version to the item that had this version; in a transaction.
pub fn set_role(conversation: &ConversationId, member: &Member, was: Seq) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(key(conversation, &member.user)))
        .update_expression("SET r = :r, v = :v")
        .condition_expression("v = :was")
        .expression_attribute_values(":r", s(role_letter(member.role)))
        .expression_attribute_values(":v", n(member.version))
        .expression_attribute_values(":was", n(was))
}

/// Removes it if it still has this version; in a transaction.
pub fn remove(conversation: &ConversationId, member: &Member) -> DeleteBuilder {
    Delete::builder()
        .set_key(Some(key(conversation, &member.user)))
        .condition_expression("v = :was")
        .expression_attribute_values(":was", n(member.version))
}

/// Puts it if there is none; in a transaction.
pub fn create(conversation: &ConversationId, member: &Member) -> PutBuilder {
    Put::builder().set_item(Some(item(conversation, member))).condition_expression(NEW)
}

/// All members of a conversation, in the order of their keys.
pub fn query(query: QueryFluentBuilder, conversation: &ConversationId) -> QueryFluentBuilder {
    query
        .key_condition_expression("c = :c AND begins_with(k, :k)")
        .expression_attribute_values(":c", s(conversation.as_str()))
        .expression_attribute_values(":k", s(SORT_PREFIX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use chatlane_chat::log::Role;

    use super::*;
    use crate::items::testing::{any, form};

    // holds: K1
    #[test]
    fn a_member_with_a_role_of_a_later_version_is_one_who_may_read() {
        let member = chatlane_chat::testing::builders::member(&UserId::new("alice").unwrap());
        let mut item = item(&ConversationId::new("d1").unwrap(), &member);
        item.insert("r".to_owned(), s("guest"));
        assert_eq!(read(&item).unwrap(), Member { role: Role::Later, ..member });
    }

    proptest! {
        #[test]
        fn a_member_is_read_as_it_was_written(conversation in any::conversation(), member in any::member()) {
            let item = item(&conversation, &member);
            prop_assert_eq!(read(&item).unwrap(), member);
            form::is_needed(&item, &["c", "k"], read);
            form::is_documented(include_str!("member.rs"), [item]);
        }
    }
}
