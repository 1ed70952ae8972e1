//! Calls of the ports as the scheduler sees them: submitted, taking effect later, answered later still.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use chatlane_protocol::{ConversationId, Position, Seq, UserId};
use futures_util::FutureExt as _;

use crate::log::entry::Entry;
use crate::ports::{Created, Creation, FanOutQueue, Head, Heads, InboxRow, Member, Memberships, MessageLog, Put, ReadBound, Unavailable};
use crate::testing::memory::Memory;
use crate::workers::task::Task;

/// What a writer asked of the backend.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Read { conversation: ConversationId, from: Seq, bound: ReadBound },
    ReadBack { conversation: ConversationId, before: Option<Seq>, bound: ReadBound },
    Put(Box<Entry>),
    Member(ConversationId, UserId),
    Heads(Vec<ConversationId>),
    Enqueue(Task),
}

impl Operation {
    /// Takes effect on the backend, in one step.
    pub(super) fn take_effect(&self, memory: &Memory) -> Result<Answer, Unavailable> {
        let effect = async {
            Ok(match self {
                Self::Read { conversation, from, bound } => Answer::Entries(memory.read(conversation, *from, *bound).await?),
                Self::ReadBack { conversation, before, bound } => Answer::Entries(memory.read_back(conversation, *before, *bound).await?),
                Self::Put(entry) => Answer::Put(memory.put(entry).await?),
                Self::Member(conversation, user) => Answer::Member(memory.member(conversation, user).await?),
                Self::Heads(conversations) => Answer::Heads(memory.heads(conversations).await?),
                Self::Enqueue(task) => {
                    memory.enqueue(task, 0).await?;
                    Answer::Accepted
                }
            })
        };
        effect.now_or_never().expect("the memory backend never waits")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { from, .. } => write!(f, "read from #{from}"),
            Self::ReadBack { before: Some(before), .. } => write!(f, "read back from #{before}"),
            Self::ReadBack { before: None, .. } => f.write_str("read back from the end"),
            Self::Put(entry) => write!(f, "put {} of {} at {}", entry.client_message_id, entry.sender, entry.position),
            Self::Member(_, user) => write!(f, "read the row of {user}"),
            Self::Heads(_) => f.write_str("read the head"),
            Self::Enqueue(task) => write!(f, "enqueue #{} to {}", task.first, task.last),
        }
    }
}

/// What the backend says.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Entries(Vec<Entry>),
    Put(Put),
    Member(Option<Member>),
    Heads(Vec<Head>),
    Accepted,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(entries) => match (entries.first(), entries.last()) {
                (Some(first), Some(last)) => write!(f, "{} to {}", first.position, last.position),
                _ => f.write_str("nothing"),
            },
            Self::Put(Put::Stored) => f.write_str("stored"),
            Self::Put(Put::Taken(entry)) => write!(f, "taken by {} of {}", entry.client_message_id, entry.sender),
            Self::Put(Put::Contended) => f.write_str("contended"),
            Self::Member(member) => f.write_str(if member.is_some() { "a member" } else { "no member" }),
            Self::Heads(heads) => heads.iter().try_for_each(|head| write!(f, "{}", head.position)),
            Self::Accepted => f.write_str("accepted"),
        }
    }
}

/// The one call that a writer waits for: append and send make them one after the other.
#[derive(Debug)]
pub(super) enum Call {
    /// The writer is running, has not begun or has ended.
    None,
    /// On its way to the backend.
    Submitted(Operation),
    /// On its way back.
    Answered(Result<Answer, Unavailable>),
}

/// Where a writer and the scheduler meet.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Mutex<Call>>);

impl Desk {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Call::None)))
    }

    pub(super) fn take(&self) -> Call {
        std::mem::replace(&mut *self.lock(), Call::None)
    }

    pub(super) fn set(&self, call: Call) {
        *self.lock() = call;
    }

    fn lock(&self) -> MutexGuard<'_, Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The backend as one writer sees it. Every call of `append` and `send` waits for the scheduler twice: to take effect and to be answered.
#[derive(Debug)]
pub(super) struct Port {
    desk: Desk,
    memory: Arc<Memory>,
}

impl Port {
    pub(super) const fn new(desk: Desk, memory: Arc<Memory>) -> Self {
        Self { desk, memory }
    }

    async fn ask(&self, operation: Operation) -> Result<Answer, Unavailable> {
        self.desk.set(Call::Submitted(operation));
        poll_fn(|_| match self.desk.take() {
            Call::Answered(answer) => Poll::Ready(answer),
            other => {
                self.desk.set(other);
                Poll::Pending // the scheduler polls again when there is an answer; no waker is needed
            }
        })
        .await
    }
}

fn mismatch(answer: &Answer) -> ! {
    panic!("the scheduler gave the answer of another call: {answer}")
}

impl MessageLog for Port {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        match self.ask(Operation::Read { conversation: conversation.clone(), from, bound }).await? {
            Answer::Entries(entries) => Ok(entries),
            other => mismatch(&other),
        }
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        match self.ask(Operation::ReadBack { conversation: conversation.clone(), before, bound }).await? {
            Answer::Entries(entries) => Ok(entries),
            other => mismatch(&other),
        }
    }

    // Not of the append: not scheduled.
    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        self.memory.at(slots).await
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        match self.ask(Operation::Put(Box::new(entry.clone()))).await? {
            Answer::Put(put) => Ok(put),
            other => mismatch(&other),
        }
    }

    // Not of the append: not scheduled.
    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        self.memory.create(creation).await
    }
}

impl Memberships for Port {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        match self.ask(Operation::Member(conversation.clone(), user.clone())).await? {
            Answer::Member(member) => Ok(member),
            other => mismatch(&other),
        }
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.member(conversation, user).await
    }

    // Not of the append: not scheduled.
    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        self.memory.members(conversation).await
    }

    // Not of the append: not scheduled.
    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        self.memory.inbox(user, after, limit).await
    }
}

impl Heads for Port {
    // The worker's, which the scheduler plays itself: not scheduled.
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Unavailable> {
        self.memory.raise_head(conversation, to).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        match self.ask(Operation::Heads(conversations.to_vec())).await? {
            Answer::Heads(heads) => Ok(heads),
            other => mismatch(&other),
        }
    }
}

impl FanOutQueue for Port {
    async fn enqueue(&self, task: &Task, _delay_s: u32) -> Result<(), Unavailable> {
        match self.ask(Operation::Enqueue(task.clone())).await? {
            Answer::Accepted => Ok(()),
            other => mismatch(&other),
        }
    }
}
