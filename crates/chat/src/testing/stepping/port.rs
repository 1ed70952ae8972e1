//! The backend as one process sees it: every call is laid on the process's desk and takes effect when it is chosen.

use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use chatlane_protocol::{ConnectionId, ConversationId, Position, Seq, ServerFrame, UnixMillis, UserId};

use super::Flaw;
use crate::log::entry::Entry;
use crate::ports::{
    Created, Creation, Delivery, FanOutQueue, Head, Heads, InboxRow, Member, Memberships, MessageLog, Outbound, Put, ReadBound, Session,
    Sessions, Unavailable,
};
use crate::testing::memory::Memory;
use crate::testing::ready::block_on;
use crate::workers::task::Task;

/// Takes effect on the backend, answers the caller, and says what it answered to who wants to know.
type Effect = Box<dyn FnOnce(&Memory, bool) -> Option<String> + Send>;

/// A call that waits to take effect.
pub(super) struct Call {
    /// The how-manieth of its process it is.
    pub number: usize,
    /// What it does. Of a write: everything that decides its effect.
    pub does: Does,
    /// Whether it can take effect when its process is dead.
    pub writes: bool,
    effect: Effect,
}

impl Call {
    /// Takes effect; answers what its process has been told.
    pub(super) fn take_effect(self, memory: &Memory) -> String {
        (self.effect)(memory, true).unwrap_or_default()
    }

    /// Takes effect, where it is known what its process is told.
    pub(super) fn take_effect_again(self, memory: &Memory) {
        (self.effect)(memory, false);
    }
}

/// What a call does, for the script.
#[derive(Clone)]
pub(super) enum Does {
    /// Its frame is read only when somebody wants to read the script.
    Post(ConnectionId, String),
    Other(String),
}

impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Post(connection, frame) => write!(f, "posts {} to {connection}", brief(frame)),
            Self::Other(does) => f.write_str(does),
        }
    }
}

/// Where a process and the scheduler meet: the calls that wait, in the order in which they were made.
#[derive(Default)]
pub(super) struct Desk {
    made: usize,
    pub calls: Vec<Call>,
}

pub(super) type SharedDesk = Arc<Mutex<Desk>>;

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All ports, as one process has them, with the flaw if there is one.
pub(super) struct Port {
    desk: SharedDesk,
    flaw: Option<Flaw>,
    /// What a flawed order has read too early.
    early: Mutex<Early>,
}

#[derive(Default)]
struct Early {
    heads: Option<Vec<Head>>,
    sessions: Option<Vec<(UserId, Session)>>,
}

/// What a caller waits for.
struct Awaited<T> {
    answer: Option<T>,
    /// Combinators of many futures poll only those that were woken.
    waker: Option<Waker>,
}

impl Port {
    pub(super) fn new(desk: SharedDesk, flaw: Option<Flaw>) -> Self {
        Self { desk, flaw, early: Mutex::default() }
    }

    async fn call<T, E>(&self, does: Does, writes: bool, effect: E) -> T
    where
        T: Debug + Send + 'static,
        E: FnOnce(&Memory) -> T + Send + 'static,
    {
        let awaited = Arc::new(Mutex::new(Awaited { answer: None, waker: None }));
        let told = Arc::clone(&awaited);
        let effect = Box::new(move |memory: &Memory, tells: bool| {
            let answer = effect(memory);
            let text = tells.then(|| format!("{answer:?}"));
            let mut told = lock(&told);
            told.answer = Some(answer);
            if let Some(waker) = told.waker.take() {
                waker.wake();
            }
            text
        });
        {
            let mut desk = lock(&self.desk);
            let number = desk.made;
            desk.made += 1;
            desk.calls.push(Call { number, does, writes, effect });
        }
        poll_fn(|context| {
            let mut awaited = lock(&awaited);
            awaited.waker = Some(context.waker().clone());
            awaited.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    async fn read_of<T, E>(&self, does: impl Into<String>, effect: E) -> T
    where
        T: Debug + Send + 'static,
        E: FnOnce(&Memory) -> T + Send + 'static,
    {
        self.call(Does::Other(does.into()), false, effect).await
    }

    async fn write_of<T, E>(&self, does: String, effect: E) -> T
    where
        T: Debug + Send + 'static,
        E: FnOnce(&Memory) -> T + Send + 'static,
    {
        self.call(Does::Other(does), true, effect).await
    }

    /// The gateway has had the answer of `$connect`: until then, a post to the connection is answered "gone". Not ours, so it does not
    /// happen if `$connect` has died.
    pub(super) async fn accept(&self, connection: ConnectionId) {
        let effect = {
            let connection = connection.clone();
            move |memory: &Memory| {
                memory.state().gone.remove(&connection);
            }
        };
        self.read_of(format!("waits until the gateway accepts {connection}"), effect).await;
    }

    /// What [`Flaw::SessionInConnect`] has `$connect` do.
    pub(super) async fn register_in_connect(&self, user: &UserId, session: &Session) -> Result<Vec<Session>, Unavailable> {
        self.write_session("in $connect, writes", user, session, UnixMillis::ZERO).await
    }

    async fn write_session(&self, writes: &str, user: &UserId, session: &Session, now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        let (user, session) = (user.clone(), session.clone());
        let does = format!("{writes} the session of {}", session.connection);
        self.write_of(does, move |memory| block_on(memory.register(&user, &session, now))).await
    }

    async fn read_heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        let conversations = conversations.to_vec();
        self.read_of("reads the head", move |memory| block_on(memory.heads(&conversations))).await
    }

    async fn read_sessions(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        let users = users.to_vec();
        self.read_of("reads the sessions", move |memory| block_on(memory.of_users(&users))).await
    }
}

impl MessageLog for Port {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let conversation = conversation.clone();
        self.read_of(format!("reads the log from #{from}"), move |memory| block_on(memory.read(&conversation, from, bound))).await
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let conversation = conversation.clone();
        self.read_of("reads the log backwards", move |memory| block_on(memory.read_back(&conversation, before, bound))).await
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        let slots = slots.to_vec();
        self.read_of("reads single entries", move |memory| block_on(memory.at(&slots))).await
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        let entry = entry.clone();
        let does = format!("puts {} at {}", entry.client_message_id, entry.position);
        self.write_of(does, move |memory| block_on(memory.put(&entry))).await
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        let creation = creation.clone();
        let does = format!("creates {}", creation.entry.conversation);
        self.write_of(does, move |memory| block_on(memory.create(&creation))).await
    }
}

impl Memberships for Port {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        let (conversation, user) = (conversation.clone(), user.clone());
        self.read_of("reads the member's row", move |memory| block_on(memory.member(&conversation, &user))).await
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.member(conversation, user).await
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        let conversation = conversation.clone();
        self.read_of("reads the members", move |memory| block_on(memory.members(&conversation))).await
    }

    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        let (user, after) = (user.clone(), after.cloned());
        self.read_of("reads the inbox", move |memory| block_on(memory.inbox(&user, after.as_ref(), limit))).await
    }
}

