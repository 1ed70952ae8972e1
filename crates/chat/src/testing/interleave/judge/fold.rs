//! What a group is, folded from its log by what the entries say, and who may do what in it: written from the protocol's table, with none of
//! the product's rules.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::limits::{MEMBERS_MAX, OWNERS_MAX};
use chatlane_protocol::{
    Body, ConversationId, ErrorCode, GroupSettings, History, Position, Reacting, ReactionChange, ReactionKey, Role, Seq, UserId,
};

use crate::log::hash::UserKey;
use crate::log::{AmendmentEntry, ChangeEntry, Entry, Kind};
use crate::ports::{Description, InboxRow, Member, ReadCursor, Span};
use crate::testing::interleave::frame::Wanted;
use crate::testing::memory::State;

/// What is to become of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    Stored,
    Unchanged,
    Refused(ErrorCode),
}

const FORBIDDEN: Verdict = Verdict::Refused(ErrorCode::Forbidden);

/// A member.
#[derive(Clone, Debug)]
struct Place {
    role: Role,
    version: Seq,
    visible_from: Seq,
    joined: ReadCursor,
}

/// A message.
#[derive(Clone, Debug)]
struct Said {
    body: Body,
    edits: Vec<Seq>,
    deleted: bool,
}

/// A group at one of its entries.
#[derive(Clone, Debug)]
pub(in super::super) struct Fold {
    members: BTreeMap<UserId, Place>,
    spans: BTreeMap<UserId, Vec<Span>>,
    description: Description,
    closed: bool,
    locked: bool,
    send: Role,
    add: Role,
    manage: Role,
    history: History,
    /// Messages by seq.
    messages: BTreeMap<Seq, Said>,
    /// Who have put what beside which of them.
    reactions: BTreeMap<Seq, BTreeMap<ReactionKey, BTreeSet<UserId>>>,
    /// Who wrote which entry.
    senders: BTreeMap<Seq, UserId>,
    count: u64,
    membership_changed: Seq,
    settings_changed: Seq,
    removed: Seq,
}

