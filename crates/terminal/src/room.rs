//! Everything that the chat knows, and what it does about what happens: no socket, no clock, no store.
//!
//! What may be overtaken by something better is not said at once: a `○` whose `✓` comes in the same moment, a connection that is back before
//! anybody missed it, a `delivered` before a `read`. It waits for [`Room::settle`], a moment later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chatlane_protocol::{Body, ClientMessageId, ConversationId, Entry, EntryKind, Position, Seq, UserId};

use super::command::{self, Command};
use super::conversation_view::ConversationView;
use super::status::{Status, StatusLine};
use super::text;
use chatlane_session::{ConversationRow, Failure, OutgoingState, Restored, Shown};

mod act;
mod own_lines;

pub(super) use act::Act;
use own_lines::{OwnLines, Pending};

/// How long what may be overtaken is held back: longer than an answer takes, shorter than anybody notices.
const SETTLE: Duration = Duration::from_millis(300);

/// The same for ticks: longer than a device that has an entry waits to say that it is read, too (`cursors_every_ms`).
const TICKS_SETTLE: Duration = Duration::from_millis(1_300);

/// Entries that a user who turns to a conversation sees at once, and for each `/history`.
pub(super) const PAGE: usize = 20;

/// Whom the user talks to.
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
    conversations: BTreeMap<ConversationId, ConversationView>,
    current: Current,
    own: OwnLines,
    news: BTreeSet<ConversationId>,
    connection: StatusLine,
    settle_at: Option<Instant>,
    ticks_at: Option<Instant>,
}

impl Room {
    /// What the store held; nothing of it is on the screen.
    pub(super) fn new(me: UserId, restored: Restored) -> Self {
        let mut room = Self {
            me,
            conversations: BTreeMap::new(),
            current: Current::Nobody,
            own: OwnLines::restored(restored.outbox),
            news: BTreeSet::new(),
            connection: StatusLine::new(),
            settle_at: None,
            ticks_at: None,
        };
        for row in restored.conversations {
            room.conversations.insert(row.conversation.clone(), ConversationView::new(row));
        }
        room
    }

    /// The first lines.
    pub(super) fn begin(&mut self, peer: Option<UserId>, now: Instant) -> Vec<Act> {
        let mut acts = vec![Act::Say(format!("· you are {}; /help lists what you can type", text::visible(self.me.as_str())))];
        let peer = peer.or_else(|| command::default_peer(&self.me));
        let unread = self.conversations.values().filter(|view| view.unread > 0 && view.row.with != peer);
        acts.extend(unread.map(|view| Act::Say(listed(view, false))));
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
                    let before = self.conversations.get(&conversation).and_then(ConversationView::oldest);
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
        let known = self.conversations.values().find(|view| view.row.with.as_ref() == Some(&peer));
        if let Some(conversation) = known.map(|view| view.row.conversation.clone()) {
            return self.turn(conversation);
        }
        self.current = Current::Opening(peer.clone());
        vec![Act::Open(peer)]
    }

    fn turn(&mut self, conversation: ConversationId) -> Vec<Act> {
        self.current = Current::In(conversation.clone());
        self.news.remove(&conversation);
        let Some(view) = self.conversations.get(&conversation) else { return vec![] };
        let missing = view.row.have.seq.get().saturating_sub(view.shown().seq.get());
        // What this run has shown is still on the screen: all that is new is put behind it.
        let entries = if view.oldest().is_none() { PAGE } else { usize::try_from(missing).unwrap_or(usize::MAX) };
        vec![Act::Say(format!("· talking to {}", view.name())), Act::Turn { conversation, entries }]
    }

    /// The store's last entries of a conversation that the user has turned to.
    pub(super) fn turned(&mut self, conversation: &ConversationId, entries: Vec<Entry>) -> Vec<Act> {
        let Some(view) = self.conversations.get_mut(conversation) else { return vec![] };
        let nothing_here = entries.is_empty() && view.oldest().is_none() && view.row.have != Position::ZERO;
        let is_new_here = view.oldest().is_none();
        let entries = view.put(entries, &self.me);
        let mut acts = vec![];
        if is_new_here && entries.first().is_some_and(|first| first.position.seq > Seq::FIRST) {
            acts.push(Act::Say("· earlier: /history".to_owned()));
        }
        acts.extend(entries.iter().map(|entry| Act::Say(view.line(entry, &self.me))));
        acts.extend(view.ticks_anew().map(Act::Say));
        if nothing_here {
            acts.push(Act::Fetch { conversation: conversation.clone(), before: None });
        }
        acts.extend(read_up_to(view));
        acts.extend(self.own.show_waiting(Some(conversation)).into_iter().map(Act::Say));
        acts
    }

