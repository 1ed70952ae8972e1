//! Everything that the chat knows, and what it does about what happens: no socket, no clock, no store.
//!
//! What may be overtaken by something better is not said at once: a `○` whose `✓` comes in the same moment, a connection that is back before
//! anybody missed it, a `delivered` before a `read`. It waits for [`Room::settle`], a moment later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chatlane_protocol::{Body, ClientMessageId, ConversationId, Entry, EntryKind, Position, Seq, UserId};

use super::command::{self, Command};
use super::lane::Lane;
use super::standing::{Line, Standing};
use super::text;
use chatlane_session::{ConversationRow, Failure, OutgoingState, Restored, Shown};

mod act;
mod own_lines;

pub(super) use act::Act;
use own_lines::{OwnLines, Pending};

/// How long what may be overtaken is held back: longer than an answer takes, shorter than a person notices.
const SETTLE: Duration = Duration::from_millis(300);

/// The same for ticks: longer than a device that has an entry waits to say that it is read, too (`cursors_every_ms`).
const TICKS_SETTLE: Duration = Duration::from_millis(1_300);

/// Entries that a person who turns to a conversation sees at once, and for each `/history`.
pub(super) const PAGE: usize = 20;

/// Whom the person talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Current {
    Nobody,
    Opening(UserId),
    In(ConversationId),
}

/// One user's conversations, one of which is talked in.
#[derive(Debug)]
pub(super) struct Room {
    me: UserId,
    lanes: BTreeMap<ConversationId, Lane>,
    current: Current,
    own: OwnLines,
    news: BTreeSet<ConversationId>,
    connection: Line,
    settle_at: Option<Instant>,
    ticks_at: Option<Instant>,
}

impl Room {
    /// What the store held; nothing of it is on the screen.
    pub(super) fn new(me: UserId, restored: Restored) -> Self {
        let mut room = Self {
            me,
            lanes: BTreeMap::new(),
            current: Current::Nobody,
            own: OwnLines::restored(restored.outbox),
            news: BTreeSet::new(),
            connection: Line::new(),
            settle_at: None,
            ticks_at: None,
        };
        for row in restored.conversations {
            room.lanes.insert(row.conversation.clone(), Lane::new(row));
        }
        room
    }

    /// The first lines.
    pub(super) fn begin(&mut self, peer: Option<UserId>, now: Instant) -> Vec<Act> {
        let mut acts = vec![Act::Say(format!("· you are {}; /help lists what you can type", text::visible(self.me.as_str())))];
        let peer = peer.or_else(|| command::default_peer(&self.me));
        let unread = self.lanes.values().filter(|lane| lane.unread > 0 && lane.row.with != peer);
        acts.extend(unread.map(|lane| Act::Say(listed(lane, false))));
        for ((conversation, id), refusal) in self.own.take_failed() {
            acts.extend(self.outgoing(conversation, id, OutgoingState::Failed(refusal), now));
        }
        self.settle_later(now);
        acts.extend(peer.map(|peer| self.turn_to(peer)).unwrap_or_default());
        acts
    }

    /// A line was typed.
    pub(super) fn typed(&mut self, line: &[u8]) -> Vec<Act> {
        match command::read(line) {
            Command::Say(line) => self.say(line),
            Command::With(peer) => self.turn_to(peer),
            Command::List => self.list(),
            Command::History => match &self.current {
                Current::In(conversation) => {
                    let conversation = conversation.clone();
                    let before = self.lanes.get(&conversation).and_then(Lane::oldest);
                    match before {
                        Some(before) => vec![Act::Older { conversation, before }],
                        None => vec![Act::Fetch { conversation, before: None }],
                    }
                }
                _ => vec![Act::Say("· nobody to talk to yet: /with NAME".to_owned())],
            },
            Command::Connect => vec![Act::Connect],
            Command::Help => command::HELP.iter().map(|line| Act::Say(format!("· {line}"))).collect(),
            Command::Wrong(why) => vec![Act::Say(format!("· {why}"))],
            Command::Nothing => vec![],
            Command::Quit => vec![Act::Quit],
        }
    }

