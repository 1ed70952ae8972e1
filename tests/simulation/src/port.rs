//! All ports of `chat`, as one invocation has them. A call waits at the invocation's desk; the world decides when it takes effect, when it
//! is answered, and what goes wrong in between.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use chatlane_chat::Entry;
use chatlane_chat::ports::{
    Advance, Advanced, Clock, Created, Creation, Cursors, Delivery, FanOutQueue, Head, Heads, InboxRow, Member, Memberships, MessageLog,
    Outbound, Put, ReadBound, Session, Sessions, Unavailable,
};
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::task::Task;
use chatlane_protocol::{ConnectionId, ConversationId, DeviceId, Position, Seq, UnixMillis, UserId};

use crate::world::World;

/// What a call does when it takes effect.
pub(crate) type Effect = Box<dyn FnOnce(&mut World) + Send>;

/// A call that was made and is not answered.
pub(crate) struct Call {
    /// In words.
    pub(crate) what: String,
    /// Whether it can take effect when its caller is dead.
    pub(crate) writes: bool,
    /// Whether it is a post or a close.
    pub(crate) posts: bool,
    /// Waits until no transaction is under way there before it takes effect …
    pub(crate) settles: Option<ConversationId>,
    /// … and before it is answered.
    pub(crate) ends: Option<ConversationId>,
    pub(crate) effect: Option<Effect>,
    /// `false`: the answer is lost, or there was no effect.
    pub(crate) answer: Box<dyn FnOnce(bool) + Send>,
}

/// Where an invocation lays its calls.
pub(crate) type Desk = Arc<Mutex<Vec<Call>>>;

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a caller waits for.
struct Awaited<T> {
    effected: Option<T>,
    answer: Option<T>,
    /// Combinators of many futures poll only those that were woken.
    waker: Option<Waker>,
}

/// All ports.
pub(crate) struct Port {
    pub(crate) desk: Desk,
}

/// What a call is beside its effect.
struct About {
    what: String,
    writes: bool,
    posts: bool,
    settles: Option<ConversationId>,
    ends: Option<ConversationId>,
}

fn reads(what: &str) -> About {
    About { what: what.to_owned(), writes: false, posts: false, settles: None, ends: None }
}

fn writes(what: String) -> About {
    About { what, writes: true, posts: false, settles: None, ends: None }
}

fn failed<T>() -> Result<T, Unavailable> {
    Err(Unavailable::new("call the backend", "the outcome is not known"))
}

impl Port {
    async fn call<T: Send + 'static>(&self, about: About, failed: fn() -> T, effect: impl FnOnce(&mut World) -> T + Send + 'static) -> T {
        let awaited = Arc::new(Mutex::new(Awaited { effected: None, answer: None, waker: None }));
        let (effected, answered) = (Arc::clone(&awaited), Arc::clone(&awaited));
        let effect = Box::new(move |world: &mut World| {
            let outcome = effect(world);
            lock(&effected).effected = Some(outcome);
        });
        let answer = Box::new(move |comes: bool| {
            let mut awaited = lock(&answered);
            awaited.answer = if comes { awaited.effected.take() } else { Some(failed()) };
            if let Some(waker) = awaited.waker.take() {
                waker.wake();
            }
        });
        let About { what, writes, posts, settles, ends } = about;
        lock(&self.desk).push(Call { what, writes, posts, settles, ends, effect: Some(effect), answer });
        poll_fn(|context| {
            let mut awaited = lock(&awaited);
            awaited.waker = Some(context.waker().clone());
            awaited.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// A call that goes to the tables.
    async fn ask<T: Send + 'static>(
        &self,
        about: About,
        effect: impl FnOnce(&Memory) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.call(about, failed, move |world| effect(&world.memory)).await
    }

    /// A write that a transaction under way in the conversation refuses.
    async fn write<T: Send + 'static>(
        &self,
        about: About,
        conversation: ConversationId,
        conflict: fn() -> Result<T, Unavailable>,
        effect: impl FnOnce(&Memory) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let effect = move |world: &mut World| if world.half.contains_key(&conversation) { conflict() } else { effect(&world.memory) };
        self.call(about, failed, effect).await
    }
}

impl MessageLog for Port {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let conversation = conversation.clone();
        self.ask(reads("reads the log"), move |memory| block_on(memory.read(&conversation, from, bound))).await
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let conversation = conversation.clone();
        self.ask(reads("reads the log backwards"), move |memory| block_on(memory.read_back(&conversation, before, bound))).await
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        let slots = slots.to_vec();
        self.ask(reads("reads single entries"), move |memory| block_on(memory.at(&slots))).await
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        let entry = entry.clone();
        let about = writes(format!("puts {} at {}", entry.client_message_id, entry.position));
        self.write(about, entry.conversation.clone(), || Ok(Put::Contended), move |memory| block_on(memory.put(&entry))).await
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        let creation = creation.clone();
        let conversation = creation.entry.conversation.clone();
        let about = About { ends: Some(conversation.clone()), ..writes(format!("creates {conversation}")) };
        self.call(about, failed, move |world| world.create(&creation)).await
    }
}

