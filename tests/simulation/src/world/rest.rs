//! After the last fault: everything comes to rest within bounded virtual time, and then everybody has the same.
//!
//! One thing does not come by itself yet: the delivery of an entry whose sender was killed before the enqueue and does not come back to it:
//! the message was given up, or the conversation not asked for again. The next message repairs it (the sweeper will). People say that
//! message here, and it is counted; never where an answer has told a sender that the entry is stored, which promises the delivery (L4).

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::{Entry, Kind};
use chatlane_protocol::{ConversationId, Position, Seq, UserId};
use chatlane_session::{Act, ConnectionState, Input, OutboxState};
use serde_json::json;

use super::World;
use crate::script::{DEVICES, USERS};

/// So long everything may take when nothing goes wrong any more: a task may be fifteen minutes late, a half-open socket is noticed by a
/// heartbeat after four; then the longest back-offs, and the visibility timeouts of a message, one after the other.
const REST_WITHIN_MS: u64 = 1_500_000;

/// And so long, in a run that is not strict, until everybody knows every conversation. Where a wrong clock has cost the push of a new one,
/// a live device learns of it at its next hello, which comes before the gateway ends a connection.
const KNOWN_WITHIN_MS: u64 = 7_200_000;

/// How often people look at their conversations, and say a word where nobody has.
const LOOK_EVERY_MS: u64 = 60_000;

/// What is not at rest.
struct Unrest {
    why: String,
    /// After the faults, by which time it must be.
    within_ms: u64,
}

impl World {
    /// Ends the faults, waits for rest, and writes the last lines.
    pub(crate) fn come_to_rest(&mut self) {
        self.faults.over = true;
        for phone in 0..self.phones.len() {
            self.start(phone);
            self.input(phone, Input::Do(Act::ConnectNow));
        }
        let began_ms = self.now_ms;
        let mut look_ms = began_ms;
        while self.violation.is_none() {
            let Some(Unrest { why, within_ms }) = self.unrest() else { break };
            if self.now_ms - began_ms > within_ms {
                let strict = if self.strict { " (without repairs)" } else { "" };
                self.violated("converges", format!("after {} s{strict} still: {why}", within_ms / 1000));
                return;
            }
            self.redrive();
            if self.now_ms >= look_ms {
                look_ms += LOOK_EVERY_MS;
                self.look_at_everything();
            }
            self.run_for(1_000);
        }
        self.history.push_str(&json!({"what": "quiescent", "at_ms": self.now_ms}).to_string());
        self.history.push('\n');
        for phone in 0..self.phones.len() {
            self.note_end(phone);
        }
    }

    /// Each person looks at all conversations. Where a delivery was never begun, and no sender comes back to it, those who know of the
    /// conversation say a word, and those who do not open it again.
    fn look_at_everything(&mut self) {
        let idle = self.queue.is_empty() && self.invocations.is_empty();
        let (never_begun, members) = {
            let state = self.memory.state();
            let never_begun = |(lane, log): (&ConversationId, &BTreeMap<Seq, Entry>)| {
                let head = state.heads.get(lane).map_or(Position::ZERO, |head| head.position);
                let tail = log.values().next_back().map_or(Position::ZERO, |entry| entry.position);
                let promised = self.promised.get(lane).copied().unwrap_or(Position::ZERO);
                let left = |entry: &Entry| {
                    entry.position <= head
                        || matches!(entry.kind, Kind::Created(_))
                        || self.given_up.contains(&(lane.clone(), entry.client_message_id.clone()))
                };
                (idle && head < tail && promised <= head && log.values().all(left)).then(|| lane.clone())
            };
            let never_begun: BTreeSet<ConversationId> = state.log.iter().filter_map(never_begun).collect();
            (never_begun, state.members.keys().cloned().collect::<Vec<_>>())
        };
        self.never_begun += never_begun.len() as u64;
        for phone in 0..self.phones.len() {
            let conversations = self.known(phone);
            for (pick, _) in conversations.iter().enumerate().filter(|(_, lane)| never_begun.contains(lane)) {
                self.compose(phone, pick, 1, 0);
            }
            let me = USERS[DEVICES[phone]];
            let unheard = |(lane, user): &&(ConversationId, UserId)| {
                user.as_str() == me && never_begun.contains(lane) && !conversations.contains(lane)
            };
            for (lane, _) in members.iter().filter(unheard) {
                let other = members.iter().find(|(of, user)| of == lane && user.as_str() != me);
                let other = other.and_then(|(_, other)| USERS.iter().position(|user| *user == other.as_str()));
                if let Some(other) = other {
                    self.open_with(phone, other);
                }
            }
            self.input(phone, Input::Do(Act::Look { conversations }));
        }
    }

    /// What is not at rest yet.
    fn unrest(&self) -> Option<Unrest> {
        let unrest = |why: String| Some(Unrest { why, within_ms: REST_WITHIN_MS });
        let state = self.memory.state();
        for (number, phone) in self.phones.iter().enumerate() {
            let Some(session) = phone.session.as_ref().filter(|_| phone.state == ConnectionState::Live) else {
                return unrest(format!("device {number} is {:?}", phone.state));
            };
            if let Some(row) = session.outbox().find(|row| !matches!(row.state, OutboxState::Failed(_))) {
                return unrest(format!("device {number} has not sent {} with anchor {}", row.client_message_id, row.anchor));
            }
            for (conversation, _) in state.members.keys().filter(|(_, user)| *user == phone.user) {
                let tail = state.log.get(conversation).and_then(|log| log.values().next_back()).map(|entry| entry.position);
                let tail = tail.unwrap_or(Position::ZERO);
                let Some(row) = session.conversations().find(|row| row.conversation == *conversation) else {
                    let within_ms = if self.strict { REST_WITHIN_MS } else { KNOWN_WITHIN_MS };
                    return Some(Unrest { why: format!("device {number} does not know {conversation}, which is at {tail}"), within_ms });
                };
                if row.have != tail || row.head != tail || row.read_pending {
                    return unrest(format!(
                        "device {number} has {} of {conversation} and knows {}, which is at {tail}; read {} {}",
                        row.have,
                        row.head,
                        row.read,
                        if row.read_pending { "to be told" } else { "" }
                    ));
                }
                let inbox = state.inboxes.get(&phone.user).and_then(|rows| rows.get(conversation));
                let delivered = inbox.and_then(|inbox| inbox.delivered.get(&phone.id).copied()).unwrap_or_default();
                // What was skipped is not acknowledged before an entry behind it is stored.
                if !row.is_empty() && delivered != row.have {
                    return unrest(format!("device {number} has {} of {conversation}, and the server knows of {delivered}", row.have));
                }
                if state.heads.get(conversation).is_none_or(|head| head.position != tail) {
                    return unrest(format!("the head of {conversation} is not at {tail}"));
                }
            }
        }
        if !self.invocations.is_empty() || !self.calls.is_empty() || !self.queue.is_empty() {
            let (at_work, calls) = (self.invocations.len(), self.calls.len());
            return unrest(format!("{at_work} functions are at work with {calls} calls; the queue is empty: {}", self.queue.is_empty()));
        }
        None
    }
}