    fn say(&mut self, line: String) -> Vec<Act> {
        match &self.current {
            Current::In(conversation) => vec![compose(conversation.clone(), line)],
            Current::Opening(peer) => {
                self.own.hold(peer.clone(), line);
                vec![]
            }
            Current::Nobody => vec![Act::Say("· nobody to talk to yet: /with NAME".to_owned())],
        }
    }

    /// A typed line was given to the device under this name.
    pub(super) fn composed(&mut self, conversation: ConversationId, id: ClientMessageId, line: String) {
        self.own.composed((conversation, id), line);
    }

    fn turn_to(&mut self, peer: UserId) -> Vec<Act> {
        let known = self.lanes.values().find(|lane| lane.row.with.as_ref() == Some(&peer));
        if let Some(conversation) = known.map(|lane| lane.row.conversation.clone()) {
            return self.turn(conversation);
        }
        self.current = Current::Opening(peer.clone());
        vec![Act::Open(peer)]
    }

    fn turn(&mut self, conversation: ConversationId) -> Vec<Act> {
        self.current = Current::In(conversation.clone());
        self.news.remove(&conversation);
        let Some(lane) = self.lanes.get(&conversation) else { return vec![] };
        let missing = lane.row.have.seq.get().saturating_sub(lane.shown().seq.get());
        // What this run has shown is still on the screen: all that is new is put behind it.
        let entries = if lane.oldest().is_none() { PAGE } else { usize::try_from(missing).unwrap_or(usize::MAX) };
        vec![Act::Say(format!("· talking to {}", lane.name())), Act::Turn { conversation, entries }]
    }

    /// The store's last entries of a conversation that the person has turned to.
    pub(super) fn turned(&mut self, conversation: &ConversationId, entries: Vec<Entry>) -> Vec<Act> {
        let Some(lane) = self.lanes.get_mut(conversation) else { return vec![] };
        let nothing_here = entries.is_empty() && lane.oldest().is_none() && lane.row.have != Position::ZERO;
        let is_new_here = lane.oldest().is_none();
        let entries = lane.put(entries, &self.me);
        let mut acts = vec![];
        if is_new_here && entries.first().is_some_and(|first| first.position.seq > Seq::FIRST) {
            acts.push(Act::Say("· earlier: /history".to_owned()));
        }
        acts.extend(entries.iter().map(|entry| Act::Say(lane.line(entry, &self.me))));
        acts.extend(lane.ticks_anew().map(Act::Say));
        if nothing_here {
            acts.push(Act::Fetch { conversation: conversation.clone(), before: None });
        }
        acts.extend(read_up_to(lane));
        acts.extend(self.own.show_waiting(Some(conversation)).into_iter().map(Act::Say));
        acts
    }

