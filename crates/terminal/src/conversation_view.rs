//! One conversation as the terminal shows it: what is on the screen, and which ticks one's own messages have.

use std::collections::BTreeSet;
use std::ops::Bound;

use chatlane_protocol::frames::MemberCursors;
use chatlane_protocol::{Entry, EntryKind, Position, Seq, Title, UnixMillis, UserId};

use super::text;
use chatlane_session::{Act, ConversationRow};

/// One conversation.
#[derive(Debug)]
pub(super) struct ConversationView {
    pub(super) row: ConversationRow,
    /// With whom it was when that was known: its name goes on to be that.
    was_with: Option<UserId>,
    /// What the session counts: one's own messages behind unread ones are among them.
    unread: u64,
    /// Those of them that the device has.
    own_unread: BTreeSet<Seq>,
    /// All up to here is on the screen, or was before.
    shown: Position,
    /// The first on the screen.
    oldest: Option<Seq>,
    /// One's own messages, where ticks may still change.
    own: BTreeSet<Position>,
    /// The members of a group, as far as they are known.
    members: BTreeSet<UserId>,
    /// The user has asked for them.
    pub(super) wants_members: bool,
    /// The user has asked how the group is set.
    pub(super) wants_settings: bool,
    /// The last own message that the screen shows as delivered, and as read.
    ticked: (Position, Position),
}

impl ConversationView {
    pub(super) const fn new(row: ConversationRow) -> Self {
        let unread = row.unread();
        Self {
            row,
            was_with: None,
            unread,
            own_unread: BTreeSet::new(),
            shown: Position::ZERO,
            oldest: None,
            own: BTreeSet::new(),
            members: BTreeSet::new(),
            wants_members: false,
            wants_settings: false,
            ticked: (Position::ZERO, Position::ZERO),
        }
    }

    /// With whom, for a line.
    pub(super) fn name(&self) -> String {
        let with = self.row.with.as_ref().or(self.was_with.as_ref()).map(UserId::as_str);
        let name = with.or_else(|| self.row.title.as_ref().map(Title::as_str).filter(|title| !title.is_empty()));
        name.map_or_else(|| self.row.conversation.to_string(), text::visible)
    }

    /// Whether it is a group, as far as that is known.
    pub(super) const fn is_group(&self) -> bool {
        self.row.role.is_some() || self.row.group.is_some()
    }

