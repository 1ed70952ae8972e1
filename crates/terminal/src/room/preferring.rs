//! What the user prefers about the conversation that they are in, and who has read what they wrote there.

use chatlane_protocol::{ConversationId, PrefsChange, UnixMillis};
use chatlane_session::Act;

use super::{Current, Effect, Room};
use crate::command::{Mute, Preference};
use crate::conversation_view::ConversationView;

const MINUTE_MS: u64 = 60_000;

impl Room {
    /// Said at once: the device keeps it, and says so if the server does not take it.
    pub(super) fn prefer(&mut self, preference: Preference) -> Vec<Effect> {
        let Current::In(conversation) = self.current.clone() else {
            return vec![Effect::Say("· no conversation to do that with yet: /with NAME".to_owned())];
        };
        let now = self.time;
        let view = self.view(&conversation);
        let (is, is_muted) = (view.row.preferred(), view.is_muted(now));
        let mut prefs = PrefsChange::default();
        let says = match preference {
            Preference::Mute(mute) => {
                let until = match mute {
                    Mute::ForMinutes(minutes) => now.plus_ms(minutes.saturating_mul(MINUTE_MS)),
                    Mute::Toggle if !is_muted => UnixMillis::MAX,
                    Mute::Toggle | Mute::Off => UnixMillis::ZERO,
                };
                let is_off = until == UnixMillis::ZERO;
                (prefs.muted_until_ms, prefs.mentions) = (Some(until), (!is_off).then_some(true));
                if is_off { "muted no more".to_owned() } else { "muted, but for what mentions you".to_owned() }
            }
            Preference::Pinned => toggle(&mut prefs.pinned, is.pinned, "pinned"),
            Preference::Archived => toggle(&mut prefs.archived, is.archived, "archived"),
            Preference::Unread => toggle(&mut prefs.unread, is.unread, "marked as unread"),
        };
        vec![Effect::Say(format!("· this conversation is {says}")), Effect::Do(Act::Prefer { conversation, prefs })]
    }

    /// The user has opened a conversation that was to look unread.
    pub(super) fn is_seen(conversation: &ConversationId) -> Effect {
        let prefs = PrefsChange { unread: Some(false), ..PrefsChange::default() };
        Effect::Do(Act::Prefer { conversation: conversation.clone(), prefs })
    }

    /// Who has the user's last message. `ping` asks again how far the others of a group are: nothing else tells it.
    pub(super) fn read_by(&self) -> Vec<Effect> {
        let Current::In(conversation) = &self.current else {
            return vec![Effect::Say("· no conversation yet: /with NAME".to_owned())];
        };
        let line = self.conversations.get(conversation).and_then(ConversationView::readers);
        let look = Effect::Do(Act::Look { conversations: vec![conversation.clone()] });
        vec![Effect::Say(line.unwrap_or_else(|| "· nothing of yours is on the screen".to_owned())), look]
    }
}

/// Sets what is not so, or takes it away; answers the words for it.
fn toggle(change: &mut Option<bool>, is: bool, word: &str) -> String {
    *change = Some(!is);
    if is { format!("{word} no more") } else { word.to_owned() }
}
