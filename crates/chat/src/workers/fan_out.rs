//! Fan-out: from a task of the queue to frames on live sockets.
//!
//! A task is a pointer into the log, never its content. The worker raises the head *while* it reads members and entries, *then* it reads
//! sessions (D2, see [`crate::requests::hello`]). The head says that a delivery was begun, never that it is done: the queue repeats a task
//! until a worker ends well (L4). Receivers drop what they have (D1), so posting twice is harmless and missing is not.

mod plan;
mod range;

use std::collections::BTreeMap;

use chatlane_protocol::{ConnectionId, Position, UnixMillis, UserId};
use futures_util::future::{try_join, try_join_all, try_join3};
use futures_util::stream::{self, StreamExt as _};

use self::plan::{Outgoing, plan};
use self::range::{lowest, read_range};
use super::sweep;
use super::task::{Task, Undelivered};
use crate::ports::{Clock, Connections, Failure, FanOutQueue, Heads, Memberships, MessageLog, Outbound, PostOutcome};

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
pub struct FanOutOutcome {
    /// The task was received before, or is a redriven dead letter: what the head was is not known any more.
    pub repeated: bool,
    /// Before the first receive, a worker had begun the delivery of a later entry. That worker posts these entries too.
    pub superseded: bool,
    /// Connections that took all their frames.
    pub posted: usize,
    /// Connections that are gone; their sessions were removed.
    pub gone: usize,
    /// Connections left for a further task.
    pub left: usize,
    /// Connections that were given up; their sessions were removed.
    pub given_up: usize,
    /// It was a check, and nobody had begun the delivery: the task is queued now.
    pub swept: bool,
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
pub async fn fan_out<P>(ports: &P, task: &Task, received: Received) -> Result<FanOutOutcome, Failure>
where
    P: MessageLog + Memberships + Heads + Connections + FanOutQueue + Outbound + Clock,
{
    if task.check {
        return Ok(FanOutOutcome { swept: sweep::check(ports, task).await?, ..FanOutOutcome::default() });
    }
    let conversation = &task.conversation;
    let (head, members, entries) =
        try_join3(begin(ports, task), ports.members(conversation), read_range(ports, conversation, task.first, task.last.seq)).await?;
    let repeated = received.times > 1 || received.accepted.since_ms(task.queued) >= REDRIVEN_AFTER_MS;
    let head = head.filter(|_| !repeated);
    if head.is_some_and(|head| head > task.last) {
        return Ok(FanOutOutcome { superseded: true, ..FanOutOutcome::default() });
    }

    let from = lowest(task, head);
    let users: Vec<UserId> = members.iter().map(|member| member.user.clone()).collect();
    let earlier = async { if from < task.first { read_range(ports, conversation, from, task.first.minus(1)).await } else { Ok(vec![]) } };
    let (sessions, mut all) = try_join(ports.of_users(&users), earlier).await?;
    all.extend(entries.into_iter().filter(|entry| entry.position.seq >= from));
    if let Some(head) = head {
        all.retain(|entry| entry.position.seq >= task.first || entry.position > head);
    }

    let all_outgoing = plan(task, &all, &members, sessions, ports.now());
    let outcomes: Vec<(Outgoing, PostOutcome)> = stream::iter(all_outgoing)
        .map(|outgoing| async {
            let delivery = deliver(ports, &outgoing).await;
            (outgoing, delivery)
        })
        .buffer_unordered(POSTS_AT_ONCE)
        .collect()
        .await;

    let mut report = FanOutOutcome { repeated, ..FanOutOutcome::default() };
    let (mut dead, mut left, mut refused) = (vec![], vec![], false);
    for (outgoing, delivery) in outcomes {
        match delivery {
            PostOutcome::Posted => report.posted += 1,
            PostOutcome::Gone => dead.push((outgoing.user, outgoing.connection)),
            PostOutcome::Unknown => left.push((outgoing.user, outgoing.connection)),
            PostOutcome::Refused => refused = true,
        }
    }
    report.gone = dead.len();
    if !left.is_empty() {
        let (attempt, since) = task.undelivered.as_ref().map_or((0, ports.now()), |rest| (rest.attempt, rest.since));
        if attempt + 1 >= ATTEMPTS_MAX || ports.now().since_ms(since) >= GIVE_UP_AFTER_MS {
            report.given_up = left.len();
            dead.append(&mut left);
        } else {
            report.left = left.len();
            let undelivered = Undelivered { targets: left, attempt: attempt + 1, since };
            let rest = Task { first: from, undelivered: Some(undelivered), ..task.clone() };
            ports.enqueue(&rest, 1 << attempt).await?;
        }
    }
    let mut dead_of: BTreeMap<UserId, Vec<ConnectionId>> = BTreeMap::new();
    for (user, connection) in dead {
        dead_of.entry(user).or_default().push(connection);
    }
    // Those connection ids only: another device of the user, or a newer socket of this one, stays.
    try_join_all(dead_of.iter().map(|(user, connections)| ports.remove(user, connections))).await?;
    if refused {
        // The queue repeats the task and at last keeps it: no session is to blame.
        return Err(Failure::unavailable("post to connections", "the gateway refuses posts of this deployment"));
    }
    Ok(report)
}

/// Raises the head to the task's last entry and answers what it was before. `None`: that is not known, because the answer was lost and
/// the head may stand where this very call put it, or because the task is what an earlier worker left, and that worker raised the head.
async fn begin<P: Heads>(ports: &P, task: &Task) -> Result<Option<Position>, Failure> {
    if task.undelivered.is_some() {
        return Ok(None);
    }
    match ports.raise_head(&task.conversation, task.head()).await {
        Ok(before) => Ok(Some(before)),
        Err(_) => ports.raise_head(&task.conversation, task.head()).await.map(|_| None),
    }
}

/// Posts the frames of one connection, one after the other; stops at the first that is not taken.
async fn deliver<P: Outbound>(ports: &P, outgoing: &Outgoing) -> PostOutcome {
    for frame in outgoing.frames.iter() {
        match ports.post(&outgoing.connection, frame).await {
            PostOutcome::Posted => {}
            failed @ (PostOutcome::Gone | PostOutcome::Unknown | PostOutcome::Refused) => return failed,
        }
    }
    PostOutcome::Posted
}
