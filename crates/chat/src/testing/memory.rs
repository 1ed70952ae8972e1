//! All ports in memory, each call one atomic step: what the interleaver, the stepping search and the simulation schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chatlane_protocol::{ConnectionId, ConversationId, DeviceId, Position, Prefs, PrefsChange, ReactionKey, Seq, UnixMillis, UserId};

use crate::deployment::Deployment;
use crate::log::reactions::{Reacted, Reactions};
use crate::log::{AmendmentEntry, Entry, Head, Kind};
use crate::ports::{
    Accounts, Advance, Advanced, Amendment, Amendments, Amends, Change, Clock, Connection, Connections, Created, Creation, Creations,
    Deployments, Description, Failure, FanOutQueue, Heads, InboxPlace, InboxRow, Inboxes, Joining, Member, Membership, Memberships,
    MessageLog, Meter, Outbound, PostOutcome, Put, ReadBound, ReadCursor, Registered, RowChange, Shown, Span,
};
use crate::ports::{ConnectionsOfUser, Gate, Holder, TicketHash, Tickets};
use crate::workers::task::Task;

/// A backend in memory. Shared by reference; every method is atomic.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    /// Shown to whoever calls it without a wrapper; stands until it is moved.
    pub clock: SetClock,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What all functions share.
    pub deployment: Option<Deployment>,
    /// Entries of each conversation by seq.
    pub log: BTreeMap<ConversationId, BTreeMap<Seq, Entry>>,
    /// How far delivery has begun.
    pub heads: BTreeMap<ConversationId, Head>,
    /// What was put beside messages.
    pub reactions: BTreeMap<(ConversationId, Seq), Reactions>,
    /// What each user has put beside messages.
    pub own_reactions: BTreeMap<(ConversationId, Seq, UserId), BTreeSet<ReactionKey>>,
    /// What conversations are called.
    pub descriptions: BTreeMap<ConversationId, Description>,
    /// The spans of those who have left.
    pub left: BTreeMap<(ConversationId, UserId), Vec<Span>>,
    /// Rows of members.
    pub members: BTreeMap<(ConversationId, UserId), Member>,
    /// Inboxes.
    pub inboxes: BTreeMap<UserId, BTreeMap<ConversationId, InboxRow>>,
    /// Inbox rows that cannot be read.
    pub damaged: BTreeSet<(UserId, ConversationId)>,
    /// Connections by user and connection.
    pub sessions: BTreeMap<UserId, BTreeMap<ConnectionId, Connection>>,
    /// Connections that were admitted and have not said hello, by user and connection.
    pub pending: BTreeMap<UserId, BTreeMap<ConnectionId, Connection>>,
    /// How many sessions a user has registered in a minute since 1970.
    pub hellos: BTreeMap<(UserId, u64), u64>,
    /// How many conversations a user has created on a day since 1970.
    pub opened: BTreeMap<(UserId, u64), u64>,
    /// How many users a user has added to groups on a day since 1970.
    pub added: BTreeMap<(UserId, u64), u64>,
    /// Gates that were shut.
    pub gates: BTreeMap<UserId, Gate>,
    /// Tickets that nobody has used.
    pub tickets: BTreeMap<TicketHash, Holder>,
    /// What users have spent, by windows.
    pub spent: BTreeMap<UserId, BTreeMap<u64, u64>>,
    /// Tasks in the order in which they were accepted, with their delay in seconds.
    pub queue: Vec<(Task, u32)>,
    /// Frames that connections took, in order.
    pub posts: Vec<(ConnectionId, String)>,
    /// Connections that answer "gone".
    pub gone: BTreeSet<ConnectionId>,
    /// Connections that answer "unknown".
    pub stuck: BTreeSet<ConnectionId>,
    /// Connections that are throttled.
    pub throttled: BTreeSet<ConnectionId>,
    /// Every post is refused.
    pub refuses_posts: bool,
}

impl Memory {
    /// An empty one, whose clock shows 1970.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one whose clock shows this time.
    pub fn at(now: UnixMillis) -> Self {
        Self { clock: SetClock::at(now), ..Self::default() }
    }

    /// What is stored, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has said hello.
    pub fn log_in(&self, user: &UserId, session: Connection) {
        self.state().sessions.entry(user.clone()).or_default().insert(session.connection.clone(), session);
    }

