//! What a change of a group does: judged at the tail of its log and by the rows of the users that it names, it becomes an entry and the rows
//! that are written with it in one transaction. The transaction takes the slot behind the tail, so nothing has changed since the tail; and
//! the rows are read behind the tail and as a whole, so they are those of the tail (M1). Where nothing is written, `draft.rs` looks at the slot.

use chatlane_protocol::limits::{MEMBERS_MAX, OWNERS_MAX};
use chatlane_protocol::{GroupSettings, History, Position, Role, Seq, UserId};

use super::entry::Entry;
use super::facts::{Deed, Facts, Policy};
use super::hash::UserKey;
use super::kinds::ChangeEntry;
use crate::ports::{Description, InboxRow, Joining, Member, Membership, ReadCursor, RowChange, Span};
use crate::refusal::Refused;

/// Spans of a user that are kept when they leave.
const SPANS_MAX: usize = 20;

/// What a change is judged by.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The last entry.
    pub tail: &'a Entry,
    /// The sender's row.
    pub sender: &'a Member,
    /// The sender's earlier spans.
    pub spans: &'a [Span],
    /// What the users that the change names are, in their order.
    pub named: &'a [Membership],
    /// Title and metadata, where the change names one of them.
    pub description: &'a Description,
    /// For the sum of the members.
    pub key: &'a UserKey,
    /// The place of the entry that is to be.
    pub position: Position,
}

/// What a change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What the entry says.
    pub kind: ChangeEntry,
    /// Its facts.
    pub facts: Facts,
    /// The rows that are written with it.
    pub rows: Vec<RowChange>,
    /// Title and metadata, if they are written with it.
    pub description: Option<Description>,
}

