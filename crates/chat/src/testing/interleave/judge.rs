//! What must hold of a schedule: checked at each answer, and of log and deliveries at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chatlane_protocol::frames::{SendAnswer, Stored};
use chatlane_protocol::{ClientMessageId, ErrorCode, MessageResult, Outcome, Position, Seq, UserId};
use serde::Deserialize;

use crate::log::{Entry, Kind};
use crate::workers::task::Task;

/// What was broken, by its number in `docs/GUARANTEES.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Seqs are 1..n.
    L1,
    /// At most one entry per sender and client message id; every answer names it.
    L2,
    /// What is acknowledged is in the log.
    L3,
    /// What is acknowledged is delivered once the queue is empty.
    L4,
    /// A device's messages keep their order.
    L5,
    /// Who was removed writes nothing more.
    M1,
    /// Of a stranger's conversation nothing is read but the rows that say so.
    R1,
    /// Counts are consecutive, epochs never go down.
    Facts,
    /// A client that obeys the protocol is not told that it does not.
    Refusal,
}

/// A guarantee that a schedule broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub guarantee: Guarantee,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.guarantee, self.what)
    }
}

type Log = BTreeMap<Seq, Entry>;

/// What the judge reads of a live frame.
#[derive(Deserialize)]
struct Posted {
    entries: Vec<PostedEntry>,
}

#[derive(Deserialize)]
struct PostedEntry {
    position: Position,
}

/// A message as its device made it.
#[derive(Debug)]
struct Made {
    device: usize,
    sender: UserId,
    id: ClientMessageId,
}

/// Remembers what clients made and were told, and what workers posted.
#[derive(Debug, Default)]
pub(super) struct Judge {
    made: Vec<Made>,
    /// Messages, by their index in `made`, that were acknowledged, and where.
    acknowledged: Vec<(usize, Position)>,
    /// Entries that were posted to one who watches.
    posted: BTreeSet<Position>,
    /// The epoch of the deployment, once the log was restored.
    restored: Option<u32>,
    /// Who was removed, and by which entry.
    removed: Option<(UserId, Seq)>,
    /// Whether refusals and failing workers are judged: a broken append is judged by what it stores and acknowledges.
    strict: bool,
    violation: Option<Violation>,
}

impl Judge {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// The first that was found.
    pub(super) fn into_violation(self) -> Option<Violation> {
        self.violation
    }

    pub(super) const fn is_satisfied(&self) -> bool {
        self.violation.is_none()
    }

    /// The device made this message after all that it made before.
    pub(super) fn made(&mut self, device: usize, sender: &UserId, id: &ClientMessageId) {
        self.made.push(Made { device, sender: sender.clone(), id: id.clone() });
    }

    /// A worker posted this frame.
    pub(super) fn posted(&mut self, frame: &str) {
        let frame: Posted = serde_json::from_str(frame).expect("a live frame has entries with positions");
        self.posted.extend(frame.entries.iter().map(|entry| entry.position));
    }

    /// A task went to the dead letters. Only a restore takes away the entries of a task.
    pub(super) fn dead_letter(&mut self, task: &Task) {
        if self.strict && self.restored.is_none() {
            self.broken(Guarantee::L4, || format!("the entries #{} to {} of a task are not there", task.first, task.last));
        }
    }

    /// The log was cut after this entry, new ones are of this epoch: what was told beyond it is void, and so is the order of what must
    /// be sent again.
    pub(super) fn restored(&mut self, last: Seq, epoch: u32) {
        self.restored = Some(epoch);
        self.acknowledged.retain(|(_, position)| position.seq <= last);
    }

    /// The user was removed by this entry.
    pub(super) fn removed(&mut self, user: &UserId, by: Seq) {
        self.removed = Some((user.clone(), by));
    }

    /// A port is called for this user.
    pub(super) fn called(&mut self, user: &UserId, method: &str) {
        if user.as_str() == "mallory" && !matches!(method, "member" | "member_consistent") {
            self.broken(Guarantee::R1, || format!("`{method}` is called for a stranger"));
        }
    }

    /// A writer answered. `honest`: its anchors were such as the client knew.
    pub(super) fn answered(&mut self, sender: &UserId, answer: &SendAnswer, log: &Log, honest: bool) {
        for MessageResult { client_message_id: id, outcome } in &answer.results {
            match outcome {
                Outcome::Ok(stored) | Outcome::Duplicate(stored) => self.acknowledged(sender, id, *stored, log),
                Outcome::Conflict(stored) => {
                    self.broken(Guarantee::L2, || format!("{id} of {sender} is said to conflict with {}", stored.position));
                }
                Outcome::Refused(refusal) if self.strict => {
                    let fair = match refusal.code {
                        ErrorCode::Unavailable | ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::AnchorStale => true,
                        ErrorCode::EpochChanged => self.restored.is_some(),
                        ErrorCode::AnchorUnknown => !honest,
                        ErrorCode::NotFound => {
                            sender.as_str() == "mallory" || self.removed.as_ref().is_some_and(|(user, _)| user == sender)
                        }
                        _ => false,
                    };
                    if !fair {
                        self.broken(Guarantee::Refusal, || format!("{id} of {sender} was refused as {:?}", refusal.code));
                    }
                }
                Outcome::Refused(_) | Outcome::NotAttempted => {}
            }
        }
    }