impl Memberships for Port {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        let (conversation, user) = (conversation.clone(), user.clone());
        self.ask(reads("reads the member's row"), move |memory| block_on(memory.member(&conversation, &user))).await
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        let (conversation, user) = (conversation.clone(), user.clone());
        let about = About { settles: Some(conversation.clone()), ..reads("reads the member's row, settled") };
        self.ask(about, move |memory| block_on(memory.settled_member(&conversation, &user))).await
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        let conversation = conversation.clone();
        self.ask(reads("reads the members"), move |memory| block_on(memory.members(&conversation))).await
    }

    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        let (user, after) = (user.clone(), after.cloned());
        self.ask(reads("reads the inbox"), move |memory| block_on(memory.inbox(&user, after.as_ref(), limit))).await
    }
}

impl Cursors for Port {
    async fn inbox_rows(&self, user: &UserId, conversations: &[ConversationId]) -> Result<Vec<Option<InboxRow>>, Unavailable> {
        let (user, conversations) = (user.clone(), conversations.to_vec());
        self.ask(reads("reads inbox rows"), move |memory| block_on(memory.inbox_rows(&user, &conversations))).await
    }

    async fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        to: Advance,
    ) -> Result<Option<Advanced>, Unavailable> {
        let (user, conversation) = (user.clone(), conversation.clone());
        let about = writes(format!("moves cursors of {user} to {}", to.delivered));
        let effect = {
            let conversation = conversation.clone();
            move |memory: &Memory| block_on(memory.advance(&user, &conversation, device, to))
        };
        self.write(about, conversation, failed, effect).await
    }
}

impl Heads for Port {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Unavailable> {
        let conversation = conversation.clone();
        let about = writes(format!("raises the head to {}", to.position));
        let effect = {
            let conversation = conversation.clone();
            move |memory: &Memory| block_on(memory.raise_head(&conversation, to))
        };
        self.write(about, conversation, failed, effect).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        let conversations = conversations.to_vec();
        self.ask(reads("reads heads"), move |memory| block_on(memory.heads(&conversations))).await
    }
}

impl Sessions for Port {
    async fn register(&self, user: &UserId, session: &Session, now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        let (user, session) = (user.clone(), session.clone());
        let about = writes(format!("writes the session of {}", session.connection));
        self.ask(about, move |memory| block_on(memory.register(&user, &session, now))).await
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Unavailable> {
        let (user, connections) = (user.clone(), connections.to_vec());
        let about = writes(format!("removes sessions of {user}"));
        self.ask(about, move |memory| block_on(memory.remove(&user, &connections))).await
    }

    async fn session(&self, user: &UserId, connection: &ConnectionId) -> Result<Option<Session>, Unavailable> {
        let (user, connection) = (user.clone(), connection.clone());
        self.ask(reads("reads its session"), move |memory| block_on(memory.session(&user, &connection))).await
    }

    async fn prolong(&self, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> Result<Option<Session>, Unavailable> {
        let (user, connection) = (user.clone(), connection.clone());
        let about = writes(format!("prolongs the session of {connection} to {expires}"));
        self.ask(about, move |memory| block_on(memory.prolong(&user, &connection, expires))).await
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        let users = users.to_vec();
        self.ask(reads("reads the sessions"), move |memory| block_on(memory.of_users(&users))).await
    }
}

impl FanOutQueue for Port {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Unavailable> {
        let task = task.clone();
        let about = writes(format!("enqueues {} to {}", task.first, task.last));
        let effect = move |world: &mut World| {
            world.accept(&task, delay_s);
            Ok(())
        };
        self.call(about, failed, effect).await
    }
}

impl Outbound for Port {
    async fn post(&self, connection: &ConnectionId, frame: &str) -> Delivery {
        let (connection, frame) = (connection.clone(), frame.to_owned());
        let about = About { posts: true, ..writes(format!("posts to {connection}")) };
        self.call(about, || Delivery::Unknown, move |world| world.post(&connection, &frame)).await
    }

    async fn close(&self, connection: &ConnectionId) -> Delivery {
        let connection = connection.clone();
        let about = About { posts: true, ..writes(format!("closes {connection}")) };
        self.call(about, || Delivery::Unknown, move |world| world.hang_up(&connection)).await
    }
}

/// The clock of the machine that an invocation runs on.
#[derive(Clone, Debug)]
pub(crate) struct MachineClock {
    pub(crate) now: Arc<Mutex<u64>>,
    pub(crate) off_ms: i64,
}

impl Clock for MachineClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::try_from(lock(&self.now).saturating_add_signed(self.off_ms)).unwrap_or(UnixMillis::MAX)
    }
}
