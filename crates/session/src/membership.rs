//! Whether the user is a member of a group: the highest position that says anything about it is believed. An older statement never
//! overrides a newer one, whichever comes first (PROTOCOL §5.3).

use chatlane_protocol::frames::GroupInfo;
use chatlane_protocol::{ConversationId, Entry, EntryKind, GroupMarks, Position, Role, Seq, Title, UserId};

use super::conversation::{Conversation, Due};
use super::sending::write_rows;
use super::step::Step;
use super::{Session, Shown, outbox};

/// What an entry says about a user's membership.
fn says(entry: &Entry, user: &UserId) -> Option<bool> {
    match &entry.kind {
        EntryKind::GroupCreated { members, .. } | EntryKind::Added { users: members } => members.contains(user).then_some(true),
        EntryKind::Removed { users } => users.contains(user).then_some(false),
        EntryKind::Left { .. } => (entry.sender == *user).then_some(false),
        _ => None,
    }
}

impl Conversation {
    /// An entry is taken: what it makes of the group.
    pub(super) fn learn_group(&mut self, entry: &Entry, me: &UserId) {
        let (row, seq) = (&mut self.row, entry.position.seq);
        let number = |users: &[UserId]| u32::try_from(users.len()).unwrap_or(u32::MAX);
        let changed = row.group.map_or(Seq::ZERO, |group| group.membership_changed);
        let marks = row.group.as_mut().filter(|_| seq > changed);
        match &entry.kind {
            EntryKind::GroupCreated { members, .. } => {
                row.role = Some(if entry.sender == *me { Role::Owner } else { Role::Member });
                let marks = GroupMarks { members: number(members), membership_changed: seq, settings_changed: seq, large: false };
                row.group.get_or_insert(marks);
            }
            EntryKind::Added { users } => {
                if users.contains(me) {
                    row.role = Some(Role::Member);
                }
                if let Some(marks) = marks {
                    (marks.members, marks.membership_changed) = (marks.members.saturating_add(number(users)), seq);
                }
            }
            EntryKind::Removed { users } => {
                row.others.retain(|other| !users.contains(&other.user));
                if let Some(marks) = marks {
                    (marks.members, marks.membership_changed) = (marks.members.saturating_sub(number(users)), seq);
                }
            }
            EntryKind::Left { successor } => {
                row.others.retain(|other| other.user != entry.sender);
                if successor.as_ref() == Some(me) {
                    row.role = Some(Role::Owner);
                }
                if let Some(marks) = marks {
                    (marks.members, marks.membership_changed) = (marks.members.saturating_sub(1), seq);
                }
            }
            EntryKind::Role { user, role } => {
                if user == me {
                    row.role = Some(*role);
                }
                if let Some(marks) = marks {
                    marks.membership_changed = seq;
                }
            }
            EntryKind::Settings { .. } | EntryKind::Closed => {
                if let Some(marks) = &mut row.group {
                    marks.settings_changed = marks.settings_changed.max(seq);
                }
            }
            _ => {}
        }
        if let EntryKind::GroupCreated { settings, .. } | EntryKind::Settings { settings } = &entry.kind
            && let Some(title) = &settings.title
            && seq > row.titled
        {
            (row.title, row.titled) = (Some(title.clone()), seq);
        }
    }

    /// What `info` says is as old as its answer: it holds at an entry.
    pub(super) fn learn_info(&mut self, info: &GroupInfo) {
        let row = &mut self.row;
        if info.at >= row.titled {
            row.title = info.settings.title.clone().or_else(|| Some(Title::default()));
            row.titled = info.at;
        }
        // Of what is behind it, the entries say more.
        if row.with.is_none() && (info.at >= row.have.seq || row.group.is_none()) {
            let large = row.group.is_some_and(|group| group.large);
            row.role = Some(info.role);
            let (membership_changed, settings_changed) = (info.membership_changed, info.settings_changed);
            row.group = Some(GroupMarks { members: info.members, membership_changed, settings_changed, large });
        }
    }

    /// Of what was learned beyond this position nothing holds, after a restore. Whether the user is a member, `sync` says.
    pub(super) fn forget_group(&mut self, beyond: Position) {
        let row = &mut self.row;
        let is_beyond = |seq: Seq| seq > beyond.seq;
        if is_beyond(row.member_at.seq) {
            row.member_at = Position::ZERO;
        }
        if is_beyond(row.titled) {
            row.titled = Seq::ZERO;
        }
        row.group = row.group.filter(|group| !is_beyond(group.membership_changed) && !is_beyond(group.settings_changed));
    }
}

impl Session {
    /// These entries have come, taken or not: what they say of the user's membership, each at its place. Not those from before a restore.
    pub(super) fn heed(&mut self, conversation: &ConversationId, said: Vec<(Position, bool)>, step: &mut Step) {
        for (at, member) in said {
            self.learn_membership(conversation, at, member, step);
        }
    }

    /// What entries say of the user's membership.
    pub(super) fn said<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<(Position, bool)> {
        entries.into_iter().filter_map(|entry| Some((entry.position, says(entry, &self.settings.user)?))).collect()
    }

    /// Something says, at this position, whether the user is a member.
    pub(super) fn learn_membership(&mut self, conversation: &ConversationId, at: Position, member: bool, step: &mut Step) {
        let local = self.conversations.entry(conversation);
        // A conversation of two does not end.
        if local.row.with.is_some() || at <= local.row.member_at {
            return;
        }
        local.row.member_at = at;
        if std::mem::replace(&mut local.row.ended, !member) != member {
            local.stale_in_store = true; // it says the same as before
            return;
        }
        step.touch(conversation);
        step.show_committed(Shown::Membership { conversation: conversation.clone(), member });
        if !member {
            // An attempt may have come into the log before the end: what waits is looked for, and fails if it is not there.
            let rows = local.outbox.end(&outbox::ended());
            write_rows(rows, step);
            self.histories_end(conversation, step);
            self.inquiries.end(conversation, step);
            self.prefs_end(conversation, step);
        }
    }

    /// Something was told that cannot be if the user is a member, or only if they are: `sync` says what is.
    pub(super) fn doubt_membership(&mut self, conversation: &ConversationId) {
        if let Some(local) = self.conversations.get_mut(conversation) {
            local.doubt();
            local.due = Due::Now;
        }
    }
}
