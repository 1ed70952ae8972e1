//! `open`: the direct conversation of two users, found or created. Idempotent: its id derives from the two users.

use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{ConversationId, Position, Seq, UserId};

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::log::append::ATTEMPTS_MAX;
use crate::log::kinds::direct_conversation;
use crate::log::{CreatedEntry, Entry, Head, Kind, Role};
use crate::ports::{
    Clock, Created, Creation, Creations, Description, FanOutQueue, Heads, InboxRow, Joining, Member, MessageLog, ReadBound,
};
use crate::refusal::Refused;
use crate::settings::Settings;
use crate::workers::dispatch;

/// Finds or creates the conversation and sees to it that entry 1 is delivered, to all devices of both users.
pub async fn open<P>(ports: &P, settings: &Settings, caller: &Caller, request: &Open) -> Result<Done<OpenAnswer>, Refused>
where
    P: MessageLog + Creations + Heads + FanOutQueue + Clock,
{
    if request.with == caller.user {
        return Err(Refused::WithOneself);
    }
    let conversation = direct_conversation(&settings.keys.pairs, &caller.user, &request.with);
    let mut did = Did::default();
    for _ in 0..ATTEMPTS_MAX {
        let found = ports.read(&conversation, Seq::FIRST, ReadBound::ONE).await?;
        let (first, time, head) = if let Some(entry) = found.first() {
            let heads = ports.heads(std::slice::from_ref(&conversation)).await?;
            (entry.position, entry.time, heads.first().map_or(Position::ZERO, |head| head.position))
        } else {
            let creation = creation(ports, settings, conversation.clone(), caller, request);
            did.attempts += 1;
            match ports.create(&creation).await? {
                Created::New => {
                    did.stored = 1;
                    (creation.entry.position, creation.entry.time, Position::ZERO)
                }
                Created::TooMany => return Err(Refused::too_many_opened(ports.now())),
                // Somebody else was faster: read again and go on.
                Created::Exists | Created::Contended => continue,
            }
        };
        if head < first {
            // L4: created just now, or by somebody who died before this line.
            let head = Head { position: first, time, ..Head::default() }; // entry 1 is no message
            let sender = settings.keys.users.sender(&caller.user);
            ports.enqueue(&dispatch::task(&conversation, (first.seq, head), sender, ports.now()), 0).await?;
            did.tasks = 1;
        }
        let conversation = ConversationHead { conversation, with: Some(request.with.clone()), head: head.max(first) };
        return Ok(Done { answer: OpenAnswer { id: request.id.clone(), conversation }, did });
    }
    Err(Refused::Busy)
}

fn creation<P: Clock>(ports: &P, settings: &Settings, conversation: ConversationId, caller: &Caller, request: &Open) -> Creation {
    let now = ports.now();
    let created = CreatedEntry::direct(&caller.user, &request.with);
    let member = |user: &UserId| Member { user: user.clone(), role: Role::Member, visible_from: Seq::FIRST, version: Seq::FIRST };
    let joining = |user: &UserId| {
        let member = member(user);
        let with = created.other_than(user).cloned();
        Joining { row: InboxRow::new(conversation.clone(), with, &member), member }
    };
    let members = created.members.iter().map(joining).collect();
    let entry = Entry {
        conversation,
        position: Position::new(settings.epoch, Seq::FIRST),
        sender: caller.user.clone(),
        client_message_id: request.client_message_id.clone(),
        time: now,
        facts: created.direct_facts(&settings.keys.users, now),
        kind: Kind::Created(created),
    };
    Creation { entry, members, description: Description::default(), a_day_max: settings.limits.opened_a_day_max }
}
