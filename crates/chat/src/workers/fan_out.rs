//! Fan-out: from a task of the queue to frames on live sockets.
//!
//! A task is a pointer into the log, never its content. The worker raises the head *while* it reads members and entries, *then* it reads
//! sessions (D2, see [`crate::requests::hello`]). The head says that a delivery was begun, never that it is done: the queue repeats a task
//! until a worker ends well (L4). Receivers drop what they have (D1), so posting twice is harmless and missing is not.

mod leaving;
mod members;
mod plan;
mod posting;
mod range;

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::{ConnectionId, Position, Seq, UnixMillis, UserId};
use futures_util::future::{try_join_all, try_join3};

use self::leaving::leave;
use self::members::{agreed, settled};
use self::plan::{Outgoing, plan};
pub use self::posting::POSTING_ENDS_MS_BEFORE;
use self::posting::post_all;
use self::range::{lowest, read_range};
use super::sweep;
use super::task::Task;
use crate::log::hash::UserKey;
use crate::log::{Entry, Kind};
use crate::ports::{
    Clock, Connections, Failure, FanOutQueue, Heads, Inboxes, Member, Memberships, MessageLog, Outbound, ReadBound, tells_up_to,
};

/// A task that the queue accepted so much later than it was made is a redriven dead letter: SQS takes those for new messages, with a
/// new time and a receive count that begins again ("Learn how to configure a dead-letter queue redrive").
pub const REDRIVEN_AFTER_MS: u64 = 60_000;

/// When a task comes again whose members were not to be seen.
const AGAIN_AFTER_S: u32 = 1;

/// A post to the first connection of a member is paid by whoever wrote what is posted, those to the next ones up to here by nobody, and those to
/// further ones by the member: nobody is ruined by the connections of others, few are by their own, and what nobody pays is a few times what
/// somebody does.
const FREE_CONNECTIONS_MAX: usize = 4;

/// What a worker did with a task.
#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether it happened")]
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
    /// Connections that were throttled.
    pub throttled: usize,
    /// Connections left for further tasks.
    pub left: usize,
    /// Connections for which the entries were given up. Their sessions stay: the devices see the gap by the next entry or head.
    pub skipped: usize,
    /// Connections that were given up; their sessions were removed.
    pub given_up: usize,
    /// It was a check, and nobody had begun the delivery: the task is queued now.
    pub swept: bool,
    /// Who the members are was not to be seen, for transactions that were in the way: the task is queued again.
    pub unsettled: bool,
    /// The first reason why connections were left, skipped or given up.
    pub cause: Option<Failure>,
    /// Who is charged for it, in equal shares; a user may have several: the senders of what was read, or, where connections do not read what
    /// they were sent, their users.
    pub payers: Vec<UserId>,
    /// Posts that are not theirs to pay.
    pub not_theirs: NotTheirs,
}

/// Posts that whoever wrote the entries does not pay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotTheirs {
    /// All of them.
    pub posts: usize,
    /// Those for which a member is charged who has many connections.
    pub own: BTreeMap<UserId, usize>,
}

/// What the queue says of a message that it hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How often it has handed it out, from 1.
    pub times: u32,
    /// When it accepted it.
    pub accepted: UnixMillis,
}

