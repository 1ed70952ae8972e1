//! A conversation's policy: a map in every entry. Never an item of its own.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `r` | N | messages per second that are admitted for long |
//! | `s` | S | the lowest role that sends: `m` member, `o` moderator, `a` admin, `w` owner |
//! | `a` | S | the lowest role that adds members; missing: nobody |
//! | `g` | S | the lowest role that manages; missing: nobody |
//! | `c` | BOOL | `true`: closed; else missing |
//! | `l` | BOOL | `true`: locked; else missing |
//! | `z` | BOOL | `true`: large; else missing |
//!
//! Only what differs from the commonest policy is written: a direct conversation's map is 14 bytes.

use aws_sdk_dynamodb::types::AttributeValue;
use chatlane_chat::log::{Policy, SizeClass};
use chatlane_chat::ports::Failure;

use super::{Item, Read, map, n, role_letter, s};

/// A policy as a map.
pub fn item(policy: &Policy) -> Item {
    let mut item = map([("r", n(policy.admitted_per_s))]);
    let flags = [("c", policy.closed), ("l", policy.locked), ("z", policy.size == SizeClass::Large)];
    item.extend(map(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, AttributeValue::Bool(true)))));
    let roles = [("s", Some(policy.send)), ("a", policy.add), ("g", policy.manage)];
    item.extend(map(roles.into_iter().filter_map(|(name, role)| Some((name, s(role_letter(role?)))))));
    item
}

/// A map as a policy.
pub fn read(item: &Item) -> Result<Policy, Failure> {
    let read = Read::of(item, "read a policy");
    let role = |name: &str| if read.has(name) { read.role(name).map(Some) } else { Ok(None) };
    Ok(Policy {
        closed: read.has("c"),
        locked: read.has("l"),
        send: read.role("s")?,
        add: role("a")?,
        manage: role("g")?,
        size: if read.has("z") { SizeClass::Large } else { SizeClass::Small },
        admitted_per_s: read.small("r")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn every_attribute_is_documented_and_each_that_is_needed_is_missed() {
        form::is_documented(include_str!("policy.rs"), any::some(any::policy()).iter().map(item));
        form::is_needed(&item(&Policy::DIRECT), &[], read);
    }

    proptest! {
        #[test]
        fn a_policy_is_read_as_it_was_written(policy in any::policy()) {
            prop_assert_eq!(read(&item(&policy)).unwrap(), policy);
        }
    }
}