    /// A page of older entries, of the store or of the server; `done`: nothing is before them.
    pub(super) fn older(&mut self, conversation: &ConversationId, entries: Vec<Entry>, done: bool) -> Vec<Act> {
        let current = self.current == Current::In(conversation.clone());
        let Some(view) = self.conversations.get_mut(conversation).filter(|_| current) else { return vec![] };
        let entries = view.put(entries, &self.me);
        let mut acts = vec![];
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            acts.push(Act::Say(format!("· earlier, #{} to #{}:", first.position.seq, last.position.seq)));
        }
        acts.extend(entries.iter().map(|entry| Act::Say(view.line(entry, &self.me))));
        let begins = done || entries.first().is_some_and(|first| first.position.seq <= Seq::FIRST);
        acts.push(Act::Say(if begins { "· that is the beginning" } else { "· further back: /history" }.to_owned()));
        acts.extend(read_up_to(view));
        acts
    }

    fn list(&self) -> Vec<Act> {
        if self.conversations.is_empty() {
            return vec![Act::Say("· no conversations yet: /with NAME".to_owned())];
        }
        let mut conversations: Vec<&ConversationView> = self.conversations.values().collect();
        conversations.sort_by_key(|view| (std::cmp::Reverse(view.unread), view.name()));
        let here = |view: &ConversationView| self.current == Current::In(view.row.conversation.clone());
        conversations.into_iter().map(|view| Act::Say(listed(view, here(view)))).collect()
    }

    /// The connection is in another state.
    pub(super) fn connection_changed(&mut self, status: Status, now: Instant) {
        self.connection.changed(status);
        self.settle_later(now);
    }

    /// The device shows something. The state of the connection comes by [`Room::connection_changed`].
    pub(super) fn shown(&mut self, shown: Shown, now: Instant) -> Vec<Act> {
        match shown {
            Shown::Connection(_) => vec![],
            Shown::Entry { conversation, entry } => self.entry(&conversation, entry, now),
            Shown::History { conversation, entries, done } => self.older(&conversation, entries, done),
            Shown::RolledBack { conversation, position } => {
                let Some(view) = self.conversations.get_mut(&conversation) else { return vec![] };
                view.roll_back(position);
                let what =
                    if position == Position::ZERO { "everything".to_owned() } else { format!("what stood behind #{}", position.seq) };
                let name = view.name();
                vec![Act::Say(format!("· with {name}: the server has lost {what}; what it still has comes again"))]
            }
            Shown::Skipped { conversation, position } => {
                let current = self.current == Current::In(conversation.clone());
                let Some(view) = self.conversations.get_mut(&conversation).filter(|_| current) else { return vec![] };
                // Behind what is on the screen it goes on at another place: the rest is fetched from there backwards.
                view.roll_back(Position::ZERO);
                let up_to = Act::Say(format!("· much was missed, up to #{}", position.seq));
                vec![up_to, Act::Fetch { conversation, before: None }]
            }
            Shown::Conversation { row, unread } => self.conversation(row, unread, now),
            Shown::Outgoing { conversation, client_message_id, state } => self.outgoing(conversation, client_message_id, state, now),
            Shown::Cursors { conversation, cursors } => {
                if let Some(view) = self.conversations.get_mut(&conversation) {
                    view.moved(cursors);
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
        let Some(view) = self.conversations.get_mut(conversation) else { return vec![] };
        let put = view.put(vec![entry], &self.me);
        let mut acts: Vec<_> = put.iter().filter(|_| !on_screen).map(|entry| Act::Say(text::entry(entry))).collect();
        acts.extend(read_up_to(view));
        self.settle_later(now);
        acts
    }

    fn conversation(&mut self, row: ConversationRow, unread: u64, now: Instant) -> Vec<Act> {
        let conversation = row.conversation.clone();
        match self.conversations.get_mut(&conversation) {
            Some(view) => view.update(row, unread),
            None => drop(self.conversations.insert(conversation.clone(), ConversationView::new(row))),
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
                if let Some(view) = self.conversations.get_mut(&conversation) {
                    view.stored(stored.position);
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
        let view = self
            .conversations
            .entry(conversation.clone())
            .or_insert_with(|| ConversationView::new(ConversationRow::empty(conversation.clone())));
        view.row.with.get_or_insert_with(|| user.clone());
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
            && let Some(view) = self.conversations.get_mut(conversation)
        {
            lines.extend(view.ticks());
        }
        lines.into_iter().map(Act::Say).collect()
    }

    fn settled(&mut self, now: Instant) -> Vec<String> {
        let mut lines = self.own.show_waiting(None);
        lines.extend(self.connection.say(now));
        for conversation in std::mem::take(&mut self.news) {
            if let Some(view) = self.conversations.get(&conversation).filter(|view| view.unread > 0) {
                lines.push(format!("{} · /with {}", listed(view, false), view.name()));
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
fn read_up_to(view: &ConversationView) -> Option<Act> {
    let position = view.shown();
    (position.seq > view.row.read.seq).then(|| Act::Read { conversation: view.row.conversation.clone(), position })
}

fn listed(view: &ConversationView, here: bool) -> String {
    let name = view.name();
    let unread = if view.unread == 0 { "nothing new".to_owned() } else { format!("{} unread", view.unread) };
    if here { format!("· {name}: {unread} (here)") } else { format!("· {name}: {unread}") }
}

#[cfg(test)]
mod tests;
