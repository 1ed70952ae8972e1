//! One conversation on this device: which entries are taken, in which order, and when something is missing (D1).
//!
//! The entries that the device has are a run without gaps, (`from`, `have`]. An entry is taken at `have` + 1, dropped at or below `have`,
//! and kept aside when it is ahead. Epochs rise with seqs within one log, so a rise that nobody has checked may be another log: the one
//! after a restore. It is taken from the log only, whose read has checked that `have` is still in it.

mod amended;
mod preferring;
mod read_mark;

use std::collections::{BTreeMap, VecDeque};

use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{ConversationId, Entry, Position, Seq, UserId};

use super::outbox::Outbox;
use super::step::{Step, Then};
use super::{ConversationRow, Moment};
use preferring::Preferring;

/// Counts of so many entries are remembered, so that a read mark behind the newest entry has its exact count.
const MARKS_MAX: usize = 512;

/// One conversation.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) row: ConversationRow,
    /// The last entry of the run that the local store has; [`Position::ZERO`]: none. What was skipped is not in the store.
    pub(super) committed: Position,
    /// The highest position whose count is known: `row.head_count` is that one's. Below `have` only behind a skip, which comes without a
    /// count.
    pub(super) counted: Position,
    /// Where the part of the run begins of which this session has taken every entry, and looked through it for messages of the outbox. A
    /// `skip` lies before it, and so does what was taken before a restart, in which there may be one.
    pub(super) looked_from: Position,
    /// Up to here the server has refused for good to note what was delivered.
    pub(super) ack_refused: Position,
    /// The read mark that was refused together with a delivered position.
    pub(super) apart: Position,
    /// What a `sync` has carried last.
    pub(super) carried: Option<PositionIn>,
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
    pub(super) preferring: Preferring,
    /// How often something said that `have` may be missing from the log: only a sync can find out.
    doubts: u64,
    /// How many of the doubts a sync has settled.
    settled: u64,
    ahead: BTreeMap<Seq, Entry>,
    marks: VecDeque<Mark>,
    /// Edits, deletions and reactions that were taken lately: a page of history that was read before them does not tell of them.
    amendments: VecDeque<Entry>,
}

/// An entry that was taken lately.
#[derive(Clone, Copy, Debug)]
struct Mark {
    position: Position,
    count: u64,
    /// The user wrote it.
    own: bool,
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

/// One conversation of a `sync`, as it was when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) conversation: ConversationId,
    pub(super) generation: u64,
    /// What the device had.
    pub(super) have: Position,
    /// What was thought to be the head.
    pub(super) head: Position,
    /// The read mark.
    pub(super) read: Position,
    /// How many doubts there were.
    pub(super) doubts: u64,
}

impl Conversation {
    pub(super) fn new(row: ConversationRow) -> Self {
        Self {
            committed: if row.is_empty() { Position::ZERO } else { row.have },
            // Of a head beyond `have` the store does not say whether its count was known.
            counted: row.have,
            looked_from: row.have,
            ack_refused: Position::ZERO,
            apart: Position::ZERO,
            carried: None,
            generation: 0,
            due: Due::Never,
            headless: false,
            jump: false,
            stale_in_store: false,
            outbox: Outbox::default(),
            preferring: Preferring::default(),
            doubts: 0,
            settled: 0,
            ahead: BTreeMap::new(),
            marks: VecDeque::new(),
            amendments: VecDeque::new(),
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

    /// An entry is said to exist here, and perhaps how many messages there are up to it. Whether that is news.
    pub(super) fn learn_head(&mut self, head: Position, count: Option<u64>) -> bool {
        let row = &mut self.row;
        let before = (row.head, row.head_count);
        row.head = row.head.max(head);
        if let Some(count) = count
            && head >= self.counted
        {
            (self.counted, row.head_count) = (head, count);
            if head == row.have {
                row.have_count = count;
            }
        }
        (row.head, row.head_count) != before
    }

    /// Whether there is more than `max` entries behind `have`, up to this position.
    pub(super) const fn is_far(&self, position: Position, max: u64) -> bool {
        position.seq.get().saturating_sub(self.row.have.seq.get()) > max
    }

    /// With this step's changes the store has the run, if there is an entry in it: behind a jump there is none.
    pub(super) fn has_run(&self, step: &mut Step) {
        let ConversationRow { conversation, have, .. } = &self.row;
        if !self.row.is_empty() {
            step.then.push(Then::Has { conversation: conversation.clone(), generation: self.generation, position: *have });
        }
    }

    /// What the device has may not be in the log any more.
    pub(super) const fn doubt(&mut self) {
        self.doubts += 1;
    }

    /// What a sync is to settle: kept with the request, given back with its answer.
    pub(super) fn asked(&self) -> Asked {
        let Self { row, generation, doubts, .. } = self;
        Asked {
            conversation: row.conversation.clone(),
            generation: *generation,
            have: row.have,
            head: row.head,
            read: row.read,
            doubts: *doubts,
        }
    }

    /// An entry was pushed, or is an own one that was acknowledged. Answers what is taken, in order.
    pub(super) fn receive(&mut self, entry: Entry, me: &UserId, ahead_max: usize) -> Vec<Entry> {
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
        let taken = self.release(me);
        while self.ahead.len() > ahead_max {
            self.ahead.pop_last(); // its head is known: it will be synced
        }
        taken
    }

    /// A page of the log, which has checked that the entry before it is in it. Answers what is taken, in order.
    pub(super) fn receive_page(&mut self, entries: Vec<Entry>, me: &UserId) -> Vec<Entry> {
        let mut taken = vec![];
        for entry in entries {
            let (position, have) = (entry.position, self.row.have);
            if position.seq <= have.seq && position.epoch > have.epoch {
                self.doubt();
                break;
            }
            if position.seq == have.seq.next() && position.epoch >= have.epoch {
                taken.push(self.take(entry, me));
            }
        }
        taken.extend(self.release(me));
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
            self.counted = self.counted.min(self.row.head);
        }
    }

    /// The entries up to here are not for this user: the run goes on behind them. What the device has from before stays in its store.
    pub(super) fn skip_to(&mut self, to: Position) {
        if to.seq > self.row.have.seq && to.epoch >= self.row.have.epoch {
            self.doubt_read(to);
            (self.row.from, self.row.have, self.looked_from) = (to, to, to);
            if to == self.counted {
                self.row.have_count = self.row.head_count;
            }
            self.row.head = self.row.head.max(to);
            self.ahead = self.ahead.split_off(&to.seq.next());
        }
    }

    fn release(&mut self, me: &UserId) -> Vec<Entry> {
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
            taken.push(self.take(entry, me));
        }
        taken
    }

