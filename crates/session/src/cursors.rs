//! Cursors: what this device has and what the person has read, told to the server; how far the others are, told to the person.
//!
//! Acknowledged is only what the local store has (C1 the other way round: the server never believes that a device has what a power cut can
//! take from it). Both are coalesced: one frame a kind and `cursors_every_ms`.

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, MemberCursors};
use chatlane_protocol::limits::CONVERSATIONS_PER_REQUEST_MAX;
use chatlane_protocol::request::{PositionIn, Positions};
use chatlane_protocol::{ConversationId, ErrorCode, Position, Refusal, Request};

use super::lane::Lane;
use super::link::Purpose;
use super::retry::Retry;
use super::step::{Step, Then};
use super::wire::Answered;
use super::{Moment, Session, Shown};

/// When frames of one kind may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    next_at: Moment,
    pub(super) retry: Retry,
}

impl Pace {
    pub(super) const NEW: Self = Self { next_at: Moment(0), retry: Retry::NEW };

    fn reached(&self, step: &mut Step) -> bool {
        step.reached(self.next_at.max(self.retry.not_before()))
    }
}

/// A cursor is to be told again, not before the server allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Again {
    after_ms: Option<u64>,
}

impl Lane {
    /// What the server does not know this device to have. `read` tells it too, so what is about to be read is not acknowledged.
    fn unacknowledged(&self) -> Option<Position> {
        let row = &self.row;
        let known = row.acked.max(self.ack_refused).max(if row.read_pending { row.read } else { Position::ZERO });
        (self.committed > known).then_some(self.committed)
    }
}

impl Session {
    /// The person has seen what is up to here.
    pub(super) fn mark_read(&mut self, conversation: &ConversationId, position: Position, step: &mut Step) {
        let Some(lane) = self.lanes.get_mut(conversation) else { return };
        if lane.has(position) && position.seq <= lane.committed.seq && position > lane.row.read {
            let count = lane.count_at(position);
            lane.row.read = position;
            lane.row.read_count = lane.row.read_count.max(count);
            lane.row.read_pending = true;
            step.touch(conversation);
        }
    }

    /// Tells the server, if it is time to.
    pub(super) fn tell_cursors(&mut self, step: &mut Step) {
        let Some(socket) = self.sockets.ready().map(|link| link.socket) else { return };
        let every_ms = self.limits.cursors_every_ms;
        let rows = self.lanes.values().map(|lane| &lane.row).filter(|row| row.read_pending);
        let read: Vec<_> = rows
            .map(|row| PositionIn { conversation: row.conversation.clone(), position: row.read })
            .take(CONVERSATIONS_PER_REQUEST_MAX)
            .collect();
        // The store first: a device that told a mark and has lost it in its own end would show more as unread than there is.
        let stored = self.batches.is_empty() && step.changes.is_empty() && step.touched.is_empty();
        if stored && !read.is_empty() && !self.sockets.has(|purpose| matches!(purpose, Purpose::Read(_))) && self.reads.reached(step) {
            self.reads.next_at = step.now.plus_ms(every_ms);
            self.ask(socket, Purpose::Read(read.clone()), |id| Request::Read(Positions { id, positions: read }), step);
        }
        // While pages come, each request carries the acknowledgement of those before.
        if self.sockets.has(|purpose| matches!(purpose, Purpose::Ack(_) | Purpose::Sync { .. })) {
            return;
        }
        // What is being written now is acknowledged in a moment, with the rest.
        if step.then.iter().any(|then| matches!(then, Then::Has { .. })) {
            return;
        }
        let ack = self.to_acknowledge();
        if !ack.is_empty() && self.acks.reached(step) {
            self.acks.next_at = step.now.plus_ms(every_ms);
            self.ask(socket, Purpose::Ack(ack.clone()), |id| Request::Ack(Positions { id, positions: ack }), step);
        }
    }

    /// What the local store has and the server does not know, of so many conversations as one request takes.
    fn to_acknowledge(&self) -> Vec<PositionIn> {
        let lanes = self.lanes.iter().filter_map(|(conversation, lane)| {
            let position = lane.unacknowledged()?;
            Some(PositionIn { conversation: conversation.clone(), position })
        });
        lanes.take(CONVERSATIONS_PER_REQUEST_MAX).collect()
    }

    /// What goes with a `sync`: what no `sync` before has carried. If its answer does not say that all of it is told, it is acknowledged
    /// once more, by the `ack` after the last page, which says why if it cannot be.
    pub(super) fn carry_acknowledgements(&mut self) -> Vec<PositionIn> {
        let mut carried = vec![];
        for (conversation, lane) in &mut self.lanes {
            let new = lane.unacknowledged().filter(|position| *position > lane.ack_carried);
            if let Some(position) = new
                && carried.len() < CONVERSATIONS_PER_REQUEST_MAX
            {
                lane.ack_carried = position;
                carried.push(PositionIn { conversation: conversation.clone(), position });
            }
        }
        carried
    }

