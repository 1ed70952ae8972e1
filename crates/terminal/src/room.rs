//! Everything that the chat knows, and what it does about what happens: no socket, no clock, no store.
//!
//! What may be overtaken by something better is not said at once: a `○` whose `✓` comes in the same moment, a connection that is back
//! before anybody missed it, a `delivered` before a `read`. It waits for [`Room::settle`], a moment later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chatlane_protocol::{Body, ClientMessageId, ConversationId, Entry, EntryKind, Position, Title, UnixMillis, UserId};

use super::command::{self, Command};
use super::conversation_view::ConversationView;
use super::status::{Status, StatusLine};
use super::text;
use chatlane_session::{Act, ConversationRow, OutgoingState, Restored, Shown};

mod effect;
mod failed;
mod groups;
mod own_lines;
mod paging;
mod preferring;
mod turning;

pub(super) use effect::Effect;
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
    /// The time of day, as the chat was told it last.
    time: UnixMillis,
    conversations: BTreeMap<ConversationId, ConversationView>,
    current: Current,
    /// Conversations that the server does not know any more, with whom they were.
    lost: BTreeMap<ConversationId, UserId>,
    own: OwnLines,
    /// The group that the user has made last, and waits for.
    creating: Option<(ClientMessageId, Title)>,
    /// Where something has come that was not shown, and whether it mentions the user.
    news: BTreeMap<ConversationId, bool>,
    connection: StatusLine,
    settle_at: Option<Instant>,
    ticks_at: Option<Instant>,
}

impl Room {
    /// What the store held; nothing of it is on the screen.
    pub(super) fn new(me: UserId, restored: Restored) -> Self {
        let mut room = Self {
            me,
            time: UnixMillis::ZERO,
            conversations: BTreeMap::new(),
            current: Current::Nobody,
            lost: BTreeMap::new(),
            own: OwnLines::restored(restored.outbox, restored.held),
            creating: None,
            news: BTreeMap::new(),
            connection: StatusLine::new(),
            settle_at: None,
            ticks_at: None,
        };
        for row in restored.conversations {
            room.conversations.insert(row.conversation.clone(), ConversationView::new(row));
        }
        room
    }

    /// What time of day it is: some conversations are muted until then.
    pub(super) const fn time_is(&mut self, time: UnixMillis) {
        self.time = time;
    }