/// Delivers one task. `key` is the deployment's for users; `ends` is when the function's time is over. `Err`: nothing is lost, the queue repeats it.
pub async fn fan_out<P>(ports: &P, key: &UserKey, task: &Task, received: Received, ends: UnixMillis) -> Result<FanOutOutcome, Failure>
where
    P: MessageLog + Memberships + Inboxes + Heads + Connections + FanOutQueue + Outbound + Clock,
{
    if task.check {
        return Ok(FanOutOutcome { swept: sweep::check(ports, task).await?, ..FanOutOutcome::default() });
    }
    let conversation = &task.conversation;
    if is_overtaken(ports, task).await? {
        let skipped = task.undelivered.as_ref().map_or(0, |rest| rest.targets.len());
        let cause = Failure::unavailable("post to connections", "they were throttled, and a later entry follows");
        return Ok(FanOutOutcome { skipped, cause: Some(cause), payers: payers(task, &[]), ..FanOutOutcome::default() });
    }
    let entries = read_range(ports, conversation, task.first, task.last.seq);
    let (head, members, entries) = try_join3(begin(ports, task), ports.members(conversation), entries).await?;
    let repeated = received.times > 1 || received.accepted.since_ms(task.queued) >= REDRIVEN_AFTER_MS;
    let head = head.filter(|_| !repeated);
    // A change of members may have been seen half by whoever went before, and by a hello at that time: its own task comes when it is whole.
    if head.is_some_and(|head| head > task.last) && !entries.iter().any(|entry| entry.kind.writes_memberships()) {
        note_mentions(ports, task, &entries, &members).await?;
        return Ok(FanOutOutcome { superseded: true, payers: payers(task, &entries), ..FanOutOutcome::default() });
    }

    // All entries before the members: one may tell of an edit behind a removal.
    let from = lowest(task, head);
    let mut all = if from < task.first { read_range(ports, conversation, from, task.first.minus(1)).await? } else { vec![] };
    all.extend(entries.into_iter().filter(|entry| entry.position.seq >= from));
    if let Some(head) = head {
        all.retain(|entry| entry.position.seq >= task.first || entry.position > head);
    }
    let members = match all.last() {
        None => members,
        Some(last) => match agreed(ports, key, task, members, last, tells_up_to(&all)).await? {
            Some(members) => members,
            None if repeated => settled(ports, task).await?,
            None => {
                // The head is raised, so a task that comes for the first time would be skipped where a later one was faster. With its time
                // set back, every version takes this one for a redriven task, which is never skipped.
                // It begins where this one would have: tasks between count on that.
                let first = from.min(task.first);
                let again = Task { first, queued: task.queued.minus_ms(REDRIVEN_AFTER_MS), ..task.clone() };
                ports.enqueue(&again, AGAIN_AFTER_S).await?;
                return Ok(FanOutOutcome { unsettled: true, payers: payers(task, &all), ..FanOutOutcome::default() });
            }
        },
    };
    let users: BTreeSet<&UserId> = members.iter().map(|member| &member.user).chain(all.iter().flat_map(Entry::named)).collect();
    let users: Vec<UserId> = users.into_iter().cloned().collect();
    let sessions = ports.of_users(&users).await?;

    let all_outgoing = plan(task, &all, &members, sessions, ports.now());
    let not_theirs = if is_theirs_who_do_not_read(task) { NotTheirs::default() } else { not_theirs(&all, &all_outgoing) };
    let posted = post_all(ports, all_outgoing, ends).await;
    let left = leave(task, from, &posted, ports.now());
    let outcome = FanOutOutcome {
        repeated,
        superseded: false,
        swept: false,
        unsettled: false,
        posted: posted.taken,
        gone: posted.gone.len(),
        throttled: posted.throttled.len(),
        left: left.tasks.iter().filter_map(|(task, _)| task.undelivered.as_ref()).map(|rest| rest.targets.len()).sum(),
        skipped: left.skipped,
        given_up: left.given_up.len(),
        cause: posted.cause,
        payers: payers(task, &all),
        not_theirs,
    };
    try_join_all(left.tasks.iter().map(|(task, wait_s)| ports.enqueue(task, *wait_s))).await?;
    let mut dead_of: BTreeMap<UserId, Vec<ConnectionId>> = BTreeMap::new();
    for (user, connection) in posted.gone.into_iter().chain(left.given_up) {
        dead_of.entry(user).or_default().push(connection);
    }
    // Those connection ids only: another device of the user, or a newer socket of this one, stays.
    try_join_all(dead_of.iter().map(|(user, connections)| ports.remove(user, connections))).await?;
    if task.undelivered.is_none() {
        note_mentions(ports, task, &all, &members).await?;
    }
    // Refused: the queue repeats the task and at last keeps it. No session is to blame.
    posted.refused.map_or(Ok(outcome), Err)
}

/// Notes in the rows of those whom these entries mention that they do. `Err`: not in all of them; the queue repeats the task.
async fn note_mentions<P: Inboxes>(ports: &P, task: &Task, entries: &[Entry], members: &[Member]) -> Result<(), Failure> {
    let mentions = mentions(entries, members).into_iter();
    try_join_all(mentions.map(|(user, at)| ports.mention(user, &task.conversation, at))).await.map(|_| ())
}

/// Whom these entries mention, each with the last that does: members who see it, but for whoever wrote it.
fn mentions<'a>(entries: &'a [Entry], members: &[Member]) -> BTreeMap<&'a UserId, Seq> {
    let mut mentions = BTreeMap::new();
    for entry in entries {
        let Kind::Message(message) = &entry.kind else { continue };
        let sees = |user: &UserId| members.iter().any(|member| member.user == *user && member.visible_from <= entry.position.seq);
        for user in message.mentions.iter().filter(|user| **user != entry.sender && sees(user)) {
            mentions.insert(user, entry.position.seq); // ascending, so the last stays
        }
    }
    mentions
}

/// Who is charged, for a task by which these entries were read.
fn payers(task: &Task, entries: &[Entry]) -> Vec<UserId> {
    match &task.undelivered {
        Some(rest) if is_theirs_who_do_not_read(task) => rest.targets.iter().map(|(user, _)| user.clone()).collect(),
        _ => entries.iter().map(|entry| entry.sender.clone()).collect(),
    }
}

/// Whether those who are posted to pay it all. A post that is throttled is one to somebody who does not read.
fn is_theirs_who_do_not_read(task: &Task) -> bool {
    task.undelivered.as_ref().is_some_and(|rest| rest.throttled > 0)
}

/// Which of these posts are to further connections of members who have written none of these entries.
fn not_theirs(entries: &[Entry], all_outgoing: &[Outgoing]) -> NotTheirs {
    let (mut connections, mut not_theirs) = (BTreeMap::<&UserId, usize>::new(), NotTheirs::default());
    for Outgoing { user, frames, .. } in all_outgoing.iter().filter(|outgoing| entries.iter().all(|entry| entry.sender != outgoing.user)) {
        let connection = connections.entry(user).or_default();
        *connection += 1;
        if *connection > 1 {
            not_theirs.posts += frames.len();
        }
        if *connection > FREE_CONNECTIONS_MAX {
            *not_theirs.own.entry(user.clone()).or_default() += frames.len();
        }
    }
    not_theirs
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

/// Whether the connections of this task were throttled, and a later entry is in the log. Its own task posts to them, and a device that
/// takes it sees the gap. So one that does not read costs a post for each entry, and further ones only for the last: what is written to
/// it meanwhile does not multiply them.
async fn is_overtaken<P: MessageLog>(ports: &P, task: &Task) -> Result<bool, Failure> {
    if task.undelivered.as_ref().is_none_or(|rest| rest.throttled == 0) {
        return Ok(false);
    }
    Ok(!ports.read(&task.conversation, task.last.seq.next(), ReadBound::ONE).await?.is_empty())
}
