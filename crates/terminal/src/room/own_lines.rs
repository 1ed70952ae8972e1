//! The user's own lines, from typing until the server has stored or refused them.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::{ClientMessageId, ConversationId, Refusal, UserId};
use chatlane_session::{Draft, HeldRow, OutboxRow, OutboxState};

use super::text;

/// Names a message of this device.
pub type MessageName = (ConversationId, ClientMessageId);

/// A line that is not known to be stored.
#[derive(Debug)]
pub struct Pending {
    pub line: String,
    /// It is no message: what comes of it is shown as its entry.
    pub change: bool,
    /// The store of this device has it.
    kept: bool,
    /// Its `○` is on the screen.
    pub shown: bool,
}

impl Pending {
    const fn of(line: String, change: bool, kept: bool) -> Self {
        Self { line, change, kept, shown: false }
    }
}

/// The lines that were typed here. Those of a former run are among them if they have not ended.
#[derive(Debug, Default)]
pub struct OwnLines {
    /// Lines typed to somebody whose conversation is not there yet, in the order of typing.
    held: Vec<(UserId, ClientMessageId, Pending)>,
    pending: BTreeMap<MessageName, Pending>,
    /// The order of typing of the lines in `pending`: it is that of their ids only on one clock.
    typed: Vec<MessageName>,
    /// Messages that failed in a former run, which did not show it.
    failed: Vec<(MessageName, Refusal)>,
    /// Stored, and on the screen as typed: the entry is not shown again.
    placed: BTreeSet<MessageName>,
}

impl OwnLines {
    /// Those that the store held.
    pub fn restored(outbox: Vec<OutboxRow>, held: Vec<HeldRow>) -> Self {
        let mut own = Self::default();
        let kept = |row: HeldRow| (row.user, row.client_message_id, Pending::of(text::words(&row.body.into()), false, true));
        own.held.extend(held.into_iter().map(kept));
        for OutboxRow { conversation, client_message_id, draft, state, .. } in outbox {
            let name = (conversation, client_message_id);
            own.typed.push(name.clone());
            own.pending.insert(name.clone(), Pending::of(text::words(&draft), !matches!(draft, Draft::Message { .. }), true));
            if let OutboxState::Failed(refusal) = state {
                own.failed.push((name, refusal));
            }
        }
        own
    }

    /// The messages that failed in a former run. They stay pending until [`OwnLines::failed`].
    pub fn take_failed(&mut self) -> Vec<(MessageName, Refusal)> {
        std::mem::take(&mut self.failed)
    }

    /// The device has taken a line to `user`, with whom there is no conversation yet.
    pub fn hold(&mut self, user: UserId, id: ClientMessageId, line: String) {
        self.held.push((user, id, Pending::of(line, false, false)));
    }

    /// The store has it.
    pub fn held_kept(&mut self, id: &ClientMessageId) {
        self.held.iter_mut().filter(|(_, held, _)| held == id).for_each(|(.., pending)| pending.kept = true);
    }

    /// The conversation is there: what was typed to `user` is in it.
    pub fn release(&mut self, user: &UserId, conversation: &ConversationId) {
        for (_, id, pending) in self.held.extract_if(.., |(to, ..)| to == user) {
            self.typed.push((conversation.clone(), id.clone()));
            self.pending.insert((conversation.clone(), id), pending);
        }
    }

    /// There will be no conversation: takes what was typed to `user`.
    pub fn refuse(&mut self, user: &UserId) -> impl Iterator<Item = String> {
        self.held.extract_if(.., move |(to, ..)| to == user).map(|(.., pending)| pending.line)
    }

    /// The device has taken a line and writes it into the store.
    pub fn composed(&mut self, name: MessageName, line: String, change: bool) {
        self.typed.push(name.clone());
        self.pending.insert(name, Pending::of(line, change, false));
    }

    /// The store has it.
    pub fn kept(&mut self, name: &MessageName) {
        if let Some(pending) = self.pending.get_mut(name) {
            pending.kept = true;
        }
    }

    /// The server has stored it. `None` for a message that is not pending.
    pub fn stored(&mut self, name: MessageName) -> Option<Pending> {
        let pending = self.end(&name)?;
        if !pending.change {
            self.placed.insert(name);
        }
        Some(pending)
    }

    /// It will not be stored. `None` for a message that is not pending.
    pub fn failed(&mut self, name: &MessageName) -> Option<Pending> {
        self.end(name)
    }

    fn end(&mut self, name: &MessageName) -> Option<Pending> {
        let pending = self.pending.remove(name)?;
        self.typed.retain(|typed| typed != name);
        Some(pending)
    }

    /// Whether the entry of this message is on the screen already, as typed. Entries come once each.
    pub fn was_typed_here(&mut self, name: &MessageName) -> bool {
        self.placed.remove(name) || self.pending.get(name).is_some_and(|pending| !pending.change)
    }

    /// The lines, in one conversation or in all, that are kept and whose `○` is not on the screen yet: in the order of typing, once each.
    pub fn show_waiting(&mut self, conversation: Option<&ConversationId>) -> Vec<(ConversationId, String)> {
        let mut lines = vec![];
        for name in self.typed.iter().filter(|name| conversation.is_none_or(|only| name.0 == *only)) {
            if let Some(pending) = self.pending.get_mut(name).filter(|pending| pending.kept && !pending.shown) {
                pending.shown = true;
                lines.push((name.0.clone(), pending.line.clone()));
            }
        }
        lines
    }

    /// Whether a line has not ended yet.
    pub fn is_waiting(&self) -> bool {
        !(self.pending.is_empty() && self.held.is_empty())
    }

    /// The lines to somebody new that are kept and whose `○` is not on the screen yet, with whom they are for.
    pub fn show_held(&mut self) -> Vec<(UserId, String)> {
        let new = self.held.iter_mut().filter(|(.., pending)| pending.kept && !pending.shown);
        new.map(|(user, _, pending)| {
            pending.shown = true;
            (user.clone(), pending.line.clone())
        })
        .collect()
    }

    /// What is kept and has not ended, as a line.
    pub fn kept_here(&self) -> Option<String> {
        let held = self.held.iter().map(|(.., pending)| pending);
        match self.pending.values().chain(held).filter(|pending| pending.kept).count() {
            0 => None,
            1 => Some("· 1 message waits on this device; it is sent the next time".to_owned()),
            many => Some(format!("· {many} messages wait on this device; they are sent the next time")),
        }
    }
}