    /// The first lines.
    pub(super) fn begin(&mut self, peer: Option<UserId>, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Say(format!("· you are {}; /help lists what you can type", text::visible(self.me.as_str())))];
        let peer = peer.or_else(|| command::default_peer(&self.me));
        let unread = self.conversations.values().filter(|view| view.looks_unread() && view.row.with != peer);
        effects.extend(unread.map(|view| Effect::Say(view.listed(false, self.time))));
        for ((conversation, id), refusal) in self.own.take_failed() {
            effects.extend(self.outgoing(conversation, id, OutgoingState::Failed(refusal), now));
        }
        self.settle_later(now);
        effects.extend(peer.map(|peer| self.turn_to(peer)).unwrap_or_default());
        effects
    }

    /// A line was typed.
    pub(super) fn typed(&mut self, line: &[u8]) -> Vec<Effect> {
        match command::read(line) {
            Command::Say(line) => self.say(line),
            Command::With(peer) => self.turn_to(peer),
            Command::List => self.list(),
            Command::History => match &self.current {
                Current::In(conversation) => {
                    let conversation = conversation.clone();
                    let before = self.conversations.get(&conversation).and_then(ConversationView::oldest);
                    match before {
                        Some(before) => vec![Effect::Older { conversation, before }],
                        None => vec![Effect::Do(Act::LoadHistory { conversation, before: None })],
                    }
                }
                _ => vec![Effect::Say("· nobody to talk to yet: /with NAME".to_owned())],
            },
            Command::Write(draft) => self.write(draft),
            Command::React { target, key } => match &self.current {
                Current::In(conversation) => vec![Effect::React { conversation: conversation.clone(), target, key }],
                _ => vec![Effect::Say("· nobody to talk to yet: /with NAME".to_owned())],
            },
            Command::Group { title, users } => Self::make_group(title, users),
            Command::Members => self.ask_members(),
            Command::Settings => self.ask_settings(),
            Command::ReadBy => self.read_by(),
            Command::Prefer(preference) => self.prefer(preference),
            Command::Do(act) => vec![Effect::Do(act)],
            Command::Help => command::HELP.iter().map(|line| Effect::Say(format!("· {line}"))).collect(),
            Command::Wrong(why) => vec![Effect::Say(format!("· {why}"))],
            Command::Nothing => vec![],
            Command::Quit => vec![Effect::Quit],
        }
    }

    fn say(&mut self, line: String) -> Vec<Effect> {
        match &self.current {
            Current::In(conversation) => match Body::text(line.clone()) {
                Ok(body) => self.write(body.into()),
                Err(error) => vec![Effect::Say(text::not_sent(&line, self.elsewhere(conversation).as_deref(), &error.to_string()))],
            },
            Current::Opening(peer) => {
                let user = peer.clone();
                match Body::text(line.clone()) {
                    Ok(body) => vec![Effect::ComposeTo { user, body, line }],
                    Err(error) => vec![Effect::Say(text::not_sent(&line, None, &error.to_string()))],
                }
            }
            Current::Nobody => vec![Effect::Say("· nobody to talk to yet: /with NAME".to_owned())],
        }
    }

    /// A typed line was given to the device under this name.
    pub(super) fn composed(&mut self, conversation: ConversationId, id: ClientMessageId, line: String, change: bool) {
        self.own.composed((conversation, id), line, change);
    }

    /// A typed line to somebody new was given to the device under this name.
    pub(super) fn held(&mut self, user: UserId, id: ClientMessageId, line: String) {
        self.own.hold(user, id, line);
    }

    /// With whom, for a line about a conversation that the user is not in.
    fn elsewhere(&self, conversation: &ConversationId) -> Option<String> {
        let view = (self.current != Current::In(conversation.clone())).then(|| self.conversations.get(conversation))?;
        Some(view.map_or_else(|| conversation.to_string(), ConversationView::name))
    }

    /// The `○` of the lines, in one conversation or in all, that have none on the screen yet.
    fn waiting(&mut self, only: Option<&ConversationId>) -> Vec<String> {
        let lines = self.own.show_waiting(only);
        let mut lines: Vec<String> =
            lines.iter().map(|(conversation, line)| text::waiting(line, self.elsewhere(conversation).as_deref())).collect();
        if only.is_none() {
            for (user, line) in self.own.show_held() {
                let elsewhere = (self.current != Current::Opening(user.clone())).then(|| text::visible(user.as_str()));
                lines.push(text::waiting(&line, elsewhere.as_deref()));
            }
        }
        lines
    }

    fn list(&self) -> Vec<Effect> {
        if self.conversations.is_empty() {
            return vec![Effect::Say("· no conversations yet: /with NAME".to_owned())];
        }
        let mut conversations: Vec<&ConversationView> = self.conversations.values().collect();
        conversations.sort_by_key(|view| view.place());
        let here = |view: &ConversationView| self.current == Current::In(view.row.conversation.clone());
        conversations.into_iter().map(|view| Effect::Say(view.listed(here(view), self.time))).collect()
    }

    /// The connection is in another state.
    pub(super) fn connection_changed(&mut self, status: Status, now: Instant) {
        self.connection.changed(status);
        self.settle_later(now);
    }

    /// The device shows something. The state of the connection comes by [`Room::connection_changed`].
    pub(super) fn shown(&mut self, shown: Shown, now: Instant) -> Vec<Effect> {
        match shown {
            Shown::Entry { conversation, entry } => self.entry(&conversation, entry, now),
            Shown::History { conversation, entries, done } => self.older(&conversation, entries, done),
            Shown::RolledBack { conversation, position } => {
                let Some(view) = self.conversations.get_mut(&conversation) else { return vec![] };
                view.roll_back(position);
                let what =
                    if position == Position::ZERO { "everything".to_owned() } else { format!("what stood behind #{}", position.seq) };
                let name = view.name();
                vec![Effect::Say(format!("· with {name}: the server has lost {what}; what it still has comes again"))]
            }
            Shown::Skipped { conversation, position } => {
                let current = self.current == Current::In(conversation.clone());
                let Some(view) = self.conversations.get_mut(&conversation).filter(|_| current) else { return vec![] };
                // Behind what is on the screen it goes on at another place: the rest is fetched from there backwards.
                view.roll_back(Position::ZERO);
                let up_to = Effect::Say(format!("· much was missed, up to #{}", position.seq));
                vec![up_to, Effect::Do(Act::LoadHistory { conversation, before: None })]
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
            Shown::Membership { conversation, member } => self.membership(&conversation, member),
            Shown::Created { client_message_id, conversation } => self.created(&client_message_id, &conversation),
            Shown::Members { conversation, members } => self.members(&conversation, &members),
            Shown::Opened { user, conversation } => self.opened(&user, &conversation),
            Shown::Held { client_message_id, .. } => {
                self.own.held_kept(&client_message_id);
                self.settle_later(now);
                vec![]
            }
            Shown::Failed(failure) => self.failed(failure),
            Shown::Storing(stores) => vec![Effect::Say(command::storing(stores).to_owned())],
            Shown::Info { conversation, info } => self.told(&conversation, &info),
            // The row says it too.
            Shown::Prefs { .. } | Shown::Connection(_) => vec![],
        }
    }

    fn entry(&mut self, conversation: &ConversationId, entry: Entry, now: Instant) -> Vec<Effect> {
        let from_other = entry.sender != self.me && matches!(entry.kind, EntryKind::Message { .. });
        if from_other {
            self.connection.received();
        }
        self.has(conversation, &entry);
        if self.current != Current::In(conversation.clone()) {
            if from_other {
                *self.news.entry(conversation.clone()).or_default() |= is_mentioned(&entry, &self.me);
                self.settle_later(now);
            }
            return self.invited(conversation, &entry).into_iter().collect();
        }
        let name = (conversation.clone(), entry.client_message_id.clone());
        let on_screen = entry.sender == self.me && self.own.was_typed_here(&name);
        let Some(view) = self.conversations.get_mut(conversation) else { return vec![] };
        let put = view.put(vec![entry], &self.me);
        let mut effects: Vec<_> = put.iter().filter(|_| !on_screen).map(|entry| Effect::Say(text::entry(entry, &self.me))).collect();
        effects.extend(view.mark_read().map(Effect::Do));
        self.settle_later(now);
        effects
    }

    /// The device has this entry.
    pub(super) fn has(&mut self, conversation: &ConversationId, entry: &Entry) {
        let mine = entry.sender == self.me && matches!(entry.kind, EntryKind::Message { .. });
        let view = self.view(conversation);
        view.follow_members(entry);
        if mine {
            view.wrote(entry.position.seq);
        }
    }

    /// The conversation, also where its row is yet to come.
    fn view(&mut self, conversation: &ConversationId) -> &mut ConversationView {
        let empty = || ConversationView::new(ConversationRow::empty(conversation.clone()));
        self.conversations.entry(conversation.clone()).or_insert_with(empty)
    }

    fn conversation(&mut self, row: ConversationRow, unread: u64, now: Instant) -> Vec<Effect> {
        let conversation = row.conversation.clone();
        let with = row.with.clone();
        let view = self.view(&conversation);
        let before = view.row.with.clone();
        view.update(row, unread);
        if let (Some(user), None) = (before, with) {
            self.lost.insert(conversation.clone(), user);
        }
        self.settle_later(now);
        // Who talks to nobody talks to the first who writes.
        if self.current == Current::Nobody && self.news.contains_key(&conversation) {
            return self.turn(&conversation);
        }
        vec![]
    }

    fn outgoing(&mut self, conversation: ConversationId, id: ClientMessageId, state: OutgoingState, now: Instant) -> Vec<Effect> {
        let name = (conversation.clone(), id.clone());
        match state {
            OutgoingState::Waiting => {
                self.own.kept(&name);
                self.settle_later(now);
                vec![]
            }
            OutgoingState::Stored(stored) => {
                let Some(Pending { line, shown, change, .. }) = self.own.stored(name) else { return vec![] };
                let seq = stored.position.seq;
                if let Some(view) = self.conversations.get_mut(&conversation).filter(|_| !change) {
                    view.stored(stored.position);
                }
                let elsewhere = self.elsewhere(&conversation);
                self.ticks_at.get_or_insert(now + TICKS_SETTLE);
                let late = shown || elsewhere.is_some();
                if change && !late {
                    return vec![]; // its entry says it
                }
                vec![Effect::Say(if late { text::stored_late(seq, &line, elsewhere.as_deref()) } else { text::stored(seq) })]
            }
            OutgoingState::Unchanged => {
                let line = self.own.stored(name).map(|pending| format!("· it is so already: {}", text::visible(&pending.line)));
                line.into_iter().map(Effect::Say).collect()
            }
            OutgoingState::Failed(refusal) => {
                let Some(Pending { line, .. }) = self.own.failed(&name) else { return vec![] };
                vec![
                    Effect::Say(text::not_sent(&line, self.elsewhere(&conversation).as_deref(), &text::refused(&refusal))),
                    Effect::Do(Act::Discard { conversation, client_message_id: id }),
                ]
            }
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
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Effect> {
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
        lines.into_iter().map(Effect::Say).collect()
    }

    fn settled(&mut self, now: Instant) -> Vec<String> {
        let mut lines = self.waiting(None);
        lines.extend(self.connection.say(now));
        for (conversation, mentions) in std::mem::take(&mut self.news) {
            if let Some(view) = self.conversations.get(&conversation).filter(|view| view.unread() > 0 && view.disturbs(mentions, self.time))
            {
                lines.push(format!("{} · /with {}", view.listed(false, self.time), view.name()));
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
        let mut lines = self.waiting(None);
        lines.extend(self.own.kept_here());
        lines
    }
}

/// Whether an entry mentions this user.
fn is_mentioned(entry: &Entry, me: &UserId) -> bool {
    matches!(&entry.kind, EntryKind::Message(message) if message.mentions.contains(me))
}

#[cfg(test)]
mod tests;
