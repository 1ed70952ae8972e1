//! What must hold of a schedule: checked at each answer, and of log and deliveries at the end.

mod fold;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chatlane_protocol::frames::Stored;
use chatlane_protocol::{ClientMessageId, ConnectionId, ConversationId, ErrorCode, Position, Seq, UserId};
use serde::Deserialize;

pub(super) use self::fold::Fold;
use self::fold::Verdict;
use super::Scene;
use super::device::Log;
use super::frame::{Answer, Told, Wanted};
use crate::log::Kind;
use crate::log::hash::UserKey;
use crate::testing::memory::State;
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
    /// Every entry was permitted at the one before it; who was removed writes nothing more.
    M1,
    /// Of a stranger's conversation nothing is read but the rows that say so.
    R1,
    /// Counts are consecutive, epochs never go down; the facts of a group are what its entries say.
    Facts,
    /// The rows of a group are what its entries say.
    Rows,
    /// A client that obeys the protocol is not told that it does not; a change is refused, or unchanged, where it is so.
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

/// What the judge reads of a live frame.
#[derive(Deserialize)]
struct Posted {
    entries: Vec<PostedEntry>,
}

#[derive(Deserialize)]
struct PostedEntry {
    position: Position,
    target: Option<Seq>,
}

/// A message as its device made it.
#[derive(Debug)]
struct Made {
    device: usize,
    sender: UserId,
    id: ClientMessageId,
    /// Given up while an attempt of it may still run: it may be behind what its device made later.
    given_up: bool,
}

/// An answer, and what its attempt could know.
pub(super) struct Answered<'a> {
    pub(super) sender: &'a UserId,
    pub(super) wanted: &'a Wanted,
    pub(super) answer: &'a Answer,
    /// Its anchors were such as the client knew.
    pub(super) honest: bool,
    /// The last entry when it began.
    pub(super) from: Seq,
}

/// Remembers what clients made and were told, and what workers posted.
#[derive(Debug)]
pub(super) struct Judge {
    /// The entries that the log began with: no device made them.
    given: Seq,
    key: UserKey,
    /// The group at each of its entries, and before the first; empty in a direct conversation.
    group: Vec<Fold>,
    made: Vec<Made>,
    /// Messages, by their index in `made`, that were acknowledged, and where.
    acknowledged: Vec<(usize, Position)>,
    /// Entries that were posted to those who watch.
    posted: BTreeSet<(ConnectionId, Position)>,
    /// Entries that such an entry was about, where it was told.
    told_of: BTreeSet<(ConnectionId, Seq)>,
    /// The epoch of the deployment, once the log was restored.
    restored: Option<u32>,
    /// Who was removed, and by which entry.
    removed: Option<(UserId, Seq)>,
    /// Whether refusals and failing workers are judged: a broken append is judged by what it stores and acknowledges.
    strict: bool,
    violation: Option<Violation>,
}

impl Judge {
    pub(super) fn new(scene: Scene, strict: bool, key: UserKey, log: &Log) -> Self {
        let given = log.keys().next_back().copied().unwrap_or(Seq::ZERO);
        let group = if scene == Scene::Direct { vec![] } else { vec![Fold::new()] };
        let (made, acknowledged, posted, told_of) = (vec![], vec![], BTreeSet::new(), BTreeSet::new());
        let mut judge =
            Self { given, key, group, made, acknowledged, posted, told_of, restored: None, removed: None, strict, violation: None };
        judge.follow(log);
        judge
    }

    /// So many entries the log began with.
    pub(super) const fn given(&self) -> u64 {
        self.given.get()
    }

    /// The group at this entry, if it was followed so far.
    pub(super) fn group_at(&self, seq: Seq) -> Option<&Fold> {
        self.group.get(usize::try_from(seq.get()).ok()?)
    }

    /// Goes on to the end of the log of a group, which no restore cuts.
    pub(super) fn follow(&mut self, log: &Log) {
        let Some(last) = self.group.last().filter(|_| log.len() >= self.group.len()) else { return };
        let mut fold = last.clone();
        let followed = Seq::try_from(self.group.len() as u64 - 1).unwrap_or(Seq::MAX);
        for entry in log.range(followed.next()..).map(|(_, entry)| entry) {
            if let Err(what) = fold.follow(entry) {
                return self.broken(Guarantee::M1, || what);
            }
            if let Some(what) = fold.wrong_facts(entry, &self.key) {
                return self.broken(Guarantee::Facts, || what);
            }
            self.group.push(fold.clone());
        }
    }

    /// The first that was found.
    pub(super) fn into_violation(self) -> Option<Violation> {
        self.violation
    }

    pub(super) const fn is_satisfied(&self) -> bool {
        self.violation.is_none()
    }

    /// The device made this after all that it made before.
    pub(super) fn made(&mut self, device: usize, sender: &UserId, id: &ClientMessageId) {
        self.made.push(Made { device, sender: sender.clone(), id: id.clone(), given_up: false });
    }

