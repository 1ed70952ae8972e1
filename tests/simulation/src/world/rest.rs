//! After the last fault: everything comes to rest within bounded virtual time, and then everybody has the same.
//!
//! One thing does not come by itself: the delivery of an entry of before a restore, whose task or whose place in the log's stream went with
//! that. The next message repairs it. Users say that message here, and it is counted; never where an answer has told a sender that the
//! entry is stored, which promises the delivery (L4).

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::Entry;
use chatlane_chat::testing::builders;
use chatlane_protocol::limits::PING_AFTER_IDLE_MS;
use chatlane_protocol::{ConversationId, Position, Prefs, Seq, UserId};
use chatlane_session::{Act, ConnectionState, Input, OutboxState};
use serde_json::json;

use super::phone::Phone;
use super::watch::is_there;
use super::{Event, World};
use crate::script::USERS;

/// So long everything may take when nothing goes wrong any more: a task may be fifteen minutes late, a half-open socket is noticed by a
/// heartbeat after four; then the longest back-offs, and the visibility timeouts of a message, one after the other.
const REST_WITHIN_MS: u64 = 1_500_000;

/// And so long until everybody has said hello: before the gateway ends a connection. In a run that is not strict a live device may learn of
/// a new conversation so late (where a wrong clock has cost its push), and in any run what a restore has cut.
const HELLO_WITHIN_MS: u64 = 7_200_000;

/// So long a known gap may stay open while nothing is under way: the longest pause after failures.
const GAP_WITHIN_MS: u64 = 35_000;

/// So long a live device may be without pushes: until the answer to its next `ping`.
const NO_PUSHES_MS_MAX: u64 = PING_AFTER_IDLE_MS + 60_000;

/// How often users look at their conversations, and say a word where nobody has.
const LOOK_EVERY_MS: u64 = 60_000;

/// What is not at rest.
struct Unrest {
    why: String,
    /// So long it may last: after the faults, or after the last thing that may last longer (a hello brings news, and work).
    within_ms: u64,
}

impl World {
    /// Ends the faults, waits for rest, and writes the last lines. `deserted`: first everybody goes away for a while.
    pub(crate) fn come_to_rest(&mut self, deserted: bool) {
        self.faults.over = true;
        self.remove_guest();
        if deserted {
            self.go_away();
        }
        for phone in 0..self.phones.len() {
            self.start(phone);
            self.input(phone, Input::Do(Act::ConnectNow));
        }
        let began_ms = self.now_ms;
        let (mut look_ms, mut news_ms) = (began_ms, began_ms);
        let (mut gap_ms, mut no_pushes_ms) = (0, vec![0; self.phones.len()]);
        while self.violation.is_none() {
            let Some(Unrest { why, within_ms }) = self.unrest().or_else(|| self.read_to_the_beginning()) else { break };
            let is_late_news = within_ms > REST_WITHIN_MS;
            if self.now_ms - if is_late_news { began_ms } else { news_ms } > within_ms {
                let strict = if self.strict { " (without repairs)" } else { "" };
                self.violated("converges", format!("after {} s{strict} still: {why}", within_ms / 1000));
                return;
            }
            // Where pushes are reliable and nothing was restored, no news comes so late.
            if is_late_news && (!self.strict || self.epoch > 1) {
                news_ms = self.now_ms;
            }
            self.redrive();
            self.hand_in();
            for phone in 0..self.phones.len() {
                if self.phones[phone].state == ConnectionState::Displaced {
                    self.input(phone, Input::Do(Act::ConnectNow));
                }
            }
            if self.now_ms >= look_ms {
                look_ms += LOOK_EVERY_MS;
                self.look_at_everything();
            }
            self.run_for(1_000);
            self.look_for_idlers(&mut gap_ms, &mut no_pushes_ms);
        }
        self.check_rest();
        self.check_gates();
        let line = json!({"what": "quiescent", "at_ms": self.now_ms}).to_string();
        self.write_line(&line);
        for phone in 0..self.phones.len() {
            self.note_end(phone);
        }
    }

    /// All apps are killed, and no sender comes back before every delivery has begun.
    fn go_away(&mut self) {
        self.events.retain(|_, event| !matches!(event, Event::Start { .. }));
        self.give_up_all();
        for phone in 0..self.phones.len() {
            self.kill(phone, usize::MAX);
        }
        let began_ms = self.now_ms;
        while self.violation.is_none()
            && let Some((conversation, head)) = self.not_begun()
        {
            if self.now_ms - began_ms > REST_WITHIN_MS {
                self.violated("L4", format!("nobody comes back, and the delivery of {conversation} stays at {head}"));
            }
            self.redrive();
            self.hand_in();
            self.run_for(1_000);
        }
    }