    fn take(&mut self, entry: Entry, me: &UserId) -> Entry {
        let (have, read, next) = (self.row.have, self.row.read, entry.position);
        if have.epoch <= read.epoch && read.epoch < next.epoch && next.seq <= read.seq {
            self.read_back(have); // the log goes on otherwise than it did when the marked entry was in it
        }
        self.count_read(&entry);
        self.note_mention(&entry, me);
        let row = &mut self.row;
        (row.have, row.have_count) = (entry.position, entry.count);
        if row.have >= self.counted {
            (self.counted, row.head_count) = (row.have, row.have_count);
        }
        row.head = row.head.max(row.have);
        self.ahead.remove(&entry.position.seq);
        self.marks.push_back(Mark { position: entry.position, count: entry.count, own: entry.sender == *me });
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
        self.note_amended(&entry);
        self.read_on();
        entry
    }

    /// Whether the device has the entry here: false if it has another one, or none.
    pub(super) fn has(&self, position: Position) -> bool {
        let row = &self.row;
        let other = self.marks.iter().any(|mark| mark.position.seq == position.seq && mark.position != position);
        position.seq > row.from.seq && position.seq <= row.have.seq && position.epoch <= row.have.epoch && !other
    }

    /// Whether the device has another entry at this place of the log than the one that it is said to have in common with it.
    pub(super) fn contradicts(&self, common: Position) -> bool {
        // Epochs rise with seqs: no entry of the run is of a later epoch than its last one. (The anchor of a message may be: it is the
        // head.)
        let later = common.seq <= self.row.have.seq && common.epoch > self.row.have.epoch;
        let mut held = self.marks.iter().map(|mark| mark.position).chain([self.row.have]);
        later || held.any(|held| held.seq == common.seq && held != common)
    }

    /// Where the conversation goes on if it is not caught up with: at the highest position whose count is known, or before the entries up
    /// to there that are here already.
    pub(super) fn jump_target(&self) -> Position {
        let mut target = self.counted;
        while target != Position::ZERO && self.ahead.get(&target.seq).is_some_and(|entry| entry.position == target) {
            target = before(target);
        }
        target
    }

    /// Goes on at `target`, without what is before it. Answers what is taken behind it, in order.
    pub(super) fn jump_to(&mut self, target: Position, me: &UserId) -> Vec<Entry> {
        self.restart(target);
        let taken = self.release(me);
        self.jump = false;
        taken
    }

    fn restart(&mut self, at: Position) {
        self.generation += 1;
        self.settled = self.doubts;
        self.doubt_read(at);
        (self.row.from, self.row.have, self.looked_from) = (at, at, at);
        self.row.have_count = self.row.head_count;
        self.marks.clear();
        self.amendments.clear();
        self.committed = Position::ZERO;
    }

    /// Forgets all that it has, also where the head is. How far the others are stays: after a restore what the device has heard of them
    /// may be newer than what it begins anew with, and the next answer older.
    pub(super) fn reset(&mut self) {
        self.restart(Position::ZERO);
        self.ahead.clear();
        self.forget_group(Position::ZERO);
        (self.row.head, self.row.head_count, self.row.have_count) = (Position::ZERO, 0, 0);
        self.row.amended = Seq::ZERO;
        self.counted = Position::ZERO;
        // Of another log than this one; `hello` answers the one that the server has.
        (self.row.read, self.row.read_count, self.row.read_pending, self.row.read_private) = (Position::ZERO, 0, false, false);
        self.row.mentioned = Seq::ZERO;
        (self.row.acked, self.ack_refused, self.carried) = (Position::ZERO, Position::ZERO, None);
        self.due = Due::Never;
        self.headless = true;
    }

    /// Forgets what is beyond `common`, which the log has too.
    pub(super) fn roll_back(&mut self, common: Position) {
        let back = |position: Position| if position.seq > common.seq { common } else { position };
        self.generation += 1;
        self.ahead.clear();
        if self.row.read.seq > common.seq {
            self.read_back(common);
        }
        if self.row.have.seq > common.seq {
            self.row.have_count = self.count_at(common);
            self.row.have = common;
        }
        (self.row.from, self.looked_from) = (back(self.row.from), back(self.looked_from));
        if self.row.mentioned > common.seq {
            self.row.mentioned = Seq::ZERO; // whether one before it does, `hello` tells
        }
        self.row.acked = back(self.row.acked);
        // Until the store has dropped what is beyond `common`, nothing is acknowledged.
        self.committed = Position::ZERO;
        (self.ack_refused, self.carried) = (Position::ZERO, None);
        self.row.head = common.max(self.row.have);
        (self.counted, self.row.head_count) = (self.row.have, self.row.have_count);
        self.marks.retain(|mark| mark.position.seq <= common.seq);
        self.amendments.retain(|entry| entry.position.seq <= common.seq);
        self.forget_group(common);
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
