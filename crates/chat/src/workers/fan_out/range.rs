//! Which entries a task delivers.

use chatlane_protocol::{ConversationId, Position, Seq};

use crate::log::Entry;
use crate::ports::{Failure, MessageLog, ReadBound, Run, read_run};
use crate::workers::task::Task;

/// The most entries of one task that are posted; of more, the last. The gap makes clients sync.
pub(super) const RANGE_MAX: u64 = 100;

/// How far back a task goes that no longer learns what the head was.
const REPEATED_RANGE: u64 = 20;

/// Where the range of a task begins. `head` is what it was before this task, where that is known.
pub(super) fn lowest(task: &Task, head: Option<Position>) -> Seq {
    let last = task.last.seq;
    let from = match head {
        _ if task.undelivered.is_some() => task.first,
        // Entries between the old head and this task belong to tasks that come late, or to a writer that died before its enqueue. A head
        // of before a restore may name entries that were cut: what stands at its seq now was never begun.
        Some(head) if head.epoch < task.last.epoch => Seq::FIRST,
        Some(head) => head.seq.next().min(task.first),
        None => task.first.min(last.minus(REPEATED_RANGE - 1)),
    };
    from.max(last.minus(RANGE_MAX - 1)).max(Seq::FIRST)
}

/// Entries `from`…`to`, all of them: they were acknowledged, or are below one that was.
pub(super) async fn read_range<P: MessageLog>(ports: &P, conversation: &ConversationId, from: Seq, to: Seq) -> Result<Vec<Entry>, Failure> {
    let from = from.max(to.minus(RANGE_MAX - 1)).max(Seq::FIRST);
    let missing = || Failure::unavailable("read the entries of a task", "not all of them are there");
    let wanted = usize::try_from(to.next().get().saturating_sub(from.get())).map_err(|_| missing())?;
    let bound = ReadBound::entries(wanted);
    match read_run(ports, conversation, from, bound).await? {
        Run::Whole(entries) if entries.len() == wanted => Ok(entries),
        Run::Whole(_) | Run::Broken(_) => Err(missing()),
    }
}
