//! A device: makes messages and changes, sends them in frames, and retries a frame with the same ids until all of it is answered or it
//! gives up.

use std::collections::BTreeMap;

use chatlane_protocol::request::{NewMessage, SendMessages};
use chatlane_protocol::{Body, ClientMessageId, ConversationId, ErrorCode, Position, RequestId, Seq};

use super::frame::{Answer, Request, Told, Wanted};
use super::rng::Rng;
use crate::log::Entry;
use crate::log::draft::Draft;
use crate::requests::caller::Caller;
use crate::requests::change::Asked;

pub(super) type Log = BTreeMap<Seq, Entry>;

/// How a device chooses its anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchors {
    /// As the protocol says: what it knew when it made the message; moved only over entries that it looked through.
    Known,
    /// Beyond the tail: made up. Never moved, as the protocol says.
    Beyond,
    /// A mutation: each retry takes the tail.
    Refreshed,
    /// The same, but of changes only.
    RefreshedForChanges,
}

/// What a device can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing: all is sent, or it gave up.
    Rest,
    /// Make the messages of the next frame and send it.
    Send,
    /// Send the frame again: no answer can come any more.
    Retry,
    /// An answer may still come; it may also lose patience.
    Wait,
}

#[derive(Debug)]
struct Pending {
    id: ClientMessageId,
    anchor: Position,
    wanted: Wanted,
    /// Answered with a place or for good, or found in the log.
    sent: bool,
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) caller: Caller,
    pub(super) anchors: Anchors,
    /// Counts frames; an attempt belongs to one.
    pub(super) frame: u32,
    /// Attempts of this frame whose answer may still come.
    pub(super) awaited: u32,
    frames_left: u32,
    attempts_left: u32,
    attempts_max: u32,
    pending: Vec<Pending>,
    /// The highest position that it knows to exist.
    known: Position,
}

impl Device {
    pub(super) const fn new(caller: Caller, anchors: Anchors, frames: u32, attempts_max: u32) -> Self {
        Self {
            caller,
            anchors,
            frame: 0,
            awaited: 0,
            frames_left: frames,
            attempts_left: attempts_max,
            attempts_max,
            pending: Vec::new(),
            known: Position::ZERO,
        }
    }

    pub(super) const fn wish(&self) -> Wish {
        match (self.pending.is_empty(), self.frames_left, self.awaited) {
            (true, 0, _) => Wish::Rest,
            (true, _, _) => Wish::Send,
            (false, _, 0) => Wish::Retry,
            (false, _, _) => Wish::Wait,
        }
    }

    /// Makes the messages of the next frame, or the change. `number` counts what this user made.
    pub(super) fn make(
        &mut self,
        rng: &mut Rng,
        log: &Log,
        number: &mut u32,
        wish: Option<Wanted>,
    ) -> impl Iterator<Item = &ClientMessageId> {
        let drafts = if wish.is_some() || rng.one_in(2) { 1 } else { rng.between(1, 4) };
        let wanted = wish.unwrap_or(Wanted::Message);
        for _ in 0..drafts {
            *number += 1;
            if rng.one_in(2) {
                self.learn(rng, log);
            }
            let anchor = match (self.anchors, tail(log)) {
                (Anchors::Beyond, Some(tail)) => {
                    let beyond = tail.seq.get() + rng.between(1, 3);
                    Position::new(tail.epoch, Seq::try_from(beyond).unwrap_or(Seq::MAX))
                }
                _ => self.known,
            };
            let id = ClientMessageId::new(format!("m{number}")).expect("this is a client message id");
            self.pending.push(Pending { id, anchor, wanted: wanted.clone(), sent: false });
        }
        self.pending.iter().map(|pending| &pending.id)
    }

    /// Entries that came to it, without a gap: as many as it likes.
    fn learn(&mut self, rng: &mut Rng, log: &Log) {
        if let (true, Some(tail)) = (stands(log, self.known), tail(log)) {
            let seq = rng.between(self.known.seq.get(), tail.seq.get());
            self.known = at(log, seq).unwrap_or(self.known);
        }
    }

    /// Prepares another attempt; false if it gives up instead.
    pub(super) fn retry(&mut self, rng: &mut Rng, log: &Log) -> bool {
        if self.attempts_left == 0 {
            // It sends nothing after a frame whose fate it does not know (L5).
            (self.frames_left, self.awaited) = (0, 0);
            self.frame += 1;
            self.pending.clear();
            return false;
        }
        let is_change = self.pending.iter().any(|pending| pending.wanted != Wanted::Message);
        if self.anchors == Anchors::Refreshed || (self.anchors == Anchors::RefreshedForChanges && is_change) {
            let tail = tail(log).unwrap_or(Position::ZERO);
            self.pending.iter_mut().for_each(|pending| pending.anchor = tail);
        } else if rng.one_in(3) {
            let tail = tail(log).map_or(0, |tail| tail.seq.get());
            let upto = if rng.one_in(2) { tail } else { rng.between(1, tail) };
            self.look_through(log, upto);
        }
        !self.finished()
    }

