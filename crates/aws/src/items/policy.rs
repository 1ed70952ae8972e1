//! A conversation's policy: a map in every entry. Never an item of its own.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `r` | N | tokens per second, each for a kilobyte: what is admitted for long |
//! | `s` | S | the lowest role that sends: `m` member, `o` moderator, `a` admin, `w` owner |
//! | `a` | S | the lowest role that adds members; missing: nobody |
//! | `g` | S | the lowest role that manages; missing: nobody |
//! | `c` | BOOL | `true`: closed; else missing |
//! | `l` | BOOL | `true`: locked; else missing |
//! | `z` | BOOL | `true`: large; else missing |
//! | `h` | BOOL | `true`: later members see all entries; else missing |
//!
//! A later version may add attributes, and roles: they are carried into the next entry as they are (K1). A role that is not known here permits
//! nobody below owner.
//!
//! Only what differs from the commonest policy is written: a direct conversation's map is 14 bytes.

use aws_sdk_dynamodb::types::AttributeValue;
use chatlane_chat::log::{Policy, Role, SizeClass};
use chatlane_chat::ports::Failure;
use chatlane_protocol::History;

use super::{Item, Read, kept, map, n, role_letter, s};

/// The attributes that are roles.
const ROLES: [&str; 3] = ["s", "a", "g"];

/// All attributes that this code knows.
const KNOWN: [&str; 8] = ["r", "s", "a", "g", "c", "l", "z", "h"];

/// A policy as a map.
pub fn item(policy: &Policy) -> Item {
    let mut item = map([("r", n(policy.admitted_per_s))]);
    let all = policy.history == History::All;
    let flags = [("c", policy.closed), ("l", policy.locked), ("z", policy.size == SizeClass::Large), ("h", all)];
    item.extend(map(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, AttributeValue::Bool(true)))));
    let roles = [("s", Some(policy.send)), ("a", policy.add), ("g", policy.manage)];
    item.extend(map(roles.iter().filter_map(|(name, role)| Some((*name, s(role_letter((*role)?)))))));
    // Last: a role of a later version stands beside the owner that it counts as, unless another role was set since.
    let is_set = |name: &str| roles.iter().any(|(of, role)| *of == name && *role != Some(Role::Owner));
    item.extend(kept::to_item(&policy.later).into_iter().filter(|(name, _)| !is_set(name)));
    item
}

/// A map as a policy.
pub fn read(item: &Item) -> Result<Policy, Failure> {
    let attempted = "read a policy";
    let read = Read::of(item, attempted);
    let is_later = |name: &str| ROLES.contains(&name) && read.role(name).is_ok_and(|role| role == Role::Later);
    let role = |name: &str| if is_later(name) { Ok(Role::Owner) } else { read.role(name) };
    let optional = |name: &str| read.optional(name, |_, name| role(name));
    Ok(Policy {
        closed: read.has("c"),
        locked: read.has("l"),
        send: role("s")?,
        add: optional("a")?,
        manage: optional("g")?,
        history: if read.has("h") { History::All } else { History::Joined },
        size: if read.has("z") { SizeClass::Large } else { SizeClass::Small },
        admitted_per_s: read.small("r")?,
        later: kept::of_item(item, attempted, |name| KNOWN.contains(&name) && !is_later(name))?,
    })
}

#[cfg(test)]
mod tests {
    use chatlane_chat::log::Deed;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn every_attribute_is_documented_and_each_that_is_needed_is_missed() {
        form::is_documented(include_str!("policy.rs"), any::some(any::policy()).iter().map(item));
        form::is_needed(&item(&Policy::DIRECT), &[], read);
    }

    // holds: K1
    #[test]
    fn a_role_of_a_later_version_permits_nobody_below_owner_and_is_written_again() {
        let mut later = item(&Policy { manage: Some(Role::Member), ..Policy::DIRECT });
        later.extend(map([("s", s("guest")), ("g", s("elder")), ("q", n(3u64))]));
        let read = read(&later).unwrap();
        assert_eq!((read.send, read.add, read.manage), (Role::Owner, None, Some(Role::Owner)));
        assert!(!read.permits(Role::Admin, Deed::Send) && read.permits(Role::Owner, Deed::Send));
        assert_eq!(item(&read), later);
        let set = item(&Policy { send: Role::Moderator, ..read });
        assert_eq!((set.get("s"), set.get("g")), (Some(&s("o")), later.get("g")));
    }

    proptest! {
        #[test]
        fn a_policy_is_read_as_it_was_written(policy in any::policy()) {
            prop_assert_eq!(read(&item(&policy)).unwrap(), policy);
        }
    }
}
