//! All ports in memory, each call one atomic step: what the interleaver, and later the simulator, schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chatlane_protocol::{ConnectionId, ConversationId, Position, Seq, UnixMillis, UserId};

use crate::entry::{Entry, Kind};
use crate::ports::{
    Clock, Created, Creation, Delivery, FanOutQueue, Heads, InboxRow, Member, Memberships, MessageLog, Outbound, Put, ReadBound, Session,
    Sessions, Unavailable,
};
use crate::task::Task;

/// A backend in memory. Shared by reference; every method is atomic.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Entries of each conversation by seq.
    pub log: BTreeMap<ConversationId, BTreeMap<Seq, Entry>>,
    /// How far delivery has begun.
    pub heads: BTreeMap<ConversationId, Position>,
    /// Rows of members.
    pub members: BTreeMap<(ConversationId, UserId), Member>,
    /// Inboxes.
    pub inboxes: BTreeMap<UserId, BTreeMap<ConversationId, InboxRow>>,
    /// Sessions by user and connection.
    pub sessions: BTreeMap<UserId, BTreeMap<ConnectionId, Session>>,
    /// Tasks in the order in which they were accepted, with their delay in seconds.
    pub queue: Vec<(Task, u32)>,
    /// Frames that connections took, in order.
    pub posts: Vec<(ConnectionId, String)>,
    /// Connections that answer "gone".
    pub gone: BTreeSet<ConnectionId>,
    /// Connections that answer "unknown".
    pub stuck: BTreeSet<ConnectionId>,
    /// Every post is refused.
    pub refuses_posts: bool,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is stored, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of a conversation, ascending.
    pub fn entries(&self, conversation: &ConversationId) -> Vec<Entry> {
        self.state().log.get(conversation).map(|log| log.values().cloned().collect()).unwrap_or_default()
    }
}

impl MessageLog for Memory {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let state = self.state();
        let Some(log) = state.log.get(conversation) else { return Ok(vec![]) };
        let mut read = vec![];
        let mut bytes = 0;
        for entry in log.range(from..).map(|(_, entry)| entry).take(bound.entries_max) {
            bytes += entry.stored_bytes();
            read.push(entry.clone());
            if bytes > bound.bytes_max {
                break;
            }
        }
        Ok(read)
    }

    async fn last(&self, conversation: &ConversationId) -> Result<Option<Entry>, Unavailable> {
        Ok(self.state().log.get(conversation).and_then(|log| log.values().next_back().cloned()))
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        let mut state = self.state();
        let log = state.log.entry(entry.conversation.clone()).or_default();
        if let Some(occupant) = log.get(&entry.position.seq) {
            return Ok(Put::Taken(Box::new(occupant.clone())));
        }
        log.insert(entry.position.seq, entry.clone());
        Ok(Put::Stored)
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        let mut state = self.state();
        let entry = &creation.entry;
        let conversation = &entry.conversation;
        let slot_1 = state.log.get(conversation).is_some_and(|log| log.contains_key(&entry.position.seq));
        if slot_1 || state.heads.contains_key(conversation) {
            return Ok(Created::Exists);
        }
        state.heads.insert(conversation.clone(), Position::ZERO);
        state.log.entry(conversation.clone()).or_default().insert(entry.position.seq, entry.clone());
        for member in &creation.members {
            state.members.insert((conversation.clone(), member.user.clone()), member.clone());
            let with = inbox_with(entry, &member.user);
            let row = InboxRow { conversation: conversation.clone(), with };
            state.inboxes.entry(member.user.clone()).or_default().insert(conversation.clone(), row);
        }
        Ok(Created::New)
    }
}

/// The other user of a direct conversation's entry 1.
fn inbox_with(entry: &Entry, user: &UserId) -> Option<UserId> {
    match &entry.kind {
        Kind::Created { members } => members.iter().find(|member| *member != user).cloned(),
        Kind::Message { .. } | Kind::Later => None,
    }
}

impl Memberships for Memory {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        Ok(self.state().members.get(&(conversation.clone(), user.clone())).cloned())
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.member(conversation, user).await
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        let state = self.state();
        let members = state.members.iter().filter(|((of, _), _)| of == conversation);
        Ok(members.map(|(_, member)| member.clone()).collect())
    }

    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        let state = self.state();
        let rows = state.inboxes.get(user).into_iter().flat_map(BTreeMap::values);
        Ok(rows.filter(|row| after.is_none_or(|after| row.conversation > *after)).take(limit).cloned().collect())
    }
}

impl Heads for Memory {
    async fn raise_head(&self, conversation: &ConversationId, to: Position) -> Result<Position, Unavailable> {
        let mut state = self.state();
        let missing = || Unavailable::new("raise the head", "there is no such conversation");
        let head = state.heads.get_mut(conversation).ok_or_else(missing)?;
        let before = *head;
        *head = before.max(to);
        Ok(before)
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Position>, Unavailable> {
        let state = self.state();
        Ok(conversations.iter().map(|conversation| state.heads.get(conversation).copied().unwrap_or(Position::ZERO)).collect())
    }
}

impl Sessions for Memory {
    async fn register(&self, user: &UserId, session: &Session, _now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        let mut state = self.state();
        let sessions = state.sessions.entry(user.clone()).or_default();
        sessions.insert(session.connection.clone(), session.clone());
        Ok(sessions.values().cloned().collect())
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Unavailable> {
        if let Some(sessions) = self.state().sessions.get_mut(user) {
            sessions.retain(|connection, _| !connections.contains(connection));
        }
        Ok(())
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        let state = self.state();
        let of_user = |user: &UserId| -> Vec<(UserId, Session)> {
            let sessions = state.sessions.get(user).into_iter().flat_map(BTreeMap::values);
            sessions.map(|session| (user.clone(), session.clone())).collect()
        };
        Ok(users.iter().flat_map(of_user).collect())
    }
}

impl FanOutQueue for Memory {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Unavailable> {
        self.state().queue.push((task.clone(), delay_s));
        Ok(())
    }
}

impl Outbound for Memory {
    async fn post(&self, connection: &ConnectionId, frame: &str) -> Delivery {
        let mut state = self.state();
        if state.refuses_posts {
            Delivery::Refused
        } else if state.gone.contains(connection) {
            Delivery::Gone
        } else if state.stuck.contains(connection) {
            Delivery::Unknown
        } else {
            state.posts.push((connection.clone(), frame.to_owned()));
            Delivery::Posted
        }
    }
}

/// A clock that somebody else advances.
#[derive(Debug, Default)]
pub struct SetClock(Mutex<UnixMillis>);

impl SetClock {
    /// Showing this time.
    pub fn at(now: UnixMillis) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves on.
    pub fn advance_ms(&self, ms: u64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.plus_ms(ms);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
