//! One conversation on this device: which entries are taken, in which order, and when something is missing (D1).
//!
//! The entries that the device has are a run without gaps, (`from`, `have`]. An entry is taken at `have` + 1, dropped at or below `have`,
//! and kept aside when it is ahead. Epochs rise with seqs within one log, so a rise that nobody has checked may be another log: the one
//! after a restore. It is taken from the log only, whose read has checked that `have` is still in it.

use std::collections::{BTreeMap, VecDeque};

use chatlane_protocol::{ConversationId, Entry, Position, Seq};

use super::link::Asked;
use super::outbox::Outbox;
use super::{ConversationRow, Moment};

/// Counts of so many entries are remembered, so that a read mark behind the newest entry has its exact count.
const MARKS_MAX: usize = 512;

/// One conversation.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) row: ConversationRow,
    /// How far the local store has the run.
    pub(super) committed: Position,
    /// Where the part of the run begins of which this session has taken every entry, and looked through it for messages of the outbox. A
    /// `skip` lies before it, and so does what was taken before a restart, in which there may be one.
    pub(super) looked_from: Position,
    /// Up to here the server has refused for good to note what was delivered.
    pub(super) ack_refused: Position,
    /// Up to here a `sync` has carried the acknowledgement.
    pub(super) ack_carried: Position,
    /// Rises when the run is given up, wholly or in part: answers to what was asked before say nothing about the new one.
    pub(super) generation: u64,
    /// When to ask for what is missing.
    pub(super) due: Due,
    /// The device has dropped all that it had, also what it thought to be the head: ask where it is.
    pub(super) headless: bool,
    /// The first entries are not there any more: go on at the head, wherever that is.
    pub(super) jump: bool,
    /// The row says more than the one in the store, and can wait for the next write.
    pub(super) stale_in_store: bool,
    pub(super) outbox: Outbox,
    /// How often something said that `have` may be missing from the log: only a sync can tell.
    doubts: u64,
    /// How many of the doubts a sync has settled.
    settled: u64,
    ahead: BTreeMap<Seq, Entry>,
    marks: VecDeque<(Position, u64)>,
}

/// When to ask for what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing is missing.
    Never,
    /// Something is on its way, probably: when the entry after `after` is still missing then.
    Gap { after: Seq, at: Moment },
    /// At once: nobody will push it.
    Now,
}

impl Lane {
    pub(super) fn new(row: ConversationRow) -> Self {
        Self {
            committed: row.have,
            looked_from: row.have,
            ack_refused: Position::ZERO,
            ack_carried: Position::ZERO,
            generation: 0,
            due: Due::Never,
            headless: false,
            jump: false,
            stale_in_store: false,
            outbox: Outbox::default(),
            doubts: 0,
            settled: 0,
            ahead: BTreeMap::new(),
            marks: VecDeque::new(),
            row,
        }
    }

    /// A conversation of which the device has nothing.
    pub(super) fn empty(conversation: ConversationId) -> Self {
        Self::new(ConversationRow::empty(conversation))
    }

    /// Whether the log holds, or may hold, something else than the device.
    pub(super) fn is_behind(&self) -> bool {
        self.doubts > self.settled || self.row.head > self.row.have
    }

    /// An entry is said to exist here. Whether that is news.
    pub(super) fn learn_head(&mut self, head: Position, count: Option<u64>) -> bool {
        let row = &mut self.row;
        let before = (row.head, row.head_count);
        if head >= row.head {
            row.head = head;
            row.head_count = count.unwrap_or(row.head_count);
        }
        (row.head, row.head_count) != before
    }

    /// What the device has may not be in the log any more.
    pub(super) const fn doubt(&mut self) {
        self.doubts += 1;
    }

    /// What a sync is to settle: kept with the request, given back with its answer.
    pub(super) fn asked(&self) -> Asked {
        let Self { row, generation, doubts, .. } = self;
        Asked { conversation: row.conversation.clone(), generation: *generation, head: row.head, doubts: *doubts }
    }

