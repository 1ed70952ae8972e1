//! The group that users race for: how it begins, and what they want of it.

use chatlane_protocol::request::{Create, NewMessage, SendMessages};
use chatlane_protocol::{
    Body, ClientMessageId, ConversationId, GroupSettings, History, Position, Reacting, ReactionChange, ReactionKey, RequestId, Role, Seq,
    Title, UserId,
};
use futures_util::FutureExt as _;

use super::Scene;
use super::device::Log;
use super::frame::Wanted;
use super::rng::Rng;
use crate::log::draft::Draft;
use crate::log::{AmendmentEntry, ChangeEntry, Kind};
use crate::requests;
use crate::requests::caller::Caller;
use crate::requests::change::Asked;
use crate::requests::create::create;
use crate::requests::send::send;
use crate::settings::Settings;
use crate::testing::memory::Memory;

/// Alice and bob own it or alice alone, carol moderates or administrates it, dave is a member, erin is none.
/// In [`Scene::Message`] alice has written something.
pub(super) fn created(memory: &Memory, settings: &Settings, rng: &mut Rng, scene: Scene) -> ConversationId {
    let users: Vec<UserId> = (1..4).map(|index| Scene::Group.caller(index).user).collect();
    let alice = Scene::Group.caller(0);
    let request = Create { id: request_id(), client_message_id: name("created"), users, settings: GroupSettings::default() };
    let created = create(memory, settings, &alice, &request).now_or_never().and_then(Result::ok);
    let conversation = created.expect("the memory backend never waits nor refuses a group").answer.conversation;
    let bob = if rng.one_in(3) { Role::Admin } else { Role::Owner };
    let carol = if rng.one_in(2) { Role::Moderator } else { Role::Admin };
    for (index, role) in [(1, bob), (2, carol)] {
        let kind = ChangeEntry::Role { user: Scene::Group.caller(index).user, role };
        let draft = Draft { client_message_id: name(&format!("role-{index}")), anchor: Position::ZERO, kind };
        do_now(memory, settings, &alice, &conversation, draft);
    }
    if scene == Scene::Message {
        let message = NewMessage::new(name("message"), Position::ZERO, Body::text("x").expect("this is a body"));
        let request = SendMessages { id: request_id(), conversation: conversation.clone(), messages: vec![message] };
        let sent = send(memory, settings, &alice, &request).now_or_never().and_then(Result::ok);
        sent.expect("the memory backend never waits, and an owner may");
    }
    conversation
}

fn do_now(memory: &Memory, settings: &Settings, who: &Caller, conversation: &ConversationId, draft: Draft<ChangeEntry>) {
    let asked = Asked { id: request_id(), conversation: conversation.clone(), draft };
    let done = requests::change::change(memory, settings, who, &asked).now_or_never().and_then(Result::ok);
    done.expect("the memory backend never waits, and an owner may");
}

fn request_id() -> RequestId {
    RequestId::new("r").expect("this is a request id")
}

fn name(name: &str) -> ClientMessageId {
    ClientMessageId::new(name).expect("this is a client message id")
}

/// Whom most changes are about: mostly one of those whom others may remove.
pub(super) fn focus(rng: &mut Rng, users: &[UserId]) -> UserId {
    let first = if rng.one_in(4) { 0 } else { 2 };
    users[first + rng.below(users.len() - first)].clone()
}

/// What a user who is one of `users` wants next; `None`: to send messages. Most of it is about `focus`, or about the first message: so they meet.
pub(super) fn wish(scene: Scene, rng: &mut Rng, user: &UserId, users: &[UserId], focus: &UserId, log: &Log) -> Option<Wanted> {
    let messages = || log.values().filter(|entry| matches!(entry.kind, Kind::Message(_) | Kind::Deleted)).map(|entry| entry.position.seq);
    let is_amendment = if scene == Scene::Message { !rng.one_in(8) } else { rng.one_in(6) };
    if let (true, Some(first)) = (is_amendment, messages().next()) {
        let target = if rng.one_in(4) { messages().nth(rng.below(messages().count())).unwrap_or(first) } else { first };
        return Some(Wanted::Amendment(amendment(rng, target)));
    }
    change(rng, user, users, focus).map(Wanted::Change)
}

fn amendment(rng: &mut Rng, target: Seq) -> AmendmentEntry {
    match rng.below(8) {
        0..=2 => {
            let body = Body::text(["a", "b"][rng.below(2)]).expect("this is a body");
            AmendmentEntry::Edit { target, body: Some(body) }
        }
        3 => AmendmentEntry::Deletion { target },
        _ => {
            let key = ReactionKey::new(["+1", "👍"][rng.below(2)]).expect("this is a reaction");
            let change = if rng.one_in(3) { ReactionChange::Remove } else { ReactionChange::Add };
            AmendmentEntry::Reaction(Reacting { target, key, change })
        }
    }
}

fn change(rng: &mut Rng, user: &UserId, users: &[UserId], focus: &UserId) -> Option<ChangeEntry> {
    const ROLES: [Role; 4] = [Role::Member, Role::Moderator, Role::Admin, Role::Owner];
    // Who is it thinks of all the others.
    let other = |rng: &mut Rng| if user == focus || rng.one_in(4) { users[rng.below(users.len())].clone() } else { focus.clone() };
    let some = |rng: &mut Rng| {
        let mut some = vec![other(rng)];
        some.extend(rng.one_in(4).then(|| other(rng)));
        some.sort();
        some.dedup();
        some
    };
    if user == focus && rng.one_in(2) {
        return None;
    }
    Some(match rng.below(16) {
        0..=2 => return None,
        3..=5 => ChangeEntry::Added(some(rng)),
        6..=8 => ChangeEntry::Removed(some(rng)),
        9 => ChangeEntry::Left { successor: rng.one_in(3).then(|| other(rng)) },
        10..=12 => ChangeEntry::Role { user: other(rng), role: ROLES[rng.below(4)] },
        13 if rng.one_in(4) => ChangeEntry::Closed,
        _ => {
            let role = |rng: &mut Rng| rng.one_in(5).then(|| ROLES[rng.below(4)]);
            let title = rng.one_in(4).then(|| Title::new(if user == focus { "a" } else { "b" }).expect("this is a title"));
            let history = rng.one_in(8).then_some(History::All);
            let (send, add, manage, locked) = (role(rng), role(rng), role(rng), Some(rng.one_in(2)));
            ChangeEntry::Settings(GroupSettings { title, metadata: None, send, add, manage, locked, history })
        }
    })
}
