//! The sweeper: finds entries whose delivery nobody began (L4).
//!
//! A writer that died between its put and its enqueue leaves an entry that the log has and no task names. If its sender never comes back,
//! nobody else learns of it. So the log itself tells, about a minute later, which slots were filled; what is not covered by its
//! conversation's head by then was either never queued or still waits in the queue. A *check* on the same queue tells the two apart: it is
//! received, mostly, after all that waited when it was queued, and then only reads the head again. What is still not covered gets the ordinary task.
//!
//! Both halves may run twice: that makes a second check or a second task, and a second task makes posts that their receivers drop (D1). Not
//! promised: that an entry is found whose put was lost from the stream with a restore; the next message of its conversation delivers it.

use std::collections::BTreeMap;

use chatlane_protocol::{ConversationId, Position, Seq};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::dispatch;
use super::task::Task;
use crate::log::{Entry, Head};
use crate::ports::{Clock, Failure, FanOutQueue, Heads, MessageLog};
use crate::settings::Settings;

/// How long a check waits in the queue, so that it is behind a task that was only late.
pub const CHECK_AFTER_S: u32 = 30;

/// Conversations that are looked at at once: as many as one batch read takes, so that the entries of a backlog fit into memory.
const CONVERSATIONS_AT_ONCE: usize = 100;

/// Checks that are queued at once.
const ENQUEUES_AT_ONCE: usize = 32;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Conversations in which something was stored.
    pub conversations: usize,
    /// Those with entries above their head: a check each.
    pub checks: usize,
}

/// Looks whether the delivery of what was stored in these slots has begun, and queues a check where it has not. `Err`: of some it was not
/// looked at; all slots have to be given again.
pub async fn sweep<P>(ports: &P, settings: &Settings, stored: impl IntoIterator<Item = (ConversationId, Seq)>) -> Result<Swept, Failure>
where
    P: MessageLog + Heads + FanOutQueue + Clock,
{
    let mut highest: BTreeMap<ConversationId, Seq> = BTreeMap::new();
    for (conversation, seq) in stored {
        let known = highest.entry(conversation).or_insert(seq);
        *known = seq.max(*known);
    }
    let highest: Vec<(ConversationId, Seq)> = highest.into_iter().collect();
    let mut swept = Swept { conversations: highest.len(), checks: 0 };
    for some in highest.chunks(CONVERSATIONS_AT_ONCE) {
        swept.checks += sweep_some(ports, settings, some).await?;
    }
    Ok(swept)
}

/// The same for one slot each of some conversations; how many checks it queued.
async fn sweep_some<P>(ports: &P, settings: &Settings, slots: &[(ConversationId, Seq)]) -> Result<usize, Failure>
where
    P: MessageLog + Heads + FanOutQueue + Clock,
{
    let conversations: Vec<ConversationId> = slots.iter().map(|(conversation, _)| conversation.clone()).collect();
    let heads = ports.heads(&conversations).await?;
    // A slot has no epoch. A head of before a restore may name an entry that was cut, and then covers none of its seq that came since.
    let is_covered = |(_, seq): &(ConversationId, Seq), head: Position| head.epoch >= settings.epoch && head.seq >= *seq;
    let open = slots.iter().cloned().zip(heads).filter(|(slot, head)| !is_covered(slot, head.position));
    let (slots, heads): (Vec<(ConversationId, Seq)>, Vec<Head>) = open.unzip();
    if slots.is_empty() {
        return Ok(0);
    }
    let above = |(entry, head): (Option<Entry>, Head)| entry.filter(|entry| entry.position > head.position).map(|entry| (entry, head));
    let as_check = |(entry, head): (Entry, Head)| {
        let last = entry.head();
        let range = (first_above(head.position, last.position), last);
        Task { check: true, ..dispatch::task(&entry.conversation, range, settings.keys.users.sender(&entry.sender), ports.now()) }
    };
    let checks: Vec<Task> = ports.at(&slots).await?.into_iter().zip(heads).filter_map(above).map(as_check).collect();
    let queued = stream::iter(&checks).map(|check| ports.enqueue(check, CHECK_AFTER_S)).buffer_unordered(ENQUEUES_AT_ONCE);
    queued.try_collect::<Vec<()>>().await?;
    Ok(checks.len())
}

/// Does what a check asks: queues the delivery of what is still above the head. Whether anything was. `Err`: the queue hands it out again.
pub(super) async fn check<P: Heads + FanOutQueue + Clock>(ports: &P, check: &Task) -> Result<bool, Failure> {
    let heads = ports.heads(std::slice::from_ref(&check.conversation)).await?;
    let head = heads.first().map_or(Position::ZERO, |head| head.position);
    if head >= check.last {
        return Ok(false);
    }
    let task = Task { first: first_above(head, check.last), queued: ports.now(), check: false, ..check.clone() };
    ports.enqueue(&task, 0).await?;
    Ok(true)
}

/// The lowest seq that the task names: `last` where the head is one of before a restore, beyond it.
fn first_above(head: Position, last: Position) -> Seq {
    head.seq.next().min(last.seq)
}
