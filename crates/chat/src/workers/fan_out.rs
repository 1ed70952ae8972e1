//! Fan-out: from a task of the queue to frames on live sockets.
//!
//! A task is a pointer into the log, never its content. The worker raises the head *while* it reads members and entries, *then* reads
//! sessions (D2, see [`crate::requests::hello`]). Head means *begun*, so it never says that a delivery is done: what was begun is repeated by the
//! queue until a worker ends well (L4). Receivers drop what they have (D1), so posting twice is harmless and missing is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use chatlane_protocol::frames::{encode, live_frame};
use chatlane_protocol::limits::PAGE_BYTES_MAX;
use chatlane_protocol::{ConnectionId, ConversationId, Position, Seq, UnixMillis, UserId};
use futures_util::future::{try_join, try_join_all, try_join3};
use futures_util::stream::{self, StreamExt as _};

use crate::log::entry::Entry;
use crate::ports::{
    Clock, Delivery, FanOutQueue, Heads, Member, Memberships, MessageLog, Outbound, ReadBound, Run, Session, Sessions, Unavailable,
};
use crate::workers::task::{Remainder, Task};

/// The most entries of one task that are posted; of more, the last. The gap makes clients sync.
pub const RANGE_MAX: u64 = 100;

/// How far back a task goes that no longer learns what the head was.
const REPEATED_RANGE: u64 = 20;

/// A task that the queue accepted so much later than it was made is a redriven dead letter: SQS takes those for new messages, with a
/// new time and a receive count that begins again ("Learn how to configure a dead-letter queue redrive").
pub const REDRIVEN_AFTER_MS: u64 = 60_000;

/// Posts in flight at once.
const POSTS_AT_ONCE: usize = 32;

/// After so many attempts, or so long, a connection that cannot be posted to is given up.
const ATTEMPTS_MAX: u32 = 5;
const GIVE_UP_AFTER_MS: u64 = 120_000;

/// What a worker did with a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Delivery of a later entry had begun before the first receive: that task covers this one.
    pub covered: bool,
    /// Connections that took all their frames.
    pub posted: usize,
    /// Connections that are gone; their sessions were removed.
    pub gone: usize,
    /// Connections left for a further task.
    pub left: usize,
    /// Connections that were given up; their sessions were removed.
    pub given_up: usize,
}

/// What the queue says of a message that it hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How often it has handed it out, from 1.
    pub times: u32,
    /// When it accepted it.
    pub accepted: UnixMillis,
}

/// Delivers one task. `Err`: nothing is lost, the queue repeats it.
pub async fn fan_out<S, Q, O, C>(
    store: &S,
    queue: &Q,
    outbound: &O,
    clock: &C,
    task: &Task,
    received: Received,
) -> Result<Report, Unavailable>
where
    S: MessageLog + Memberships + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
    let conversation = &task.conversation;
    let (head, members, entries) =
        try_join3(begin(store, task), store.members(conversation), read_range(store, conversation, task.first, task.last.seq)).await?;
    let repeated = received.times > 1 || received.accepted.since_ms(task.queued) >= REDRIVEN_AFTER_MS;
    let head = head.filter(|_| !repeated);
    if head.is_some_and(|head| head > task.last) {
        return Ok(Report { covered: true, ..Report::default() });
    }

    let from = lowest(task, head);
    let users: Vec<UserId> = members.iter().map(|member| member.user.clone()).collect();
    let earlier = async { if from < task.first { read_range(store, conversation, from, task.first.minus(1)).await } else { Ok(vec![]) } };
    let (sessions, mut all) = try_join(store.of_users(&users), earlier).await?;
    all.extend(entries.into_iter().filter(|entry| entry.position.seq >= from));
    if let Some(head) = head {
        all.retain(|entry| entry.position.seq >= task.first || entry.position > head);
    }

    let all_outgoing = plan(task, &all, &members, sessions, clock.now());
    let outcomes: Vec<(Outgoing, Delivery)> = stream::iter(all_outgoing)
        .map(|outgoing| async {
            let delivery = deliver(outbound, &outgoing).await;
            (outgoing, delivery)
        })
        .buffer_unordered(POSTS_AT_ONCE)
        .collect()
        .await;

    let mut report = Report::default();
    let (mut dead, mut left, mut refused) = (vec![], vec![], false);
    for (outgoing, delivery) in outcomes {
        match delivery {
            Delivery::Posted => report.posted += 1,
            Delivery::Gone => dead.push((outgoing.user, outgoing.connection)),
            Delivery::Unknown => left.push((outgoing.user, outgoing.connection)),
            Delivery::Refused => refused = true,
        }
    }
    report.gone = dead.len();
    if !left.is_empty() {
        let (attempt, since) = task.remainder.as_ref().map_or((0, clock.now()), |rest| (rest.attempt, rest.since));
        if attempt + 1 >= ATTEMPTS_MAX || clock.now().since_ms(since) >= GIVE_UP_AFTER_MS {
            report.given_up = left.len();
            dead.append(&mut left);
        } else {
            report.left = left.len();
            let remainder = Remainder { targets: left, attempt: attempt + 1, since };
            let rest = Task { first: from, remainder: Some(remainder), ..task.clone() };
            queue.enqueue(&rest, 1 << attempt).await?;
        }
    }
    let mut dead_of: BTreeMap<UserId, Vec<ConnectionId>> = BTreeMap::new();
    for (user, connection) in dead {
        dead_of.entry(user).or_default().push(connection);
    }
    // Those connection ids only: another device of the user, or a newer socket of this one, stays.
    try_join_all(dead_of.iter().map(|(user, connections)| store.remove(user, connections))).await?;
    if refused {
        // The queue repeats the task and at last keeps it: no session is to blame.
        return Err(Unavailable::new("post to connections", "the gateway refuses posts of this deployment"));
    }
    Ok(report)
}

