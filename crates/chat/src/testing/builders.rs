//! Values for tests, with defaults: every test names only what it is about. All of them panic on a text that is no such id.
#![expect(clippy::missing_panics_doc, reason = "said once for all, in the first lines")]

use chatlane_protocol::{
    Body, ClientMessageId, ConnectionId, ConversationId, DeviceId, EntryKind, ErrorCode, GroupSettings, Metadata, NewMessage, Position,
    Refusal, RequestId, Seq, Title, UnixMillis, UserId, limits,
};

use crate::Settings;
use crate::deployment::{Deployment, Keys, Secret};
use crate::log::admission::Bucket;
use crate::log::kinds::direct_conversation;
use crate::log::{CreatedEntry, Entry, Facts, GroupCreatedEntry, Head, Kept, Kind, MessageEntry, Policy, Role};
use crate::ports::{Connection, Creation, Description, InboxPlace, InboxRow, Joining, Member};
use crate::requests::caller::Caller;
use crate::settings::Limits;
use crate::workers::task::Task;

/// The epoch of everything here.
pub const EPOCH: u32 = 1;

/// The secret of the deployment.
pub const SECRET: Secret = Secret([7; Secret::BYTES]);

/// The start of every test: 2100-01-01. Far ahead, because backends really drop sessions whose time is over.
pub fn start() -> UnixMillis {
    UnixMillis::try_from(4_102_444_800_000).expect("below 2^53")
}

/// The documented defaults, in [`EPOCH`].
pub fn settings() -> Settings {
    Settings { epoch: EPOCH, keys: Keys::of(&SECRET), limits: Limits::DEFAULT }
}

/// The deployment's item, as [`settings`] have it.
pub fn deployment() -> Deployment {
    Deployment { secret: SECRET, epoch: EPOCH }
}

/// The id of the direct conversation of these two.
pub fn direct(one: &UserId, other: &UserId) -> ConversationId {
    direct_conversation(&settings().keys.pairs, one, other)
}

/// A user.
pub fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

/// A conversation.
pub fn conversation(name: &str) -> ConversationId {
    ConversationId::new(name).expect("a conversation id")
}

/// A connection.
pub fn connection(name: &str) -> ConnectionId {
    ConnectionId::new(name).expect("a connection id")
}

/// A device of this number.
pub fn device(number: u8) -> DeviceId {
    DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf0{number:02x}")).expect("a UUID")
}

/// A client message id.
pub fn message_id(name: &str) -> ClientMessageId {
    ClientMessageId::new(name).expect("a client message id")
}

/// A request id.
pub fn request_id(name: &str) -> RequestId {
    RequestId::new(name).expect("a request id")
}

/// A seq.
pub fn seq(number: u64) -> Seq {
    Seq::try_from(number).expect("below 2^53")
}

/// Position `number` of [`EPOCH`].
pub fn position(number: u64) -> Position {
    Position::new(EPOCH, seq(number))
}

/// A `text/plain` body.
pub fn text(text: &str) -> Body {
    Body::text(text).expect("not empty")
}

/// The facts after entry `number` of a direct conversation: entry 1 created it, all others are messages; the bucket is full.
pub fn facts(number: u64) -> Facts {
    Facts {
        count: number.saturating_sub(1),
        membership_changed: Seq::FIRST,
        settings_changed: Seq::ZERO,
        removed: Seq::ZERO,
        policy: Policy::DIRECT,
        members: 2,
        owners: 0,
        members_sum: Some(0),
        unanswered: None,
        bucket: Bucket::full(Policy::DIRECT.admitted_per_s, start()),
        later: Kept::new(),
    }
}

/// Entry `number`: a message of `sender` under the id `<sender>-<number>`, which says the same.
pub fn entry(conversation: &ConversationId, number: u64, sender: &str) -> Entry {
    let name = format!("{sender}-{number}");
    let body = text(&name);
    Entry {
        conversation: conversation.clone(),
        position: position(number),
        sender: user(sender),
        client_message_id: message_id(&name),
        time: start(),
        kind: message_kind(body),
        facts: facts(number),
    }
}

/// A message with this body.
pub fn message_kind(body: Body) -> Kind {
    Kind::Message(MessageEntry::new(body, &settings().keys.bodies))
}

/// The head when the delivery of entry `number` of a direct conversation has begun.
pub fn head(number: u64) -> Head {
    Head { position: position(number), count: facts(number).count, time: start(), group: None }
}

/// Entry `number`, which says this.
pub fn entry_saying(conversation: &ConversationId, number: u64, sender: &str, what: &str) -> Entry {
    Entry { kind: message_kind(text(what)), ..entry(conversation, number, sender) }
}

/// Entry `number`, whose body has so many bytes.
pub fn entry_of_bytes(conversation: &ConversationId, number: u64, sender: &str, bytes: usize) -> Entry {
    entry_saying(conversation, number, sender, &"x".repeat(bytes))
}

