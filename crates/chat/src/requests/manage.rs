//! Groups: `create`, and what changes one: `add`, `remove`, `leave`, `role`, `settings`, `close`. A change is appended as a message is, by
//! the same rules of anchors and ids; what it does is in [`crate::log::change`].

use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome, Stored};
use chatlane_protocol::request::{Add, Close, Create, Leave, Remove, SetRole, SetSettings};
use chatlane_protocol::{ConversationId, Entry as WireEntry, Position, RequestId, Role, Seq, UserId};

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::log::append::{ATTEMPTS_MAX, Appended, Appender};
use crate::log::draft::Draft;
use crate::log::kinds::group_conversation;
use crate::log::{ChangeEntry, Entry, GroupCreatedEntry, Kind};
use crate::ports::{
    Clock, Created, Creation, Creations, Description, FanOutQueue, Heads, Joining, Member, Memberships, MessageLog, ReadBound, ReadCursor,
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

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Echoed.
    pub id: RequestId,
    /// Which group.
    pub conversation: ConversationId,
    /// What it is called, where it is made, and what it is.
    pub draft: Draft<ChangeEntry>,
}

/// A request as the change that it asks for.
macro_rules! asks {
    ($($Request:ident as |$request:ident| $wanted:expr;)*) => {
        $(
            impl From<&$Request> for Asked {
                fn from($request: &$Request) -> Self {
                    Self {
                        id: $request.id.clone(),
                        conversation: $request.conversation.clone(),
                        draft: Draft { client_message_id: $request.client_message_id.clone(), anchor: $request.anchor, kind: $wanted },
                    }
                }
            }
        )*
    };
}

asks! {
    Add as |request| ChangeEntry::Added(sorted(&request.users));
    Remove as |request| ChangeEntry::Removed(sorted(&request.users));
    Leave as |request| ChangeEntry::Left { successor: request.successor.clone() };
    SetRole as |request| ChangeEntry::Role { user: request.user.clone(), role: request.role };
    SetSettings as |request| ChangeEntry::Settings(request.settings.clone());
    Close as |request| ChangeEntry::Closed;
}

fn sorted(users: &[UserId]) -> Vec<UserId> {
    let mut users = users.to_vec();
    users.sort();
    users
}

/// Appends the change, with its rows, and queues its delivery: to all devices of the members, and of those whom it names.
pub async fn change<P>(ports: &P, settings: &Settings, caller: &Caller, asked: &Asked) -> Result<Done<ChangeAnswer>, Refused>
where
    P: MessageLog + Memberships + Creations + Heads + FanOutQueue + Clock,
{
    let Asked { id, conversation, draft } = asked;
    let mut appender = Appender::new(ports, settings, conversation, &caller.user);
    let became = appender.append(draft).await?;
    let mut did = Did { attempts: appender.puts(), ..Did::default() };
    let sender = settings.keys.users.sender(&caller.user);
    let outcome = match became {
        Appended::New(entry) => {
            did.stored = 1;
            let head = entry.head();
            ports.enqueue(&dispatch::task(conversation, (head.position.seq, head), sender, ports.now()), 0).await?;
            did.tasks = 1;
            ChangeOutcome::Ok(entry.stored())
        }
        Appended::Duplicate(entry) => {
            did.duplicates = 1;
            // L4: the attempt that stored it may have died before its enqueue.
            did.tasks = dispatch::queue_not_dispatched(ports, sender, vec![(conversation.clone(), vec![entry.head()])]).await?;
            ChangeOutcome::Duplicate(entry.stored())
        }
        Appended::Conflict(entry) => ChangeOutcome::Conflict(entry.stored()),
        Appended::Unchanged => ChangeOutcome::Unchanged,
    };
    Ok(Done { answer: ChangeAnswer { id: id.clone(), conversation: conversation.clone(), outcome }, did })
}
