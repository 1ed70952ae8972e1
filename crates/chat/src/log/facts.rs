//! What each entry says about the log up to itself, so that its readers need no further read.

use std::collections::BTreeMap;

use chatlane_protocol::{GroupMarks, GroupSettings, History, Role, Seq};

use super::admission::Bucket;

/// What a later version of this code stores and this one does not know: by name, in the backend's own words. It is carried on as it is (K1).
pub type Kept = BTreeMap<String, String>;

/// Running facts about the log up to an entry. Each writer computes them from the tail that it has to read anyway, so no send reads
/// `meta`, unread counts are differences, and admission is exact across all Lambdas without a further write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Countable messages so far. Never goes down.
    pub count: u64,
    /// Seq of the last entry that changed any member's row, roles included.
    pub membership_changed: Seq,
    /// Seq of the last change of settings; 0 if there was none.
    pub settings_changed: Seq,
    /// Seq of the last removal of a member; 0 if there was none.
    pub removed: Seq,
    /// What a writer may do.
    pub policy: Policy,
    /// Number of members.
    pub members: u32,
    /// Number of owners; 0 in a direct conversation.
    pub owners: u32,
    /// The sum, modulo 2⁶⁴, of the [hashes](crate::log::hash::UserKey) of the members. `None` in a log that was created before there was one.
    pub members_sum: Option<u64>,
    /// In a direct conversation: the messages of whoever opened it, while the other has written nothing. `None`: the other has, or the
    /// log was created before this was counted.
    pub unanswered: Option<u32>,
    /// Admission.
    pub bucket: Bucket,
    /// Facts of a later version.
    pub later: Kept,
}

impl Facts {
    /// The facts behind one more entry that is none of a group's changes. While a direct conversation is unanswered, all its entries are of
    /// whoever opened it, so whether the tail is the writer's own (`after_own`) tells who answers.
    #[must_use]
    pub fn behind(&self, after_own: bool) -> Self {
        Self { unanswered: self.unanswered.filter(|_| after_own), ..self.clone() }
    }

    /// What a group is; of a direct conversation nothing.
    pub fn group_marks(&self) -> Option<GroupMarks> {
        self.policy.is_group().then_some(GroupMarks {
            members: self.members,
            membership_changed: self.membership_changed,
            settings_changed: self.settings_changed,
            large: self.policy.size == SizeClass::Large,
        })
    }
}

/// What a writer needs of the conversation's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nothing is appended any more, but that members leave.
    pub closed: bool,
    /// Only owners and admins append.
    pub locked: bool,
    /// The lowest role that may send.
    pub send: Role,
    /// The lowest role that may add members; `None`: nobody.
    pub add: Option<Role>,
    /// The lowest role that may change settings and roles; `None`: nobody.
    pub manage: Option<Role>,
    /// Which entries later members see.
    pub history: History,
    /// How it is delivered.
    pub size: SizeClass,
    /// Tokens per second: what is [admitted](crate::log::admission) for long; the burst is 3 seconds of it.
    pub admitted_per_s: u32,
    /// What a later version has added; also a role that only that one knows, beside the field for it.
    pub later: Kept,
}

/// How a conversation is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeClass {
    /// Up to 200 members: one read of the members per task.
    Small,
    /// By an index of who is online.
    Large,
}

impl Policy {
    /// Of a direct conversation: both send, nobody joins, leaves or manages.
    pub const DIRECT: Self = Self::of(None);

    /// Of a new group, where its creator says nothing else.
    pub const GROUP: Self = Self::of(Some(Role::Admin));

    const fn of(managers: Option<Role>) -> Self {
        Self {
            closed: false,
            locked: false,
            send: Role::Member,
            add: managers,
            manage: managers,
            history: History::Joined,
            size: SizeClass::Small,
            admitted_per_s: chatlane_protocol::limits::ADMISSION_PER_S,
            later: Kept::new(),
        }
    }

    /// Whether somebody manages it: a direct conversation has nobody who does.
    pub const fn is_group(&self) -> bool {
        self.manage.is_some()
    }

    /// As `settings` say, where they say anything.
    pub fn set(&mut self, settings: &GroupSettings) {
        self.send = settings.send.unwrap_or(self.send);
        self.add = settings.add.or(self.add);
        self.manage = settings.manage.or(self.manage);
        self.locked = settings.locked.unwrap_or(self.locked);
        self.history = settings.history.unwrap_or(self.history);
    }

    /// The settings that are in the policy: all but title and metadata.
    pub fn settings(&self) -> GroupSettings {
        GroupSettings {
            title: None,
            metadata: None,
            send: Some(self.send),
            add: self.add,
            manage: self.manage,
            locked: Some(self.locked),
            history: Some(self.history),
        }
    }

