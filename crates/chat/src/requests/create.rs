//! `create`: a new group. What changes one is in [`super::change`].

use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome, Stored};
use chatlane_protocol::request::Create;
use chatlane_protocol::{ConversationId, Entry as WireEntry, Position, Role, Seq, UserId};

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::log::append::ATTEMPTS_MAX;
use crate::log::kinds::group_conversation;
use crate::log::room::have_room;
use crate::log::{Entry, GroupCreatedEntry, Kind};
use crate::ports::{
    Clock, Created, Creation, Creations, Description, FanOutQueue, Heads, Joining, Member, MessageLog, ReadBound, ReadCursor,
};
use crate::refusal::Refused;
use crate::settings::Settings;
use crate::workers::dispatch;

/// Makes a group, or finds the one that an earlier attempt has made.
pub async fn create<P>(ports: &P, settings: &Settings, caller: &Caller, request: &Create) -> Result<Done<ChangeAnswer>, Refused>
where
    P: MessageLog + Creations + Heads + FanOutQueue + Clock,
{
    let conversation = group_conversation(&settings.keys.groups, &caller.user, &request.client_message_id);
    let wanted = GroupCreatedEntry::new(&caller.user, &request.users, request.settings.clone());
    let frame_bytes = WireEntry::live_frame_bytes_max(&conversation, &caller.user, &request.client_message_id, wanted.to_wire());
    if frame_bytes > settings.limits.entry_bytes_max {
        return Err(Refused::TooLarge { frame_bytes });
    }
    let mut did = Did::default();
    for _ in 0..ATTEMPTS_MAX {
        let found = ports.read(&conversation, Seq::FIRST, ReadBound::ONE).await?.pop();
        let (entry, became): (Entry, fn(Stored) -> ChangeOutcome) = if let Some(entry) = found {
            did.duplicates = 1;
            let is_wanted =
                matches!(&entry.kind, Kind::GroupCreated(created) if *created == wanted) || matches!(entry.kind, Kind::Later(_));
            (entry, if is_wanted { ChangeOutcome::Duplicate } else { ChangeOutcome::Conflict })
        } else {
            if let Err(refused) = have_room(ports, &wanted.members).await {
                // An earlier attempt may have made it meanwhile, as the last that there was room for.
                if ports.read(&conversation, Seq::FIRST, ReadBound::ONE).await?.is_empty() {
                    return Err(refused);
                }
                continue;
            }
            let creation = creation(ports, settings, conversation.clone(), caller, request, &wanted);
            did.attempts += 1;
            match ports.create(&creation).await? {
                Created::New => {
                    did.stored = 1;
                    (creation.entry, ChangeOutcome::Ok)
                }
                Created::TooMany => return Err(Refused::too_many_opened(ports.now())),
                // Another attempt was faster: read again.
                Created::Exists | Created::Contended => continue,
            }
        };
        // L4: created just now, or by an attempt that died before this line.
        let found = vec![(conversation.clone(), vec![entry.head()])];
        did.tasks = dispatch::queue_not_dispatched(ports, settings.keys.users.sender(&caller.user), found).await?;
        return Ok(Done { answer: ChangeAnswer { id: request.id.clone(), conversation, outcome: became(entry.stored()) }, did });
    }
    Err(Refused::Busy)
}

fn creation<P: Clock>(
    ports: &P,
    settings: &Settings,
    conversation: ConversationId,
    caller: &Caller,
    request: &Create,
    wanted: &GroupCreatedEntry,
) -> Creation {
    let now = ports.now();
    let position = Position::new(settings.epoch, Seq::FIRST);
    let joining = |user: &UserId| {
        let role = if *user == caller.user { Role::Owner } else { Role::Member };
        let member = Member { user: user.clone(), role, visible_from: Seq::FIRST, version: Seq::FIRST };
        Joining::of_group(&conversation, member, ReadCursor { position, count: 0 })
    };
    let members = wanted.members.iter().map(joining).collect();
    let entry = Entry {
        position,
        sender: caller.user.clone(),
        client_message_id: request.client_message_id.clone(),
        time: now,
        facts: wanted.facts(&settings.keys.users, now),
        kind: Kind::GroupCreated(wanted.clone()),
        conversation,
    };
    let GroupCreatedEntry { settings: set, .. } = wanted;
    let description = Description { title: set.title.clone().unwrap_or_default(), metadata: set.metadata.clone().unwrap_or_default() };
    Creation { entry, members, description, a_day_max: settings.limits.opened_a_day_max }
}