    /// A conversation with an entry of this epoch whose delivery has not begun, and its head.
    fn not_begun(&self) -> Option<(ConversationId, Position)> {
        let state = self.memory.state();
        let head = |lane: &ConversationId| state.heads.get(lane).map_or(Position::ZERO, |head| head.position);
        let mut tails = state.log.iter().filter_map(|(lane, log)| Some((lane, log.values().next_back()?.position)));
        let (lane, _) = tails.find(|(lane, tail)| tail.epoch == self.epoch && head(lane) < *tail)?;
        Some((lane.clone(), head(lane)))
    }

    /// A second has passed: what a session must have noticed by itself.
    fn look_for_idlers(&mut self, gap_ms: &mut u64, no_pushes_ms: &mut [u64]) {
        let last = |event: &Event| {
            matches!(event, Event::GatewayLearns { .. } | Event::LifeEnds { .. } | Event::Disconnect { .. } | Event::WindowEnds)
        };
        let idle = self.invocations.is_empty() && self.queue.is_empty() && self.events.values().all(last);
        let is_live = |phone: &&Phone| phone.state == ConnectionState::Live;
        let mut sessions = self.phones.iter().filter(is_live).filter_map(|phone| phone.session.as_ref());
        let gap = idle && sessions.any(|session| session.conversations().any(|row| row.head > row.have));
        *gap_ms = if gap { *gap_ms + 1_000 } else { 0 };
        let mut found = (*gap_ms > GAP_WITHIN_MS).then(|| "a gap stays open, and nobody asks".to_owned());
        let state = self.memory.state();
        for (phone, waited_ms) in self.phones.iter().zip(no_pushes_ms) {
            let pushed_to =
                state.sessions.get(&phone.user).is_some_and(|sessions| sessions.values().any(|session| session.device == phone.id));
            *waited_ms = if is_live(&phone) && !pushed_to { *waited_ms + 1_000 } else { 0 };
            // In a strict run this must not happen: there no answer to `ping` says so.
            if *waited_ms > NO_PUSHES_MS_MAX {
                found = Some(format!("{} gets no pushes, and does not notice", phone.id));
            }
        }
        drop(state);
        if let Some(found) = found {
            self.violated("session", found);
        }
    }

    /// Users scroll up until they have seen everything, so that in the end each has the whole log.
    fn read_to_the_beginning(&mut self) -> Option<Unrest> {
        let mut unread = None;
        for phone in 0..self.phones.len() {
            for conversation in self.known(phone) {
                let from = self.phones[phone].disk.conversations.get(&conversation).map_or(Seq::ZERO, |row| row.from.seq);
                // Of what one is a member of no more there is no history.
                let Some(visible_from) = self.visible_from(&conversation, &self.phones[phone].user) else { continue };
                if from.next() > visible_from {
                    let why = format!("device {phone} has {conversation} from {from} on");
                    self.load_history(phone, conversation);
                    unread = Some(Unrest { why, within_ms: HELLO_WITHIN_MS });
                }
            }
        }
        unread
    }

    /// Each user looks at all conversations. Where a restore has cut off a delivery, those who know of the conversation say a word, and
    /// those who do not open it again.
    fn look_at_everything(&mut self) {
        let idle = self.queue.is_empty() && self.invocations.is_empty();
        let (never_begun, members) = {
            let state = self.memory.state();
            let never_begun = |(lane, log): (&ConversationId, &BTreeMap<Seq, Entry>)| {
                let head = state.heads.get(lane).map_or(Position::ZERO, |head| head.position);
                let tail = log.values().next_back().map_or(Position::ZERO, |entry| entry.position);
                let promised = self.promised.get(lane).copied().unwrap_or(Position::ZERO);
                let left = |entry: &Entry| entry.position <= head || entry.position.epoch < self.epoch;
                // A task of before a restore may have raised it to an entry that is gone: `hello` then says nothing to those who have
                // that one.
                let is_gone = head > tail;
                (idle && (is_gone || head < tail && promised <= head && log.values().all(left))).then(|| lane.clone())
            };
            let never_begun: BTreeSet<ConversationId> = state.log.iter().filter_map(never_begun).collect();
            (never_begun, state.members.keys().cloned().collect::<Vec<_>>())
        };
        self.never_begun += never_begun.len() as u64;
        self.mend_groups(|group| never_begun.contains(group));
        for phone in 0..self.phones.len() {
            let conversations = self.known(phone);
            // The device knows only by an answer that a conversation is lost.
            let to_be_said = |lane: &ConversationId| never_begun.contains(lane) || self.is_lost(lane);
            let picks: Vec<usize> = (0..conversations.len()).filter(|pick| to_be_said(&conversations[*pick])).collect();
            for pick in picks {
                self.compose(phone, pick, 1, 0);
            }
            let me = self.phones[phone].user.clone();
            let unheard =
                |(lane, user): &&(ConversationId, UserId)| *user == me && never_begun.contains(lane) && !conversations.contains(lane);
            let unheard: BTreeSet<_> = members.iter().filter(unheard).map(|(lane, _)| lane).collect();
            // Of one that a restore has lost, a device keeps what it has until it is opened again.
            let is_to_be_opened = |lane: &ConversationId| unheard.contains(lane) || self.is_lost(lane) && conversations.contains(lane);
            let with: Vec<usize> = (0..USERS.len()).filter(|with| is_to_be_opened(&direct(&me, USERS[*with]))).collect();
            for other in with {
                self.open_with(phone, other);
            }
            self.input(phone, Input::Do(Act::Look { conversations }));
        }
    }