    /// A page of older entries, of the store or of the server; `done`: nothing is before them.
    pub(super) fn older(&mut self, conversation: &ConversationId, entries: Vec<Entry>, done: bool) -> Vec<Act> {
        let current = self.current == Current::In(conversation.clone());
        let Some(lane) = self.lanes.get_mut(conversation).filter(|_| current) else { return vec![] };
        let entries = lane.put(entries, &self.me);
        let mut acts = vec![];
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            acts.push(Act::Say(format!("· earlier, #{} to #{}:", first.position.seq, last.position.seq)));
        }
        acts.extend(entries.iter().map(|entry| Act::Say(lane.line(entry, &self.me))));
        let begins = done || entries.first().is_some_and(|first| first.position.seq <= Seq::FIRST);
        acts.push(Act::Say(if begins { "· that is the beginning" } else { "· further back: /history" }.to_owned()));
        acts.extend(read_up_to(lane));
        acts
    }

    fn list(&self) -> Vec<Act> {
        if self.lanes.is_empty() {
            return vec![Act::Say("· no conversations yet: /with NAME".to_owned())];
        }
        let mut lanes: Vec<&Lane> = self.lanes.values().collect();
        lanes.sort_by_key(|lane| (std::cmp::Reverse(lane.unread), lane.name()));
        let here = |lane: &Lane| self.current == Current::In(lane.row.conversation.clone());
        lanes.into_iter().map(|lane| Act::Say(listed(lane, here(lane)))).collect()
    }

    /// The connection is in another state.
    pub(super) fn stands(&mut self, standing: Standing, now: Instant) {
        self.connection.changed(standing);
        self.settle_later(now);
    }

    /// The device shows something. The state of the connection comes by [`Room::stands`].
    pub(super) fn shown(&mut self, shown: Shown, now: Instant) -> Vec<Act> {
        match shown {
            Shown::Connection(_) => vec![],
            Shown::Entry { conversation, entry } => self.entry(&conversation, entry, now),
            Shown::History { conversation, entries, done } => self.older(&conversation, entries, done),
            Shown::RolledBack { conversation, position } => {
                let Some(lane) = self.lanes.get_mut(&conversation) else { return vec![] };
                lane.roll_back(position);
                let what =
                    if position == Position::ZERO { "everything".to_owned() } else { format!("what stood behind #{}", position.seq) };
                let name = lane.name();
                vec![Act::Say(format!("· with {name}: the server has lost {what}; what it still has comes again"))]
            }
            Shown::Skipped { conversation, position } => {
                let current = self.current == Current::In(conversation.clone());
                let Some(lane) = self.lanes.get_mut(&conversation).filter(|_| current) else { return vec![] };
                // Behind what is on the screen it goes on at another place: the rest is fetched from there backwards.
                lane.roll_back(Position::ZERO);
                let up_to = Act::Say(format!("· much was missed, up to #{}", position.seq));
                vec![up_to, Act::Fetch { conversation, before: None }]
            }
            Shown::Conversation { row, unread } => self.conversation(row, unread, now),
            Shown::Outgoing { conversation, client_message_id, state } => self.outgoing(conversation, client_message_id, state, now),
            Shown::Cursors { conversation, cursors } => {
                if let Some(lane) = self.lanes.get_mut(&conversation) {
                    lane.moved(cursors);
                }
                self.ticks_at.get_or_insert(now + TICKS_SETTLE);
                vec![]
            }
            Shown::Opened { user, conversation } => self.opened(&user, &conversation),
            Shown::Failed(failure) => self.failed(failure),
        }
    }

    fn entry(&mut self, conversation: &ConversationId, entry: Entry, now: Instant) -> Vec<Act> {
        let from_other = entry.sender != self.me && matches!(entry.kind, EntryKind::Message { .. });
        if from_other {
            self.connection.received();
        }
        if self.current != Current::In(conversation.clone()) {
            if from_other {
                self.news.insert(conversation.clone());
                self.settle_later(now);
            }
            return vec![];
        }
        let name = (conversation.clone(), entry.client_message_id.clone());
        let on_screen = entry.sender == self.me && self.own.was_typed_here(&name);
        let Some(lane) = self.lanes.get_mut(conversation) else { return vec![] };
        let put = lane.put(vec![entry], &self.me);
        let mut acts: Vec<_> = put.iter().filter(|_| !on_screen).map(|entry| Act::Say(text::entry(entry))).collect();
        acts.extend(read_up_to(lane));
        self.settle_later(now);
        acts
    }

    fn conversation(&mut self, row: ConversationRow, unread: u64, now: Instant) -> Vec<Act> {
        let conversation = row.conversation.clone();
        match self.lanes.get_mut(&conversation) {
            Some(lane) => lane.stands(row, unread),
            None => drop(self.lanes.insert(conversation.clone(), Lane::new(row))),
        }
        self.settle_later(now);
        // Who talks to nobody talks to the first who writes.
        if self.current == Current::Nobody && self.news.contains(&conversation) {
            return self.turn(conversation);
        }
        vec![]
    }

    fn outgoing(&mut self, conversation: ConversationId, id: ClientMessageId, state: OutgoingState, now: Instant) -> Vec<Act> {
        let name = (conversation.clone(), id.clone());
        match state {
            OutgoingState::Waiting => {
                self.own.kept(&name);
                self.settle_later(now);
                vec![]
            }
            OutgoingState::Stored(stored) => {
                let Some(Pending { line, shown, .. }) = self.own.stored(name) else { return vec![] };
                let seq = stored.position.seq;
                if let Some(lane) = self.lanes.get_mut(&conversation) {
                    lane.stored(stored.position);
                }
                let elsewhere = self.current != Current::In(conversation);
                self.ticks_at.get_or_insert(now + TICKS_SETTLE);
                vec![Act::Say(if shown || elsewhere { text::stored_late(seq, &line) } else { text::stored(seq) })]
            }
            OutgoingState::Failed(refusal) => {
                let Some(Pending { line, .. }) = self.own.failed(&name) else { return vec![] };
                vec![Act::Say(text::not_sent(&line, &text::refused(&refusal))), Act::Discard { conversation, id }]
            }
        }
    }

    fn opened(&mut self, user: &UserId, conversation: &ConversationId) -> Vec<Act> {
        let lane = self.lanes.entry(conversation.clone()).or_insert_with(|| Lane::new(ConversationRow::empty(conversation.clone())));
        lane.row.with.get_or_insert_with(|| user.clone());
        let mut acts = if self.current == Current::Opening(user.clone()) { self.turn(conversation.clone()) } else { vec![] };
        acts.extend(self.own.release(user).map(|line| compose(conversation.clone(), line)));
        acts
    }

    fn failed(&mut self, failure: Failure) -> Vec<Act> {
        match failure {
            Failure::Open { user, refusal } => {
                if self.current == Current::Opening(user.clone()) {
                    self.current = Current::Nobody;
                }
                let why = text::refused(&refusal);
                let mut acts = vec![Act::Say(format!("· cannot talk to {}: {why}", text::visible(user.as_str())))];
                acts.extend(self.own.release(&user).map(|line| Act::Say(text::not_sent(&line, &why))));
                acts
            }
            Failure::History { refusal, .. } => vec![Act::Say(format!("· no history: {}", text::refused(&refusal)))],
            Failure::NoConversation(_) => vec![Act::Say("· this conversation is not there any more".to_owned())],
        }
    }

    fn settle_later(&mut self, now: Instant) {
        self.settle_at.get_or_insert(now + SETTLE);
    }

    /// When to call [`Room::settle`].
    pub(super) fn settle_at(&self) -> Option<Instant> {
        self.settle_at.into_iter().chain(self.ticks_at).min()
    }

    /// Says what has been held back for long enough and still holds.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Act> {
        let mut lines = vec![];
        if self.settle_at.take_if(|at| *at <= now).is_some() {
            lines.extend(self.settled(now));
        }
        if self.ticks_at.take_if(|at| *at <= now).is_some()
            && let Current::In(conversation) = &self.current
            && let Some(lane) = self.lanes.get_mut(conversation)
        {
            lines.extend(lane.ticks());
        }
        lines.into_iter().map(Act::Say).collect()
    }

    fn settled(&mut self, now: Instant) -> Vec<String> {
        let mut lines = self.own.show_waiting(None);
        lines.extend(self.connection.say(now));
        for conversation in std::mem::take(&mut self.news) {
            if let Some(lane) = self.lanes.get(&conversation).filter(|lane| lane.unread > 0) {
                lines.push(format!("{} · /with {}", listed(lane, false), lane.name()));
            }
        }
        lines
    }

    /// Whether a typed line has no end yet and is likely to get one soon.
    pub(super) fn is_busy(&self) -> bool {
        self.connection.now().is_hopeful() && self.own.is_waiting()
    }

    /// The last words: what was typed and has no end.
    pub(super) fn farewell(&mut self) -> Vec<String> {
        self.own.farewell()
    }
}

fn compose(conversation: ConversationId, line: String) -> Act {
    match Body::text(line.clone()) {
        Ok(body) => Act::Compose { conversation, body, line },
        Err(error) => Act::Say(text::not_sent(&line, &error.to_string())),
    }
}

/// What is on the screen is read.
fn read_up_to(lane: &Lane) -> Option<Act> {
    let position = lane.shown();
    (position.seq > lane.row.read.seq).then(|| Act::Read { conversation: lane.row.conversation.clone(), position })
}

fn listed(lane: &Lane, here: bool) -> String {
    let name = lane.name();
    let unread = if lane.unread == 0 { "nothing new".to_owned() } else { format!("{} unread", lane.unread) };
    if here { format!("· {name}: {unread} (here)") } else { format!("· {name}: {unread}") }
}

#[cfg(test)]
mod tests;