    /// A worker posted this frame to one who watches: a connection that is called as its user.
    pub(super) fn posted(&mut self, connection: &ConnectionId, frame: &str) {
        let frame: Posted = serde_json::from_str(frame).expect("a live frame has entries with positions");
        self.posted.extend(frame.entries.iter().map(|entry| (connection.clone(), entry.position)));
        self.told_of.extend(frame.entries.iter().filter_map(|entry| Some((connection.clone(), entry.target?))));
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
        if user.as_str() == "mallory" && !matches!(method, "member" | "memberships") {
            self.broken(Guarantee::R1, || format!("`{method}` is called for a stranger"));
        }
    }

    /// A writer answered.
    pub(super) fn answered(&mut self, answered: &Answered<'_>, log: &Log) {
        self.follow(log);
        let sender = answered.sender;
        for (id, told) in answered.answer {
            match told {
                Told::Ok(stored) | Told::Duplicate(stored) => self.acknowledged(sender, id, *stored, log),
                Told::Conflict(stored) => {
                    self.broken(Guarantee::L2, || format!("{id} of {sender} is said to conflict with {}", stored.position));
                }
                Told::Unchanged | Told::Refused(_) => {
                    if self.strict && !self.is_fair(answered, told) {
                        self.broken(Guarantee::Refusal, || format!("{id} of {sender} was answered {told:?}"));
                    }
                }
                Told::NotAttempted => {}
            }
        }
        if answered.answer.iter().any(|(_, told)| told.is_for_good(answered.wanted)) {
            let left = answered.answer.iter().filter(|(_, told)| !matches!(told, Told::Ok(_) | Told::Duplicate(_)));
            for index in left.filter_map(|(id, _)| self.index_of(sender, id)).collect::<Vec<_>>() {
                self.made[index].given_up = true;
            }
        }
    }

    fn is_fair(&self, answered: &Answered<'_>, told: &Told) -> bool {
        let sender = answered.sender;
        let verdict = match told {
            Told::Refused(refusal) => match refusal.code {
                ErrorCode::Unavailable | ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::AnchorStale => return true,
                ErrorCode::EpochChanged => return self.restored.is_some(),
                ErrorCode::AnchorUnknown => return !answered.honest,
                ErrorCode::NotFound if self.group.is_empty() => {
                    return sender.as_str() == "mallory" || self.removed.as_ref().is_some_and(|(user, _)| user == sender);
                }
                code => Verdict::Refused(code),
            },
            _ => Verdict::Unchanged,
        };
        // It was so at one of the entries between which the attempt ran.
        let began = usize::try_from(answered.from.get()).unwrap_or(usize::MAX);
        self.group.iter().skip(began).any(|group| group.verdict(sender, answered.wanted) == verdict)
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
    pub(super) fn at_the_end(&mut self, conversation: &ConversationId, state: &State) {
        let log = &state.log[conversation];
        self.follow(log);
        if let Some(what) = self.group.last().and_then(|group| group.wrong_rows(conversation, state, &self.key)) {
            self.broken(Guarantee::Rows, || what);
        }
        let not_theirs = |(connection, position): &&(ConnectionId, Position)| {
            self.group.last().is_some_and(|group| !group.is_for(connection.as_str(), position.seq))
        };
        if let Some((connection, position)) = self.posted.iter().find(not_theirs) {
            let what = format!("{position} was posted to {connection}, whom it is not for");
            self.broken(Guarantee::M1, || what);
        }
        let not_shown =
            |(connection, seq): &&(ConnectionId, Seq)| self.group.last().is_some_and(|group| !group.is_for(connection.as_str(), *seq));
        if let Some((connection, seq)) = self.told_of.iter().find(not_shown) {
            let what = format!("something about #{seq} was posted to {connection}, who may not see it");
            self.broken(Guarantee::M1, || what);
        }
        let (mut epoch, mut count) = (0, 0);
        let mut places: Vec<Option<Seq>> = vec![None; self.made.len()];
        for (expected, (seq, entry)) in (1..).zip(log) {
            let position = entry.position;
            if seq.get() != expected || position.seq != *seq {
                return self.broken(Guarantee::L1, || format!("slot {expected} is empty, and there is an entry at {position}"));
            }
            count += u64::from(matches!(entry.kind, Kind::Message(_) | Kind::Deleted));
            if entry.facts.count != count || position.epoch < epoch {
                self.broken(Guarantee::Facts, || format!("count {} at {position}, after epoch {epoch}", entry.facts.count));
            }
            epoch = position.epoch;
            if *seq <= self.given || matches!(entry.kind, Kind::Later(_)) {
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
        // In a group nobody may be left whom an entry is for: there the head says that it was begun.
        let begun = if self.group.is_empty() { Position::ZERO } else { state.heads[conversation].position };
        let is_delivered = |position: &Position| *position <= begun || self.posted.iter().any(|(_, posted)| posted == position);
        let mut undelivered = self.acknowledged.iter().filter(|(_, position)| judged(position) && !is_delivered(position));
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
        for (made, place) in self.made.iter().zip(places).filter(|(made, _)| !made.given_up) {
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
