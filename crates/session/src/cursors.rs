//! Cursors: what this device has and what the user has read, sent to the server; how far the others are, shown to the user.
//!
//! Acknowledged is only what the local store has (C1 the other way round: the server never believes that a device has what a power cut can
//! take from it). Both are coalesced: one frame a kind and `cursors_every_ms`.

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, MemberCursors};
use chatlane_protocol::limits::CONVERSATIONS_PER_REQUEST_MAX;
use chatlane_protocol::request::{PositionIn, Positions};
use chatlane_protocol::{ConversationId, ErrorCode, Position, Refusal, Request};

use super::conversation::Conversation;
use super::conversations::Conversations;
use super::retry::Retry;
use super::sockets::Sockets;
use super::step::{Step, Then};
use super::wire::Answered;
use super::writes::Writes;
use super::{Moment, Purpose, Session, Shown};

/// When frames of one kind may go.
#[derive(Clone, Copy, Debug)]
struct Pace {
    next_at: Moment,
    retry: Retry,
}

impl Pace {
    const NEW: Self = Self { next_at: Moment(0), retry: Retry::NEW };

    fn reached(&self, step: &mut Step) -> bool {
        step.reached(self.next_at.max(self.retry.not_before()))
    }
}

/// A cursor is to be sent again, not before the server allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Again {
    after_ms: Option<u64>,
}

impl Conversation {
    /// What the server does not know this device to have. `read` implies it, so what is about to be read is not acknowledged.
    fn unacknowledged(&self) -> Option<Position> {
        let row = &self.row;
        let known = row.acked.max(self.ack_refused).max(if row.read_pending { row.read } else { Position::ZERO });
        (self.committed > known).then_some(self.committed)
    }
}

/// When this device's cursors may be sent again.
#[derive(Clone, Debug)]
pub(super) struct Cursors {
    acks: Pace,
    reads: Pace,
}

impl Default for Cursors {
    fn default() -> Self {
        Self { acks: Pace::NEW, reads: Pace::NEW }
    }
}

impl Cursors {
    /// What made the requests fail is gone.
    pub(super) fn forgive(&mut self) {
        self.acks.retry.forgive();
        self.reads.retry.forgive();
    }

    /// Sends them to the server, if it is time to.
    pub(super) fn send(&mut self, sockets: &mut Sockets, conversations: &Conversations, writes: &Writes, every_ms: u64, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        let rows = conversations.values().map(|local| &local.row).filter(|row| row.read_pending);
        let read: Vec<_> =
            rows.map(|row| PositionIn::new(row.conversation.clone(), row.read)).take(CONVERSATIONS_PER_REQUEST_MAX).collect();
        // The store first: a device that sent a mark and has lost it in its own end would show more as unread than there is.
        let stored = writes.are_confirmed() && step.changes.is_empty() && step.touched.is_empty();
        if stored && !read.is_empty() && !sockets.has(|purpose| matches!(purpose, Purpose::Read(_))) && self.reads.reached(step) {
            self.reads.next_at = step.now.plus_ms(every_ms);
            sockets.ask(socket, Purpose::Read(read.clone()), |id| Request::Read(Positions { id, positions: read, quiet: false }), step);
        }
        // While pages come, each request carries the acknowledgement of those before.
        if sockets.has(|purpose| matches!(purpose, Purpose::Ack(_) | Purpose::Sync { .. })) {
            return;
        }
        // What is being written now is acknowledged in a moment, with the rest.
        if step.then.iter().any(|then| matches!(then, Then::Has { .. })) {
            return;
        }
        let ack = to_acknowledge(conversations);
        if !ack.is_empty() && self.acks.reached(step) {
            self.acks.next_at = step.now.plus_ms(every_ms);
            sockets.ask(socket, Purpose::Ack(ack.clone()), |id| Request::Ack(Positions { id, positions: ack, quiet: false }), step);
        }
    }

    const fn pace(&mut self, read: bool) -> &mut Pace {
        if read { &mut self.reads } else { &mut self.acks }
    }
}

/// What the local store has and the server does not know, of so many conversations as one request takes.
fn to_acknowledge(conversations: &Conversations) -> Vec<PositionIn> {
    let behind = conversations.iter().filter_map(|(conversation, local)| {
        let position = local.unacknowledged()?;
        Some(PositionIn::new(conversation.clone(), position))
    });
    behind.take(CONVERSATIONS_PER_REQUEST_MAX).collect()
}

impl Session {
    /// The user has seen what is up to here.
    pub(super) fn mark_read(&mut self, conversation: &ConversationId, position: Position, step: &mut Step) {
        let Some(local) = self.conversations.get_mut(conversation) else { return };
        if local.has(position) && position.seq <= local.committed.seq && position > local.row.read {
            let count = local.count_at(position);
            local.row.read = position;
            local.row.read_count = local.row.read_count.max(count);
            local.row.read_pending = true;
            step.touch(conversation);
        }
    }