    /// Changes an inbox row.
    ///
    /// # Panics
    /// If there is none.
    pub fn change_row(&self, user: &UserId, conversation: &ConversationId, change: impl FnOnce(&mut InboxRow)) {
        let mut state = self.state();
        change(state.inboxes.get_mut(user).and_then(|rows| rows.get_mut(conversation)).expect("there is such a row"));
    }

    /// So many conversations are in the user's inbox beside those that are, and nowhere else.
    pub fn fill_inbox(&self, who: &str, conversations: usize) {
        let user = super::builders::user(who);
        let member = super::builders::member(&user);
        let rows = (0..conversations).map(|number| InboxRow::new(super::builders::conversation(&format!("d{number}")), None, &member));
        self.state().inboxes.entry(user).or_default().extend(rows.map(|row| (row.conversation.clone(), row)));
    }

    /// The entries of a conversation, ascending.
    pub fn entries(&self, conversation: &ConversationId) -> Vec<Entry> {
        self.state().log.get(conversation).map(|log| log.values().cloned().collect()).unwrap_or_default()
    }
}

impl State {
    fn version(&self, conversation: &ConversationId, user: &UserId) -> Option<Seq> {
        Some(self.members.get(&(conversation.clone(), user.clone()))?.version)
    }

    fn join(&mut self, conversation: &ConversationId, Joining { member, row }: &Joining) {
        self.members.insert((conversation.clone(), member.user.clone()), member.clone());
        self.inboxes.entry(member.user.clone()).or_default().insert(conversation.clone(), row.clone());
    }

    fn readable(&self, user: &UserId, conversation: &ConversationId) -> Result<(), Failure> {
        let damaged = self.damaged.contains(&(user.clone(), conversation.clone()));
        if damaged { Err(Failure::unreadable("read an inbox row", "it is damaged")) } else { Ok(()) }
    }

    /// What the gateway answers for this connection, where it takes nothing.
    fn not_taken(&self, connection: &ConnectionId) -> Option<PostOutcome> {
        let because = |cause: &str| Failure::unavailable("post to a connection", cause);
        if self.refuses_posts {
            Some(PostOutcome::Refused(because("posts are refused")))
        } else if self.stuck.contains(connection) {
            Some(PostOutcome::Unknown(because("it is stuck")))
        } else if self.throttled.contains(connection) {
            Some(PostOutcome::Throttled(because("it is throttled")))
        } else {
            None
        }
    }
}

impl Deployments for Memory {
    async fn deployment(&self) -> Result<Option<Deployment>, Failure> {
        Ok(self.state().deployment.clone())
    }

    async fn found(&self, first: &Deployment) -> Result<Deployment, Failure> {
        Ok(self.state().deployment.get_or_insert_with(|| first.clone()).clone())
    }
}