/// Raises the head to the task's last entry and answers what it was before. `None`: that is not known, because the answer was lost and
/// the head may stand where this very call put it, or because the task is a remainder, whose head was raised before.
async fn begin<S: Heads>(store: &S, task: &Task) -> Result<Option<Position>, Unavailable> {
    if task.remainder.is_some() {
        return Ok(None);
    }
    match store.raise_head(&task.conversation, task.head()).await {
        Ok(before) => Ok(Some(before)),
        Err(_) => store.raise_head(&task.conversation, task.head()).await.map(|_| None),
    }
}

/// Where the range of a task begins. `head` is what it was before this task, where that is known.
fn lowest(task: &Task, head: Option<Position>) -> Seq {
    let last = task.last.seq;
    let from = match head {
        _ if task.remainder.is_some() => task.first,
        // Entries between the old head and this task belong to tasks that come late, or to a writer that died before its enqueue. A head
        // of before a restore may name entries that were cut: what stands at its seq now was never begun.
        Some(head) if head.epoch < task.last.epoch => Seq::FIRST,
        Some(head) => head.seq.next().min(task.first),
        None => task.first.min(last.minus(REPEATED_RANGE - 1)),
    };
    from.max(last.minus(RANGE_MAX - 1)).max(Seq::FIRST)
}

/// Entries `from`…`to`, all of them: they were acknowledged, or are below one that was.
async fn read_range<S: MessageLog>(store: &S, conversation: &ConversationId, from: Seq, to: Seq) -> Result<Vec<Entry>, Unavailable> {
    let from = from.max(to.minus(RANGE_MAX - 1)).max(Seq::FIRST);
    let missing = || Unavailable::new("read the entries of a task", "not all of them are there");
    let wanted = usize::try_from(to.next().get().saturating_sub(from.get())).map_err(|_| missing())?;
    let bound = ReadBound { entries_max: wanted, bytes_max: usize::MAX };
    match store.read_run(conversation, from, bound).await? {
        Run::Whole(entries) if entries.len() == wanted => Ok(entries),
        Run::Whole(_) | Run::Broken => Err(missing()),
    }
}

/// The frames for one connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outgoing {
    user: UserId,
    connection: ConnectionId,
    /// Shared by all connections that get the same.
    frames: Arc<[String]>,
}

/// Decides who gets what. To each user only what the member row allows (M1); nothing to sessions whose token's time is over; the origin
/// connection does not get the entries of its own frame. Entries are merged into full frames: the gateway bills by 32 KB.
fn plan(task: &Task, entries: &[Entry], members: &[Member], sessions: Vec<(UserId, Session)>, now: UnixMillis) -> Vec<Outgoing> {
    let visible_from: BTreeMap<&UserId, Seq> = members.iter().map(|member| (&member.user, member.visible_from)).collect();
    let encoded: Vec<String> = entries.iter().map(|entry| encode(&entry.to_wire())).collect();
    let mut frames_of: BTreeMap<Vec<usize>, Arc<[String]>> = BTreeMap::new();
    let mut all_outgoing = vec![];
    for (user, session) in sessions {
        let Some(&visible_from) = visible_from.get(&user) else { continue };
        if session.expires <= now {
            continue;
        }
        let is_target = |rest: &Remainder| rest.targets.iter().any(|(_, connection)| *connection == session.connection);
        if !task.remainder.as_ref().is_none_or(is_target) {
            continue;
        }
        let is_origin = task.origin.as_ref() == Some(&session.connection);
        let wanted: Vec<usize> = (0..entries.len())
            .filter(|&index| {
                let seq = entries[index].position.seq;
                seq >= visible_from && !(is_origin && task.own.contains(&seq))
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let frames = frames_of.entry(wanted).or_insert_with_key(|wanted| merge(&task.conversation, wanted, &encoded)).clone();
        all_outgoing.push(Outgoing { user, connection: session.connection, frames });
    }
    all_outgoing
}

/// As few frames as possible, each within the page.
fn merge(conversation: &ConversationId, wanted: &[usize], encoded: &[String]) -> Arc<[String]> {
    let empty = live_frame(conversation, &[]).len();
    let mut frames = vec![];
    let (mut page, mut bytes) = (vec![], empty);
    for &index in wanted {
        let entry = &encoded[index];
        if !page.is_empty() && bytes + 1 + entry.len() > PAGE_BYTES_MAX {
            frames.push(live_frame(conversation, &page));
            (page, bytes) = (vec![], empty);
        }
        bytes += entry.len() + usize::from(!page.is_empty());
        page.push(entry.clone());
    }
    frames.push(live_frame(conversation, &page));
    frames.into()
}

/// Posts the frames of one connection, one after the other; stops at the first that is not taken.
async fn deliver<O: Outbound>(outbound: &O, outgoing: &Outgoing) -> Delivery {
    for frame in outgoing.frames.iter() {
        match outbound.post(&outgoing.connection, frame).await {
            Delivery::Posted => {}
            failed @ (Delivery::Gone | Delivery::Unknown | Delivery::Refused) => return failed,
        }
    }
    Delivery::Posted
}
