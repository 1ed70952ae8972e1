//! Who belongs to a conversation and what holds there, folded from its log, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use crate::dump::{Entry, Facts, Kind, Span};
use crate::policy::{Deed, Policy, Role, Settings};
use crate::words::{Name, Position};

const MEMBERS_MAX: usize = 200;
const OWNERS_MAX: usize = 20;
/// Users whom one entry adds, and removes.
const ADDED_MAX: usize = 40;
const REMOVED_MAX: usize = 20;

/// Spans of a user that are kept.
const SPANS_MAX: usize = 20;

/// A member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub role: Role,
    /// The seq of the first entry that they may see.
    pub from: u64,
    /// The seq of the entry that made them what they are.
    pub version: u64,
}

/// A conversation at some entry.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub members: BTreeMap<Name, Member>,
    /// The spans of those who ceased to be members; some are members again.
    pub left: BTreeMap<Name, Vec<Span>>,
    pub policy: Policy,
    pub title: String,
    pub metadata: String,
    pub is_direct: bool,
    /// The seq of the entry by which each user who ever was a member became one the last time.
    joined: BTreeMap<Name, u64>,
    changed: u64,
    settings: u64,
    removed: u64,
    opener: Name,
    /// The opener's messages in a direct conversation, while the other has written nothing.
    unanswered: Option<u64>,
}

impl Standing {
    /// At entry 1. `None`: it is no creation.
    pub(crate) fn of_first(first: &Entry) -> Option<Self> {
        let (members, settings) = match &first.kind {
            Kind::Created(members) => (members, None),
            Kind::GroupCreated(members, settings) => (members, Some(settings)),
            _ => return None,
        };
        let seq = first.position.seq;
        let role = |user: Name| if settings.is_some() && user == first.message.sender { Role::Owner } else { Role::Member };
        let mut standing = Self {
            members: members.iter().map(|user| (*user, Member { role: role(*user), from: seq, version: seq })).collect(),
            left: BTreeMap::new(),
            policy: if settings.is_some() { Policy::GROUP } else { Policy::DIRECT },
            title: String::new(),
            metadata: String::new(),
            is_direct: settings.is_none(),
            joined: members.iter().map(|user| (*user, seq)).collect(),
            changed: seq,
            settings: 0,
            removed: 0,
            opener: first.message.sender,
            unanswered: settings.is_none().then_some(0),
        };
        if let Some(settings) = settings {
            standing.set(settings, seq);
        }
        Some(standing)
    }

    fn set(&mut self, settings: &Settings, seq: u64) {
        self.policy.set(settings);
        self.settings = seq;
        for (text, set) in [(&mut self.title, &settings.title), (&mut self.metadata, &settings.metadata)] {
            if let Some(set) = set {
                text.clone_from(set);
            }
        }
    }

    fn role(&self, user: Name) -> Option<Role> {
        self.members.get(&user).map(|member| member.role)
    }

    fn owners(&self) -> usize {
        self.members.values().filter(|member| member.role == Role::Owner).count()
    }

