//! What the core asks of the world. Each trait is one promise; [`crate::testing::contract`] is its test on every backend.
//!
//! All reads are strong: they see every write that was answered before they began. A write whose answer is [`Unavailable`] may or may
//! not have taken effect, now or later.

use std::collections::BTreeMap;
use std::future::Future;

use chatlane_protocol::{ConnectionId, ConversationId, DeviceId, Position, Seq, UnixMillis, UserId};

use crate::log::entry::{Entry, Role};
use crate::workers::task::Task;

/// The outcome is unknown; the same request with the same ids is safe to repeat.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct Unavailable {
    /// What was attempted, in words of this crate.
    pub attempted: &'static str,
    /// What the backend said. For logs: never holds bodies, tokens or user ids.
    pub cause: String,
}

impl Unavailable {
    /// `attempted` failed with `cause`.
    pub fn new(attempted: &'static str, cause: impl Into<String>) -> Self {
        Self { attempted, cause: cause.into() }
    }
}

/// The current time.
pub trait Clock: Sync {
    /// By this machine's clock; may jump and be wrong.
    fn now(&self) -> UnixMillis;
}

/// The log of every conversation: the only truth.
pub trait MessageLog: Sync {
    /// The stored entries from `from` upward, ascending, at most `entries_max`; reading also stops after the entry with which the sum
    /// of [`Entry::stored_bytes`] exceeds `bytes_max`. Never passes over a stored entry.
    fn read(
        &self,
        conversation: &ConversationId,
        from: Seq,
        bound: ReadBound,
    ) -> impl Future<Output = Result<Vec<Entry>, Unavailable>> + Send;

    /// [`MessageLog::read`] as a run without a gap: `from`, `from` + 1, …. Where a read shows a gap with an entry behind it, it is read
    /// again once; a slot below an entry that was seen is never claimed (L1). Backends keep this one.
    fn read_run(
        &self,
        conversation: &ConversationId,
        from: Seq,
        bound: ReadBound,
    ) -> impl Future<Output = Result<Run, Unavailable>> + Send {
        async move {
            for _ in 0..2 {
                let entries = self.read(conversation, from, bound).await?;
                let consecutive = (from.get()..).zip(&entries).all(|(seq, entry)| entry.position.seq.get() == seq);
                if consecutive {
                    return Ok(Run::Whole(entries));
                }
            }
            Ok(Run::Broken)
        }
    }

    /// The stored entries below `before` (`None`: from the end of the log), descending, bounded as [`MessageLog::read`].
    fn read_back(
        &self,
        conversation: &ConversationId,
        before: Option<Seq>,
        bound: ReadBound,
    ) -> impl Future<Output = Result<Vec<Entry>, Unavailable>> + Send;

    /// The entry with the highest seq. Backends keep this one.
    fn last(&self, conversation: &ConversationId) -> impl Future<Output = Result<Option<Entry>, Unavailable>> + Send {
        async move {
            let one = ReadBound { entries_max: 1, bytes_max: usize::MAX };
            Ok(self.read_back(conversation, None, one).await?.pop())
        }
    }

    /// The entries in these slots, none named twice, in their order.
    fn at(&self, slots: &[(ConversationId, Seq)]) -> impl Future<Output = Result<Vec<Option<Entry>>, Unavailable>> + Send;

    /// Stores the entry if its slot is free, in one atomic step (L1, L2, L3).
    fn put(&self, entry: &Entry) -> impl Future<Output = Result<Put, Unavailable>> + Send;

    /// Creates a conversation in one transaction: entry 1, its head at zero, its members and their inbox rows.
    fn create(&self, creation: &Creation) -> impl Future<Output = Result<Created, Unavailable>> + Send;
}

/// What a read without gaps brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// The entries from the asked seq on, consecutive; empty if that one and all after it do not exist.
    Whole(Vec<Entry>),
    /// An entry is missing below one that exists.
    Broken,
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBound {
    /// Entries.
    pub entries_max: usize,
    /// Bytes, as [`Entry::stored_bytes`] counts them.
    pub bytes_max: usize,
}

/// What became of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Stored; durable.
    Stored,
    /// The slot holds this entry. It may be the caller's own, written by an attempt whose answer was lost.
    Taken(Box<Entry>),
    /// A transaction had the slot in hand; nothing was stored.
    Contended,
}

/// A new conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Entry 1, of [`crate::log::entry::Kind::Created`].
    pub entry: Entry,
    /// Its members; the version of each is entry 1.
    pub members: Vec<Member>,
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// All of it is stored.
    New,
    /// The conversation exists; nothing was stored.
    Exists,
    /// Another transaction was in the way; nothing was stored.
    Contended,
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// The first entry that they may see; fixed at joining.
    pub visible_from: Seq,
    /// The seq of the entry that wrote this row.
    pub version: Seq,
}

/// One conversation in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Which.
    pub conversation: ConversationId,
    /// The other member of a direct conversation.
    pub with: Option<UserId>,
    /// The first entry that the user may see, as in the member's row.
    pub visible_from: Seq,
    /// How far the user has read.
    pub read: ReadCursor,
    /// How far each of the user's devices has the entries; devices that never said so are missing.
    pub delivered: BTreeMap<DeviceId, Position>,
}

impl InboxRow {
    /// Of a user who has just become a member.
    pub const fn new(conversation: ConversationId, with: Option<UserId>, visible_from: Seq) -> Self {
        Self { conversation, with, visible_from, read: ReadCursor::NONE, delivered: BTreeMap::new() }
    }

