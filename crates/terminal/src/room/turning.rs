//! Whom the user talks to, and what that begins.

use chatlane_protocol::{ConversationId, UserId};

use super::{Current, Effect, PAGE, Room};
use crate::conversation_view::ConversationView;

impl Room {
    pub(super) fn turn_to(&mut self, peer: UserId) -> Vec<Effect> {
        let known = self.conversations.values().find(|view| view.row.with.as_ref() == Some(&peer));
        if let Some(conversation) = known.map(|view| view.row.conversation.clone()) {
            return self.turn(&conversation);
        }
        let named = |view: &&ConversationView| view.is_group() && view.is_called(peer.as_str());
        if let Some(conversation) = self.conversations.values().find(named).map(|view| view.row.conversation.clone()) {
            return self.turn(&conversation);
        }
        self.current = Current::Opening(peer.clone());
        vec![Effect::Open(peer)]
    }

    pub(super) fn turn(&mut self, conversation: &ConversationId) -> Vec<Effect> {
        self.current = Current::In(conversation.clone());
        self.news.remove(conversation);
        let Some(view) = self.conversations.get(conversation) else { return vec![] };
        let missing = view.row.have.seq.get().saturating_sub(view.shown().seq.get());
        // What this run has shown is still on the screen: all that is new is put behind it.
        let entries = if view.oldest().is_none() { PAGE } else { usize::try_from(missing).unwrap_or(usize::MAX) };
        let mut effects =
            vec![Effect::Say(format!("· talking to {}", view.name())), Effect::Turn { conversation: conversation.clone(), entries }];
        effects.extend(view.row.with.clone().map(Effect::Remember));
        effects.extend(view.row.preferred().unread.then(|| Self::is_seen(conversation)));
        effects.extend(self.ask_about(conversation));
        effects
    }

    pub(super) fn opened(&mut self, user: &UserId, conversation: &ConversationId) -> Vec<Effect> {
        self.view(conversation).row.with.get_or_insert_with(|| user.clone());
        self.own.release(user, conversation);
        if self.current == Current::Opening(user.clone()) {
            return self.turn(conversation);
        }
        // Of the one on the screen the server knows nothing any more: a restore has lost it, or this is another deployment.
        let lost = matches!(&self.current, Current::In(here) if here != conversation && self.lost.get(here) == Some(user));
        let mut effects = vec![];
        if lost {
            effects.push(Effect::Say(
                "· the server does not know this conversation any more; what is written from here on is in a new one".to_owned(),
            ));
            effects.extend(self.turn(conversation));
        }
        effects
    }
}
