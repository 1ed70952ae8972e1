//! L4: a sender who is answered that a message is stored never sends it again. The attempt that stored it may have died before its
//! enqueue, so a use case that answers this enqueues the delivery first.

use chatlane_protocol::{ConversationId, Seq, UnixMillis};

use crate::log::Head;
use crate::ports::{Clock, Failure, FanOutQueue, Heads};
use crate::workers::task::Task;

/// Entries of one conversation, as heads.
pub(crate) type Stored = (ConversationId, Vec<Head>);

/// The lowest and the highest; `None` if there are none.
pub(crate) fn range(entries: &[Head]) -> Option<(Seq, Head)> {
    let first = entries.iter().map(|entry| entry.position.seq).min()?;
    let last = entries.iter().max_by_key(|entry| entry.position)?;
    Some((first, *last))
}

/// The task that delivers these entries to all connections, queued by this `sender` ([`Task::sender`]).
pub(crate) fn task(conversation: &ConversationId, (first, last): (Seq, Head), sender: u32, now: UnixMillis) -> Task {
    Task {
        conversation: conversation.clone(),
        first,
        last: last.position,
        count: last.count,
        time: last.time,
        own: vec![],
        queued: now,
        origin: None,
        sender: Some(sender),
        group: last.group,
        undelivered: None,
        check: false,
    }
}

/// Those of the found entries that are above their conversation's head: no worker has begun them. Conversations without any are left out.
pub(crate) async fn not_dispatched<P: Heads>(ports: &P, found: Vec<Stored>) -> Result<Vec<Stored>, Failure> {
    let found: Vec<Stored> = found.into_iter().filter(|(_, entries)| !entries.is_empty()).collect();
    if found.is_empty() {
        return Ok(found);
    }
    let conversations: Vec<ConversationId> = found.iter().map(|(conversation, _)| conversation.clone()).collect();
    let heads = ports.heads(&conversations).await?;
    let above = |((conversation, mut entries), head): (Stored, Head)| {
        entries.retain(|entry| entry.position > head.position);
        (!entries.is_empty()).then_some((conversation, entries))
    };
    Ok(found.into_iter().zip(heads).filter_map(above).collect())
}

/// Queues the delivery of what no worker has begun; answers how many tasks that took. `Err`: not of all; the caller must not be answered
/// that these entries are stored.
pub(crate) async fn queue_not_dispatched<P>(ports: &P, sender: u32, found: Vec<Stored>) -> Result<usize, Failure>
where
    P: Heads + FanOutQueue + Clock,
{
    let mut tasks = 0;
    for (conversation, entries) in not_dispatched(ports, found).await? {
        if let Some(range) = range(&entries) {
            ports.enqueue(&task(&conversation, range, sender, ports.now()), 0).await?;
            tasks += 1;
        }
    }
    Ok(tasks)
}
