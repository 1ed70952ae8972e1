//! How far the user has read: on this device, on others, and by writing; and how many messages that leaves.

use chatlane_protocol::frames::ReadMark;
use chatlane_protocol::{Entry, EntryKind, Position, UserId};

use super::{Asked, Conversation, Mark};

impl Conversation {
    /// The user has read up to here, as far as this device knows; it is to be told. What they wrote right behind it they have read too: every
    /// device of theirs takes it so. A mark in private stays that where it moves by itself: the next one that the user sets says otherwise.
    pub(in super::super) fn read_up_to(&mut self, position: Position, private: bool) {
        self.row.read_count = self.row.read_count.max(self.count_at(position));
        (self.row.read, self.row.read_pending, self.row.read_private) = (position, true, private);
        self.read_on();
    }

    pub(in super::super) fn read_on(&mut self) {
        let next =
            |read: Position| move |mark: &&Mark| mark.own && mark.position.seq == read.seq.next() && mark.position.epoch >= read.epoch;
        while let Some(own) = self.marks.iter().rev().find(next(self.row.read)) {
            (self.row.read, self.row.read_count, self.row.read_pending) = (own.position, own.count, true);
        }
    }

    /// An entry comes into the run: whether another member mentions the user in it.
    pub(in super::super) fn note_mention(&mut self, entry: &Entry, me: &UserId) {
        if let EntryKind::Message(message) = &entry.kind
            && entry.sender != *me
            && message.mentions.contains(me)
        {
            self.row.mentioned = self.row.mentioned.max(entry.position.seq);
        }
    }

    /// The server says how far the user has read, on any device. Whether that is news.
    pub(in super::super) fn learn_read(&mut self, ReadMark { read, read_count, read_private }: ReadMark) -> bool {
        let row = &mut self.row;
        // One of before a restore names an entry that is gone.
        let is_beyond = read.seq > row.have.seq && read.epoch < row.have.epoch;
        if read < row.read || is_beyond || self.marks.iter().any(|mark| mark.position.seq == read.seq && mark.position > read) {
            return false;
        }
        let before = (row.read, row.read_count);
        // What the user lets the others know here is yet to be told.
        let is_untold = read == row.read && row.read_pending && !row.read_private && read_private;
        row.read_private = if read == row.read { row.read_private } else { read_private };
        (row.read, row.read_count, row.read_pending) = (read, read_count, is_untold);
        self.read_on();
        (self.row.read, self.row.read_count) != before
    }

    /// How many countable messages the log holds up to here: exactly, where the entry was taken lately or is an end of the run, else as if
    /// all entries between here and `have` were messages (in a direct conversation all but the first are).
    pub(in super::super) fn count_at(&self, position: Position) -> u64 {
        let row = &self.row;
        let mark = self.marks.iter().find(|mark| mark.position == position).map(|mark| mark.count);
        let (have, seq) = (row.have.seq.get(), position.seq.get());
        mark.unwrap_or_else(|| match have {
            0 => seq.saturating_sub(1),
            _ => row.have_count.saturating_add(seq.saturating_sub(have)).saturating_sub(have.saturating_sub(seq)),
        })
    }

    /// The device goes on at a place of a later epoch than the read mark's, over entries that it does not see: the restore between them may
    /// have taken the marked entry back. The server knows: it gets the mark again, and takes it or names the last entry that both have.
    pub(in super::super) fn doubt_read(&mut self, to: Position) {
        let row = &mut self.row;
        row.read_pending |= row.read != Position::ZERO && row.have.epoch <= row.read.epoch && row.read.epoch < to.epoch;
    }

    /// An entry came. At the read mark its count is the one of the mark.
    pub(in super::super) fn count_read(&mut self, entry: &Entry) {
        if entry.position == self.row.read {
            self.row.read_count = entry.count;
        }
    }

    /// The log does not have the entry at the read mark: the mark goes back to `to`, which both have, and the server gets that one.
    pub(in super::super) fn read_back(&mut self, to: Position) {
        self.row.read_count = self.count_at(to);
        self.row.read = to;
        self.row.read_pending = to != Position::ZERO;
    }

    /// The log ends at `have`: a read mark beyond that, from before this was asked, is one of before a restore.
    pub(in super::super) fn read_at_end(&mut self, Asked { read, .. }: &Asked) {
        if self.row.read.seq > self.row.have.seq && self.row.read <= *read {
            self.read_back(self.row.have);
        }
    }
}
