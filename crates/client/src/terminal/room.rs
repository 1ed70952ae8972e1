//! Everything that the chat knows, and what it says about what happens: lines in, lines out, no socket, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chatlane_protocol::frames::{ConversationHead, Entries, OpenAnswer, SendAnswer, Stored};
use chatlane_protocol::{
    Body, ClientMessageId, ConversationId, Entry, EntryKind, ErrorCode, NewMessage, Outcome, Position, Refusal, UserId,
};

use super::lane::Lane;
use super::{retry, text};
use crate::connection::RequestError;

/// One user's conversations, one of which is talked in.
#[derive(Debug)]
pub(super) struct Room {
    user: UserId,
    entry_bytes_max: usize,
    lanes: BTreeMap<ConversationId, Lane>,
    peers: BTreeMap<ConversationId, UserId>,
    current: Option<ConversationId>,
    opening: Option<Opening>,
    sending: Option<Sending>,
}

/// An `open` without an answer yet.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) with: UserId,
    pub(super) id: ClientMessageId,
    attempts: u32,
}

/// A line without an acknowledgement yet. The next one waits for it: that keeps their order (L5).
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) conversation: ConversationId,
    /// Made once; retries send it as it is (L2).
    pub(super) message: NewMessage,
    attempts: u32,
    /// An attempt may have stored it without saying so.
    uncertain: bool,
    /// It came back as an entry, before any acknowledgement.
    arrived: bool,
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reaction {
    pub(super) lines: Vec<String>,
    /// The same request is to be made again after this pause.
    pub(super) again_after: Option<Duration>,
}

impl Reaction {
    fn say(line: String) -> Self {
        Self { lines: vec![line], again_after: None }
    }
}

impl Room {
    /// A user without conversations; live frames of single entries are limited to `entry_bytes_max`.
    pub(super) const fn new(user: UserId, entry_bytes_max: usize) -> Self {
        Self { user, entry_bytes_max, lanes: BTreeMap::new(), peers: BTreeMap::new(), current: None, opening: None, sending: None }
    }

    /// Takes a conversation of `hello`: what is in it is not shown.
    pub(super) fn stands(&mut self, ConversationHead { conversation, with, head }: ConversationHead) -> String {
        self.lanes.insert(conversation.clone(), Lane::after(head));
        let name = with.as_ref().map_or_else(|| conversation.to_string(), |with| text::visible(with.as_str()));
        if let Some(with) = with {
            self.peers.insert(conversation, with);
        }
        format!("· {name}: at #{}", head.seq)
    }

    /// Whether a typed line has to wait.
    pub(super) const fn is_busy(&self) -> bool {
        self.opening.is_some() || self.sending.is_some()
    }

