//! Changes of a group: who belongs to it, what they may, what is set. Each is one transaction of its entry and the rows that it changes;
//! [`crate::log::change`] judges it and says which those are. The same words say what somebody wants and what came of it: of the users in
//! `added` and `removed`, and of the settings, the entry names those that were another way before.

use chatlane_protocol::{EntryKind, GroupSettings, Role, UserId};

/// A change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeEntry {
    /// These users are members from here on. In the order of their ids; at most 40.
    Added(Vec<UserId>),
    /// These are no members from here on. In the order of their ids; at most 20.
    Removed(Vec<UserId>),
    /// The sender is no member from here on.
    Left {
        /// Who is an owner from here on.
        successor: Option<UserId>,
    },
    /// A member has another role.
    Role {
        /// Who.
        user: UserId,
        /// Which.
        role: Role,
    },
    /// These settings are others.
    Settings(GroupSettings),
    /// Nothing is appended behind this, but that members leave.
    Closed,
}

impl ChangeEntry {
    /// The users whose rows it is judged by and changes, beside the sender's.
    pub fn users(&self) -> &[UserId] {
        match self {
            Self::Added(users) | Self::Removed(users) => users,
            Self::Left { successor: Some(user) } | Self::Role { user, .. } => std::slice::from_ref(user),
            Self::Left { successor: None } | Self::Settings(_) | Self::Closed => &[],
        }
    }

    /// Whether it takes a right away from somebody; but for a successor's it gives none.
    pub fn only_takes(&self) -> bool {
        match self {
            Self::Removed(_) | Self::Left { .. } | Self::Closed | Self::Role { role: Role::Member, .. } => true,
            Self::Settings(settings) => *settings == GroupSettings { locked: Some(true), ..GroupSettings::default() },
            Self::Added(_) | Self::Role { .. } => false,
        }
    }

    /// Whether `stored` can be what came of this wish.
    pub fn may_have_become(&self, stored: &Self) -> bool {
        match (self, stored) {
            (Self::Added(wanted), Self::Added(done)) | (Self::Removed(wanted), Self::Removed(done)) => {
                done.iter().all(|user| wanted.contains(user))
            }
            (Self::Settings(wanted), Self::Settings(done)) => *done == done.of(wanted),
            (Self::Left { successor: wanted }, Self::Left { successor: done }) => done.is_none() || wanted == done,
            _ => self == stored,
        }
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        match self.clone() {
            Self::Added(users) => EntryKind::Added { users },
            Self::Removed(users) => EntryKind::Removed { users },
            Self::Left { successor } => EntryKind::Left { successor },
            Self::Role { user, role } => EntryKind::Role { user, role },
            Self::Settings(settings) => EntryKind::Settings { settings },
            Self::Closed => EntryKind::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::{History, Title};

    use super::*;

    #[test]
    fn what_was_done_is_a_part_of_what_was_wanted() {
        let users = |names: &[&str]| names.iter().map(|name| UserId::new(*name).unwrap()).collect::<Vec<_>>();
        let (both, one, other) = (users(&["bob", "carol"]), users(&["bob"]), users(&["dave"]));
        for change in [ChangeEntry::Added, ChangeEntry::Removed] {
            assert!(change(both.clone()).may_have_become(&change(one.clone())));
            assert!(!change(both.clone()).may_have_become(&change(other.clone())));
        }
        assert!(!ChangeEntry::Added(both.clone()).may_have_become(&ChangeEntry::Removed(one.clone())));
        let settings =
            |title: &str, history| GroupSettings { title: Some(Title::new(title).unwrap()), history, ..GroupSettings::default() };
        let wanted = ChangeEntry::Settings(settings("a", Some(History::All)));
        assert!(wanted.may_have_become(&ChangeEntry::Settings(settings("a", None))));
        assert!(!wanted.may_have_become(&ChangeEntry::Settings(settings("b", None))));
        assert!(!ChangeEntry::Settings(settings("a", None)).may_have_become(&wanted));
        let left = |successor: &[UserId]| ChangeEntry::Left { successor: successor.first().cloned() };
        assert!(left(&one).may_have_become(&left(&[])) && !left(&one).may_have_become(&left(&other)));
        let role = |role| ChangeEntry::Role { user: one[0].clone(), role };
        assert!(role(Role::Admin).may_have_become(&role(Role::Admin)) && !role(Role::Admin).may_have_become(&role(Role::Member)));
    }
}
