//! The memory backend with faults at an exact call, and with a record of what was called in which order.
//!
//! Every call lets the others of the same future go on before it takes effect and again before it answers, so that calls which the core
//! makes at once really overlap here.

use std::future::{Future, poll_fn};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use chatlane_protocol::{ConnectionId, ConversationId, DeviceId, Position, Seq, UnixMillis, UserId};

use super::memory::Memory;
use crate::log::entry::Entry;
use crate::ports::{
    Advance, Advanced, Created, Creation, Cursors, Delivery, FanOutQueue, Head, Heads, InboxRow, Member, Memberships, MessageLog, Outbound,
    Put, ReadBound, Session, Sessions, Unavailable,
};
use crate::workers::task::Task;

/// The methods of the ports.
#[expect(missing_docs, reason = "each is the port's method of that name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    ReadBack,
    At,
    Put,
    Create,
    Member,
    SettledMember,
    Members,
    Inbox,
    InboxRows,
    Advance,
    RaiseHead,
    Heads,
    Register,
    Remove,
    Session,
    Prolong,
    OfUsers,
    Enqueue,
    Post,
    Close,
}

/// What goes wrong with one call.
pub enum Fault {
    /// It never arrives.
    RequestLost,
    /// It takes effect; the caller learns nothing.
    AnswerLost,
    /// It takes effect, its answer is lost below the port, and the same request is sent again: the second answer arrives.
    Resent,
    /// A `put` or `create` meets a transaction of somebody else.
    Contended,
    /// Just before it takes effect, somebody else does this.
    Meanwhile(Box<dyn FnOnce(&Memory) + Send>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begun(Call),
    Answered(Call),
}

/// The memory backend, and what is to go wrong. Panics when it is dropped with a fault that no call met.
#[derive(Default)]
pub struct Faulty {
    /// What is stored.
    pub memory: Memory,
    faults: Mutex<Vec<(Call, Fault)>>,
    steps: Mutex<Vec<Step>>,
}

impl Faulty {
    /// An empty one without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next call of this method that has no fault yet gets this one.
    pub fn on(&self, call: Call, fault: Fault) {
        lock(&self.faults).push((call, fault));
    }

    /// [`Fault::Meanwhile`].
    pub fn meanwhile(&self, call: Call, act: impl FnOnce(&Memory) + Send + 'static) {
        self.on(call, Fault::Meanwhile(Box::new(act)));
    }

    /// How often this method was called.
    pub fn count(&self, call: Call) -> usize {
        lock(&self.steps).iter().filter(|step| **step == Step::Begun(call)).count()
    }

    /// Whether both were called, and every call of `then` began after every call of `first` was answered.
    pub fn is_answered_before(&self, first: Call, then: Call) -> bool {
        let steps = lock(&self.steps);
        let answered = steps.iter().rposition(|step| *step == Step::Answered(first));
        let begun = steps.iter().position(|step| *step == Step::Begun(then));
        matches!((answered, begun), (Some(answered), Some(begun)) if answered < begun)
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let index = faults.iter().position(|(of, _)| *of == call)?;
        Some(faults.remove(index).1)
    }

    /// One call: `effect` once, twice or not at all.
    async fn call<T, F>(&self, call: Call, contended: Option<T>, effect: impl Fn() -> F) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Unavailable>>,
    {
        let lost = || Unavailable::new("call the backend", "a fault of the test");
        lock(&self.steps).push(Step::Begun(call));
        let_others_go_on().await;
        let answer = match self.fault(call) {
            None => effect().await,
            Some(Fault::Meanwhile(act)) => {
                act(&self.memory);
                effect().await
            }
            Some(Fault::RequestLost) => Err(lost()),
            Some(Fault::AnswerLost) => effect().await.and_then(|_| Err(lost())),
            Some(Fault::Resent) => match effect().await {
                Ok(_) => effect().await,
                Err(error) => Err(error),
            },
            Some(Fault::Contended) => Ok(contended.expect("only `put` and `create` can be contended")),
        };
        let_others_go_on().await;
        lock(&self.steps).push(Step::Answered(call));
        answer
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let left: Vec<Call> = lock(&self.faults).iter().map(|(call, _)| *call).collect();
        assert!(left.is_empty() || std::thread::panicking(), "no call met the faults on {left:?}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn let_others_go_on() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl MessageLog for Faulty {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        self.call(Call::Read, None, || self.memory.read(conversation, from, bound)).await
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        self.call(Call::ReadBack, None, || self.memory.read_back(conversation, before, bound)).await
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        self.call(Call::At, None, || self.memory.at(slots)).await
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        self.call(Call::Put, Some(Put::Contended), || self.memory.put(entry)).await
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        self.call(Call::Create, Some(Created::Contended), || self.memory.create(creation)).await
    }
}

impl Memberships for Faulty {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.call(Call::Member, None, || self.memory.member(conversation, user)).await
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.call(Call::SettledMember, None, || self.memory.settled_member(conversation, user)).await
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        self.call(Call::Members, None, || self.memory.members(conversation)).await
    }

    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        self.call(Call::Inbox, None, || self.memory.inbox(user, after, limit)).await
    }
}

impl Cursors for Faulty {
    async fn inbox_rows(&self, user: &UserId, conversations: &[ConversationId]) -> Result<Vec<Option<InboxRow>>, Unavailable> {
        self.call(Call::InboxRows, None, || self.memory.inbox_rows(user, conversations)).await
    }

    async fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        to: Advance,
    ) -> Result<Option<Advanced>, Unavailable> {
        self.call(Call::Advance, None, || self.memory.advance(user, conversation, device, to)).await
    }
}

impl Heads for Faulty {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Unavailable> {
        self.call(Call::RaiseHead, None, || self.memory.raise_head(conversation, to)).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        self.call(Call::Heads, None, || self.memory.heads(conversations)).await
    }
}

impl Sessions for Faulty {
    async fn register(&self, user: &UserId, session: &Session, now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        self.call(Call::Register, None, || self.memory.register(user, session, now)).await
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Unavailable> {
        self.call(Call::Remove, None, || self.memory.remove(user, connections)).await
    }

    async fn session(&self, user: &UserId, connection: &ConnectionId) -> Result<Option<Session>, Unavailable> {
        self.call(Call::Session, None, || self.memory.session(user, connection)).await
    }

    async fn prolong(&self, user: &UserId, connection: &ConnectionId, expires: UnixMillis) -> Result<Option<Session>, Unavailable> {
        self.call(Call::Prolong, None, || self.memory.prolong(user, connection, expires)).await
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        self.call(Call::OfUsers, None, || self.memory.of_users(users)).await
    }
}

impl FanOutQueue for Faulty {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Unavailable> {
        self.call(Call::Enqueue, None, || self.memory.enqueue(task, delay_s)).await
    }
}

impl Outbound for Faulty {
    async fn post(&self, connection: &ConnectionId, frame: &str) -> Delivery {
        let posted = self.call(Call::Post, None, || async { Ok(self.memory.post(connection, frame).await) }).await;
        posted.unwrap_or(Delivery::Unknown)
    }

    async fn close(&self, connection: &ConnectionId) -> Delivery {
        let closed = self.call(Call::Close, None, || async { Ok(self.memory.close(connection).await) }).await;
        closed.unwrap_or(Delivery::Unknown)
    }
}
