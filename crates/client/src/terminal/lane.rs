//! One conversation as this terminal has it: which entries may be shown, in which order (D1).
//!
//! An entry is shown at `have + 1`, dropped at or below `have`, and kept when it is ahead. Entries of the log have consecutive numbers, so
//! this is all that it takes, whatever is doubled or overtakes on the way. Entries that are lost on the way leave a gap; nothing here can
//! ask for them.

use std::collections::BTreeMap;
use std::time::Instant;

use chatlane_protocol::{Entry, Position, Seq};

/// One conversation.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// All up to here was shown, or was there before this terminal.
    have: Seq,
    /// The highest position that is known to exist: the anchor of new messages.
    known: Position,
    /// What came too early. `None`: one's own message, which is on the screen already.
    ahead: BTreeMap<Seq, Option<Entry>>,
    /// Since when the entry at `have + 1` is missing though a later one is there.
    gap_since: Option<Instant>,
}

/// Entries that did not come, and what can be shown without them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) shown: Vec<Entry>,
}

impl Lane {
    /// A conversation whose entries up to `head` are not shown here.
    pub(super) fn after(head: Position) -> Self {
        Self { have: head.seq, known: head, ..Self::default() }
    }

    pub(super) const fn known(&self) -> Position {
        self.known
    }

    /// An entry is said to exist here.
    pub(super) fn learn(&mut self, position: Position) {
        self.known = self.known.max(position);
    }

    /// An entry came. Answers what is to be shown now, in order.
    pub(super) fn receive(&mut self, entry: Entry, now: Instant) -> Vec<Entry> {
        self.arrive(entry.position, Some(entry), now)
    }

    /// One's own message is stored here. Answers what was waiting for it.
    pub(super) fn acknowledge(&mut self, position: Position, now: Instant) -> Vec<Entry> {
        self.arrive(position, None, now)
    }

    /// After a restore: what is beyond `common` is not in the log any more.
    pub(super) fn restored(&mut self, common: Position) {
        *self = Self { have: self.have.min(common.seq), known: common, ..Self::default() };
    }

    pub(super) const fn gap_since(&self) -> Option<Instant> {
        self.gap_since
    }

    /// Goes on behind the gap, if there is one.
    pub(super) fn skip_gap(&mut self, now: Instant) -> Option<Skipped> {
        let (&next, _) = self.ahead.first_key_value()?;
        let (first, last) = (self.have.next(), next.minus(1));
        self.have = last;
        Some(Skipped { first, last, shown: self.release(now) })
    }

    fn arrive(&mut self, position: Position, entry: Option<Entry>, now: Instant) -> Vec<Entry> {
        self.learn(position);
        if position.seq <= self.have {
            return vec![];
        }
        self.ahead.entry(position.seq).or_insert(entry);
        self.release(now)
    }

    fn release(&mut self, now: Instant) -> Vec<Entry> {
        let before = self.have;
        let mut shown = vec![];
        while let Some(entry) = self.ahead.remove(&self.have.next()) {
            self.have = self.have.next();
            shown.extend(entry);
        }
        if self.ahead.is_empty() {
            self.gap_since = None;
        } else if self.gap_since.is_none() || self.have != before {
            // Another gap than before: it has its own time.
            self.gap_since = Some(now);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chatlane_protocol::{Body, ClientMessageId, EntryKind, UnixMillis, UserId};

    use super::*;

    fn at(seq: u64) -> Position {
        Position::new(1, Seq::try_from(seq).unwrap())
    }

    fn entry(seq: u64) -> Entry {
        Entry {
            position: at(seq),
            sender: UserId::new("bob").unwrap(),
            client_message_id: ClientMessageId::new(format!("m-{seq}")).unwrap(),
            time_ms: UnixMillis::ZERO,
            count: seq,
            kind: EntryKind::Message { body: Body::text("x").unwrap() },
        }
    }

    fn seqs(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.position.seq.get()).collect()
    }

    fn receive(lane: &mut Lane, seq: u64) -> Vec<u64> {
        seqs(&lane.receive(entry(seq), Instant::now()))
    }

    #[test]
    fn the_next_entry_is_shown_and_an_old_one_dropped() {
        let mut lane = Lane::after(at(2));
        assert_eq!(receive(&mut lane, 3), [3]);
        assert!(receive(&mut lane, 3).is_empty());
        assert!(receive(&mut lane, 1).is_empty());
        assert_eq!(receive(&mut lane, 4), [4]);
    }

    #[test]
    fn an_early_entry_waits_for_those_before_it() {
        let mut lane = Lane::default();
        assert!(receive(&mut lane, 3).is_empty());
        assert!(receive(&mut lane, 2).is_empty());
        assert!(receive(&mut lane, 3).is_empty());
        assert_eq!(receive(&mut lane, 1), [1, 2, 3]);
        assert_eq!(lane.gap_since(), None);
    }

    #[test]
    fn ones_own_message_closes_a_gap_and_is_not_shown_again() {
        let mut lane = Lane::after(at(1));
        assert!(receive(&mut lane, 3).is_empty());
        assert_eq!(seqs(&lane.acknowledge(at(2), Instant::now())), [3]);
        assert!(receive(&mut lane, 2).is_empty());
        assert!(lane.acknowledge(at(5), Instant::now()).is_empty());
        assert_eq!(receive(&mut lane, 4), [4]);
        assert_eq!(lane.have, at(5).seq);
    }

    #[test]
    fn a_gap_keeps_its_time_until_it_closes_and_the_next_one_has_its_own() {
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let mut lane = Lane::default();
        lane.receive(entry(2), start);
        lane.receive(entry(4), later);
        assert_eq!(lane.gap_since(), Some(start));
        lane.receive(entry(1), later);
        assert_eq!(lane.gap_since(), Some(later));
        lane.receive(entry(3), later);
        assert_eq!(lane.gap_since(), None);
    }

    #[test]
    fn a_gap_is_skipped_up_to_what_is_there() {
        let mut lane = Lane::after(at(1));
        assert_eq!(lane.skip_gap(Instant::now()), None);
        for seq in [4, 5, 7] {
            receive(&mut lane, seq);
        }
        let skipped = lane.skip_gap(Instant::now()).unwrap();
        assert_eq!((skipped.first, skipped.last), (at(2).seq, at(3).seq));
        assert_eq!(seqs(&skipped.shown), [4, 5]);
        assert!(lane.gap_since().is_some());
    }

    #[test]
    fn the_highest_position_is_known_also_before_its_entry_can_be_shown() {
        let mut lane = Lane::after(at(1));
        receive(&mut lane, 9);
        lane.learn(at(4));
        assert_eq!((lane.known(), lane.have), (at(9), at(1).seq));
    }

    #[test]
    fn a_restore_takes_back_what_is_beyond_it() {
        let mut lane = Lane::after(at(5));
        receive(&mut lane, 9);
        lane.restored(at(3));
        assert_eq!((lane.known(), lane.have, lane.gap_since()), (at(3), at(3).seq, None));
        assert_eq!(receive(&mut lane, 4), [4]);
    }
}