    /// M1: the table of permissions. Whether a member of this role may do that.
    pub fn permits(&self, role: Role, deed: Deed) -> bool {
        // What a role of a later version may is not known: nobody here is above it.
        let is_above = |other: Role| other != Role::Later && other < role;
        if deed != Deed::Leave && (self.closed || (self.locked && role < Role::Admin)) {
            return false;
        }
        match deed {
            Deed::Send => role >= self.send,
            Deed::React => role >= Role::Member,
            Deed::Moderate => role >= Role::Moderator,
            Deed::Add => self.add.is_some_and(|lowest| role >= lowest),
            Deed::Remove { of } => role >= Role::Moderator && is_above(of),
            Deed::SetRole { from, to } => {
                self.manage.is_some_and(|lowest| role >= lowest)
                    && is_above(from)
                    && (is_above(to) || (role, to) == (Role::Owner, Role::Owner))
            }
            Deed::Set => self.manage.is_some_and(|lowest| role >= lowest),
            Deed::Close => role == Role::Owner,
            Deed::Leave => self.is_group(), // nobody leaves a direct conversation
        }
    }
}

/// What a member wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Append a message, or edit an own one.
    Send,
    /// React to a message, or delete an own one.
    React,
    /// Delete somebody else's message.
    Moderate,
    /// Add members.
    Add,
    /// Remove a member of this role.
    Remove {
        /// Their role.
        of: Role,
    },
    /// Give another role to a member.
    SetRole {
        /// The role they have.
        from: Role,
        /// The role they are to have.
        to: Role,
    },
    /// Change settings.
    Set,
    /// Close it.
    Close,
    /// Be a member no more.
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 5] = [Role::Later, Role::Member, Role::Moderator, Role::Admin, Role::Owner];

    /// The roles that may do that.
    fn permitted(policy: &Policy, deed: Deed) -> Vec<Role> {
        ROLES.into_iter().filter(|role| policy.permits(*role, deed)).collect()
    }

    // holds: M1
    #[test]
    fn a_policy_permits_messages_by_role_lock_and_closing() {
        let sending = |policy: Policy| permitted(&policy, Deed::Send);
        assert_eq!(sending(Policy::DIRECT), ROLES[1..]);
        assert_eq!(sending(Policy { closed: true, ..Policy::DIRECT }), []);
        assert_eq!(sending(Policy { locked: true, ..Policy::DIRECT }), ROLES[3..]);
        assert_eq!(sending(Policy { send: Role::Moderator, ..Policy::DIRECT }), ROLES[2..]);
    }

    // holds: M1
    #[test]
    fn nobody_manages_or_leaves_a_direct_conversation() {
        let set_role = Deed::SetRole { from: Role::Member, to: Role::Admin };
        for deed in [Deed::Add, set_role, Deed::Set, Deed::Leave] {
            assert_eq!(permitted(&Policy::DIRECT, deed), [], "{deed:?}");
        }
    }

    // holds: M1
    #[test]
    fn what_each_role_may_in_a_group_is_the_table_of_the_protocol() {
        let group = Policy::GROUP;
        assert_eq!(permitted(&group, Deed::Add), ROLES[3..]);
        assert_eq!(permitted(&group, Deed::Set), ROLES[3..]);
        assert_eq!(permitted(&group, Deed::Close), [Role::Owner]);
        assert_eq!(permitted(&group, Deed::Leave), ROLES);
        for (of, by) in [(Role::Later, &[][..]), (Role::Member, &ROLES[2..]), (Role::Moderator, &ROLES[3..]), (Role::Admin, &ROLES[4..])] {
            assert_eq!(permitted(&group, Deed::Remove { of }), by, "{of:?}");
        }
        assert_eq!(permitted(&group, Deed::Remove { of: Role::Owner }), []);
        let set = |from, to| permitted(&group, Deed::SetRole { from, to });
        assert_eq!(set(Role::Member, Role::Moderator), ROLES[3..]);
        assert_eq!(set(Role::Moderator, Role::Admin), [Role::Owner]);
        assert_eq!(set(Role::Admin, Role::Owner), [Role::Owner]);
        assert_eq!(set(Role::Admin, Role::Member), [Role::Owner]);
        assert_eq!([set(Role::Owner, Role::Member), set(Role::Later, Role::Member), set(Role::Member, Role::Later)], [[], [], []]);
        // A lock leaves everything to admins and owners, but for leaving.
        let locked = Policy { locked: true, add: Some(Role::Member), ..Policy::GROUP };
        assert_eq!(permitted(&locked, Deed::Add), ROLES[3..]);
        assert_eq!(permitted(&locked, Deed::Remove { of: Role::Member }), ROLES[3..]);
        assert_eq!(permitted(&locked, Deed::Leave), ROLES);
        let closed = Policy { closed: true, ..Policy::GROUP };
        for deed in [Deed::Send, Deed::React, Deed::Add, Deed::Remove { of: Role::Member }, Deed::Set, Deed::Close] {
            assert_eq!(permitted(&closed, deed), [], "{deed:?}");
        }
        assert_eq!(permitted(&closed, Deed::Leave), ROLES);
    }
}