    pub(super) fn cursor_told(&mut self, conversation: &ConversationId, position: Position, read: bool) {
        let Some(lane) = self.lanes.get_mut(conversation) else { return };
        if position.seq <= lane.row.have.seq {
            lane.row.acked = lane.row.acked.max(position);
        }
        lane.row.read_pending &= !(read && lane.row.read <= position);
        lane.stale_in_store = true;
    }

    pub(super) fn cursors_answered(&mut self, positions: &[PositionIn], read: bool, answered: Answered<CursorsAnswer>, step: &mut Step) {
        let again = match answered {
            Answered::Answer(answer) => {
                let some_taken = answer.results.iter().any(|result| result.outcome == CursorOutcome::Ok);
                let results = positions.iter().zip(answer.results);
                let again = results.filter_map(|(told, result)| self.cursor_result(told, read, result, step)).max();
                if some_taken || again.is_none() {
                    self.pace(read).retry.succeed(); // a refusal beside it is the first one again
                }
                again
            }
            // A fault of ours: repeating it would not end.
            Answered::Refused(refusal) => {
                for told in positions {
                    self.cursor_refused(told, read, &refusal, step);
                }
                None
            }
            Answered::TryAgain { retry_after_ms } => Some(Again { after_ms: retry_after_ms }),
            Answered::SocketLost => None,
        };
        if let Some(Again { after_ms }) = again {
            self.pace(read).retry.fail(step, after_ms);
        }
    }

    const fn pace(&mut self, read: bool) -> &mut Pace {
        if read { &mut self.reads } else { &mut self.acks }
    }

    /// Answers when to repeat it, if it is to be repeated.
    fn cursor_result(&mut self, told: &PositionIn, read: bool, result: CursorResult, step: &mut Step) -> Option<Again> {
        match result.outcome {
            CursorOutcome::Ok => self.cursor_told(&told.conversation, told.position, read),
            CursorOutcome::Refused(refusal) if refusal.retryable => return Some(Again { after_ms: refusal.retry_after_ms }),
            CursorOutcome::Refused(refusal) => {
                self.cursor_refused(told, read, &refusal, step);
                if refusal.code == ErrorCode::EpochChanged {
                    self.lane(&told.conversation).doubt();
                }
            }
        }
        None
    }

    /// The server will never take this position: the next one that differs is tried. A read mark that a restore has taken back moves to the
    /// last entry that it had in common with the log; one that names no entry at all is forgotten, `hello` tells the server's.
    fn cursor_refused(&mut self, told: &PositionIn, read: bool, refusal: &Refusal, step: &mut Step) {
        let PositionIn { conversation, position } = told;
        if refusal.code == ErrorCode::NotFound {
            self.not_found(conversation, step);
        }
        let lane = self.lane(conversation);
        if !read {
            // Of an entry that was taken back meanwhile it says nothing about those that are here.
            if position.seq <= lane.row.have.seq {
                lane.ack_refused = lane.ack_refused.max(*position);
            }
        } else if lane.row.read == *position {
            match (refusal.code, refusal.common) {
                // Lower each time: this comes to an end.
                (ErrorCode::EpochChanged, Some(common)) if common.seq < position.seq => lane.read_back(common),
                (ErrorCode::EpochChanged | ErrorCode::AnchorUnknown, _) => lane.read_back(Position::ZERO),
                _ => lane.row.read_pending = false,
            }
            step.touch(conversation);
        }
    }

    /// How far others are, by a receipt or a ping. Either may be an old one: cursors only move forward.
    pub(super) fn cursors_moved(&mut self, conversation: &ConversationId, told: Vec<MemberCursors>, step: &mut Step) {
        let Some(lane) = self.lanes.get_mut(conversation) else { return };
        for MemberCursors { user, delivered, read } in told {
            if user == self.settings.user {
                continue;
            }
            let others = &mut lane.row.others;
            let index = others.iter().position(|other| other.user == user).unwrap_or_else(|| {
                others.push(MemberCursors { user, delivered: Position::ZERO, read: Position::ZERO });
                others.len() - 1
            });
            let other = &mut others[index];
            let before = (other.delivered, other.read);
            (other.delivered, other.read) = (other.delivered.max(delivered).max(read), other.read.max(read));
            if before != (other.delivered, other.read) {
                let cursors = other.clone();
                lane.stale_in_store = true;
                step.show(Shown::Cursors { conversation: conversation.clone(), cursors });
            }
        }
    }
}
