//! Groups: what a member is, and what those who manage a group set.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::checked_text;
use crate::position::Seq;
use crate::shared_limits::{METADATA_BYTES_MAX, TITLE_BYTES_MAX};

/// What a member may do. Ordered: a later one may all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and, where the settings allow, sends.
    Member = 1,
    /// Removes members.
    Moderator = 2,
    /// Manages members, roles and settings.
    Admin = 3,
    /// All of it; a group always has one.
    Owner = 4,
    /// One of a later version: here it may nothing but read. A request that names one is refused.
    #[serde(other)]
    Later = 0,
}

/// Which entries members see who join from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Those from their joining on.
    Joined,
    /// All.
    All,
    /// A word of a later version; a request that has one is refused.
    #[serde(other)]
    Later,
}

/// Settings of a group. In a request and in an entry only those that are to be, or were, set; elsewhere all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Its name; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// What the app likes to keep with it; empty: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The lowest role that sends messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Role>,
    /// The lowest role that adds members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Role>,
    /// The lowest role that changes settings and roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manage: Option<Role>,
    /// Whether only admins and owners write anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// What later members see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

impl GroupSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those of these that `wanted` sets, as it sets them.
    #[must_use]
    pub fn of(&self, wanted: &Self) -> Self {
        let all = wanted.clone();
        Self {
            title: self.title.as_ref().and(all.title),
            metadata: self.metadata.as_ref().and(all.metadata),
            send: self.send.and(all.send),
            add: self.add.and(all.add),
            manage: self.manage.and(all.manage),
            locked: self.locked.and(all.locked),
            history: self.history.and(all.history),
        }
    }

    /// Those of these that are others than in `now`.
    #[must_use]
    pub fn that_differ_from(&self, now: &Self) -> Self {
        fn other<T: PartialEq + Clone>(wanted: Option<&T>, now: Option<&T>) -> Option<T> {
            wanted.filter(|_| wanted != now).cloned()
        }
        Self {
            title: other(self.title.as_ref(), now.title.as_ref()),
            metadata: other(self.metadata.as_ref(), now.metadata.as_ref()),
            send: other(self.send.as_ref(), now.send.as_ref()),
            add: other(self.add.as_ref(), now.add.as_ref()),
            manage: other(self.manage.as_ref(), now.manage.as_ref()),
            locked: other(self.locked.as_ref(), now.locked.as_ref()),
            history: other(self.history.as_ref(), now.history.as_ref()),
        }
    }

    /// Whether all words are of this version.
    pub(crate) fn are_known(&self) -> bool {
        let roles = [self.send, self.add, self.manage];
        !roles.contains(&Some(Role::Later)) && self.history != Some(History::Later)
    }
}

/// What a group is up to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMarks {
    /// How many members there are.
    pub members: u32,
    /// The last entry that changed who is a member, or a role.
    pub membership_changed: Seq,
    /// The last entry that changed settings.
    pub settings_changed: Seq,
    /// Whether it has more members than are told of each other's cursors.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub large: bool,
}

/// Texts that users write and others read: bounded, and hidden in debug output (R1).
macro_rules! shown_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        checked_text!($name, $what, $rule, $check);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({} bytes)", stringify!($name), self.0.len())
            }
        }
    };
}

shown_text!(
    /// The name of a group: at most 200 bytes without control characters; empty: none.
    Title,
    "a title",
    "at most 200 bytes without control characters",
    |text| text.len() <= TITLE_BYTES_MAX && !text.chars().any(char::is_control)
);

shown_text!(
    /// What an app keeps with a group: any text of at most 1 KB; empty: nothing.
    Metadata,
    "metadata",
    "at most 1024 bytes",
    |text| text.len() <= METADATA_BYTES_MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_order_by_what_they_may_and_a_word_of_a_later_version_may_nothing() {
        assert!([Role::Later, Role::Member, Role::Moderator, Role::Admin, Role::Owner].is_sorted());
        assert_eq!(serde_json::from_str::<Role>(r#""guest""#).unwrap(), Role::Later);
    }

    // holds: R1
    #[test]
    fn a_title_is_short_and_printable_and_neither_it_nor_metadata_is_in_debug_output() {
        assert!(Title::new("").is_ok() && Title::new("ü".repeat(100)).is_ok());
        assert!(Title::new("a\nb").is_err() && Title::new("x".repeat(201)).is_err());
        assert!(Metadata::new("{\n}").is_ok() && Metadata::new("x".repeat(1025)).is_err());
        let both = format!("{:?} {:?}", Title::new("secret").unwrap(), Metadata::new("secret").unwrap());
        assert_eq!(both, "Title(6 bytes) Metadata(6 bytes)");
    }
}