    /// Scans the log for the pending messages up to `upto`; an anchor moves over what was scanned.
    fn look_through(&mut self, log: &Log, upto: u64) {
        let Some(end) = at(log, upto).filter(|_| self.anchors == Anchors::Known) else { return };
        for pending in &mut self.pending {
            if !stands(log, pending.anchor) || pending.anchor.seq >= end.seq {
                continue; // `epoch_changed` will tell it
            }
            let mut scanned = log.range(pending.anchor.seq.next()..=end.seq).map(|(_, entry)| entry);
            if scanned.any(|entry| entry.is_from(&self.caller.user, &pending.id)) {
                pending.sent = true;
            } else {
                pending.anchor = end;
            }
        }
    }

    /// The request of the next attempt: all of the frame or what is left of it.
    pub(super) fn request(&mut self, rng: &mut Rng, conversation: &ConversationId) -> Request {
        self.attempts_left = self.attempts_left.saturating_sub(1);
        self.awaited += 1;
        let (id, conversation) = (RequestId::new("r").expect("this is a request id"), conversation.clone());
        match &self.pending[..] {
            [Pending { id: client_message_id, anchor, wanted: Wanted::Change(change), .. }] => {
                let draft = Draft { client_message_id: client_message_id.clone(), anchor: *anchor, kind: change.clone() };
                return Request::Change(Asked { id, conversation, draft });
            }
            [Pending { id: client_message_id, anchor, wanted: Wanted::Amendment(amendment), .. }] => {
                let draft = Draft { client_message_id: client_message_id.clone(), anchor: *anchor, kind: amendment.clone() };
                return Request::Amendment(Asked { id, conversation, draft });
            }
            _ => {}
        }
        let left = self.pending.iter().position(|pending| !pending.sent).unwrap_or(0);
        let from = if rng.one_in(3) { left } else { 0 };
        let body = Body::text("x").expect("this is a body");
        let message = |pending: &Pending| NewMessage::new(pending.id.clone(), pending.anchor, body.clone());
        Request::Messages(SendMessages { id, conversation, messages: self.pending[from..].iter().map(message).collect() })
    }

    /// An answer to an attempt of the present frame came.
    pub(super) fn take(&mut self, answer: &Answer, log: &Log) {
        for (id, told) in answer {
            let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == *id) else { continue };
            match told {
                Told::Ok(stored) | Told::Duplicate(stored) => {
                    pending.sent = true;
                    self.known = self.known.max(stored.position);
                }
                told if told.is_for_good(&pending.wanted) => self.pending.iter_mut().for_each(|pending| pending.sent = true),
                Told::Refused(refusal) => match (refusal.code, refusal.common) {
                    (ErrorCode::EpochChanged, Some(common)) => self.go_back(common),
                    (ErrorCode::AnchorStale, _) => self.look_through(log, tail(log).map_or(0, |tail| tail.seq.get())),
                    _ => {}
                },
                Told::Conflict(_) | Told::Unchanged | Told::NotAttempted => {}
            }
        }
        self.finished();
    }

    /// On a new socket: answers to what was sent before cannot come, and all of it may be sent again.
    pub(super) const fn reconnect(&mut self) {
        (self.awaited, self.attempts_left) = (0, self.attempts_max);
    }

    /// What it holds beyond `common` is gone by a restore; the outbox stays.
    fn go_back(&mut self, common: Position) {
        let anchors = self.pending.iter_mut().map(|pending| &mut pending.anchor);
        for position in anchors.chain([&mut self.known]) {
            if position.seq > common.seq {
                *position = common;
            }
        }
    }

    /// Goes on to the next frame if all of this one is sent.
    fn finished(&mut self) -> bool {
        let finished = self.pending.iter().all(|pending| pending.sent);
        if finished {
            self.pending.clear();
            self.frame += 1;
            self.frames_left = self.frames_left.saturating_sub(1);
            (self.attempts_left, self.awaited) = (self.attempts_max, 0);
        }
        finished
    }
}

fn tail(log: &Log) -> Option<Position> {
    log.values().next_back().map(|entry| entry.position)
}

fn at(log: &Log, seq: u64) -> Option<Position> {
    Some(log.get(&Seq::try_from(seq).ok()?)?.position)
}

/// Whether the log still holds that entry.
fn stands(log: &Log, position: Position) -> bool {
    position.seq == Seq::ZERO || log.get(&position.seq).is_some_and(|entry| entry.position == position)
}
