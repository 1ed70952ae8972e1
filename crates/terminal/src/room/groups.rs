//! Groups: their names, who belongs to them, and what is typed to change them or a message.

use std::collections::BTreeSet;

use chatlane_protocol::frames::{GroupInfo, MemberInfo};
use chatlane_protocol::limits::MENTIONS_MAX;
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, EntryKind, Refusal, Role, Title, UserId};
use chatlane_session::{Act, Draft};

use super::{Current, Effect, Room, text};

impl Room {
    /// A message or a change, as it was typed.
    pub(super) fn write(&self, mut draft: Draft) -> Vec<Effect> {
        let Current::In(conversation) = &self.current else {
            return vec![Effect::Say("· no conversation to do that in yet: /with NAME".to_owned())];
        };
        let line = text::words(&draft);
        if let Draft::Message { body, mentions, .. } = &mut draft
            && let (Some(view), chatlane_protocol::Content::Text(said)) = (self.conversations.get(conversation), body.content())
        {
            *mentions = mentioned(said, view.members());
        }
        vec![Effect::Compose { conversation: conversation.clone(), draft, line }]
    }

    pub(super) fn make_group(title: Title, users: Vec<UserId>) -> Vec<Effect> {
        vec![Effect::Create { users, title }]
    }

    /// A group was given to the device under this name.
    pub(in super::super) fn creating(&mut self, id: ClientMessageId, title: Title) {
        self.creating = Some((id, title));
    }

    /// It is made: whoever has just made it talks in it.
    pub(super) fn created(&mut self, id: &ClientMessageId, conversation: &ConversationId) -> Vec<Effect> {
        let Some((_, title)) = self.creating.take_if(|(creating, _)| creating == id) else { return vec![] };
        let row = &mut self.view(conversation).row; // which is yet to be told
        (row.title, row.role) = (Some(title), Some(Role::Owner));
        self.turn(conversation)
    }

    pub(super) fn not_created(&mut self, id: &ClientMessageId, refusal: &Refusal) -> Vec<Effect> {
        self.creating.take_if(|(creating, _)| creating == id);
        vec![Effect::Say(format!("· the group is not made: {}", text::refused(refusal)))]
    }

    pub(super) fn ask_members(&mut self) -> Vec<Effect> {
        let Current::In(conversation) = &self.current else {
            return vec![Effect::Say("· no conversation yet: /with NAME".to_owned())];
        };
        let conversation = conversation.clone();
        self.view(&conversation).wants_members = true;
        vec![Effect::Do(Act::AskMembers { conversation })]
    }

    pub(super) fn ask_settings(&mut self) -> Vec<Effect> {
        let Current::In(conversation) = &self.current else {
            return vec![Effect::Say("· no conversation yet: /with NAME".to_owned())];
        };
        let conversation = conversation.clone();
        self.view(&conversation).wants_settings = true;
        vec![Effect::Do(Act::AskInfo { conversations: vec![conversation] })]
    }

    pub(super) fn members(&mut self, conversation: &ConversationId, members: &[MemberInfo]) -> Vec<Effect> {
        let view = self.view(conversation);
        view.know_members(members.iter().map(|member| member.user.clone()).collect());
        if std::mem::take(&mut view.wants_members) { vec![Effect::Say(text::members(members))] } else { vec![] }
    }

    /// What a group that the user turns to is called, and who belongs to it: they may be mentioned.
    pub(super) fn ask_about(&self, conversation: &ConversationId) -> Vec<Effect> {
        let Some(view) = self.conversations.get(conversation).filter(|view| view.is_group() && !view.row.ended) else { return vec![] };
        let conversation = || conversation.clone();
        let info = view.row.title.is_none().then(|| Effect::Do(Act::AskInfo { conversations: vec![conversation()] }));
        let members = view.members().is_empty().then(|| Effect::Do(Act::AskMembers { conversation: conversation() }));
        info.into_iter().chain(members).collect()
    }

    /// What a group is has been told: how it is set, if the user has asked; its name, if they are in it and did not know that.
    pub(super) fn told(&mut self, conversation: &ConversationId, info: &GroupInfo) -> Vec<Effect> {
        if std::mem::take(&mut self.view(conversation).wants_settings) {
            return vec![Effect::Say(text::settings(info))];
        }
        let here = self.current == Current::In(conversation.clone());
        let unknown = self.conversations.get(conversation).is_some_and(|view| view.row.title.is_none());
        let title = info.settings.title.as_ref().filter(|title| here && unknown && !title.as_str().is_empty());
        title.map(|title| Effect::Say(format!("· the group is called {}", text::visible(title.as_str())))).into_iter().collect()
    }

    /// The user was added, or is a member no more.
    pub(super) fn membership(&mut self, conversation: &ConversationId, member: bool) -> Vec<Effect> {
        let name = self.view(conversation).name();
        let line = if member { "· you are a member again of" } else { "· you are no member any more, what is here stays:" };
        vec![Effect::Say(format!("{line} {name}"))]
    }

    /// Somebody has added the user to a group that is not on the screen.
    pub(super) fn invited(&self, conversation: &ConversationId, entry: &Entry) -> Option<Effect> {
        let EntryKind::Added { users } = &entry.kind else { return None };
        let (by, name) = (text::visible(entry.sender.as_str()), self.conversations.get(conversation)?.name());
        (users.contains(&self.me) && entry.sender != self.me).then(|| Effect::Say(format!("· {by} added you to {name} · /with {name}")))
    }
}

/// The members that a text names as `@name`.
fn mentioned(said: &str, members: &BTreeSet<UserId>) -> Vec<UserId> {
    let names = said.split_whitespace().filter_map(|word| word.strip_prefix('@'));
    let member = |name: &str| {
        let without = name.trim_end_matches(|c: char| c.is_ascii_punctuation());
        members.iter().find(|member| [name, without].contains(&member.as_str())).cloned()
    };
    let mut mentions: Vec<UserId> = vec![];
    for user in names.filter_map(member) {
        if !mentions.contains(&user) && mentions.len() < MENTIONS_MAX {
            mentions.push(user);
        }
    }
    mentions
}
