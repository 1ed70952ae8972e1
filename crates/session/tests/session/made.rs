//! What facts are made of: a store, entries, rows and answers, all about conversation `d1` of alice with bob.

use chatlane_protocol::frames::{self, ConversationHead, HelloAnswer, Limits, Stored, Versions};
use chatlane_protocol::{Body, ClientMessageId, ConversationId, DeviceId, Entry, EntryKind, Position, RequestId, Seq, UnixMillis, UserId};
use chatlane_session::{ConversationRow, Settings};

use crate::phone::Shelf;

pub const DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";

/// A store that knows conversation `d1` with bob, and has it up to this entry.
pub fn knows(seq: u64) -> Shelf {
    let mut store = Shelf::default();
    let have = if seq == 0 { Position::ZERO } else { at(seq) };
    let row = ConversationRow {
        with: Some(user("bob")),
        have,
        have_count: seq.saturating_sub(1),
        head: have,
        head_count: seq.saturating_sub(1),
        acked: have,
        ..ConversationRow::empty(d1())
    };
    store.rows.insert(d1(), row);
    for seq in 1..=seq {
        store.entries.insert((d1(), at(seq).seq), entry(1, seq));
    }
    store
}

pub fn settings() -> Settings {
    Settings::new(user("alice"), DeviceId::new(DEVICE).unwrap())
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn d1() -> ConversationId {
    ConversationId::new("d1").unwrap()
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
        _ => EntryKind::Message { body: body(&id) },
    };
    let position = at_epoch(epoch, seq);
    Entry { position, sender: user("bob"), client_message_id: message_id(&id), time_ms: UnixMillis::ZERO, count: seq - 1, kind }
}

/// The phone's own message at this place.
pub fn own_entry(id: &str, seq: u64) -> Entry {
    let kind = EntryKind::Message { body: body(id) };
    Entry { sender: user("alice"), client_message_id: message_id(id), kind, ..entry(1, seq) }
}

pub fn stored(seq: u64) -> Stored {
    stored_at(at(seq))
}

pub fn stored_at(position: Position) -> Stored {
    Stored { position, time_ms: UnixMillis::ZERO, count: position.seq.get() - 1 }
}

/// `d1` as `hello` answers it.
pub fn row(head: Position, read: Position) -> frames::ConversationRow {
    frames::ConversationRow {
        conversation: ConversationHead { conversation: d1(), with: Some(user("bob")), head },
        count: head.seq.get().saturating_sub(1),
        time_ms: UnixMillis::ZERO,
        read,
        read_count: read.seq.get().saturating_sub(1),
        last: None,
    }
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
        limits: Limits {
            entry_bytes_max: 30 * 1024,
            request_bytes_max: 32 * 1024,
            messages_per_send_max: 25,
            anchor_entries_max: 200,
            anchor_bytes_max: 128 * 1024,
            gap_wait_ms: 500,
            ping_after_idle_ms: 240_000,
            cursors_every_ms: 1_000,
        },
        conversations,
        next,
    }
}
