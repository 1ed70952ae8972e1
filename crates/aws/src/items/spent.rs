//! What a user has spent lately.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `u` | S | the user, percent-encoded: partition key |
//! | `k` | S | `spent`: sort key |
//! | `w<number>` | N | units spent in a window of time; only differences of the numbers mean anything here |
//! | `ttl` | N | when `DynamoDB` may remove the item, seconds since 1970 |
//!
//! Table: users. Scope: one user; removed by its `ttl` two hours after the last charge. Written by every function that answers a user, and by
//! `fan_out`, for one frame in many; windows that count no more are removed by later charges: those right before the first that counts at
//! once, others when they are many. Read from the answer of the update.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use chatlane_chat::limit::Budget;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{UnixMillis, UserId};
use serde_json::Value;

use super::{Item, Read, map, n, s, sessions, user_key};

/// The sort key.
const SORT: &str = "spent";

/// The start of a window's attribute.
const WINDOW_PREFIX: &str = "w";

/// How long the item outlives its last charge.
const LIFE_MS: u64 = 2 * 60 * 60 * 1000;

/// The key of a user's account.
pub fn key(user: &UserId) -> Item {
    map([("u", s(user_key(user))), ("k", s(SORT))])
}

/// A user's account.
pub fn item(user: &UserId, spent: &BTreeMap<u64, u64>, now: UnixMillis) -> Item {
    let mut item = key(user);
    item.extend(map([(sessions::TTL, n(ttl_at(now)))]));
    item.extend(spent.iter().map(|(window, units)| (name(*window), n(*units))));
    item
}

/// What was spent in each window.
pub fn read(item: &Item) -> Result<BTreeMap<u64, u64>, Failure> {
    let read = Read::of(item, "read an account");
    let windows = item.keys().filter_map(|name| Some((name, name.strip_prefix(WINDOW_PREFIX)?.parse().ok()?)));
    windows.map(|(name, window)| Ok((window, read.number(name)?))).collect()
}

/// The attribute of a window.
pub fn name(window: u64) -> String {
    format!("{WINDOW_PREFIX}{window}")
}

const fn ttl_at(now: UnixMillis) -> u64 {
    now.plus_ms(LIFE_MS).get() / 1000
}

/// Adds to a window, and forgets some before the first that counts. Answers the item as it is then.
pub fn charge(
    update: UpdateItemFluentBuilder,
    user: &UserId,
    window: u64,
    units: u64,
    first: u64,
    now: UnixMillis,
) -> UpdateItemFluentBuilder {
    let forgotten: Vec<String> = (first.saturating_sub(Budget::WINDOWS)..first).map(name).collect();
    // The names are letters and digits, and no reserved words.
    update
        .set_key(Some(key(user)))
        .update_expression(format!("ADD {} :units SET #t = :t REMOVE {}", name(window), forgotten.join(", ")))
        .expression_attribute_names("#t", sessions::TTL)
        .expression_attribute_values(":units", n(units))
        .expression_attribute_values(":t", n(ttl_at(now)))
        .return_values(ReturnValue::AllNew)
}

/// Whether a request's JSON is one of [`charge`]: for who watches requests.
pub fn charges(request: &Value) -> bool {
    request["Key"]["k"]["S"] == SORT
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders::{start, user};
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn every_attribute_is_documented() {
        let mut item = item(&user("alice"), &BTreeMap::new(), start());
        item.extend(map([("w<number>", n(7_u64))]));
        form::is_documented(include_str!("spent.rs"), [item]);
    }

    #[test]
    fn units_that_are_no_number_are_named_by_their_window() {
        assert!(read(&map([("w7", s("many"))])).unwrap_err().to_string().contains("`w7`"));
    }

    proptest! {
        #[test]
        fn an_account_is_read_as_it_was_written(id in any::user(), spent in btree_map(any::<u64>(), any::<u64>(), 0..40)) {
            prop_assert_eq!(read(&item(&id, &spent, start())).unwrap(), spent);
        }
    }
}