    fn acknowledged(&mut self, sender: &UserId, id: &ClientMessageId, stored: Stored, log: &Log) {
        let position = stored.position;
        let Some(index) = self.index_of(sender, id) else {
            return self.broken(Guarantee::L2, || format!("{id} of {sender} was acknowledged, but never made"));
        };
        if let Some((_, first)) = self.acknowledged.iter().find(|(made, first)| *made == index && *first != position) {
            let first = *first;
            self.broken(Guarantee::L2, || format!("{id} of {sender} was acknowledged at {first} and at {position}"));
        }
        match log.get(&position.seq).filter(|entry| entry.position == position && entry.is_from(sender, id)) {
            None => self.broken(Guarantee::L3, || format!("{id} of {sender} was acknowledged at {position}, where it is not")),
            Some(entry) if entry.facts.count != stored.count || entry.time != stored.time_ms => {
                self.broken(Guarantee::L2, || format!("the answer for {id} of {sender} differs from its entry at {position}"));
            }
            Some(_) => {}
        }
        self.acknowledged.push((index, position));
    }

    /// Nothing runs any more and nothing is in flight.
    pub(super) fn at_the_end(&mut self, log: &Log) {
        let (mut epoch, mut count) = (0, 0);
        let mut places: Vec<Option<Seq>> = vec![None; self.made.len()];
        for (expected, (seq, entry)) in (1..).zip(log) {
            let position = entry.position;
            if seq.get() != expected || position.seq != *seq {
                return self.broken(Guarantee::L1, || format!("slot {expected} is empty, and there is an entry at {position}"));
            }
            count += u64::from(matches!(entry.kind, Kind::Message(_)));
            if entry.facts.count != count || position.epoch < epoch {
                self.broken(Guarantee::Facts, || format!("count {} at {position}, after epoch {epoch}", entry.facts.count));
            }
            epoch = position.epoch;
            if !matches!(entry.kind, Kind::Message(_)) {
                continue; // no device made it
            }
            let (sender, id) = (&entry.sender, &entry.client_message_id);
            if let Some((_, by)) = self.removed.as_ref().filter(|(user, by)| user == sender && by < seq) {
                let by = *by;
                self.broken(Guarantee::M1, || format!("{id} of {sender}, who was removed by #{by}, is at {position}"));
            }
            let Some(index) = self.index_of(sender, id) else {
                return self.broken(Guarantee::L2, || format!("{id} of {sender} is at {position}, but nobody made it"));
            };
            if let Some(first) = places[index].replace(*seq) {
                self.broken(Guarantee::L2, || format!("{id} of {sender} is at #{first} and at {position}"));
            }
        }
        if let Some((index, position)) = self.acknowledged.iter().find(|(index, position)| places[*index] != Some(position.seq)) {
            let what = format!("{} was acknowledged at {position}, where it is not at the end", self.made[*index].id);
            self.broken(Guarantee::L3, || what);
        }
        // Tasks of before a restore may name entries that are gone, fail and keep others from being delivered live: clients that come
        // back sync. What was written since is delivered whatever such a task did to the head.
        let judged = |position: &Position| self.restored.is_none_or(|epoch| position.epoch >= epoch);
        let mut undelivered = self.acknowledged.iter().filter(|(_, position)| judged(position) && !self.posted.contains(position));
        if let Some((index, position)) = undelivered.next() {
            let what = format!("{} was acknowledged at {position}, and no worker posted it", self.made[*index].id);
            self.broken(Guarantee::L4, || what);
        }
        if self.restored.is_none() {
            self.order(&places);
        }
    }

    /// L5, from where each message is.
    fn order(&mut self, places: &[Option<Seq>]) {
        let mut highest: BTreeMap<usize, Seq> = BTreeMap::new();
        for (made, place) in self.made.iter().zip(places) {
            let Some(place) = *place else { continue };
            let before = highest.insert(made.device, place);
            if let Some(before) = before.filter(|before| *before > place) {
                let what = format!("device {} made {} after the message at #{before}, and it is at #{place}", made.device, made.id);
                return self.broken(Guarantee::L5, || what);
            }
        }
    }

    fn index_of(&self, sender: &UserId, id: &ClientMessageId) -> Option<usize> {
        self.made.iter().position(|made| made.id == *id && made.sender == *sender)
    }

    /// Keeps the first.
    pub(super) fn broken(&mut self, guarantee: Guarantee, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(|| Violation { guarantee, what: what() });
    }
}