/// Bob's largest entry that any version of `send` has taken: its live frame with the longest numbers is 30 KB.
pub fn largest_entry(conversation: &ConversationId, number: u64) -> Entry {
    let one = entry(conversation, number, "bob");
    let rest = chatlane_protocol::Entry::live_frame_bytes_max(
        conversation,
        &one.sender,
        &one.client_message_id,
        EntryKind::Message(text("x").into()),
    ) - 1;
    let mut one = entry_of_bytes(conversation, number, "bob", limits::PAGE_BYTES_MAX - rest);
    (one.time, one.facts.count, one.position.epoch) = (UnixMillis::MAX, limits::INTEGER_MAX, u32::MAX);
    one
}

/// As clients see them.
pub fn wire(entries: &[Entry]) -> Vec<chatlane_protocol::Entry> {
    entries.iter().map(Entry::to_wire).collect()
}

/// The task of entries `first` to `last` of a direct conversation, none of which is its sender's own.
pub fn task(conversation: &ConversationId, first: u64, last: u64) -> Task {
    let Head { position, count, time, group } = head(last);
    let conversation = conversation.clone();
    let (own, queued, first) = (vec![], start(), seq(first));
    Task {
        conversation,
        first,
        last: position,
        count,
        time,
        own,
        queued,
        origin: None,
        sender: None,
        group,
        undelivered: None,
        check: false,
    }
}

/// The same, queued by a request of this user.
pub fn task_by(sender: &str, conversation: &ConversationId, first: u64, last: u64) -> Task {
    Task { sender: Some(settings().keys.users.sender(&user(sender))), ..task(conversation, first, last) }
}

/// What a client is told whose request met a backend that did not answer.
pub fn unavailable() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the outcome is unknown; retry with the same ids").after_ms(100)
}

/// A member from the first entry on.
pub fn member(user: &UserId) -> Member {
    Member { user: user.clone(), role: Role::Member, visible_from: Seq::FIRST, version: Seq::FIRST }
}

/// A row as it comes from its user's inbox.
pub fn place(row: InboxRow) -> InboxPlace {
    (row.conversation.clone(), Ok(row))
}

/// The creation of a direct conversation; the first of the two creates it.
pub fn creation(conversation: &ConversationId, one: &UserId, other: &UserId) -> Creation {
    let created = CreatedEntry::direct(one, other);
    let members = created.members.iter().map(|user| joining(conversation, created.other_than(user), &member(user))).collect();
    let entry = Entry {
        conversation: conversation.clone(),
        position: position(1),
        sender: one.clone(),
        client_message_id: message_id("create"),
        time: start(),
        facts: created.direct_facts(&settings().keys.users, start()),
        kind: Kind::Created(created),
    };
    Creation { entry, members, description: Description::default(), a_day_max: u64::MAX }
}

/// The creation of a group by the first of these, all of whom have had their roles from entry 1 on.
pub fn group_creation(conversation: &ConversationId, members: &[(&str, Role)]) -> Creation {
    let users: Vec<UserId> = members.iter().map(|(name, _)| user(name)).collect();
    let created = GroupCreatedEntry::new(&users[0], &users[1..], GroupSettings::default());
    let owners = members.iter().filter(|(_, role)| *role == Role::Owner).count();
    let facts = Facts { owners: u32::try_from(owners).expect("a few"), ..created.facts(&settings().keys.users, start()) };
    let member = |(user, (_, role)): (&UserId, &(&str, Role))| Member { role: *role, ..member(user) };
    let members = users.iter().zip(members).map(member).map(|member| joining(conversation, None, &member)).collect();
    let entry = Entry { facts, kind: Kind::GroupCreated(created), ..creation(conversation, &users[0], &users[0]).entry };
    Creation { entry, members, description: Description::default(), a_day_max: u64::MAX }
}

/// A group's title and metadata.
pub fn description(title: &str, metadata: &str) -> Description {
    Description { title: Title::new(title).expect("a title"), metadata: Metadata::new(metadata).expect("metadata") }
}

/// The rows of a new member, who has read nothing.
pub fn joining(conversation: &ConversationId, with: Option<&UserId>, member: &Member) -> Joining {
    Joining { member: member.clone(), row: InboxRow::new(conversation.clone(), with.cloned(), member) }
}

/// A session of device 1, accepted at the start, with an hour left.
pub fn session(name: &str) -> Connection {
    Connection { connection: connection(name), device: device(1), connected_at: start(), expires: start().plus_ms(3_600_000) }
}

/// The caller on the connection `<name>-1`, with the session that [`session`] makes of it.
pub fn caller(name: &str) -> Caller {
    let Connection { connection, device, .. } = session(&format!("{name}-1"));
    Caller { user: user(name), device, connection: Some(connection) }
}

/// A message under this id, which says the same.
pub fn message(id: &str, anchor: Position) -> NewMessage {
    NewMessage::new(message_id(id), anchor, text(id))
}
