//! How entries get to the sockets of the model server: a delivery writes the head, then posts to whoever has said hello (D2).

use std::collections::BTreeSet;

use chatlane_protocol::frames::Entries;
use chatlane_protocol::{ConversationId, Entry, Position, Seq, ServerFrame};

use super::log::Lane;
use super::server::{Server, Wire};

/// Entries of one delivery: of more only the last are posted, and the gap makes clients sync.
const DELIVERED_MAX: usize = 4;

/// A delivery to be made.
#[derive(Clone, Debug)]
pub struct Task {
    conversation: ConversationId,
    first: Position,
    last: Position,
    own: BTreeSet<Seq>,
    origin: Option<Wire>,
}

pub fn task(lane: &Lane, first: Seq, last: Seq, own: BTreeSet<Seq>, origin: Option<Wire>) -> Task {
    let at = |seq| lane.at(seq).expect("tasks name entries").position;
    Task { conversation: lane.id.clone(), first: at(first), last: at(last), own, origin }
}

impl Server {
    /// Conversations whose head is behind the log, because a sender died or a delivery was lost.
    pub fn sweep(&self) -> Vec<Task> {
        let behind = self.lanes.values().filter(|lane| lane.head < lane.tail());
        behind.map(|lane| task(lane, lane.head.seq.next(), lane.tail().seq, BTreeSet::new(), None)).collect()
    }

    /// Delivers (DESIGN §6, "fan out"): the head first, then the sessions. `again`: a repeated receive of the same task.
    pub fn fan_out(&mut self, task: &Task, again: bool) -> Vec<(Wire, ServerFrame)> {
        let Some(lane) = self.lanes.get_mut(&task.conversation).filter(|lane| lane.has(task.last)) else {
            return vec![]; // from before a restore
        };
        let old = lane.head;
        lane.head = old.max(task.last);
        if old > task.last && !again {
            return vec![];
        }
        let from = if again { task.first.seq.minus(1) } else { old.seq.min(task.first.seq.minus(1)) };
        let (range, _) = lane.after(from, usize::try_from(task.last.seq.get() - from.get()).unwrap());
        let range = &range[range.len().saturating_sub(DELIVERED_MAX)..];
        let mut posts = vec![];
        let to = self.sessions.iter().filter(|(_, session)| lane.members.contains(&session.user) && session.expires > self.now);
        for (wire, _) in to {
            let left_out = |entry: &&Entry| task.origin == Some(*wire) && task.own.contains(&entry.position.seq);
            for run in range.split(|entry| left_out(&entry)).filter(|run| !run.is_empty()) {
                let entries = Entries { conversation: lane.id.clone(), entries: run.to_vec() };
                posts.push((*wire, ServerFrame::Entries(entries)));
            }
        }
        posts
    }
}