    /// Whether this is the group's name. Of one without a name, and of one that has it with others, it is its id.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.row.conversation.as_str() == name || self.row.title.as_ref().is_some_and(|title| title.as_str() == name)
    }

    pub(super) const fn members(&self) -> &BTreeSet<UserId> {
        &self.members
    }

    pub(super) fn know_members(&mut self, members: BTreeSet<UserId>) {
        self.members = members;
    }

    /// What an entry makes of the members.
    pub(super) fn follow_members(&mut self, entry: &Entry) {
        match &entry.kind {
            EntryKind::GroupCreated { members, .. } => self.members.extend(members.iter().cloned()),
            EntryKind::Added { users } if !self.members.is_empty() => self.members.extend(users.iter().cloned()),
            EntryKind::Removed { users } => self.forget(|member| users.contains(member)),
            EntryKind::Left { .. } => self.forget(|member| *member == entry.sender),
            _ => {}
        }
    }

    /// These are members no more.
    fn forget(&mut self, is_gone: impl Fn(&UserId) -> bool) {
        self.members.retain(|member| !is_gone(member));
        self.row.others.retain(|other| !is_gone(&other.user));
    }

    /// Messages of others that the user has not read.
    pub(super) fn unread(&self) -> u64 {
        let own = self.own_unread.range((Bound::Excluded(self.row.read.seq), Bound::Unbounded)).count();
        self.unread.saturating_sub(own.try_into().unwrap_or(u64::MAX))
    }

    /// The device has this message of one's own, wherever it was written.
    pub(super) fn wrote(&mut self, seq: Seq) {
        self.own_unread.insert(seq);
    }

    /// Whether it is to look unread.
    pub(super) fn looks_unread(&self) -> bool {
        self.unread() > 0 || self.row.preferred().unread
    }

    /// Whether nothing of it is to disturb the user at this time, but perhaps what mentions them.
    pub(super) fn is_muted(&self, now: UnixMillis) -> bool {
        self.row.preferred().muted_until_ms.is_some_and(|until| until > now)
    }

    /// Whether what has come is to disturb the user at this time. `mentions`: it mentions them.
    pub(super) fn disturbs(&self, mentions: bool, now: UnixMillis) -> bool {
        !self.is_muted(now) || self.row.preferred().mentions && mentions
    }

    /// The line of the list.
    pub(super) fn listed(&self, here: bool, now: UnixMillis) -> String {
        let (name, here) = (self.name(), if here { " (here)" } else { "" });
        let name = if self.row.ended { format!("{name} (ended)") } else { name };
        let prefs = self.row.preferred();
        let mut line = match self.unread() {
            0 if prefs.unread => format!("· {name}: unread"),
            0 => format!("· {name}: nothing new"),
            unread => format!("· {name}: {unread} unread"),
        };
        let marks =
            [(self.row.is_mentioned(), " @"), (prefs.pinned, ", pinned"), (prefs.archived, ", archived"), (self.is_muted(now), ", muted")];
        line.extend(marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark));
        line + here
    }

    /// Where it stands in the list.
    pub(super) fn place(&self) -> impl Ord + use<> {
        let prefs = self.row.preferred();
        (prefs.archived, !prefs.pinned, std::cmp::Reverse(self.unread()), self.name())
    }

    /// Who has the user's last message here; `None`: there is none.
    pub(super) fn readers(&self) -> Option<String> {
        let last = *self.own.last()?;
        Some(text::has(last.seq, self.row.read_by(last), self.row.delivered_to(last)))
    }

    /// What is on the screen is read.
    pub(super) fn mark_read(&self) -> Option<Act> {
        let position = self.shown;
        (position.seq > self.row.read.seq).then(|| Act::MarkRead { conversation: self.row.conversation.clone(), position, private: false })
    }

    /// Notes entries that come onto the screen: the newer ones behind, or older ones before what is there. Answers those that are not on
    /// it.
    pub(super) fn put(&mut self, mut entries: Vec<Entry>, me: &UserId) -> Vec<Entry> {
        let (oldest, shown) = (self.oldest, self.shown);
        entries.retain(|entry| oldest.is_none_or(|oldest| entry.position.seq < oldest) || entry.position.seq > shown.seq);
        for entry in &entries {
            self.shown = if entry.position.seq > self.shown.seq { entry.position } else { self.shown };
            self.oldest = Some(self.oldest.map_or(entry.position.seq, |oldest| oldest.min(entry.position.seq)));
            if entry.sender == *me && matches!(entry.kind, EntryKind::Message { .. }) {
                self.own.insert(entry.position);
            }
        }
        entries
    }

    /// The last entry on the screen.
    pub(super) const fn shown(&self) -> Position {
        self.shown
    }

    /// The first entry on the screen.
    pub(super) const fn oldest(&self) -> Option<Seq> {
        self.oldest
    }

    /// One's own message is stored here.
    pub(super) fn stored(&mut self, position: Position) {
        self.own.insert(position);
    }

    /// Everything beyond is gone; the screen begins anew if nothing stays.
    pub(super) fn roll_back(&mut self, position: Position) {
        self.own.retain(|own| own.seq <= position.seq);
        self.own_unread.retain(|seq| *seq <= position.seq);
        let back = |ticked: Position| if ticked.seq > position.seq { position } else { ticked };
        self.ticked = (back(self.ticked.0), back(self.ticked.1));
        self.shown = if self.shown.seq > position.seq { position } else { self.shown };
        self.oldest = self.oldest.filter(|oldest| *oldest <= position.seq);
    }

    /// The row has changed. It was read before it was stored: cursors of others that came since are not in it.
    pub(super) fn update(&mut self, row: ConversationRow, unread: u64) {
        self.own_unread.retain(|seq| *seq > row.read.seq);
        let before = std::mem::replace(&mut self.row, row);
        (self.was_with, self.unread) = (before.with.or(self.was_with.take()), unread);
        for cursors in before.others {
            // Of a group, those who are members still.
            let is_told = self.row.others.iter().any(|other| other.user == cursors.user);
            if is_told || !self.is_group() || self.members.contains(&cursors.user) {
                self.moved(cursors);
            }
        }
    }

    /// How far another member is. Only forward.
    pub(super) fn moved(&mut self, cursors: MemberCursors) {
        match self.row.others.iter_mut().find(|other| other.user == cursors.user) {
            Some(other) => {
                (other.delivered, other.read) = (other.delivered.max(cursors.delivered), other.read.max(cursors.read));
            }
            None => self.row.others.push(cursors),
        }
    }

    /// The line of an entry: one's own with its ticks.
    pub(super) fn line(&self, entry: &Entry, me: &UserId) -> String {
        let line = text::entry(entry, me);
        if entry.sender != *me || !matches!(entry.kind, EntryKind::Message { .. }) {
            return line;
        }
        let delivered = self.row.others.iter().any(|other| other.delivered.seq >= entry.position.seq);
        format!("{line} {}", if delivered { "✓✓" } else { "✓" })
    }

    /// What ticks have changed since the last call.
    pub(super) fn ticks(&mut self) -> Vec<String> {
        let (delivered, read, by) = self.reached();
        let mut lines = vec![];
        if read > self.ticked.1 {
            lines.push(text::read(read.seq, &by));
        }
        if delivered > self.ticked.0.max(read) {
            lines.push(text::delivered(delivered.seq));
        }
        self.ticked = (delivered.max(self.ticked.0), read.max(self.ticked.1));
        // What is read keeps its ticks; the last of them is where the next ones are counted from.
        self.own.retain(|own| *own >= read);
        lines
    }

    /// The same for one who looks at the conversation anew: the entries are put with their ticks.
    pub(super) fn ticks_anew(&mut self) -> Option<String> {
        let (delivered, read, by) = self.reached();
        let (_, read_before) = std::mem::replace(&mut self.ticked, (delivered, read));
        (read > read_before).then(|| format!("· {by} has read up to #{}", read.seq))
    }

    /// The last own message that was delivered, the last that was read, and by whom.
    fn reached(&self) -> (Position, Position, String) {
        let last_own = |to: Option<Position>| self.own.range(..=to?).next_back().copied();
        let delivered = last_own(self.row.others.iter().map(|other| other.delivered.max(other.read)).max()).unwrap_or_default();
        let read = last_own(self.row.others.iter().map(|other| other.read).max()).unwrap_or_default();
        let by: Vec<UserId> = self.row.read_by(read).cloned().collect();
        (delivered, read, text::names(&by))
    }
}
