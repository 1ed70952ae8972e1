//! Fan-out: from a task of the queue to frames on live sockets.
//!
//! A task is a pointer into the log, never its content. The worker raises the head *while* it reads members and entries, *then* reads
//! sessions (D2, see [`crate::hello`]). Head means *begun*, so it never says that a delivery is done: what was begun is repeated by the
//! queue until a worker ends well (L4). Receivers drop what they have (D1), so posting twice is harmless and missing is not.

use std::collections::BTreeMap;

use chatlane_protocol::frames::{encode, live_frame};
use chatlane_protocol::limits::PAGE_BYTES_MAX;
use chatlane_protocol::{ConnectionId, ConversationId, Position, Seq, UnixMillis, UserId};
use futures_util::future::{try_join, try_join3};
use futures_util::stream::{self, StreamExt as _};

use crate::entry::Entry;
use crate::ports::{
    Clock, Delivery, FanOutQueue, Heads, Member, Memberships, MessageLog, Outbound, ReadBound, Run, Session, Sessions, Unavailable,
};
use crate::task::{Remainder, Task};

/// The most entries of one task that are posted; of more, the last. The gap makes clients sync.
pub const RANGE_MAX: u64 = 100;

/// How far back a repeated receive goes: it no longer learns what the head was.
const REPEATED_RANGE: u64 = 20;

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

/// Delivers one task. `receives` counts how often the queue has handed it out, from 1. `Err`: nothing is lost, the queue repeats it.
pub async fn fan_out<S, Q, O, C>(store: &S, queue: &Q, outbound: &O, clock: &C, task: &Task, receives: u32) -> Result<Report, Unavailable>
where
    S: MessageLog + Memberships + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
    let conversation = &task.conversation;
    let raise = async {
        match task.remainder {
            None => store.raise_head(conversation, task.last).await,
            Some(_) => Ok(Position::ZERO),
        }
    };
    let (head, members, entries) =
        try_join3(raise, store.members(conversation), read_range(store, conversation, task.first, task.last.seq)).await?;
    if task.remainder.is_none() && receives <= 1 && head > task.last {
        return Ok(Report { covered: true, ..Report::default() });
    }

    let from = lowest(task, receives, head);
    let users: Vec<UserId> = members.iter().map(|member| member.user.clone()).collect();
    let earlier = async { if from < task.first { read_range(store, conversation, from, task.first.minus(1)).await } else { Ok(vec![]) } };
    let (sessions, mut all) = try_join(store.of_users(&users), earlier).await?;
    all.extend(entries.into_iter().filter(|entry| entry.position.seq >= from));
    if task.remainder.is_none() && receives <= 1 {
        all.retain(|entry| entry.position.seq >= task.first || entry.position > head);
    }

    let letters = plan(task, &all, &members, sessions, clock.now());
    let outcomes: Vec<(Letter, Delivery)> = stream::iter(letters)
        .map(|letter| async {
            let delivery = deliver(outbound, &letter).await;
            (letter, delivery)
        })
        .buffer_unordered(POSTS_AT_ONCE)
        .collect()
        .await;

    let mut report = Report::default();
    let (mut dead, mut left) = (vec![], vec![]);
    for (letter, delivery) in outcomes {
        match delivery {
            Delivery::Posted => report.posted += 1,
            Delivery::Gone => dead.push((letter.user, letter.connection)),
            Delivery::Unknown => left.push((letter.user, letter.connection)),
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
    for (user, connection) in &dead {
        // That connection id only: another device of the user, or a newer socket of this one, stays.
        store.remove(user, std::slice::from_ref(connection)).await?;
    }
    Ok(report)
}

/// Where the range of a task begins.
fn lowest(task: &Task, receives: u32, head: Position) -> Seq {
    let last = task.last.seq;
    let from = if task.remainder.is_some() {
        task.first
    } else if receives <= 1 {
        // Entries between the old head and this task belong to tasks that come late, or to a writer that died before its enqueue. A head
        // of before a restore may name entries that were cut: what stands at its seq now was never begun.
        let begun = if head.epoch < task.last.epoch { Seq::ZERO } else { head.seq };
        begun.next().min(task.first)
    } else {
        task.first.min(last.minus(REPEATED_RANGE - 1))
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
struct Letter {
    user: UserId,
    connection: ConnectionId,
    frames: Vec<String>,
}

/// Decides who gets what. To each user only what the member row allows (M1); nothing to sessions whose token's time is over; the origin
/// connection does not get the entries of its own frame. Entries are merged into full frames: the gateway bills by 32 KB.
fn plan(task: &Task, entries: &[Entry], members: &[Member], sessions: Vec<(UserId, Session)>, now: UnixMillis) -> Vec<Letter> {
    let visible_from: BTreeMap<&UserId, Seq> = members.iter().map(|member| (&member.user, member.visible_from)).collect();
    let encoded: Vec<String> = entries.iter().map(|entry| encode(&entry.to_wire())).collect();
    let mut frames_of: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
    let mut letters = vec![];
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
        letters.push(Letter { user, connection: session.connection, frames });
    }
    letters
}

/// As few frames as possible, each within the page.
fn merge(conversation: &ConversationId, wanted: &[usize], encoded: &[String]) -> Vec<String> {
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
    frames
}

/// Posts the frames of one connection, one after the other; stops at the first that is not taken.
async fn deliver<O: Outbound>(outbound: &O, letter: &Letter) -> Delivery {
    for frame in &letter.frames {
        match outbound.post(&letter.connection, frame).await {
            Delivery::Posted => {}
            failed @ (Delivery::Gone | Delivery::Unknown) => return failed,
        }
    }
    Delivery::Posted
}
