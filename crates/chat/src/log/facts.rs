//! What each entry says about the log up to itself, so that its readers need no further read.

use std::collections::BTreeMap;

use chatlane_protocol::Seq;

use super::admission::Bucket;

/// What a later version of this code stores and this one does not know: by name, in the backend's own words. It is carried on as it is (K1).
pub type Kept = BTreeMap<String, String>;

/// Running facts about the log up to an entry. Each writer computes them from the tail that it has to read anyway, so no send reads
/// `meta`, unread counts are differences, and admission is exact across all Lambdas without a further write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Countable messages so far. Never goes down.
    pub count: u64,
    /// Seq of the last change of membership.
    pub membership_changed: Seq,
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

/// What a writer needs of the conversation's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nothing is appended any more.
    pub closed: bool,
    /// Only owners and admins append.
    pub locked: bool,
    /// The lowest role that may send.
    pub send: Role,
    /// The lowest role that may add members; `None`: nobody.
    pub add: Option<Role>,
    /// The lowest role that may change settings and roles; `None`: nobody.
    pub manage: Option<Role>,
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

/// What a member may do. Ordered: a later one may all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// One of a later version: here it may nothing but read.
    Later,
    /// Reads and, where the policy allows, sends.
    Member,
    /// Keeps order.
    Moderator,
    /// Manages members and settings.
    Admin,
    /// All of it; a group always has one.
    Owner,
}

impl Policy {
    /// Of a direct conversation: both send, nobody joins, leaves or manages.
    pub const DIRECT: Self = Self {
        closed: false,
        locked: false,
        send: Role::Member,
        add: None,
        manage: None,
        size: SizeClass::Small,
        admitted_per_s: chatlane_protocol::limits::ADMISSION_PER_S,
        later: Kept::new(),
    };

    /// M1: whether a member of this role may append a message.
    pub fn permits_sending(&self, role: Role) -> bool {
        !self.closed && role >= self.send && (!self.locked || role >= Role::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // holds: M1
    #[test]
    fn a_policy_permits_by_role_lock_and_closing() {
        let policy = || Policy::DIRECT;
        assert!(policy().permits_sending(Role::Member));
        assert!(!policy().permits_sending(Role::Later));
        assert!(!Policy { closed: true, ..policy() }.permits_sending(Role::Owner));
        assert!(!Policy { locked: true, ..policy() }.permits_sending(Role::Moderator));
        assert!(Policy { locked: true, ..policy() }.permits_sending(Role::Admin));
        assert!(!Policy { send: Role::Moderator, ..policy() }.permits_sending(Role::Member));
    }
}