    /// What has reached the furthest of the user's devices.
    pub fn delivered_furthest(&self) -> Position {
        self.delivered.values().copied().max().unwrap_or(Position::ZERO)
    }
}

/// How far a user has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadCursor {
    /// The last entry read.
    pub position: Position,
    /// Countable messages up to it.
    pub count: u64,
}

impl ReadCursor {
    /// Nothing yet.
    pub const NONE: Self = Self { position: Position::ZERO, count: 0 };
}

/// Who belongs where.
pub trait Memberships: Sync {
    /// The user's row, by one read: may show a transaction half.
    fn member(&self, conversation: &ConversationId, user: &UserId) -> impl Future<Output = Result<Option<Member>, Unavailable>> + Send;

    /// The user's row, read so that no transaction is seen half; waits out those in the way.
    fn settled_member(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> impl Future<Output = Result<Option<Member>, Unavailable>> + Send;

    /// All members, in the order of their ids.
    fn members(&self, conversation: &ConversationId) -> impl Future<Output = Result<Vec<Member>, Unavailable>> + Send;

    /// At most `limit` conversations of the user with ids above `after`, in the order of their ids. Fewer than `limit`: there are no more.
    fn inbox(
        &self,
        user: &UserId,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<InboxRow>, Unavailable>> + Send;
}

/// How far each user and each device is (C1). Rows are made and removed with the membership: moving a cursor never makes one.
pub trait Cursors: Sync {
    /// The user's rows of these conversations, none named twice, in their order; `None`: not a member.
    fn inbox_rows(
        &self,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> impl Future<Output = Result<Vec<Option<InboxRow>>, Unavailable>> + Send;

    /// Moves cursors forward, each only if it is lower: the delivered position of `device`, and the read cursor if there is one. Answers
    /// the row as it was before and as it is now; `None`: there is no row, and none was made.
    fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        to: Advance,
    ) -> impl Future<Output = Result<Option<Advanced>, Unavailable>> + Send;
}

/// Where cursors are to be at least. The entry is known to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Of the device.
    pub delivered: Position,
    /// Of the user.
    pub read: Option<ReadCursor>,
}

/// A row before and after its cursors were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// As it was.
    pub before: InboxRow,
    /// As it is.
    pub after: InboxRow,
}

/// How far the delivery of a conversation has begun, with what a list of conversations shows of that entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Of the entry.
    pub position: Position,
    /// Countable messages up to it.
    pub count: u64,
    /// When it was accepted.
    pub time: UnixMillis,
}

/// How far the delivery of each conversation has *begun*. A hint that only grows; the log decides.
pub trait Heads: Sync {
    /// Raises the head to `to` if its position is lower; answers the position that it had before. Tried once: a backend that repeats it
    /// by itself would answer what its own first try has made of it.
    fn raise_head(&self, conversation: &ConversationId, to: Head) -> impl Future<Output = Result<Position, Unavailable>> + Send;

    /// The heads of these conversations, none named twice, in their order; at [`Position::ZERO`] where there is none.
    fn heads(&self, conversations: &[ConversationId]) -> impl Future<Output = Result<Vec<Head>, Unavailable>> + Send;
}

/// One routable connection of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The gateway's name for it.
    pub connection: ConnectionId,
    /// The installation behind it.
    pub device: DeviceId,
    /// When the gateway accepted it; orders connections of one device.
    pub connected_at: UnixMillis,
    /// When its token's time is over; nothing is posted to it after that.
    pub expires: UnixMillis,
}

/// Which connections belong to whom.
pub trait Sessions: Sync {
    /// Adds the session or replaces the one of its connection, whose `expires` is not lowered; answers all sessions of the user as they
    /// are after it, in no order.
    fn register(&self, user: &UserId, session: &Session, now: UnixMillis)
    -> impl Future<Output = Result<Vec<Session>, Unavailable>> + Send;

    /// Removes these connections and no others; unknown ones are no error, and nothing is created.
    fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// The session of one connection.
    fn session(&self, user: &UserId, connection: &ConnectionId) -> impl Future<Output = Result<Option<Session>, Unavailable>> + Send;

    /// Moves the session's `expires` to this time if that is later; answers the session as it is then. `None`: there is no such session,
    /// and none was made.
    fn prolong(
        &self,
        user: &UserId,
        connection: &ConnectionId,
        expires: UnixMillis,
    ) -> impl Future<Output = Result<Option<Session>, Unavailable>> + Send;

    /// The sessions of each of these users, also those past `expires`, in no order.
    fn of_users(&self, users: &[UserId]) -> impl Future<Output = Result<Vec<(UserId, Session)>, Unavailable>> + Send;
}

/// The queue of delivery tasks: at least once, in any order, as often as it likes.
pub trait FanOutQueue: Sync {
    /// Accepts the task durably; it is received not before `delay_s` (at most 900) seconds from now.
    fn enqueue(&self, task: &Task, delay_s: u32) -> impl Future<Output = Result<(), Unavailable>> + Send;
}

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The gateway took it. Says nothing about the device.
    Posted,
    /// There is no such connection any more.
    Gone,
    /// Throttled, timed out or failed: it may have been posted.
    Unknown,
    /// The gateway refuses this deployment's posts, whatever the connection: rights or an address are wrong.
    Refused,
}

/// The way to a live connection.
pub trait Outbound: Sync {
    /// Posts one frame.
    fn post(&self, connection: &ConnectionId, frame: &str) -> impl Future<Output = Delivery> + Send;

    /// Ends the connection, behind what was posted to it; [`Delivery::Posted`] if the gateway took that.
    fn close(&self, connection: &ConnectionId) -> impl Future<Output = Delivery> + Send;
}