    /// Why this entry may not follow here. Its sender is a member.
    pub(crate) fn forbids(&self, entry: &Entry) -> Option<&'static str> {
        const NO_RIGHT: Option<&str> = Some("its sender has no right to");
        let sender = entry.message.sender;
        let role = self.role(sender)?;
        let may = |deed| self.policy.permits(role, deed);
        let are_some = |users: &[Name], most: usize| {
            let distinct: BTreeSet<&Name> = users.iter().collect();
            (1..=most).contains(&users.len()) && distinct.len() == users.len()
        };
        match &entry.kind {
            Kind::Message(_) | Kind::Deleted if !may(Deed::Send) => NO_RIGHT,
            Kind::Message(said) if said.reply_to.is_some_and(|target| !self.is_before(sender, target, entry)) => {
                Some("what it answers is not there")
            }
            Kind::Added(_) if !may(Deed::Add) => NO_RIGHT,
            Kind::Added(users) if !are_some(users, ADDED_MAX) => Some("too many or none are added"),
            Kind::Added(users) if users.iter().any(|user| self.members.contains_key(user)) => Some("who is added is a member"),
            Kind::Added(users) if self.members.len() + users.len() > MEMBERS_MAX => Some("there are more members than there may be"),
            Kind::Removed(users) if !are_some(users, REMOVED_MAX) => Some("too many or none are removed"),
            Kind::Removed(users) => match users.iter().map(|user| self.role(*user)).collect::<Option<Vec<Role>>>() {
                None => Some("who is removed is no member"),
                Some(roles) => roles.into_iter().find_map(|of| if may(Deed::Remove(of)) { None } else { NO_RIGHT }),
            },
            Kind::Left(_) if !may(Deed::Leave) => NO_RIGHT,
            Kind::Left(Some(successor)) => match self.role(*successor) {
                None => Some("the successor is no member"),
                Some(_) if *successor == sender => Some("the successor is no member any more"),
                Some(Role::Owner) => Some("the successor is an owner"),
                Some(_) => {
                    if role == Role::Owner {
                        None
                    } else {
                        NO_RIGHT
                    }
                }
            },
            Kind::Left(None) if role == Role::Owner && self.owners() == 1 && self.members.len() > 1 && !self.policy.closed => {
                Some("the last owner leaves")
            }
            Kind::Role(user, to) => match self.role(*user) {
                None => Some("whose role is changed is no member"),
                Some(from) if !may(Deed::Give(from, *to)) => NO_RIGHT,
                Some(from) if from == *to => Some("the role is the one that there was"),
                Some(_) if *to == Role::Owner && self.owners() == OWNERS_MAX => Some("there are more owners than there may be"),
                Some(_) => None,
            },
            Kind::Settings(_) if !may(Deed::Set) => NO_RIGHT,
            Kind::Settings(settings) if !self.differ(settings) => Some("what it sets was set"),
            Kind::Closed if !may(Deed::Close) => NO_RIGHT,
            _ => None,
        }
    }

    /// Whether this user may see the entry there, and it is before this one.
    pub(crate) fn is_before(&self, user: Name, target: u64, entry: &Entry) -> bool {
        self.members.get(&user).is_some_and(|member| target >= member.from) && target < entry.position.seq
    }

    /// Whether they set something, and nothing that is set.
    fn differ(&self, settings: &Settings) -> bool {
        let Policy { locked, send, add, manage, all, .. } = self.policy;
        let as_it_is = Settings {
            title: Some(self.title.clone()),
            metadata: Some(self.metadata.clone()),
            send: Some(send),
            add,
            manage,
            locked: Some(locked),
            all: Some(all),
        };
        let each = |of: &Settings| {
            let role = |role: Option<Role>| role.map(|role| format!("{role:?}"));
            let flag = |flag: Option<bool>| flag.map(|flag| flag.to_string());
            [of.title.clone(), of.metadata.clone(), role(of.send), role(of.add), role(of.manage), flag(of.locked), flag(of.all)]
        };
        *settings != Settings::default() && each(settings).iter().zip(each(&as_it_is)).all(|(set, is)| set.is_none() || *set != is)
    }

    /// Behind this entry. `None`: this program does not know its kind.
    pub(crate) fn follow(&mut self, entry: &Entry) -> Option<()> {
        let (position, sender) = (entry.position, entry.message.sender);
        let seq = position.seq;
        self.unanswered = self.unanswered.filter(|_| sender == self.opener);
        if matches!(entry.kind, Kind::Message(_) | Kind::Deleted) {
            self.unanswered = self.unanswered.map(|before| before + 1);
        }
        match &entry.kind {
            Kind::Message(_)
            | Kind::Deleted
            | Kind::Edit(..)
            | Kind::Deletion(_)
            | Kind::Reaction(..)
            | Kind::Created(_)
            | Kind::GroupCreated(..) => {}
            Kind::Other => return None,
            Kind::Added(users) => {
                let from = if self.policy.all { 1 } else { seq };
                let new = users.iter().filter(|user| !self.members.contains_key(user));
                self.joined.extend(new.map(|user| (*user, seq)));
                for user in users {
                    self.members.entry(*user).or_insert(Member { role: Role::Member, from, version: seq });
                }
                self.changed = seq;
            }
            Kind::Removed(users) => self.leave(users, position),
            Kind::Left(successor) => {
                self.leave(&[sender], position);
                if let Some(successor) = successor {
                    self.give(*successor, Role::Owner, seq);
                }
                if self.members.is_empty() {
                    (self.policy.closed, self.settings) = (true, seq);
                }
            }
            Kind::Role(user, role) => self.give(*user, *role, seq),
            Kind::Settings(settings) => self.set(settings, seq),
            Kind::Closed => (self.policy.closed, self.settings) = (true, seq),
        }
        Some(())
    }

    fn leave(&mut self, users: &[Name], end: Position) {
        for user in users {
            if let Some(Member { from, .. }) = self.members.remove(user) {
                self.left.entry(*user).or_default().push(Span { from, end });
            }
        }
        (self.changed, self.removed) = (end.seq, end.seq);
    }

    fn give(&mut self, user: Name, role: Role, seq: u64) {
        if let Some(member) = self.members.get_mut(&user) {
            (member.role, member.version) = (role, seq);
        }
        self.changed = seq;
    }

    /// In which of these facts an entry that stands here is wrong. (The sum of the members is judged elsewhere.)
    pub(crate) fn differs_from(&self, facts: &Facts) -> Option<&'static str> {
        let owners = self.owners() as u64;
        if facts.members != self.members.len() as u64 {
            Some("number of members")
        } else if facts.owners != owners {
            Some("number of owners")
        } else if facts.changed != self.changed {
            Some("last change of members")
        } else if facts.settings != self.settings {
            Some("last change of settings")
        } else if facts.removed != self.removed {
            Some("last removal")
        } else if facts.unanswered != self.unanswered {
            Some("number of messages without an answer")
        } else if facts.policy.is_some_and(|policy| policy != self.policy) {
            Some("policy")
        } else {
            None
        }
    }

    /// Whether this user may see the entry with this seq: as a member, or once.
    pub(crate) fn may_see(&self, user: Name, seq: u64) -> bool {
        let now = self.members.get(&user).is_some_and(|member| seq >= member.from);
        now || self.left.get(&user).into_iter().flatten().any(|span| (span.from..=span.end.seq).contains(&seq))
    }

    /// The spans in which this user may see the entry with this seq: the first seq of each, and its last where it has ended.
    pub(crate) fn spans(&self, user: Name, seq: u64) -> impl Iterator<Item = (u64, u64)> {
        let now = self.members.get(&user).map(|member| (member.from, u64::MAX));
        let left = self.left.get(&user).into_iter().flatten().map(|span| (span.from, span.end.seq));
        now.into_iter().chain(left).filter(move |(from, end)| (*from..=*end).contains(&seq))
    }

    /// Whether a log that goes up to this seq is one that this user may know of.
    pub(crate) fn reaches(&self, user: Name, seq: u64) -> bool {
        self.members.contains_key(&user) || self.left.get(&user).into_iter().flatten().any(|span| seq <= span.end.seq)
    }

    /// Whether this user is a member, or was one.
    pub(crate) fn knows(&self, user: Name) -> bool {
        self.members.contains_key(&user) || self.left.contains_key(&user)
    }

    /// How far a user has read by joining alone.
    pub(crate) fn read_at_joining(&self, user: Name) -> u64 {
        if self.is_direct { 0 } else { self.joined.get(&user).copied().unwrap_or_default() }
    }

    /// Whether this user's rows may have been made anew since they were at this entry.
    pub(crate) fn may_have_begun_anew(&self, user: Name, seq: u64) -> bool {
        self.left.contains_key(&user) && (!self.members.contains_key(&user) || seq < self.read_at_joining(user))
    }

    /// The spans of a user that are to be kept.
    pub(crate) fn kept(&self, user: Name) -> &[Span] {
        let all = self.left.get(&user).map(Vec::as_slice).unwrap_or_default();
        &all[all.len().saturating_sub(SPANS_MAX)..]
    }
}