impl Seen<'_> {
    /// Judges the change, and plans it. `None`: it changes nothing.
    pub fn plan(&self, wanted: &ChangeEntry) -> Result<Option<Planned>, Refused> {
        let facts = self.tail.facts.clone();
        match wanted {
            ChangeEntry::Added(_) => self.added(facts),
            ChangeEntry::Removed(_) => self.removed(facts),
            ChangeEntry::Left { .. } => self.left(facts),
            ChangeEntry::Role { role, .. } => self.role(facts, *role),
            ChangeEntry::Settings(settings) => self.settings(facts, settings),
            ChangeEntry::Closed => {
                self.permit(Deed::Close)?;
                let policy = Policy { closed: true, ..facts.policy };
                let facts = Facts { policy, settings_changed: self.position.seq, ..facts };
                Ok(Some(Planned { kind: ChangeEntry::Closed, facts, rows: vec![], description: None }))
            }
        }
    }

    fn permit(&self, deed: Deed) -> Result<(), Refused> {
        if self.tail.facts.policy.permits(self.sender.role, deed) { Ok(()) } else { Err(Refused::Forbidden) }
    }

    /// The named users who are members.
    fn members(&self) -> impl Iterator<Item = (&Member, &Membership)> {
        self.named.iter().filter_map(|named| Some((named.member.as_ref()?, named)))
    }

    fn added(&self, facts: Facts) -> Result<Option<Planned>, Refused> {
        self.permit(Deed::Add)?;
        let users: Vec<UserId> = self.named.iter().filter(|named| named.member.is_none()).map(|named| named.user.clone()).collect();
        let members = facts.members.saturating_add(count(users.len()));
        if users.is_empty() {
            return Ok(None);
        }
        if members > count(MEMBERS_MAX) {
            return Err(Refused::MembersFull);
        }
        let visible_from = match facts.policy.history {
            History::All => Seq::FIRST,
            History::Joined | History::Later => self.position.seq,
        };
        let member = |user: &UserId| Member { user: user.clone(), role: Role::Member, visible_from, version: self.position.seq };
        let rows = users.iter().map(|user| RowChange::Join(Joining::of_group(&self.tail.conversation, member(user), self.read(&facts))));
        let rows = rows.collect();
        let facts = self.with_members(facts, members, |sum| sum.wrapping_add(self.key.sum(&users)));
        Ok(Some(Planned { kind: ChangeEntry::Added(users), facts, rows, description: None }))
    }

    /// Who joins has read what was there: the entry is none that counts.
    const fn read(&self, facts: &Facts) -> ReadCursor {
        ReadCursor { position: self.position, count: facts.count }
    }

    fn with_members(&self, facts: Facts, members: u32, sum: impl FnOnce(u64) -> u64) -> Facts {
        Facts { members, members_sum: facts.members_sum.map(sum), membership_changed: self.position.seq, ..facts }
    }

    /// The facts behind the leaving of these.
    fn without(&self, facts: Facts, leaving: &[UserId]) -> Facts {
        let members = facts.members.saturating_sub(count(leaving.len()));
        let facts = self.with_members(facts, members, |sum| sum.wrapping_sub(self.key.sum(leaving)));
        Facts { removed: self.position.seq, ..facts }
    }

    fn leave(&self, member: &Member, spans: &[Span]) -> RowChange {
        let span = Span { from: member.visible_from, end: self.position };
        let mut spans: Vec<Span> = spans.iter().copied().chain([span]).collect();
        spans.drain(..spans.len().saturating_sub(SPANS_MAX));
        RowChange::Leave { member: member.clone(), spans }
    }

    fn removed(&self, facts: Facts) -> Result<Option<Planned>, Refused> {
        self.permit(Deed::Remove { of: Role::Member })?;
        for (member, _) in self.members() {
            self.permit(Deed::Remove { of: member.role })?;
        }
        let rows: Vec<RowChange> = self.members().map(|(member, membership)| self.leave(member, &membership.spans)).collect();
        let users: Vec<UserId> = self.members().map(|(member, _)| member.user.clone()).collect();
        if users.is_empty() {
            return Ok(None);
        }
        Ok(Some(Planned { facts: self.without(facts, &users), kind: ChangeEntry::Removed(users), rows, description: None }))
    }

    /// `named` is the successor, if one is.
    fn left(&self, facts: Facts) -> Result<Option<Planned>, Refused> {
        self.permit(Deed::Leave)?;
        let is_owner = self.sender.role == Role::Owner;
        let mut rows = vec![self.leave(self.sender, self.spans)];
        let mut facts = self.without(facts, std::slice::from_ref(&self.sender.user));
        facts.owners = facts.owners.saturating_sub(u32::from(is_owner));
        let mut named = None;
        if let Some(successor) = self.named.first() {
            let Some(member) = successor.member.as_ref().filter(|member| member.user != self.sender.user) else {
                return Err(Refused::NoMember);
            };
            if !is_owner || member.role == Role::Later {
                return Err(Refused::Forbidden); // only who is an owner makes one
            }
            if member.role != Role::Owner {
                rows.push(self.give(member, Role::Owner));
                facts.owners += 1;
                named = Some(member.user.clone());
            }
        }
        if facts.members == 0 {
            facts.policy.closed = true;
            facts.settings_changed = self.position.seq;
        } else if facts.owners == 0 && !facts.policy.closed {
            return Err(Refused::LastOwner);
        }
        Ok(Some(Planned { kind: ChangeEntry::Left { successor: named }, facts, rows, description: None }))
    }

    fn give(&self, member: &Member, role: Role) -> RowChange {
        RowChange::Role { was: member.version, member: Member { role, version: self.position.seq, ..member.clone() } }
    }

    fn role(&self, facts: Facts, role: Role) -> Result<Option<Planned>, Refused> {
        self.permit(Deed::SetRole { from: Role::Member, to: Role::Member })?;
        let Some((member, _)) = self.members().next() else { return Err(Refused::NoMember) };
        self.permit(Deed::SetRole { from: member.role, to: role })?;
        if member.role == role {
            return Ok(None);
        }
        let owners = facts.owners + u32::from(role == Role::Owner);
        if owners > count(OWNERS_MAX) {
            return Err(Refused::MembersFull);
        }
        let facts = Facts { owners, membership_changed: self.position.seq, ..facts };
        let kind = ChangeEntry::Role { user: member.user.clone(), role };
        Ok(Some(Planned { kind, facts, rows: vec![self.give(member, role)], description: None }))
    }

    fn settings(&self, facts: Facts, settings: &GroupSettings) -> Result<Option<Planned>, Refused> {
        self.permit(Deed::Set)?;
        let now = GroupSettings {
            title: Some(self.description.title.clone()),
            metadata: Some(self.description.metadata.clone()),
            ..facts.policy.settings()
        };
        let settings = settings.that_differ_from(&now);
        if settings.is_empty() {
            return Ok(None);
        }
        let mut policy = facts.policy.clone();
        policy.set(&settings);
        let description = (settings.title.is_some() || settings.metadata.is_some()).then(|| Description {
            title: settings.title.clone().unwrap_or_else(|| self.description.title.clone()),
            metadata: settings.metadata.clone().unwrap_or_else(|| self.description.metadata.clone()),
        });
        let facts = Facts { policy, settings_changed: self.position.seq, ..facts };
        Ok(Some(Planned { kind: ChangeEntry::Settings(settings), facts, rows: vec![], description }))
    }
}

impl Joining {
    /// Into a group; what was there is read.
    pub fn of_group(conversation: &chatlane_protocol::ConversationId, member: Member, read: ReadCursor) -> Self {
        Self { row: InboxRow { read, ..InboxRow::new(conversation.clone(), None, &member) }, member }
    }
}

fn count(users: usize) -> u32 {
    u32::try_from(users).unwrap_or(u32::MAX)
}
