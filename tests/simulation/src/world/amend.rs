//! What users do to messages: on their devices, and in groups by hand too.

use std::collections::BTreeMap;

use chatlane_chat::log::Kind;
use chatlane_protocol::{Body, ConversationId, Entry, EntryKind, ReactionChange, ReactionKey, Seq, UserId};
use chatlane_session::{Act, Draft, Input};
use serde_json::json;

use super::World;
use crate::script::{Deed, USERS};

/// What is put beside messages: the first three are for everybody.
fn key(number: usize) -> ReactionKey {
    const FEW: [&str; 3] = ["👍", "+1", "ü"];
    ReactionKey::new(FEW.get(number).map_or_else(|| format!("k{number}"), ToString::to_string)).expect("a reaction")
}

/// What is asked for, one request after the other.
#[derive(Clone, Debug)]
enum One {
    Edit,
    Delete,
    React(ReactionKey, ReactionChange),
}

impl Deed {
    fn each(self) -> Vec<One> {
        match self {
            Self::Edit { times, .. } => vec![One::Edit; times],
            Self::Delete { .. } => vec![One::Delete],
            Self::React { key: first, keys, adds } => {
                let change = if adds { ReactionChange::Add } else { ReactionChange::Remove };
                (first..first + keys).map(|number| One::React(key(number), change)).collect()
            }
        }
    }

    /// Whether it is rather done to a message of one's own.
    const fn is_of_own(self) -> bool {
        match self {
            Self::Edit { own, .. } | Self::Delete { own } => own,
            Self::React { .. } => false,
        }
    }

    /// Of these messages (each with its sender), the last one first.
    fn target(self, messages: &[(Seq, &UserId)], me: &UserId, back: usize) -> Option<Seq> {
        let own: Vec<_> = messages.iter().filter(|(_, sender)| *sender == me).copied().collect();
        let among = if self.is_of_own() && !own.is_empty() { &own } else { messages };
        among.get(back.checked_rem(among.len())?).map(|(seq, _)| *seq)
    }
}

impl World {
    /// The user of a device does something to a message that it has.
    pub(crate) fn amend_on(&mut self, device: usize, pick: usize, back: usize, deed: Deed) -> Option<()> {
        let conversation = self.one(device, pick)?;
        let phone = &self.phones[device];
        let row = phone.disk.conversations.get(&conversation)?;
        let has = |entry: &&Entry| entry.position.seq > row.from.seq && entry.position.seq <= row.have.seq;
        let entries = phone.disk.entries.get(&conversation).into_iter().flat_map(BTreeMap::values).rev().filter(has);
        let messages: Vec<(Seq, &UserId)> =
            entries.filter(|entry| matches!(entry.kind, EntryKind::Message(_))).map(|entry| (entry.position.seq, &entry.sender)).collect();
        let target = deed.target(&messages, &phone.user, back)?;
        let mut took_effect = None;
        for one in deed.each() {
            let client_message_id = self.phones[device].next_id("a");
            let draft = match one {
                One::Edit => Draft::Edit { target, body: Body::text(format!("edited by {client_message_id}")).expect("not empty") },
                One::Delete => Draft::Delete { target },
                One::React(key, change) => Draft::react(target, key, change),
            };
            let act = Act::Compose { conversation: conversation.clone(), client_message_id, draft };
            took_effect = self.input(device, Input::Do(act)).then_some(());
        }
        took_effect
    }

    /// Somebody who is a member of a group, or was one, or is none, does something to one of its messages.
    pub(crate) fn amend_by_hand(&mut self, by: usize, pick: usize, back: usize, deed: Deed) -> bool {
        let Some(group) = self.group(pick) else { return false };
        let by = self.by_rank(&group, by);
        let Some(target) = self.message_of(&group, by, back, deed) else { return false };
        let anchor = self.recent_anchor(&group);
        let mut took_effect = false;
        for (number, one) in deed.each().into_iter().enumerate() {
            let text = format!("edited by hand {} {number}", self.number());
            let (action, kind, wanted) = match one {
                One::Edit => ("edit", "edit", json!({"body": {"content_type": "text/plain", "text": text}})),
                One::Delete => ("delete", "deletion", json!({})),
                One::React(key, change) => ("react", "reaction", json!({"key": key, "change": change})),
            };
            let mut request = json!({"action": action, "conversation": group, "anchor": anchor, "target": target});
            if let (Some(request), Some(wanted)) = (request.as_object_mut(), wanted.as_object()) {
                request.extend(wanted.clone());
            }
            took_effect = self.ask(by, request, kind);
        }
        took_effect
    }

    fn message_of(&self, group: &ConversationId, by: usize, back: usize, deed: Deed) -> Option<Seq> {
        let me = UserId::new(USERS[by]).expect("a user");
        let state = self.memory.state();
        let entries = state.log.get(group).into_iter().flat_map(BTreeMap::values).rev();
        let messages = entries.filter(|entry| matches!(entry.kind, Kind::Message(_)));
        let messages: Vec<(Seq, &UserId)> = messages.map(|entry| (entry.position.seq, &entry.sender)).collect();
        deed.target(&messages, &me, back)
    }
}