    pub(super) const fn opening(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    pub(super) const fn sending(&self) -> Option<&Sending> {
        self.sending.as_ref()
    }

    /// Turns to this user: at once, or by an `open` that then waits to be made.
    pub(super) fn turn_to(&mut self, with: UserId, id: ClientMessageId) -> Vec<String> {
        let found = self.peers.iter().find(|(_, peer)| **peer == with).map(|(conversation, _)| conversation.clone());
        if let Some(conversation) = found {
            return self.talk_in(conversation);
        }
        self.opening = Some(Opening { with, id, attempts: 0 });
        vec![]
    }

    /// Makes a message of a typed line, which then waits to be sent; or says why not.
    pub(super) fn compose(&mut self, line: &str, id: ClientMessageId) -> Result<(), String> {
        let Some(conversation) = self.current.clone() else {
            return Err("· nobody to talk to yet: /with NAME".to_owned());
        };
        let body = Body::text(line).map_err(|error| text::not_sent(&error.to_string()))?;
        let bytes = Entry::live_frame_bytes_max(&conversation, &self.user, &id, &body);
        if bytes > self.entry_bytes_max {
            let why = format!("{bytes} bytes as encoded, {} are allowed", self.entry_bytes_max);
            return Err(text::not_sent(&why));
        }
        let anchor = self.lanes.get(&conversation).map_or(Position::ZERO, Lane::known);
        let message = NewMessage { client_message_id: id, anchor, body };
        self.sending = Some(Sending { conversation, message, attempts: 0, uncertain: false, arrived: false });
        Ok(())
    }

    /// `open` was answered, or not.
    pub(super) fn opened(&mut self, answer: Result<OpenAnswer, RequestError>, random: u64) -> Reaction {
        let Some(mut opening) = self.opening.take() else { return Reaction::default() };
        match answer {
            Ok(OpenAnswer { conversation: ConversationHead { conversation, head, .. }, .. }) => {
                // Unknown to `hello`, so younger than it: all of its entries come live, from the first.
                self.lanes.entry(conversation.clone()).or_default().learn(head);
                self.peers.insert(conversation.clone(), opening.with);
                Reaction { lines: self.talk_in(conversation), again_after: None }
            }
            // The end of the connection says the rest.
            Err(RequestError::Closed(_)) => {
                self.opening = Some(opening);
                Reaction::default()
            }
            Err(failure) => {
                opening.attempts += 1;
                if let Some(pause) = retry::pause(&failure, opening.attempts, random) {
                    self.opening = Some(opening);
                    return Reaction { lines: vec![], again_after: Some(pause) };
                }
                let with = text::visible(opening.with.as_str());
                Reaction::say(format!("· cannot talk to {with}: {}", text::failure(&failure)))
            }
        }
    }

    /// `send` was answered, or not.
    pub(super) fn sent(&mut self, answer: Result<SendAnswer, RequestError>, now: Instant, random: u64) -> Reaction {
        let Some(mut sending) = self.sending.take() else { return Reaction::default() };
        let outcome = answer.map(|answer| answer.results.into_iter().next().map(|result| result.outcome));
        let failure = match outcome {
            Ok(Some(Outcome::Ok(stored) | Outcome::Duplicate(stored))) => {
                return Reaction { lines: self.acknowledged(&sending, stored, now), again_after: None };
            }
            Ok(Some(Outcome::Conflict(stored))) => {
                return Reaction::say(text::not_sent(&format!("#{} has its id and another text", stored.position.seq)));
            }
            Ok(Some(Outcome::Refused(refusal))) => RequestError::Refused(refusal),
            Ok(Some(Outcome::NotAttempted) | None) => RequestError::Unreadable,
            Err(failure) => failure,
        };
        sending.uncertain |= failure.outcome_unknown();
        sending.attempts += 1;
        if matches!(failure, RequestError::Closed(_)) {
            // The end of the connection says the rest.
            self.sending = Some(sending);
            return Reaction::default();
        }
        if let Some(pause) = retry::pause(&failure, sending.attempts, random) {
            let first = sending.attempts == 1 && !sending.arrived;
            self.sending = Some(sending);
            let notice = first.then(|| format!("  … trying again: {}", text::failure(&failure)));
            return Reaction { lines: notice.into_iter().collect(), again_after: Some(pause) };
        }
        if let RequestError::Refused(refusal) = &failure {
            self.learn_from(refusal, &sending.conversation);
        }
        if sending.arrived {
            return Reaction::default();
        }
        let why = text::failure(&failure);
        Reaction::say(if sending.uncertain { text::not_confirmed(&why) } else { text::not_sent(&why) })
    }

    /// What to say of a line that was not acknowledged when the connection ended.
    pub(super) fn unconfirmed(&mut self) -> Option<String> {
        let sending = self.sending.take()?;
        (!sending.arrived).then(|| text::not_confirmed("no answer came"))
    }

    /// Live entries came.
    pub(super) fn entries(&mut self, Entries { conversation, entries }: Entries, now: Instant) -> Vec<String> {
        let mut lines = vec![];
        for entry in entries {
            let is_from_other = entry.sender != self.user;
            let wakes = is_from_other && matches!(entry.kind, EntryKind::Message { .. }) && self.current.is_none();
            self.meet(&conversation, &entry);
            let own = self.sending.as_mut().filter(|sending| {
                !is_from_other && sending.conversation == conversation && sending.message.client_message_id == entry.client_message_id
            });
            let lane = self.lanes.entry(conversation.clone()).or_default();
            let shown = if let Some(sending) = own {
                if !sending.arrived {
                    lines.push(text::stored(entry.position.seq));
                }
                sending.arrived = true;
                lane.acknowledge(entry.position, now)
            } else {
                lane.receive(entry, now)
            };
            lines.extend(shown.iter().map(text::entry));
            if wakes {
                lines.extend(self.talk_in(conversation.clone()));
            }
        }
        lines
    }

    /// When the oldest gap began.
    pub(super) fn gap_since(&self) -> Option<Instant> {
        self.lanes.values().filter_map(Lane::gap_since).min()
    }

    /// Goes on without the entries that are missing since `since` or longer.
    pub(super) fn skip_gaps(&mut self, since: Instant, now: Instant) -> Vec<String> {
        let mut lines = vec![];
        for lane in self.lanes.values_mut().filter(|lane| lane.gap_since().is_some_and(|began| began <= since)) {
            if let Some(skipped) = lane.skip_gap(now) {
                lines.push(text::missing(skipped.first, skipped.last));
                lines.extend(skipped.shown.iter().map(text::entry));
            }
        }
        lines
    }

    fn talk_in(&mut self, conversation: ConversationId) -> Vec<String> {
        let line = self.peers.get(&conversation).map(|with| format!("· talking to {}", text::visible(with.as_str())));
        self.current = Some(conversation);
        line.into_iter().collect()
    }

    /// Learns from an entry who the other side of its conversation is.
    fn meet(&mut self, conversation: &ConversationId, entry: &Entry) {
        let other = match &entry.kind {
            EntryKind::Created { members } => members.iter().find(|member| **member != self.user),
            EntryKind::Message { .. } | EntryKind::Unknown => Some(&entry.sender).filter(|sender| **sender != self.user),
        };
        if let Some(other) = other {
            self.peers.entry(conversation.clone()).or_insert_with(|| other.clone());
        }
    }

    fn acknowledged(&mut self, sending: &Sending, stored: Stored, now: Instant) -> Vec<String> {
        let lane = self.lanes.entry(sending.conversation.clone()).or_default();
        let shown = lane.acknowledge(stored.position, now);
        let tick = (!sending.arrived).then(|| text::stored(stored.position.seq));
        tick.into_iter().chain(shown.iter().map(text::entry)).collect()
    }

    /// A refusal may say where the log ends. That is for messages that are typed after it: this one keeps its anchor.
    fn learn_from(&mut self, refusal: &Refusal, conversation: &ConversationId) {
        let Some(lane) = self.lanes.get_mut(conversation) else { return };
        if let Some(tail) = refusal.tail {
            lane.learn(tail);
        }
        if let (ErrorCode::EpochChanged, Some(common)) = (refusal.code, refusal.common) {
            lane.restored(common);
        }
    }
}

#[cfg(test)]
mod tests;