impl Fold {
    /// Before entry 1.
    pub(super) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            spans: BTreeMap::new(),
            description: Description::default(),
            closed: false,
            locked: false,
            send: Role::Member,
            add: Role::Admin,
            manage: Role::Admin,
            history: History::Joined,
            messages: BTreeMap::new(),
            reactions: BTreeMap::new(),
            senders: BTreeMap::new(),
            count: 0,
            membership_changed: Seq::ZERO,
            settings_changed: Seq::ZERO,
            removed: Seq::ZERO,
        }
    }

    pub(in super::super) fn role(&self, user: &UserId) -> Option<Role> {
        Some(self.members.get(user)?.role)
    }

    pub(in super::super) fn owners(&self) -> usize {
        self.members.values().filter(|place| place.role == Role::Owner).count()
    }

    /// Whether the user is or was a member by whom this entry is seen.
    pub(super) fn is_for(&self, user: &str, seq: Seq) -> bool {
        let is_member = self.members.iter().any(|(member, place)| member.as_str() == user && place.visible_from <= seq);
        let was = |span: &Span| span.from <= seq && seq <= span.end.seq;
        is_member || self.spans.iter().any(|(member, spans)| member.as_str() == user && spans.iter().any(was))
    }

    /// What is to become of this behind the entry.
    pub(in super::super) fn verdict(&self, user: &UserId, wanted: &Wanted) -> Verdict {
        let Some(own) = self.role(user) else { return Verdict::Refused(ErrorCode::NotFound) };
        if let Wanted::Amendment(amendment) = wanted {
            return self.amended(user, own, amendment);
        }
        let leaves = matches!(wanted, Wanted::Change(ChangeEntry::Left { .. }));
        if !leaves && (self.closed || (self.locked && own < Role::Admin)) {
            return FORBIDDEN;
        }
        let permitted = |permitted: bool| if permitted { Verdict::Stored } else { FORBIDDEN };
        match wanted {
            Wanted::Message | Wanted::Amendment(_) => permitted(own >= self.send),
            Wanted::Change(ChangeEntry::Added(users)) => {
                let new = users.iter().filter(|user| !self.members.contains_key(user)).count();
                match new {
                    _ if own < self.add => FORBIDDEN,
                    0 => Verdict::Unchanged,
                    new if self.members.len() + new > MEMBERS_MAX => Verdict::Refused(ErrorCode::MembersFull),
                    _ => Verdict::Stored,
                }
            }
            Wanted::Change(ChangeEntry::Removed(users)) => {
                let roles: Vec<Role> = users.iter().filter_map(|user| self.role(user)).collect();
                match roles.iter().max() {
                    _ if own < Role::Moderator => FORBIDDEN,
                    None => Verdict::Unchanged,
                    Some(highest) => permitted(*highest < own),
                }
            }
            Wanted::Change(ChangeEntry::Left { successor: Some(successor) }) => match self.role(successor) {
                Some(_) if successor != user => permitted(own == Role::Owner),
                _ => Verdict::Refused(ErrorCode::NoMember),
            },
            Wanted::Change(ChangeEntry::Left { successor: None }) => {
                let is_last = own == Role::Owner && self.owners() == 1 && self.members.len() > 1 && !self.closed;
                if is_last { Verdict::Refused(ErrorCode::LastOwner) } else { Verdict::Stored }
            }
            Wanted::Change(ChangeEntry::Role { user: target, role }) => match self.role(target) {
                _ if own < self.manage || own == Role::Member => FORBIDDEN,
                None => Verdict::Refused(ErrorCode::NoMember),
                Some(has) if has >= own || (*role >= own && own != Role::Owner) => FORBIDDEN,
                Some(has) if has == *role => Verdict::Unchanged,
                Some(_) if *role == Role::Owner && self.owners() == OWNERS_MAX => Verdict::Refused(ErrorCode::MembersFull),
                Some(_) => Verdict::Stored,
            },
            Wanted::Change(ChangeEntry::Settings(_)) if own < self.manage => FORBIDDEN,
            Wanted::Change(ChangeEntry::Settings(settings)) => {
                if self.others(settings).into_iter().flatten().any(|other| other) {
                    Verdict::Stored
                } else {
                    Verdict::Unchanged
                }
            }
            Wanted::Change(ChangeEntry::Closed) => permitted(own == Role::Owner),
        }
    }

    fn amended(&self, user: &UserId, own: Role, amendment: &AmendmentEntry) -> Verdict {
        const NO_MESSAGE: Verdict = Verdict::Refused(ErrorCode::NoMessage);
        let target = amendment.target();
        let sees = self.members.get(user).is_some_and(|place| place.visible_from <= target);
        let Some(sender) = self.senders.get(&target).filter(|_| sees) else { return NO_MESSAGE };
        let may = match amendment {
            AmendmentEntry::Edit { .. } => own >= self.send,
            AmendmentEntry::Deletion { .. } => sender == user || own >= Role::Moderator,
            AmendmentEntry::Reaction(_) => true,
        };
        if !may || self.closed || (self.locked && own < Role::Admin) {
            return FORBIDDEN;
        }
        let Some(said) = self.messages.get(&target) else { return NO_MESSAGE };
        let (allowed, changes) = match amendment {
            AmendmentEntry::Deletion { .. } => (true, !said.deleted),
            _ if said.deleted => return NO_MESSAGE,
            AmendmentEntry::Edit { body, .. } => (sender == user, body.as_ref() != Some(&said.body)),
            AmendmentEntry::Reaction(reacting) => {
                let users = self.reactions.get(&target).and_then(|all| all.get(&reacting.key));
                let is_there = users.is_some_and(|users| users.contains(user));
                (true, is_there != (reacting.change == ReactionChange::Add))
            }
        };
        match (allowed, changes) {
            (false, _) => FORBIDDEN,
            (true, false) => Verdict::Unchanged,
            (true, true) => Verdict::Stored,
        }
    }

    fn amend(&mut self, sender: &UserId, at: Seq, amendment: AmendmentEntry) {
        let target = amendment.target();
        let Some(said) = self.messages.get_mut(&target) else { return };
        match amendment {
            AmendmentEntry::Edit { body, .. } => {
                said.body = body.expect("its words are there while its message is");
                said.edits.push(at);
            }
            AmendmentEntry::Deletion { .. } => {
                said.deleted = true;
                self.reactions.remove(&target);
            }
            AmendmentEntry::Reaction(Reacting { key, change, .. }) => {
                let all = self.reactions.entry(target).or_default();
                let users = all.entry(key.clone()).or_default();
                let _ = if change == ReactionChange::Add { users.insert(sender.clone()) } else { users.remove(sender) };
                if users.is_empty() {
                    all.remove(&key);
                }
            }
        }
    }

    /// Whether each of the settings is another; `None`: it is not set.
    fn others(&self, settings: &GroupSettings) -> [Option<bool>; 7] {
        [
            settings.title.as_ref().map(|title| *title != self.description.title),
            settings.metadata.as_ref().map(|metadata| *metadata != self.description.metadata),
            settings.send.map(|role| role != self.send),
            settings.add.map(|role| role != self.add),
            settings.manage.map(|role| role != self.manage),
            settings.locked.map(|locked| locked != self.locked),
            settings.history.map(|history| history != self.history),
        ]
    }

    /// Whether the entry says nothing that was so before.
    fn is_news(&self, change: &ChangeEntry) -> bool {
        match change {
            ChangeEntry::Added(users) => users.iter().all(|user| !self.members.contains_key(user)),
            ChangeEntry::Removed(users) => users.iter().all(|user| self.members.contains_key(user)),
            ChangeEntry::Settings(settings) => self.others(settings).into_iter().flatten().all(|other| other),
            ChangeEntry::Left { successor } => successor.as_ref().is_none_or(|successor| self.role(successor) != Some(Role::Owner)),
            ChangeEntry::Role { .. } | ChangeEntry::Closed => true,
        }
    }

    /// Goes on to the entry behind, which is to be permitted here. An error says which of the rights (M1) was passed.
    pub(super) fn follow(&mut self, entry: &Entry) -> Result<(), String> {
        let at = entry.position;
        self.senders.insert(at.seq, entry.sender.clone());
        let wanted = match &entry.kind {
            Kind::GroupCreated(created) => {
                self.set(&created.settings);
                for user in &created.members {
                    self.join(user, at, Seq::FIRST);
                }
                if let Some(creator) = self.members.get_mut(&entry.sender) {
                    creator.role = Role::Owner;
                }
                (self.membership_changed, self.settings_changed) = (at.seq, at.seq);
                return Ok(());
            }
            Kind::Message(_) => Wanted::Message,
            Kind::Change(change) => Wanted::Change(change.clone()),
            Kind::Amendment(amendment) => Wanted::Amendment(amendment.clone()),
            Kind::Deleted | Kind::Created(_) | Kind::Later(_) => return Err(format!("{at} is no entry of a group")),
        };
        match self.verdict(&entry.sender, &wanted) {
            Verdict::Stored => {}
            other => return Err(format!("{wanted:?} of {} is at {at}, and was to be {other:?}", entry.sender)),
        }
        match wanted {
            Wanted::Message => {
                self.count += 1;
                if let Kind::Message(message) = &entry.kind {
                    self.messages.insert(at.seq, Said { body: message.body.clone(), edits: vec![], deleted: false });
                }
            }
            Wanted::Amendment(amendment) => self.amend(&entry.sender, at.seq, amendment),
            Wanted::Change(change) if !self.is_news(&change) => return Err(format!("{change:?} is at {at}, and some of it was so before")),
            Wanted::Change(change) => self.change(&entry.sender, at, change),
        }
        if self.owners() == 0 && !self.closed {
            return Err(format!("{at} leaves the group without an owner"));
        }
        Ok(())
    }

    fn change(&mut self, sender: &UserId, at: Position, change: ChangeEntry) {
        match change {
            ChangeEntry::Added(users) => {
                let visible_from = if self.history == History::All { Seq::FIRST } else { at.seq };
                for user in &users {
                    self.join(user, at, visible_from);
                }
                self.membership_changed = at.seq;
            }
            ChangeEntry::Removed(users) => {
                for user in &users {
                    self.leave(user, at);
                }
            }
            ChangeEntry::Left { successor } => {
                self.leave(sender, at);
                if let Some(successor) = successor {
                    self.give(&successor, Role::Owner, at);
                }
                if self.members.is_empty() {
                    (self.closed, self.settings_changed) = (true, at.seq);
                }
            }
            ChangeEntry::Role { user, role } => self.give(&user, role, at),
            ChangeEntry::Settings(settings) => {
                self.set(&settings);
                self.settings_changed = at.seq;
            }
            ChangeEntry::Closed => (self.closed, self.settings_changed) = (true, at.seq),
        }
    }

    fn set(&mut self, settings: &GroupSettings) {
        let GroupSettings { title, metadata, send, add, manage, locked, history } = settings.clone();
        self.description.title = title.unwrap_or_else(|| self.description.title.clone());
        self.description.metadata = metadata.unwrap_or_else(|| self.description.metadata.clone());
        (self.send, self.add) = (send.unwrap_or(self.send), add.unwrap_or(self.add));
        (self.manage, self.locked) = (manage.unwrap_or(self.manage), locked.unwrap_or(self.locked));
        self.history = history.unwrap_or(self.history);
    }

    fn join(&mut self, user: &UserId, at: Position, visible_from: Seq) {
        let joined = ReadCursor { position: at, count: self.count };
        self.members.insert(user.clone(), Place { role: Role::Member, version: at.seq, visible_from, joined });
    }

    fn leave(&mut self, user: &UserId, at: Position) {
        if let Some(place) = self.members.remove(user) {
            self.spans.entry(user.clone()).or_default().push(Span { from: place.visible_from, end: at });
        }
        (self.membership_changed, self.removed) = (at.seq, at.seq);
    }

    fn give(&mut self, user: &UserId, role: Role, at: Position) {
        if let Some(place) = self.members.get_mut(user) {
            (place.role, place.version) = (role, at.seq);
        }
        self.membership_changed = at.seq;
    }

    /// Which of the entry's facts are not those of the fold.
    pub(super) fn wrong_facts(&self, entry: &Entry, key: &UserKey) -> Option<String> {
        let facts = &entry.facts;
        let policy = &facts.policy;
        let told = (
            (facts.members, facts.owners, facts.members_sum, facts.count),
            (facts.membership_changed, facts.settings_changed, facts.removed),
            (policy.closed, policy.locked, policy.send, policy.add, policy.manage, policy.history),
        );
        let of = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let folded = (
            (of(self.members.len()), of(self.owners()), Some(key.sum(self.members.keys())), self.count),
            (self.membership_changed, self.settings_changed, self.removed),
            (self.closed, self.locked, self.send, Some(self.add), Some(self.manage), self.history),
        );
        (told != folded).then(|| format!("{} says {told:?}, and it is {folded:?}", entry.position))
    }

    /// Which of the messages, and of what is beside them, are not those of the fold.
    fn wrong_messages(&self, conversation: &ConversationId, state: &State, key: &UserKey) -> Option<String> {
        let log = &state.log[conversation];
        for (seq, said) in &self.messages {
            let is_so = match &log[seq].kind {
                Kind::Message(message) => !said.deleted && (&message.body, &message.edits) == (&said.body, &said.edits),
                Kind::Deleted => said.deleted,
                _ => false,
            };
            let have_words = |edit: &Seq| matches!(&log[edit].kind, Kind::Amendment(AmendmentEntry::Edit { body: Some(_), .. }));
            if !is_so || said.edits.iter().any(|edit| have_words(edit) == said.deleted) {
                return Some(format!("#{seq} is {:?}, and by the log {said:?}", log[seq].kind));
            }
            let told = state.reactions.get(&(conversation.clone(), *seq)).cloned().unwrap_or_default();
            let folded = self.reactions.get(seq).cloned().unwrap_or_default();
            let hashes = |users: &BTreeSet<UserId>| users.iter().map(|user| key.sum([user])).collect::<BTreeSet<u64>>();
            let is_counted = |(key, users): (&ReactionKey, &BTreeSet<UserId>)| {
                told.counts.get(key).is_some_and(|told| {
                    told.count as usize == users.len() && told.users.iter().copied().collect::<BTreeSet<_>>() == hashes(users)
                })
            };
            if told.closed != said.deleted || told.counts.len() != folded.len() || !folded.iter().all(is_counted) {
                return Some(format!("beside #{seq} is {told:?}, and by the log {folded:?}"));
            }
            for user in self.senders.values() {
                let own = state.own_reactions.get(&(conversation.clone(), *seq, user.clone())).cloned().unwrap_or_default();
                let by_log = folded.iter().filter(|(_, users)| users.contains(user)).map(|(key, _)| key.clone()).collect();
                if !said.deleted && own != by_log {
                    return Some(format!("{user} has put {own:?} beside #{seq}, and by the log {by_log:?}"));
                }
            }
        }
        None
    }

    /// Which of the rows are not those of the fold.
    pub(super) fn wrong_rows(&self, conversation: &ConversationId, state: &State, key: &UserKey) -> Option<String> {
        if let Some(wrong) = self.wrong_messages(conversation, state, key) {
            return Some(wrong);
        }
        let members: BTreeMap<&UserId, &Member> =
            state.members.iter().filter(|((of, _), _)| of == conversation).map(|((_, user), member)| (user, member)).collect();
        let inboxes = state.inboxes.iter().filter_map(|(user, rows)| Some((user, rows.get(conversation)?)));
        let inboxes: BTreeMap<&UserId, &InboxRow> = inboxes.collect();
        let spans: BTreeMap<&UserId, &Vec<Span>> =
            state.left.iter().filter(|((of, _), _)| of == conversation).map(|((_, user), spans)| (user, spans)).collect();
        let users: BTreeSet<&UserId> =
            members.keys().chain(inboxes.keys()).chain(spans.keys()).copied().chain(self.members.keys()).chain(self.spans.keys()).collect();
        for user in users {
            let place = self.members.get(user);
            let member = place.map(|place| {
                let Place { role, version, visible_from, .. } = *place;
                Member { user: user.clone(), role, visible_from, version }
            });
            let row = place
                .zip(member.as_ref())
                .map(|(place, member)| InboxRow { read: place.joined, ..InboxRow::new(conversation.clone(), None, member) });
            if members.get(user).copied() != member.as_ref() || inboxes.get(user).copied() != row.as_ref() {
                let (member, row) = (members.get(user), inboxes.get(user));
                return Some(format!("the rows of {user} are {member:?} and {row:?}, and by the log {place:?}"));
            }
            if spans.get(user).copied() != self.spans.get(user) {
                return Some(format!("{user} was a member in {:?}, and by the log in {:?}", spans.get(user), self.spans.get(user)));
            }
        }
        let description = state.descriptions.get(conversation);
        (description != Some(&self.description)).then(|| format!("it is called {description:?}, and by the log {:?}", self.description))
    }
}