    /// An entry was pushed, or is an own one that was acknowledged. Answers what is taken, in order.
    pub(super) fn receive(&mut self, entry: Entry, ahead_max: usize) -> Vec<Entry> {
        let (position, have) = (entry.position, self.row.have);
        if position.seq <= have.seq {
            // At a seq that the device has, from a later epoch: the log was restored below it.
            if position.epoch > have.epoch {
                self.doubt();
            }
            return vec![];
        }
        if position.epoch < have.epoch {
            return vec![]; // on its way since before a restore
        }
        self.learn_head(position, Some(entry.count));
        let newer = self.ahead.get(&position.seq).is_none_or(|kept| kept.position < position);
        if newer {
            self.ahead.insert(position.seq, entry);
        }
        let taken = self.release();
        while self.ahead.len() > ahead_max {
            self.ahead.pop_last(); // its head is known: it will be synced
        }
        taken
    }

    /// A page of the log, which has checked that the entry before it is in it. Answers what is taken, in order.
    pub(super) fn receive_page(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut taken = vec![];
        for entry in entries {
            let (position, have) = (entry.position, self.row.have);
            if position.seq <= have.seq && position.epoch > have.epoch {
                self.doubt();
                break;
            }
            if position.seq == have.seq.next() && position.epoch >= have.epoch {
                taken.push(self.take(entry));
            }
        }
        taken.extend(self.release());
        taken
    }

    /// The log had nothing beyond what the device has now when this was asked.
    pub(super) fn at_end(&mut self, Asked { head, doubts, .. }: &Asked) {
        (self.settled, self.due) = (*doubts, Due::Never);
        // What was known by then and is not in the log now never will be: it is from before a restore.
        self.ahead.retain(|_, entry| entry.position > *head);
        if self.row.head <= *head {
            let ahead = self.ahead.values().map(|entry| (entry.position, entry.count)).max().unwrap_or_default();
            (self.row.head, self.row.head_count) = ahead.max((self.row.have, self.row.have_count));
        }
    }

    /// The entries up to here are not for this user: as if the device had them.
    pub(super) fn skip_to(&mut self, to: Position) {
        if to.seq > self.row.have.seq && to.epoch >= self.row.have.epoch {
            if self.row.have == self.row.from {
                self.row.from = to;
            }
            (self.row.have, self.looked_from) = (to, to);
            self.row.head = self.row.head.max(to);
            self.ahead = self.ahead.split_off(&to.seq.next());
        }
    }

    fn release(&mut self) -> Vec<Entry> {
        let mut taken = vec![];
        while let Some(next) = self.ahead.get(&self.row.have.seq.next()) {
            let (epoch, have) = (next.position.epoch, self.row.have);
            if epoch > have.epoch && have != Position::ZERO {
                self.doubt();
                break;
            }
            let Some(entry) = self.ahead.remove(&have.seq.next()) else { break };
            if epoch < have.epoch {
                break;
            }
            taken.push(self.take(entry));
        }
        taken
    }

    fn take(&mut self, entry: Entry) -> Entry {
        let row = &mut self.row;
        (row.have, row.have_count) = (entry.position, entry.count);
        if row.have >= row.head {
            (row.head, row.head_count) = (row.have, row.have_count);
        }
        self.ahead.remove(&entry.position.seq);
        self.marks.push_back((entry.position, entry.count));
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
        entry
    }

    /// How many countable messages the log holds up to here: exactly, where the entry was taken lately or is an end of the run, else at
    /// least so many, as if all entries between here and `have` were messages (in a direct conversation all but the first are).
    pub(super) fn count_at(&self, position: Position) -> u64 {
        let row = &self.row;
        let mark = self.marks.iter().find(|(marked, _)| *marked == position).map(|(_, count)| *count);
        mark.unwrap_or_else(|| row.have_count.saturating_sub(row.have.seq.get().saturating_sub(position.seq.get())))
    }

