//! What the device could not do.

use chatlane_protocol::{ConversationId, Refusal, UserId};
use chatlane_session::Failure;

use super::{Current, Effect, Room, text};

impl Room {
    pub(super) fn failed(&mut self, failure: Failure) -> Vec<Effect> {
        match failure {
            Failure::Open { user, refusal } => self.open_failed(&user, &refusal),
            Failure::OtherUser(user) => {
                let name = text::visible(user.as_str());
                vec![Effect::Say(format!("· the token is one of {name}: it opens nothing of what is here; sign in as before"))]
            }
            Failure::History { conversation, refusal } => {
                vec![Effect::Say(format!("· no history{}: {}", self.with(&conversation), text::refused(&refusal)))]
            }
            Failure::Group { conversation, refusal } => {
                let view = self.view(&conversation);
                (view.wants_members, view.wants_settings) = (false, false);
                vec![Effect::Say(format!("· nothing is told of the group{}: {}", self.with(&conversation), text::refused(&refusal)))]
            }
            Failure::Prefs { conversation, refusal } => {
                vec![Effect::Say(format!("· it stays as it was{}: {}", self.with(&conversation), text::refused(&refusal)))]
            }
            Failure::Create { client_message_id, refusal } => self.not_created(&client_message_id, &refusal),
            Failure::NoConversation(conversation) => {
                vec![Effect::Say(format!("· this conversation{} is not there any more", self.with(&conversation)))]
            }
        }
    }

    fn with(&self, conversation: &ConversationId) -> String {
        self.elsewhere(conversation).map(|name| format!(" with {name}")).unwrap_or_default()
    }

    fn open_failed(&mut self, user: &UserId, refusal: &Refusal) -> Vec<Effect> {
        let (name, why) = (text::visible(user.as_str()), text::refused(refusal));
        let mut elsewhere = Some(name.as_str());
        if self.current == Current::Opening(user.clone()) {
            (self.current, elsewhere) = (Current::Nobody, None);
        }
        let mut effects = vec![Effect::Say(format!("· cannot talk to {name}: {why}"))];
        effects.extend(self.own.refuse(user).map(|line| Effect::Say(text::not_sent(&line, elsewhere, &why))));
        effects
    }
}
