//! The group that users race for: how it begins, and what they want of it.

use chatlane_protocol::request::Create;
use chatlane_protocol::{ClientMessageId, ConversationId, GroupSettings, History, Position, RequestId, Role, Title, UserId};
use futures_util::FutureExt as _;

use super::Scene;
use super::rng::Rng;
use crate::log::ChangeEntry;
use crate::log::draft::Draft;
use crate::requests::caller::Caller;
use crate::requests::manage::{Asked, change, create};
use crate::settings::Settings;
use crate::testing::memory::Memory;

/// Alice and bob own it or alice alone, carol moderates or administrates it, dave is a member, erin is none.
pub(super) fn created(memory: &Memory, settings: &Settings, rng: &mut Rng) -> ConversationId {
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
    conversation
}

fn do_now(memory: &Memory, settings: &Settings, who: &Caller, conversation: &ConversationId, draft: Draft<ChangeEntry>) {
    let asked = Asked { id: request_id(), conversation: conversation.clone(), draft };
    let done = change(memory, settings, who, &asked).now_or_never().and_then(Result::ok);
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

/// What a user who is one of `users` wants next; `None`: to send messages. Most of it is about `focus`: so they meet.
pub(super) fn wish(rng: &mut Rng, user: &UserId, users: &[UserId], focus: &UserId) -> Option<ChangeEntry> {
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