impl Heads for Port {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Unavailable> {
        if self.flaw == Some(Flaw::SessionsBeforeHead) {
            let sessions = self.read_sessions(&super::cast::users()).await?;
            lock(&self.early).sessions = Some(sessions);
        }
        let conversation = conversation.clone();
        let does = format!("raises the head to {}", to.position);
        let before = self.write_of(does, move |memory| block_on(memory.raise_head(&conversation, to))).await?;
        let skips = self.flaw == Some(Flaw::SkipAtHead) && before == to.position;
        Ok(if skips { Position::new(before.epoch, before.seq.next()) } else { before })
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        let early = lock(&self.early).heads.take();
        match early {
            Some(heads) => Ok(heads),
            None => self.read_heads(conversations).await,
        }
    }
}

impl Sessions for Port {
    async fn register(&self, user: &UserId, session: &Session, now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        match self.flaw {
            Some(Flaw::SessionInConnect) => return Ok(vec![session.clone()]),
            Some(Flaw::HeadsBeforeSession) => {
                let heads = self.read_heads(&[super::cast::conversation()]).await?;
                lock(&self.early).heads = Some(heads);
            }
            _ => {}
        }
        self.write_session("writes", user, session, now).await
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Unavailable> {
        let (user, connections) = (user.clone(), connections.to_vec());
        let named: Vec<String> = connections.iter().map(ToString::to_string).collect();
        let does = format!("removes the session of {}", named.join(", "));
        self.write_of(does, move |memory| block_on(memory.remove(&user, &connections))).await
    }

    async fn session(&self, user: &UserId, connection: &ConnectionId) -> Result<Option<Session>, Unavailable> {
        let (user, connection) = (user.clone(), connection.clone());
        self.read_of("reads its session", move |memory| block_on(memory.session(&user, &connection))).await
    }

    async fn prolong(&self, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> Result<Option<Session>, Unavailable> {
        let (user, connection) = (user.clone(), connection.clone());
        let does = format!("prolongs the session of {connection} to {expires}");
        self.write_of(does, move |memory| block_on(memory.prolong(&user, &connection, expires))).await
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        let early = lock(&self.early).sessions.take();
        match early {
            Some(sessions) => Ok(sessions),
            None => self.read_sessions(users).await,
        }
    }
}

impl FanOutQueue for Port {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Unavailable> {
        let task = task.clone();
        let does = format!("enqueues #{} to {}", task.first, task.last);
        self.write_of(does, move |memory| block_on(memory.enqueue(&task, delay_s))).await
    }
}

impl Outbound for Port {
    async fn post(&self, connection: &ConnectionId, frame: &str) -> Delivery {
        let (connection, frame) = (connection.clone(), frame.to_owned());
        let does = Does::Post(connection.clone(), frame.clone());
        self.call(does, true, move |memory| block_on(memory.post(&connection, &frame))).await
    }

    async fn close(&self, connection: &ConnectionId) -> Delivery {
        let connection = connection.clone();
        self.write_of(format!("closes {connection}"), move |memory| block_on(memory.close(&connection))).await
    }
}

/// What a frame says, in short.
fn brief(frame: &str) -> String {
    match serde_json::from_str(frame) {
        Ok(ServerFrame::Entries(entries)) => {
            let positions: Vec<String> = entries.entries.iter().map(|entry| entry.position.to_string()).collect();
            positions.join(", ")
        }
        _ => frame.to_owned(),
    }
}