    /// What goes with a `sync`: what no `sync` before has carried. If its answer does not say that all of it is taken, it is acknowledged
    /// once more, by the `ack` after the last page, which says why if it cannot be.
    pub(super) fn carry_acknowledgements(&mut self) -> Vec<PositionIn> {
        let mut carried = vec![];
        for (conversation, local) in self.conversations.iter_mut() {
            let new = local.unacknowledged().filter(|position| *position > local.ack_carried);
            if let Some(position) = new
                && carried.len() < CONVERSATIONS_PER_REQUEST_MAX
            {
                local.ack_carried = position;
                carried.push(PositionIn::new(conversation.clone(), position));
            }
        }
        carried
    }

    pub(super) fn cursor_taken(&mut self, conversation: &ConversationId, position: Position, read: bool) {
        let Some(local) = self.conversations.get_mut(conversation) else { return };
        if position.seq <= local.row.have.seq {
            local.row.acked = local.row.acked.max(position);
        }
        local.row.read_pending &= !(read && local.row.read <= position);
        local.stale_in_store = true;
    }

    pub(super) fn cursors_answered(&mut self, positions: &[PositionIn], read: bool, answered: Answered<CursorsAnswer>, step: &mut Step) {
        let again = match answered {
            Answered::Answer(answer) => {
                let some_taken = answer.results.iter().any(|result| result.outcome == CursorOutcome::Ok);
                let results = positions.iter().zip(answer.results);
                let again = results.filter_map(|(sent, result)| self.cursor_result(sent, read, result, step)).max();
                if some_taken || again.is_none() {
                    self.cursors.pace(read).retry.succeed(); // a refusal beside it is the first one again
                }
                again
            }
            // A fault of ours: repeating it would not end.
            Answered::Refused(refusal) => {
                for sent in positions {
                    self.cursor_refused(sent, read, &refusal, step);
                }
                None
            }
            Answered::TryAgain { retry_after_ms } => Some(Again { after_ms: retry_after_ms }),
            Answered::SocketLost => None,
        };
        if let Some(Again { after_ms }) = again {
            self.cursors.pace(read).retry.fail(step, after_ms);
        }
    }

    /// Answers when to repeat it, if it is to be repeated.
    fn cursor_result(&mut self, sent: &PositionIn, read: bool, result: CursorResult, step: &mut Step) -> Option<Again> {
        match result.outcome {
            CursorOutcome::Ok => self.cursor_taken(&sent.conversation, sent.position, read),
            CursorOutcome::Refused(refusal) if refusal.retryable => return Some(Again { after_ms: refusal.retry_after_ms }),
            CursorOutcome::Refused(refusal) => {
                self.cursor_refused(sent, read, &refusal, step);
                if refusal.code == ErrorCode::EpochChanged {
                    self.conversations.entry(&sent.conversation).doubt();
                }
            }
        }
        None
    }

    /// The server will never take this position: the next one that differs is tried. A read mark that a restore has taken back moves to the
    /// last entry that it had in common with the log; one that names no entry at all is forgotten, `hello` answers the server's.
    fn cursor_refused(&mut self, sent: &PositionIn, read: bool, refusal: &Refusal, step: &mut Step) {
        let PositionIn { conversation, position, .. } = sent;
        if refusal.code == ErrorCode::NotFound {
            self.not_found(conversation, step);
        }
        let local = self.conversations.entry(conversation);
        if !read {
            // Of an entry that was taken back meanwhile it says nothing about those that are here.
            if position.seq <= local.row.have.seq {
                local.ack_refused = local.ack_refused.max(*position);
            }
        } else if local.row.read == *position {
            match (refusal.code, refusal.common) {
                // Lower each time: this comes to an end.
                (ErrorCode::EpochChanged, Some(common)) if common.seq < position.seq => local.read_back(common),
                (ErrorCode::EpochChanged | ErrorCode::AnchorUnknown, _) => local.read_back(Position::ZERO),
                _ => local.row.read_pending = false,
            }
            step.touch(conversation);
        }
    }

    /// How far others are, by a receipt or a ping. Either may be an old one: cursors only move forward.
    pub(super) fn cursors_moved(&mut self, conversation: &ConversationId, cursors: Vec<MemberCursors>, step: &mut Step) {
        let Some(local) = self.conversations.get_mut(conversation) else { return };
        for MemberCursors { user, delivered, read } in cursors {
            if user == self.settings.user {
                continue;
            }
            let others = &mut local.row.others;
            let index = others.iter().position(|other| other.user == user).unwrap_or_else(|| {
                others.push(MemberCursors { user, delivered: Position::ZERO, read: Position::ZERO });
                others.len() - 1
            });
            let other = &mut others[index];
            let before = (other.delivered, other.read);
            (other.delivered, other.read) = (other.delivered.max(delivered).max(read), other.read.max(read));
            if before != (other.delivered, other.read) {
                let cursors = other.clone();
                local.stale_in_store = true;
                step.show(Shown::Cursors { conversation: conversation.clone(), cursors });
            }
        }
    }
}
