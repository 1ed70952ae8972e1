//! Cursors: what this device has and what the user has read, sent to the server; how far the others are, shown to the user.
//!
//! Acknowledged is only what the local store has (C1 the other way round: the server never believes that a device has what a power cut can
//! take from it). Both go in one frame, an `ack`, at most once in `cursors_every_ms`; the first waits for what comes with it: who looks at a
//! conversation has read an entry as soon as it is shown. What was read in private goes in a frame of its own, a private `read`: of an `ack`,
//! also of that in a `sync`, the server tells the other members.

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, MemberCursors, ReadMark};
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

/// A cursor is to be sent again, not before the server allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Again {
    after_ms: Option<u64>,
}

impl Conversation {
    /// What the server does not know, and is told by this frame: how far this device has the entries, how far the user has read. A mark that
    /// the store does not have is not sent: a device that lost it in its own end would show more as unread than there is.
    fn untold(&self, frame: CursorFrame, is_all_stored: bool) -> Option<PositionIn> {
        let row = &self.row;
        if row.ended {
            return None; // it would be refused
        }
        let read = Some(row.read).filter(|_| row.read_pending && is_all_stored && row.read_private == (frame == CursorFrame::PrivateRead));
        if frame == CursorFrame::PrivateRead {
            return read.map(|position| PositionIn { read, ..PositionIn::new(row.conversation.clone(), position) });
        }
        let delivered = Some(self.committed).filter(|committed| *committed > row.acked.max(self.ack_refused));
        // Where one of the two was refused, and it is not known which: the mark goes first, alone.
        let position = delivered.filter(|_| read.is_none_or(|read| read != self.apart)).or(read)?;
        Some(PositionIn { read, ..PositionIn::new(row.conversation.clone(), position) })
    }
}

/// In which frame a cursor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorFrame {
    /// `ack`: what was delivered, and what was read in the open.
    Ack,
    /// A private `read`.
    PrivateRead,
}

/// When this device's cursors may be sent again.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursors {
    ack: Pace,
    private_read: Pace,
}

/// When the next frame of a kind may be sent.
#[derive(Clone, Debug)]
struct Pace {
    next_at: Moment,
    retry: Retry,
    /// Since when there is something to send.
    since: Option<Moment>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next_at: Moment(0), retry: Retry::NEW, since: None }
    }
}

impl Cursors {
    /// What made the requests fail is gone.
    pub(super) const fn forgive(&mut self) {
        self.ack.retry.forgive();
        self.private_read.retry.forgive();
    }

    const fn pace(&mut self, frame: CursorFrame) -> &mut Pace {
        match frame {
            CursorFrame::Ack => &mut self.ack,
            CursorFrame::PrivateRead => &mut self.private_read,
        }
    }

    /// Sends them to the server, if it is time to.
    pub(super) fn send(&mut self, sockets: &mut Sockets, conversations: &Conversations, writes: &Writes, every_ms: u64, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        // While pages come, each request carries what is to be told.
        if sockets.has(|purpose| matches!(purpose, Purpose::Sync { .. })) {
            return;
        }
        // What is being written now is told in a moment, with the rest.
        if step.then.iter().any(|then| matches!(then, Then::Has { .. })) {
            return;
        }
        let is_all_stored = is_all_stored(writes, step);
        for frame in [CursorFrame::Ack, CursorFrame::PrivateRead] {
            let busy = |purpose: &Purpose| match frame {
                CursorFrame::Ack => matches!(purpose, Purpose::Ack(_)),
                CursorFrame::PrivateRead => matches!(purpose, Purpose::PrivateRead(_)),
            };
            if sockets.has(busy) {
                continue;
            }
            let pace = self.pace(frame);
            let untold = conversations.values().filter_map(|local| local.untold(frame, is_all_stored));
            let told: Vec<_> = untold.take(CONVERSATIONS_PER_REQUEST_MAX).collect();
            if told.is_empty() {
                pace.since = None;
                continue;
            }
            let waited = pace.since.get_or_insert(step.now).plus_ms(step.settings.cursors_wait_ms);
            if step.reached(waited.max(pace.next_at).max(pace.retry.not_before())) {
                (pace.since, pace.next_at) = (None, step.now.plus_ms(every_ms));
                match frame {
                    CursorFrame::Ack => {
                        let positions = told.clone();
                        let ack = |id| Request::Ack(Positions { id, positions, private: false, quiet: false });
                        sockets.ask(socket, Purpose::Ack(told), ack, step);
                    }
                    CursorFrame::PrivateRead => {
                        // In a `read` the field `read` says nothing.
                        let positions = told.iter().map(|told| PositionIn::new(told.conversation.clone(), told.position)).collect();
                        let read = |id| Request::Read(Positions { id, positions, private: true, quiet: false });
                        sockets.ask(socket, Purpose::PrivateRead(told), read, step);
                    }
                }
            }
        }
    }
}

/// Whether the store has every row as it is now.
pub(super) fn is_all_stored(writes: &Writes, step: &Step) -> bool {
    writes.are_confirmed() && step.changes.is_empty() && step.touched.is_empty()
}