    /// Whether the device has the entry here: false if it has another one, or none.
    pub(super) fn has(&self, position: Position) -> bool {
        let row = &self.row;
        let other = self.marks.iter().any(|(marked, _)| marked.seq == position.seq && *marked != position);
        position.seq >= row.from.seq && position.seq <= row.have.seq && position.epoch <= row.have.epoch && !other
    }

    /// Whether the device has another entry at this place of the log than the one that it is said to have in common with it.
    pub(super) fn contradicts(&self, common: Position) -> bool {
        // Epochs rise with seqs: no entry of the run is of a later epoch than its last one. (The anchor of a message may be: it is the head.)
        let later = common.seq <= self.row.have.seq && common.epoch > self.row.have.epoch;
        let mut held = self.marks.iter().map(|(position, _)| *position).chain([self.row.have]);
        later || held.any(|held| held.seq == common.seq && held != common)
    }

    /// Where the conversation goes on if it is not caught up with: before the entries at the head that are here already.
    pub(super) fn jump_target(&self) -> Position {
        let mut target = self.row.head;
        while target != Position::ZERO && self.ahead.get(&target.seq).is_some_and(|entry| entry.position == target) {
            target = before(target);
        }
        target
    }

    /// Goes on at `target`, without what is before it. Answers what is taken behind it, in order.
    pub(super) fn jump_to(&mut self, target: Position) -> Vec<Entry> {
        self.restart(target);
        let taken = self.release();
        self.jump = false;
        taken
    }

    fn restart(&mut self, at: Position) {
        self.generation += 1;
        self.settled = self.doubts;
        (self.row.from, self.row.have, self.looked_from) = (at, at, at);
        self.row.have_count = self.row.head_count;
        self.marks.clear();
        self.committed = Position::ZERO;
    }

    /// Forgets all that it has, also where the head is.
    pub(super) fn reset(&mut self) {
        self.restart(Position::ZERO);
        self.ahead.clear();
        (self.row.head, self.row.head_count, self.row.have_count) = (Position::ZERO, 0, 0);
        (self.row.acked, self.ack_refused, self.ack_carried) = (Position::ZERO, Position::ZERO, Position::ZERO);
        self.due = Due::Never;
        self.headless = true;
    }

    /// Forgets what is beyond `common`, which the log has too.
    pub(super) fn roll_back(&mut self, common: Position) {
        let back = |position: Position| if position.seq > common.seq { common } else { position };
        self.generation += 1;
        self.ahead.clear();
        self.row.read_count = if self.row.read.seq > common.seq { self.count_at(common) } else { self.row.read_count };
        self.row.read = back(self.row.read);
        if self.row.have.seq > common.seq {
            self.row.have_count = self.count_at(common);
            self.row.have = common;
        }
        (self.row.from, self.looked_from) = (back(self.row.from), back(self.looked_from));
        self.row.acked = back(self.row.acked);
        self.committed = back(self.committed);
        (self.ack_refused, self.ack_carried) = (Position::ZERO, Position::ZERO);
        self.row.head = common.max(self.row.have);
        self.row.head_count = self.row.have_count;
        self.marks.retain(|(position, _)| position.seq <= common.seq);
        // The log of the later epoch goes on behind `common`, or will.
        self.doubt();
        self.due = Due::Now;
    }

    /// Sets or ends the wait for what is missing. A gap that moved is another one, with its own time.
    pub(super) fn plan(&mut self, gap_over_at: impl FnOnce() -> Moment) {
        let after = self.row.have.seq;
        self.due = match self.due {
            _ if !self.is_behind() => Due::Never,
            Due::Now => Due::Now,
            Due::Gap { after: same, at } if same == after => Due::Gap { after, at },
            Due::Gap { .. } | Due::Never => Due::Gap { after, at: gap_over_at() },
        };
    }
}

/// A place whose seq is the one before an entry's: where a run begins that has the entry as its first. Only its seq means anything; the
/// epoch of the entry that was there is not known.
pub(super) fn before(entry: Position) -> Position {
    let seq = entry.seq.minus(1);
    if seq == Seq::ZERO { Position::ZERO } else { Position::new(entry.epoch, seq) }
}
