//! What facts are made of: entries, rows and answers, all about conversation `d1` of alice with bob.

use chatlane_protocol::frames::{self, ConversationHead, ConversationStatus, HelloAnswer, Limits, Stored, Versions};
use chatlane_protocol::{
    Body, ClientMessageId, ConversationId, DeviceId, Entry, EntryKind, ErrorCode, GroupMarks, GroupSettings, Outcome, Position, Refusal,
    RequestId, Role, Seq, Title, UnixMillis, UserId,
};
use chatlane_session::Settings;

pub const DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";

/// Patience of a phone, but cursors do not wait for each other: most facts are about something else.
pub fn settings() -> Settings {
    Settings { cursors_wait_ms: 0, ..Settings::new(user("alice"), DeviceId::new(DEVICE).unwrap()) }
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn conversation(id: &str) -> ConversationId {
    ConversationId::new(id).unwrap()
}

pub fn d1() -> ConversationId {
    conversation("d1")
}

pub fn d2() -> ConversationId {
    conversation("d2")
}

pub fn message_id(id: &str) -> ClientMessageId {
    ClientMessageId::new(id).unwrap()
}

pub fn body(text: &str) -> Body {
    Body::text(format!("says {text}")).unwrap()
}

pub fn at(seq: u64) -> Position {
    at_epoch(1, seq)
}

pub fn at_epoch(epoch: u32, seq: u64) -> Position {
    Position::new(epoch, Seq::try_from(seq).unwrap())
}

/// Bob's entry at this place; the first one is `created`, all others are messages.
pub fn entry(epoch: u32, seq: u64) -> Entry {
    let id = format!("b-{epoch}-{seq}");
    let kind = match seq {
        1 => EntryKind::Created { members: vec![user("alice"), user("bob")] },
        _ => EntryKind::Message(body(&id).into()),
    };
    let position = at_epoch(epoch, seq);
    Entry {
        position,
        sender: user("bob"),
        client_message_id: message_id(&id),
        time_ms: UnixMillis::ZERO,
        count: seq - 1,
        kind,
        as_it_came: None,
    }
}

pub fn entries(epoch: u32, seqs: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    seqs.into_iter().map(|seq| entry(epoch, seq)).collect()
}

/// The phone's own message at this place.
pub fn own_entry(id: &str, seq: u64) -> Entry {
    let kind = EntryKind::Message(body(id).into());
    Entry { sender: user("alice"), client_message_id: message_id(id), kind, ..entry(1, seq) }
}

pub fn stored(seq: u64) -> Stored {
    stored_at(at(seq))
}

pub fn stored_at(position: Position) -> Stored {
    Stored { position, time_ms: UnixMillis::ZERO, count: position.seq.get() - 1 }
}

pub fn refusal(code: ErrorCode) -> Refusal {
    Refusal::new(code, "")
}

pub fn refused(code: ErrorCode) -> Outcome {
    Outcome::Refused(refusal(code))
}

/// The anchor is too far behind this end of the log.
pub fn stale(tail: Position) -> Outcome {
    Outcome::Refused(Refusal { tail: Some(tail), ..refusal(ErrorCode::AnchorStale) })
}

/// The log was restored from a backup; this is the last entry that both have.
pub fn restored_to(common: Position) -> Refusal {
    Refusal { common: Some(common), ..refusal(ErrorCode::EpochChanged) }
}

/// `d1` as `hello` answers it.
pub fn row(head: Position, read: Position) -> frames::ConversationRow {
    frames::ConversationRow {
        role: None,
        group: None,
        conversation: ConversationHead { conversation: d1(), with: Some(user("bob")), head },
        count: head.seq.get().saturating_sub(1),
        time_ms: UnixMillis::ZERO,
        read,
        read_count: read.seq.get().saturating_sub(1),
        read_private: false,
        mentioned: None,
        prefs: None,
        last: None,
    }
}

/// The same with its last entry.
pub fn row_with_last(head: Position, read: Position) -> frames::ConversationRow {
    frames::ConversationRow { last: Some(entry(head.epoch, head.seq.get())), ..row(head, read) }
}

/// `d1` as `ping` answers it.
pub fn status(head: u64, count: u64) -> ConversationStatus {
    ConversationStatus { conversation: d1(), head: at(head), count, own: None, cursors: vec![] }
}

pub fn hello_answer(id: RequestId, conversations: Vec<frames::ConversationRow>, next: Option<ConversationId>) -> HelloAnswer {
    HelloAnswer {
        id,
        versions: Versions { min: 1, max: 1 },
        user: user("alice"),
        device: DeviceId::new(DEVICE).unwrap(),
        server_time_ms: UnixMillis::ZERO,
        epoch: 1,
        reconnect_in_ms: 6_000_000,
        expires_ms: UnixMillis::ZERO.plus_ms(36_000_000),
        limits: Limits::DEFAULT,
        conversations,
        gone: vec![],
        next,
    }
}

/// An entry of bob's of this kind.
pub fn entry_of(seq: u64, kind: EntryKind) -> Entry {
    Entry { kind, ..entry(1, seq) }
}

pub fn removed(seq: u64, name: &str) -> Entry {
    entry_of(seq, EntryKind::Removed { users: vec![user(name)] })
}

pub fn added(seq: u64, name: &str) -> Entry {
    entry_of(seq, EntryKind::Added { users: vec![user(name)] })
}

/// `d1` as `hello` answers it where it is a group of three.
pub fn group_row(head: Position) -> frames::ConversationRow {
    let group = GroupMarks { members: 3, membership_changed: head.seq, settings_changed: Seq::FIRST, large: false };
    let told = ConversationHead { conversation: d1(), with: None, head };
    frames::ConversationRow { conversation: told, role: Some(Role::Member), group: Some(group), ..row(head, Position::ZERO) }
}

pub fn group_created(title: &str) -> EntryKind {
    EntryKind::GroupCreated { members: vec![user("alice"), user("bob")], settings: titled(title) }
}

pub fn titled(title: &str) -> GroupSettings {
    GroupSettings { title: Some(Title::new(title).unwrap()), ..GroupSettings::default() }
}