    /// Whether a restore has lost the whole conversation.
    fn is_lost(&self, conversation: &ConversationId) -> bool {
        !self.memory.state().log.contains_key(conversation)
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
            if let Some(row) = phone.disk.held().next() {
                return unrest(format!("device {number} holds {}, and has no conversation for it", row.client_message_id));
            }
            if !phone.writing.is_empty() {
                return unrest(format!("the store of device {number} is writing"));
            }
            if let Some(row) = session.conversations().find(|row| !state.log.contains_key(&row.conversation)) {
                return unrest(format!("device {number} has {}, which is lost", row.conversation));
            }
            for (conversation, _) in state.members.keys().filter(|(_, user)| *user == phone.user) {
                let tail = state.log.get(conversation).and_then(|log| log.values().next_back()).map(|entry| entry.position);
                let tail = tail.unwrap_or(Position::ZERO);
                let Some(row) = session.conversations().find(|row| row.conversation == *conversation) else {
                    let within_ms = if self.strict { REST_WITHIN_MS } else { HELLO_WITHIN_MS };
                    return Some(Unrest { why: format!("device {number} does not know {conversation}, which is at {tail}"), within_ms });
                };
                if row.have != tail || row.head != tail || row.read_pending {
                    // Who has more than a restore has left, or less than it has made, may learn it as late.
                    let within_ms = if self.epoch > 1 { HELLO_WITHIN_MS } else { REST_WITHIN_MS };
                    let why = format!(
                        "device {number} has {} of {conversation} and knows {}, which is at {tail}; read {}{}",
                        row.have,
                        row.head,
                        row.read,
                        if row.read_pending { ", which the server has not taken" } else { "" }
                    );
                    return Some(Unrest { why, within_ms });
                }
                let inbox = state.inboxes.get(&phone.user).and_then(|rows| rows.get(conversation));
                let delivered = inbox.and_then(|inbox| inbox.delivered.get(&phone.id).copied()).unwrap_or_default();
                // What was skipped is not acknowledged before an entry behind it is stored.
                if !row.is_empty() && delivered != row.have {
                    return unrest(format!("device {number} has {} of {conversation}, and the server knows of {delivered}", row.have));
                }
                let read = inbox.map_or(Position::ZERO, |inbox| inbox.read.position);
                let marked = row.read == Position::ZERO || is_there(&state, conversation, row.read);
                // Without repairs a lost receipt leaves another device of the user behind.
                let behind = read > row.read && !self.strict;
                if read < row.read || behind || !marked {
                    return unrest(format!("device {number} has read {} of {conversation}, and the server knows of {read}", row.read));
                }
                let prefs = inbox.map_or_else(Prefs::default, |inbox| inbox.prefs);
                // Without repairs a lost push leaves another device behind; `hello` tells it.
                if !row.wished.is_empty() || row.prefs != prefs && !self.strict {
                    let why = format!("device {number} has {:?} and wishes {:?}, and the server has {prefs:?}", row.prefs, row.wished);
                    return Some(Unrest { why, within_ms: HELLO_WITHIN_MS });
                }
                // A wish that was stored is not lost, but by a restore, or with the membership.
                let key = (conversation.clone(), phone.user.clone());
                if self.epoch == 1 && self.archived.contains(&key) && !state.left.contains_key(&key) && !prefs.archived {
                    return unrest(format!("device {number} has archived {conversation}, and the server has {prefs:?}"));
                }
                let head = state.heads.get(conversation).map_or(Position::ZERO, |head| head.position);
                // A task of before a restore may raise it beyond what the restore has left: a hint, and the next entry is above it.
                let is_of_before = head > tail && head.epoch < self.epoch;
                if head != tail && !is_of_before {
                    return unrest(format!("the head of {conversation} is not at {tail}"));
                }
            }
        }
        if let Some(name) = self.unanswered() {
            return unrest(format!("{name} is not answered"));
        }
        if !self.invocations.is_empty() || !self.calls.is_empty() || !self.queue.is_empty() {
            let (at_work, calls) = (self.invocations.len(), self.calls.len());
            let why = format!("{at_work} functions are at work with {calls} calls; the queue is empty: {}", self.queue.is_empty());
            // A task about an entry that a restore took back may be fifteen minutes late, and then it is handed back ten times.
            let within_ms = if self.epoch > 1 { HELLO_WITHIN_MS } else { REST_WITHIN_MS };
            return Some(Unrest { why, within_ms });
        }
        None
    }
}

fn direct(one: &UserId, other: &str) -> ConversationId {
    builders::direct(one, &UserId::new(other).expect("a user"))
}