impl Session {
    /// The user has seen what is up to here. What they have read in private they may let the others know later.
    pub(super) fn mark_read(&mut self, conversation: &ConversationId, position: Position, private: bool, step: &mut Step) {
        let Some(local) = self.conversations.get_mut(conversation) else { return };
        let is_news = position > local.row.read || position == local.row.read && local.row.read_private && !private;
        if local.has(position) && position.seq <= local.committed.seq && is_news {
            local.read_up_to(position, private);
            step.touch(conversation);
        }
    }

    /// What goes with a `sync`: what the one before has not carried. If its answer does not say that all of it is taken, it is sent once
    /// more, by the `ack` after the last page, which says why if it cannot be.
    pub(super) fn carry_cursors(&mut self, step: &Step) -> Vec<PositionIn> {
        let is_all_stored = is_all_stored(&self.writes, step);
        let mut carried = vec![];
        for local in self.conversations.values_mut() {
            let new = local.untold(CursorFrame::Ack, is_all_stored).filter(|untold| local.carried.as_ref() != Some(untold));
            if let Some(untold) = new
                && carried.len() < CONVERSATIONS_PER_REQUEST_MAX
            {
                local.carried = Some(untold.clone());
                carried.push(untold);
            }
        }
        carried
    }

    pub(super) fn cursors_taken(&mut self, frame: CursorFrame, told: &PositionIn) {
        let Some(local) = self.conversations.get_mut(&told.conversation) else { return };
        let delivered = told.read.map_or(told.position, |read| read.max(told.position)); // what is read has been delivered
        if delivered.seq <= local.row.have.seq {
            local.row.acked = local.row.acked.max(delivered);
        }
        // What was told in private is yet to be told, if the user lets the others know meanwhile.
        let is_told = |read: Position| read >= local.row.read && (frame == CursorFrame::PrivateRead) <= local.row.read_private;
        local.row.read_pending &= !told.read.is_some_and(is_told);
        local.stale_in_store = true;
    }

    pub(super) fn cursors_answered(&mut self, frame: CursorFrame, told: &[PositionIn], answered: Answered<CursorsAnswer>, step: &mut Step) {
        let again = match answered {
            Answered::Answer(answer) => {
                let some_taken = answer.results.iter().any(|result| result.outcome == CursorOutcome::Ok);
                let results = told.iter().zip(answer.results);
                let again = results.filter_map(|(told, result)| self.cursors_result(frame, told, result, step)).max();
                if some_taken || again.is_none() {
                    self.cursors.pace(frame).retry.succeed(); // a refusal beside it is the first one again
                }
                again
            }
            // A fault of ours: repeating it would not end.
            Answered::Refused(refusal) => {
                for told in told {
                    self.cursors_refused(told, &refusal, step);
                }
                None
            }
            Answered::TryAgain { retry_after_ms } => Some(Again { after_ms: retry_after_ms }),
            Answered::SocketLost => None,
        };
        if let Some(Again { after_ms }) = again {
            self.cursors.pace(frame).retry.fail(step, after_ms);
        }
    }

    /// Answers when to repeat it, if it is to be repeated.
    fn cursors_result(&mut self, frame: CursorFrame, told: &PositionIn, result: CursorResult, step: &mut Step) -> Option<Again> {
        match result.outcome {
            CursorOutcome::Ok => self.cursors_taken(frame, told),
            CursorOutcome::Refused(refusal) if refusal.retryable => return Some(Again { after_ms: refusal.retry_after_ms }),
            CursorOutcome::Refused(refusal) => {
                self.cursors_refused(told, &refusal, step);
                if refusal.code == ErrorCode::EpochChanged {
                    self.conversations.entry(&told.conversation).doubt();
                }
            }
        }
        None
    }

    /// The server will never take these positions: the next ones that differ are tried. A read mark that a restore has taken back moves to
    /// the last entry that it had in common with the log; one that names no entry at all is forgotten, `hello` answers the server's.
    fn cursors_refused(&mut self, told: &PositionIn, refusal: &Refusal, step: &mut Step) {
        let PositionIn { conversation, position, read } = told;
        let not_found = refusal.code == ErrorCode::NotFound;
        if not_found {
            self.not_found(conversation, step);
        }
        let local = self.conversations.entry(conversation);
        if let Some(read) = read.filter(|read| read != position && !not_found) {
            local.apart = read; // which of the two it is, each alone shows
            return;
        }
        // Of an entry that was taken back meanwhile it says nothing about those that are here.
        if position.seq <= local.row.have.seq {
            local.ack_refused = local.ack_refused.max(*position);
        }
        if read.is_some_and(|read| read == local.row.read) {
            match (refusal.code, refusal.common) {
                // Lower each time: this comes to an end.
                (ErrorCode::EpochChanged, Some(common)) if common.seq < local.row.read.seq => local.read_back(common),
                (ErrorCode::EpochChanged | ErrorCode::AnchorUnknown, _) => local.read_back(Position::ZERO),
                _ => local.row.read_pending = false,
            }
            step.touch(conversation);
        }
    }

    /// How far the user has read on another device, by a receipt or a ping.
    pub(super) fn own_read_came(&mut self, conversation: &ConversationId, mark: ReadMark, step: &mut Step) {
        if self.conversations.get_mut(conversation).is_some_and(|local| local.learn_read(mark)) {
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