impl MessageLog for Memory {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Failure> {
        let state = self.state();
        let Some(log) = state.log.get(conversation) else { return Ok(vec![]) };
        Ok(bounded(log.range(from..).map(|(_, entry)| entry), bound))
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Failure> {
        let state = self.state();
        let Some(log) = state.log.get(conversation) else { return Ok(vec![]) };
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let below = log.range((Bound::Unbounded, end)).rev().map(|(_, entry)| entry);
        Ok(bounded(below, bound))
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Failure> {
        let state = self.state();
        Ok(slots.iter().map(|(conversation, seq)| state.log.get(conversation)?.get(seq).cloned()).collect())
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Failure> {
        let mut state = self.state();
        let log = state.log.entry(entry.conversation.clone()).or_default();
        if let Some(occupant) = log.get(&entry.position.seq) {
            return Ok(Put::Taken(Box::new(occupant.clone())));
        }
        log.insert(entry.position.seq, entry.clone());
        Ok(Put::Stored)
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Creations for Memory {
    async fn create(&self, creation: &Creation) -> Result<Created, Failure> {
        let mut state = self.state();
        let entry = &creation.entry;
        let conversation = &entry.conversation;
        let day = (entry.sender.clone(), entry.time.get() / DAY_MS);
        let slot_1 = state.log.get(conversation).is_some_and(|log| log.contains_key(&entry.position.seq));
        if slot_1 || state.heads.contains_key(conversation) {
            return Ok(Created::Exists);
        }
        let opened = state.opened.entry(day).or_default();
        if *opened >= creation.a_day_max {
            return Ok(Created::TooMany);
        }
        *opened += 1;
        state.heads.insert(conversation.clone(), Head::default());
        state.log.entry(conversation.clone()).or_default().insert(entry.position.seq, entry.clone());
        state.descriptions.insert(conversation.clone(), creation.description.clone());
        for joining in &creation.members {
            state.join(conversation, joining);
        }
        Ok(Created::New)
    }

    async fn change(&self, change: &Change) -> Result<Put, Failure> {
        let mut state = self.state();
        let Change { entry, rows, description } = change;
        let conversation = &entry.conversation;
        if let Some(occupant) = state.log.get(conversation).and_then(|log| log.get(&entry.position.seq)) {
            return Ok(Put::Taken(Box::new(occupant.clone())));
        }
        let is_as_it_was = |row: &RowChange| match row {
            RowChange::Join(Joining { member, .. }) => state.version(conversation, &member.user).is_none(),
            RowChange::Role { member, was } => state.version(conversation, &member.user) == Some(*was),
            RowChange::Leave { member, .. } => state.version(conversation, &member.user) == Some(member.version),
        };
        if !rows.iter().all(is_as_it_was) {
            return Ok(Put::Contended);
        }
        state.log.entry(conversation.clone()).or_default().insert(entry.position.seq, entry.clone());
        for row in rows {
            match row {
                RowChange::Join(joining) => state.join(conversation, joining),
                RowChange::Role { member, .. } => {
                    state.members.insert((conversation.clone(), member.user.clone()), member.clone());
                    if let Some(row) = state.inboxes.get_mut(&member.user).and_then(|rows| rows.get_mut(conversation)) {
                        (row.role, row.version) = (member.role, member.version);
                    }
                }
                RowChange::Leave { member, spans } => {
                    state.members.remove(&(conversation.clone(), member.user.clone()));
                    if let Some(rows) = state.inboxes.get_mut(&member.user) {
                        rows.remove(conversation);
                    }
                    state.left.insert((conversation.clone(), member.user.clone()), spans.clone());
                }
            }
        }
        state.descriptions.extend(description.clone().map(|description| (conversation.clone(), description)));
        Ok(Put::Stored)
    }

    async fn groups_of(&self, user: &UserId) -> Result<usize, Failure> {
        Ok(self.state().inboxes.get(user).map_or(0, |rows| rows.values().filter(|row| row.with.is_none()).count()))
    }

    async fn count_added(&self, by: &UserId, at: UnixMillis, users: u64, a_day_max: u64) -> Result<bool, Failure> {
        let mut state = self.state();
        let added = state.added.entry((by.clone(), at.get() / DAY_MS)).or_default();
        let may = *added + users <= a_day_max;
        *added += if may { users } else { 0 };
        Ok(may)
    }
}

impl Amendments for Memory {
    async fn entry_consistent(&self, conversation: &ConversationId, seq: Seq) -> Result<Option<Entry>, Failure> {
        Ok(self.state().log.get(conversation).and_then(|log| log.get(&seq)).cloned())
    }

    async fn reacted(&self, conversation: &ConversationId, user: &UserId, target: Seq) -> Result<Reacted, Failure> {
        let state = self.state();
        let own = state.own_reactions.get(&(conversation.clone(), target, user.clone())).cloned().unwrap_or_default();
        Ok(Reacted { all: state.reactions.get(&(conversation.clone(), target)).cloned(), own })
    }

    async fn reactions(&self, conversation: &ConversationId, first: Seq, last: Seq) -> Result<Vec<(Seq, Reactions)>, Failure> {
        let state = self.state();
        let all = state.reactions.range((conversation.clone(), first)..=(conversation.clone(), last));
        Ok(all.map(|((_, target), all)| (*target, all.clone())).collect())
    }

    async fn amend(&self, Amendment { entry, amends }: &Amendment) -> Result<Put, Failure> {
        let mut state = self.state();
        let State { log, reactions, own_reactions, .. } = &mut *state;
        let conversation = &entry.conversation;
        let log = log.entry(conversation.clone()).or_default();
        if let Some(occupant) = log.get(&entry.position.seq) {
            return Ok(Put::Taken(Box::new(occupant.clone())));
        }
        match amends {
            Amends::Edit { was, .. } | Amends::Deletion { was, .. } if log.get(&was.position.seq) != Some(was) => {
                return Ok(Put::Contended);
            }
            Amends::Edit { was, becomes } => {
                let kind = Kind::Message(becomes.clone());
                log.insert(was.position.seq, Entry { kind, ..was.clone() });
            }
            Amends::Deletion { was, edits } => {
                let target = was.position.seq;
                if !edits.iter().all(|edit| log.get(edit).is_some_and(|edit| edit.kind.may_be_edit_of(target))) {
                    return Ok(Put::Contended);
                }
                log.insert(target, Entry { kind: Kind::Deleted, ..was.clone() });
                for edit in edits.iter().filter_map(|seq| log.get(seq).cloned()).collect::<Vec<_>>() {
                    let kind = Kind::Amendment(AmendmentEntry::Edit { target, body: None });
                    log.insert(edit.position.seq, Entry { kind, ..edit });
                }
                let closed = Reactions { to: entry.position.seq, closed: true, ..Reactions::default() };
                reactions.insert((conversation.clone(), target), closed);
            }
            Amends::Reaction { target, was, all, own } => {
                let key = (conversation.clone(), *target);
                if reactions.get(&key) != was.all.as_ref() || was.all.as_ref().is_some_and(|all| all.closed) {
                    return Ok(Put::Contended);
                }
                reactions.insert(key, all.clone());
                own_reactions.insert((conversation.clone(), *target, entry.sender.clone()), own.clone());
            }
        }
        log.insert(entry.position.seq, entry.clone());
        Ok(Put::Stored)
    }
}

/// As many as one read may bring.
fn bounded<'a>(entries: impl Iterator<Item = &'a Entry>, bound: ReadBound) -> Vec<Entry> {
    let mut read = vec![];
    for entry in entries {
        read.push(entry.clone());
        if bound.is_reached_by(&read) {
            break;
        }
    }
    read
}

impl Memberships for Memory {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Failure> {
        Ok(self.state().members.get(&(conversation.clone(), user.clone())).cloned())
    }

    async fn member_consistent(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Failure> {
        self.member(conversation, user).await
    }

    async fn memberships(&self, conversation: &ConversationId, users: &[UserId]) -> Result<Vec<Membership>, Failure> {
        let state = self.state();
        let of = |user: &UserId| {
            let key = (conversation.clone(), user.clone());
            let spans = state.left.get(&key).cloned().unwrap_or_default();
            Membership { user: user.clone(), member: state.members.get(&key).cloned(), spans }
        };
        Ok(users.iter().map(of).collect())
    }

    async fn descriptions(&self, conversations: &[ConversationId]) -> Result<Vec<Option<Description>>, Failure> {
        let state = self.state();
        Ok(conversations.iter().map(|conversation| state.descriptions.get(conversation).cloned()).collect())
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Failure> {
        let state = self.state();
        let members = state.members.iter().filter(|((of, _), _)| of == conversation);
        Ok(members.map(|(_, member)| member.clone()).collect())
    }
}

impl Inboxes for Memory {
    async fn inbox(&self, user: &UserId, after: Option<ConversationId>, limit: usize) -> Result<Vec<InboxPlace>, Failure> {
        let state = self.state();
        let rows = state.inboxes.get(user).into_iter().flat_map(BTreeMap::values);
        let rows = rows.filter(|row| after.as_ref().is_none_or(|after| row.conversation > *after)).take(limit);
        Ok(rows.map(|row| (row.conversation.clone(), state.readable(user, &row.conversation).map(|()| row.clone()))).collect())
    }

    async fn inbox_rows(&self, user: &UserId, conversations: &[ConversationId]) -> Result<Vec<Result<Option<InboxRow>, Failure>>, Failure> {
        let state = self.state();
        let rows = state.inboxes.get(user);
        let row = |conversation| rows.and_then(|rows| rows.get(conversation)).cloned();
        Ok(conversations.iter().map(|conversation| state.readable(user, conversation).map(|()| row(conversation))).collect())
    }

    async fn rows_of(&self, conversation: &ConversationId, users: &[UserId]) -> Result<Vec<Option<InboxRow>>, Failure> {
        let state = self.state();
        let row = |user: &UserId| state.readable(user, conversation).ok().and(state.inboxes.get(user)?.get(conversation).cloned());
        Ok(users.iter().map(row).collect())
    }

    async fn prefer(&self, user: &UserId, conversation: &ConversationId, change: PrefsChange) -> Result<Option<Prefs>, Failure> {
        let mut state = self.state();
        let Some(row) = state.inboxes.get_mut(user).and_then(|rows| rows.get_mut(conversation)) else { return Ok(None) };
        let version = row.prefs.version + 1;
        row.prefs = Prefs { version, ..row.prefs.with(&change) };
        Ok(Some(row.prefs))
    }

    async fn mention(&self, user: &UserId, conversation: &ConversationId, at: Seq) -> Result<(), Failure> {
        let mut state = self.state();
        if let Some(row) = state.inboxes.get_mut(user).and_then(|rows| rows.get_mut(conversation)) {
            row.mentioned = row.mentioned.max(Some(at));
        }
        Ok(())
    }

    async fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        to: Advance,
    ) -> Result<Option<Advanced>, Failure> {
        let mut state = self.state();
        let Some(row) = state.inboxes.get_mut(user).and_then(|rows| rows.get_mut(conversation)) else { return Ok(None) };
        let before = row.clone();
        if let Some(to) = to.delivered.filter(|to| row.delivered.get(&device).is_none_or(|at| at < to)) {
            row.delivered.insert(device, to);
        }
        match (to.shown, to.read) {
            (Shown::Stays(_), Some(read)) if read.position > row.read.position => _ = row.shown.get_or_insert(row.read.position),
            (Shown::Follows, Some(ReadCursor { position: at, .. })) | (Shown::To(at), _) => {
                row.shown = row.shown.map(|shown| shown.max(at));
            }
            (Shown::Follows | Shown::Stays(_), _) => {}
        }
        if let Some(read) = to.read.filter(|read| read.position > row.read.position) {
            row.read = read;
        }
        if *row != before {
            row.delivered.retain(|device, at| !to.dropped.contains(&(*device, *at)));
        }
        Ok(Some(Advanced { before, after: row.clone() }))
    }
}

impl Heads for Memory {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Failure> {
        let mut state = self.state();
        let missing = || Failure::unavailable("raise the head", "there is no such conversation");
        let head = state.heads.get_mut(conversation).ok_or_else(missing)?;
        let before = head.position;
        if to.position > before {
            *head = Head { group: to.group.or(head.group), ..to };
        }
        Ok(before)
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Failure> {
        let state = self.state();
        Ok(conversations.iter().map(|conversation| state.heads.get(conversation).copied().unwrap_or_default()).collect())
    }
}

impl Connections for Memory {
    async fn register(&self, user: &UserId, session: &Connection, now: UnixMillis) -> Result<Registered, Failure> {
        let mut state = self.state();
        let in_this_minute = state.hellos.entry((user.clone(), now.get() / 60_000)).or_default();
        *in_this_minute += 1;
        let in_this_minute = *in_this_minute;
        let sessions = state.sessions.entry(user.clone()).or_default();
        let kept = sessions.get(&session.connection).map_or(session.expires, |kept| kept.expires);
        let session = Connection { expires: session.expires.max(kept), ..session.clone() };
        sessions.insert(session.connection.clone(), session.clone());
        let all = sessions.values().cloned().collect();
        state.pending.entry(user.clone()).or_default().remove(&session.connection);
        let gate = state.gates.get(user).copied().unwrap_or_default();
        Ok(Registered { all, in_this_minute, gate })
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Failure> {
        let State { sessions, pending, .. } = &mut *self.state();
        for all in [sessions, pending].into_iter().filter_map(|of_users| of_users.get_mut(user)) {
            all.retain(|connection, _| !connections.contains(connection));
        }
        Ok(())
    }

    async fn session(&self, user: &UserId, connection: &ConnectionId) -> Result<Option<Connection>, Failure> {
        Ok(self.state().sessions.get(user).and_then(|sessions| sessions.get(connection).cloned()))
    }

    async fn prolong(&self, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> Result<Option<Connection>, Failure> {
        let mut state = self.state();
        let session = state.sessions.get_mut(user).and_then(|sessions| sessions.get_mut(connection));
        Ok(session.map(|session| {
            session.expires = session.expires.max(expires);
            session.clone()
        }))
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Connection)>, Failure> {
        let state = self.state();
        let of_user = |user: &UserId| -> Vec<(UserId, Connection)> {
            let sessions = state.sessions.get(user).into_iter().flat_map(BTreeMap::values);
            sessions.map(|session| (user.clone(), session.clone())).collect()
        };
        Ok(users.iter().flat_map(of_user).collect())
    }
}

impl Accounts for Memory {
    async fn charge(&self, user: &UserId, window: u64, units: u64, first: u64, _now: UnixMillis) -> Result<BTreeMap<u64, u64>, Failure> {
        let mut state = self.state();
        let spent = state.spent.entry(user.clone()).or_default();
        *spent.entry(window).or_default() += units;
        // As the tables do, some at a time: a machine whose clock is ahead does not forget what counts for the others.
        spent.retain(|window, _| !(first.saturating_sub(60)..first).contains(window));
        Ok(spent.clone())
    }

    async fn gate(&self, user: &UserId) -> Result<Gate, Failure> {
        Ok(self.state().gates.get(user).copied().unwrap_or_default())
    }

    async fn recent_gate(&self, user: &UserId) -> Result<Gate, Failure> {
        self.gate(user).await
    }

    async fn shut(&self, user: &UserId, was: Gate, gate: Gate) -> Result<Option<ConnectionsOfUser>, Failure> {
        let State { gates, sessions, pending, .. } = &mut *self.state();
        let there = gates.entry(user.clone()).or_default();
        if *there != was {
            return Ok(None);
        }
        *there = gate;
        let [greeted, pending] =
            [sessions, pending].map(|of_users| of_users.get(user).into_iter().flat_map(BTreeMap::keys).cloned().collect());
        Ok(Some(ConnectionsOfUser { greeted, pending }))
    }

    async fn admit(&self, user: &UserId, connection: &Connection, now: UnixMillis) -> Result<(Gate, Vec<Connection>), Failure> {
        let State { gates, pending, .. } = &mut *self.state();
        let gate = gates.get(user).copied().unwrap_or_default();
        if gate.shut_for_ms(now).is_some() {
            return Ok((gate, vec![]));
        }
        let pending = pending.entry(user.clone()).or_default();
        pending.insert(connection.connection.clone(), connection.clone());
        Ok((gate, pending.values().cloned().collect()))
    }
}

impl Tickets for Memory {
    async fn keep_ticket(&self, ticket: &TicketHash, holder: Holder) -> Result<(), Failure> {
        self.state().tickets.insert(ticket.clone(), holder);
        Ok(())
    }

    async fn redeem(&self, ticket: &TicketHash, device: &DeviceId, now: UnixMillis) -> Result<Option<Holder>, Failure> {
        let mut state = self.state();
        let is_good = state.tickets.get(ticket).is_some_and(|holder| holder.device == *device && holder.until > now);
        Ok(if is_good { state.tickets.remove(ticket) } else { None })
    }
}

impl FanOutQueue for Memory {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Failure> {
        self.state().queue.push((task.clone(), delay_s));
        Ok(())
    }
}

impl Outbound for Memory {
    async fn post(&self, connection: &ConnectionId, frame: &str) -> PostOutcome {
        let mut state = self.state();
        if state.gone.contains(connection) && !state.refuses_posts {
            return PostOutcome::Gone;
        }
        state.not_taken(connection).unwrap_or_else(|| {
            state.posts.push((connection.clone(), frame.to_owned()));
            PostOutcome::Posted
        })
    }

    async fn close(&self, connection: &ConnectionId) -> PostOutcome {
        let mut state = self.state();
        if let Some(not_taken) = state.not_taken(connection) {
            return not_taken;
        }
        if state.gone.insert(connection.clone()) { PostOutcome::Posted } else { PostOutcome::Gone }
    }
}

impl Clock for Memory {
    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    fn steady_ms(&self) -> u64 {
        self.clock.steady_ms()
    }
}

/// Nothing costs anything here.
impl Meter for Memory {
    async fn metered<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        (work.await, 0)
    }
}

/// A clock that somebody else advances.
#[derive(Debug, Default)]
pub struct SetClock(Mutex<(UnixMillis, u64)>);

impl SetClock {
    /// Showing this time.
    pub fn at(now: UnixMillis) -> Self {
        Self(Mutex::new((now, 0)))
    }

    /// Shows this time from now on: it jumps, no time passes.
    pub fn set(&self, now: UnixMillis) {
        self.both().0 = now;
    }

    /// So much time passes.
    pub fn advance_ms(&self, ms: u64) {
        let mut both = self.both();
        *both = (both.0.plus_ms(ms), both.1 + ms);
    }

    fn both(&self) -> MutexGuard<'_, (UnixMillis, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        self.both().0
    }

    fn steady_ms(&self) -> u64 {
        self.both().1
    }
}
