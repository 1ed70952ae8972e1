//! Entries of the store, and of the server's history, as they come onto the screen.

use chatlane_protocol::{ConversationId, Entry, Position, Seq};
use chatlane_session::{Act, target};

use super::{Current, Effect, Room};

impl Room {
    /// The store's last entries of a conversation that the user has turned to.
    pub(in super::super) fn turned(&mut self, conversation: &ConversationId, entries: Vec<Entry>) -> Vec<Effect> {
        let Some(view) = self.conversations.get_mut(conversation) else { return vec![] };
        let nothing_here = entries.is_empty() && view.oldest().is_none() && view.row.have != Position::ZERO;
        let is_new_here = view.oldest().is_none();
        let entries = view.put(entries, &self.me);
        let mut effects = vec![];
        if is_new_here && entries.first().is_some_and(|first| first.position.seq > Seq::FIRST) {
            effects.push(Effect::Say("· earlier: /history".to_owned()));
        }
        // What changes a message is told by the message, unless that was on the screen before.
        let told = |entry: &&Entry| !is_new_here || target(entry).is_none();
        effects.extend(entries.iter().filter(told).map(|entry| Effect::Say(view.line(entry, &self.me))));
        effects.extend(view.ticks_anew().map(Effect::Say));
        if nothing_here {
            effects.push(Effect::Do(Act::LoadHistory { conversation: conversation.clone(), before: None }));
        }
        effects.extend(view.mark_read().map(Effect::Do));
        effects.extend(self.waiting(Some(conversation)).into_iter().map(Effect::Say));
        effects
    }

    /// A page of older entries, of the store or of the server; `done`: nothing is before them.
    pub(in super::super) fn older(&mut self, conversation: &ConversationId, entries: Vec<Entry>, done: bool) -> Vec<Effect> {
        let current = self.current == Current::In(conversation.clone());
        let Some(view) = self.conversations.get_mut(conversation).filter(|_| current) else { return vec![] };
        let entries = view.put(entries, &self.me);
        let mut effects = vec![];
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            effects.push(Effect::Say(format!("· earlier, #{} to #{}:", first.position.seq, last.position.seq)));
        }
        effects.extend(entries.iter().filter(|entry| target(entry).is_none()).map(|entry| Effect::Say(view.line(entry, &self.me))));
        let begins = done || entries.first().is_some_and(|first| first.position.seq <= Seq::FIRST);
        effects.push(Effect::Say(if begins { "· that is the beginning" } else { "· further back: /history" }.to_owned()));
        effects.extend(view.mark_read().map(Effect::Do));
        effects
    }
}
