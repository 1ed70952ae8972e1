//! What a user has done on one day.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `u` | S | the user, percent-encoded: partition key |
//! | `k` | S | `day#` and the number of the day since 1970 (UTC): sort key |
//! | `o` | N | conversations that they created |
//! | `a` | N | users whom they added to groups |
//! | `ttl` | N | when `DynamoDB` may remove the item, seconds since 1970 |
//!
//! Table: users. Scope: one user and day; removed by its `ttl` two days after the day began. Written by `open` and `manage`, in the transaction that creates
//! a conversation and before one that adds users, and read by its condition.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::Update;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use chatlane_protocol::{UnixMillis, UserId};

use super::{Item, map, n, s, sessions, user_key};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The key of the item of the day of this time.
pub fn key(user: &UserId, at: UnixMillis) -> Item {
    map([("u", s(user_key(user))), ("k", s(format!("day#{}", at.get() / DAY_MS)))])
}

/// Counts a conversation that is created at this time; refused where there are as many as there may be.
pub fn count(user: &UserId, at: UnixMillis, most: u64) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(key(user, at)))
        .update_expression("ADD o :one SET #t = :t")
        .condition_expression("attribute_not_exists(o) OR o < :most")
        .expression_attribute_names("#t", sessions::TTL)
        .expression_attribute_values(":one", n(1_u64))
        .expression_attribute_values(":most", n(most))
        .expression_attribute_values(":t", n(ttl_at(at)))
}

/// Counts users who are added at this time; refused where that are more than there may be.
pub fn count_added(update: UpdateItemFluentBuilder, user: &UserId, at: UnixMillis, users: u64, most: u64) -> UpdateItemFluentBuilder {
    update
        .set_key(Some(key(user, at)))
        .update_expression("ADD a :more SET #t = :t")
        .condition_expression("attribute_not_exists(a) OR a <= :rest")
        .expression_attribute_names("#t", sessions::TTL)
        .expression_attribute_values(":more", n(users))
        .expression_attribute_values(":rest", n(most.saturating_sub(users)))
        .expression_attribute_values(":t", n(ttl_at(at)))
}

const fn ttl_at(at: UnixMillis) -> u64 {
    (at.get() / DAY_MS + 2) * DAY_MS / 1000
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders::{start, user};

    use super::*;
    use crate::items::testing::form;

    #[test]
    fn every_attribute_is_documented() {
        let mut item = key(&user("alice"), start());
        item.extend(map([("o", n(1_u64)), ("a", n(1_u64)), (sessions::TTL, n(1_u64))]));
        form::is_documented(include_str!("day.rs"), [item]);
    }
}
