//! A device's file of every generation (`tests/fixtures/README.md`): each is read as the values here, and the newest is written.

use std::fmt::Write as _;
use std::path::Path;

use chatlane_client::store::{Store, StoreError};
use chatlane_protocol::frames::MemberCursors;
use chatlane_protocol::{
    Body, ClientMessageId, Content, Entry, EntryKind, ErrorCode, GroupMarks, GroupSettings, Message, Position, Prefs, PrefsChange,
    Reacting, ReactionChange, ReactionCount, ReactionKey, Refusal, Role, Seq, Title, UnixMillis,
};
use chatlane_session::{Change, ConversationRow, Draft, HeldRow, NewGroup, OutboxRow, OutboxState, Restored};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::server::{Folder, device};
use crate::store::{conversation, user};
use generations::generations;

#[path = "../../../../tests/fixtures/generations.rs"]
mod generations;

const LAST: Position = Position::new(u32::MAX, Seq::MAX);

fn at(seq: u64) -> Position {
    Position::new(1, Seq::try_from(seq).unwrap())
}

/// A conversation of which the device has entries, one of which it has none, and one at the end of all numbers. Files of the first version do
/// not say of the last whether it is with somebody, those of the first two hold no message without a conversation, and those of the first
/// three nothing of groups and of what changes messages. Those of the first four hold no preferences.
fn restored(generation: usize) -> Restored {
    let (told, holds, groups, prefers) = (generation > 0, generation >= 7, generation >= 9, generation >= 10);
    let (text, data) = (Body::text("it's\n\"ü\" 😀").unwrap(), Body::new("image/png", Content::Data(vec![0, 127, 255])).unwrap());
    let stale = Refusal { tail: Some(at(9)), ..Refusal::new(ErrorCode::AnchorStale, "far") };
    let restored = Refusal { common: Some(at(2)), ..Refusal::new(ErrorCode::EpochChanged, "").after_ms(5) };
    let row = |order, conversation, anchor, draft, state| {
        let client_message_id = ClientMessageId::new(format!("m{order}")).unwrap();
        OutboxRow { conversation, order, client_message_id, anchor, draft, state }
    };
    let mut outbox = vec![
        row(1, conversation("d-1"), at(4), text.clone().into(), OutboxState::Waiting),
        row(2, conversation("d-1"), at(4), data.into(), OutboxState::Refused(stale)),
        row(3, conversation("g-1"), LAST, text.clone().into(), OutboxState::Failed(restored)),
    ];
    let users = || vec![user("auth0|b'ob"), user("cärol's")];
    let settings = || GroupSettings { title: Some(Title::new("Tr'am").unwrap()), locked: Some(true), ..GroupSettings::default() };
    if groups {
        let drafts = [
            Draft::Message { body: text.clone(), reply_to: Some(at(3).seq), mentions: users() },
            Draft::Edit { target: at(3).seq, body: text },
            Draft::Delete { target: at(3).seq },
            Draft::react(at(3).seq, ReactionKey::new("👍'").unwrap(), ReactionChange::Remove),
            Draft::Add { users: users() },
            Draft::Remove { users: users() },
            Draft::Leave { successor: Some(user("cärol's")) },
            Draft::Role { user: user("cärol's"), role: Role::Admin },
            Draft::Settings { settings: settings() },
            Draft::Close,
        ];
        outbox.extend((5..).zip(drafts).map(|(order, draft)| row(order, conversation("g-2"), at(5), draft, OutboxState::Waiting)));
    }
    let entries = ConversationRow {
        with: Some(user("auth0|b'ob")),
        told: true,
        from: at(1),
        have: at(5),
        have_count: 3,
        head: at(7),
        head_count: 5,
        acked: at(4),
        read: at(3),
        read_count: 2,
        read_pending: true,
        others: vec![MemberCursors { user: user("auth0|b'ob"), delivered: at(5), read: at(4) }],
        ..ConversationRow::empty(conversation("d-1"))
    };
    let last = ConversationRow {
        told,
        from: LAST,
        have: LAST,
        have_count: (1 << 53) - 1,
        head: LAST,
        head_count: (1 << 53) - 1,
        ..ConversationRow::empty(conversation("g-1"))
    };
    let name = |name: &str| ClientMessageId::new(name).unwrap();
    let (body, (client_message_id, opening)) = (Body::text("hi, it's me 😀").unwrap(), (name("m4"), name("o4")));
    let held = holds.then(|| HeldRow { user: user("cärol's"), order: 4, client_message_id, opening, body });
    let mut conversations = vec![entries, ConversationRow::empty(conversation("d-2")), last];
    conversations.extend(groups.then(|| ConversationRow {
        told: true,
        amended: at(8).seq,
        role: Some(Role::Moderator),
        group: Some(GroupMarks { members: 200, membership_changed: at(4).seq, settings_changed: at(5).seq, large: true }),
        title: settings().title,
        titled: at(5).seq,
        member_at: at(9),
        ended: true,
        ..ConversationRow::empty(conversation("g-2"))
    }));
    conversations.extend(prefers.then(|| ConversationRow {
        told: true,
        read_private: true,
        mentioned: at(8).seq,
        prefs: Prefs { version: 3, muted_until_ms: Some(UnixMillis::MAX), mentions: true, pinned: true, archived: true, unread: true },
        wished: PrefsChange { muted_until_ms: Some(UnixMillis::ZERO), pinned: Some(false), ..PrefsChange::default() },
        ..ConversationRow::empty(conversation("g-3"))
    }));
    let group = groups.then(|| NewGroup { order: 15, client_message_id: name("m15"), users: users(), settings: settings() });
    Restored { conversations, outbox, held: held.into_iter().collect(), groups: group.into_iter().collect() }
}

/// One of each kind, but of later ones only the name in files of the first version.
fn entries(generation: usize) -> Vec<Entry> {
    let kinds = [
        EntryKind::Created { members: vec![user("alice"), user("auth0|b'ob")] },
        EntryKind::Message(Body::text("it's\n\"ü\" 😀").unwrap().into()),
        EntryKind::Message(Body::new("image/png", Content::Data(vec![0, 127, 255])).unwrap().into()),
        EntryKind::Unknown,
    ];
    let entry = |(seq, kind)| Entry {
        position: at(seq),
        sender: user("auth0|b'ob"),
        client_message_id: ClientMessageId::new(format!("b{seq}")).unwrap(),
        time_ms: UnixMillis::MAX,
        count: seq - 2,
        kind,
        as_it_came: None,
    };
    let mut entries: Vec<Entry> = (2..).zip(kinds).map(entry).collect();
    if generation > 0
        && let Some(later) = entries.pop()
    {
        let Value::Object(said) = json!({ "kind": "reaction", "to": 4, "with": ["it's", 1.5] }) else { panic!("an object") };
        entries.push(later.saying(said));
    }
    if generation >= 9 {
        entries.extend((6..).zip(of_groups()).map(entry));
    }
    entries
}

/// What is about messages, as it is when it was folded, and what groups have.
fn of_groups() -> Vec<EntryKind> {
    let (text, third) = (|| Body::text("it's \"ü\" 😀").unwrap(), at(6).seq);
    let seq = |seq| at(seq).seq;
    let users = || vec![user("alice"), user("cärol's")];
    let settings = || GroupSettings { title: Some(Title::new("Tr'am").unwrap()), ..GroupSettings::default() };
    let key = || ReactionKey::new("👍'").unwrap();
    let reactions = vec![ReactionCount { key: key(), count: 1, mine: None }];
    let (reply_to, mentions) = (Some(seq(3)), users());
    vec![
        EntryKind::Message(Message { body: text(), reply_to, mentions, edited: Some(seq(7)), reactions, reactions_to: Some(seq(8)) }),
        EntryKind::Edit { target: third, body: Some(text()) },
        EntryKind::Reaction(Reacting { target: third, key: key(), change: ReactionChange::Add }),
        EntryKind::Deleted,
        EntryKind::Edit { target: seq(9), body: None },
        EntryKind::Deletion { target: seq(9) },
        EntryKind::Hidden,
        EntryKind::GroupCreated { members: users(), settings: settings() },
        EntryKind::Added { users: users() },
        EntryKind::Removed { users: users() },
        EntryKind::Left { successor: Some(user("cärol's")) },
        EntryKind::Role { user: user("cärol's"), role: Role::Admin },
        EntryKind::Settings { settings: settings() },
        EntryKind::Closed,
    ]
}

/// A file, through the store; only the device's id, which is drawn at random, is put in past it.
fn write(path: &Path) {
    drop(Store::open(path, &user("alice")).unwrap());
    Connection::open(path).unwrap().execute("UPDATE device SET device = ?1", [device().to_string()]).unwrap();
    let Restored { conversations, outbox, held, groups } = restored(10);
    let mut changes: Vec<Change> = conversations.into_iter().map(Change::Conversation).collect();
    changes.push(Change::Entries { conversation: conversation("d-1"), entries: entries(9) });
    changes.extend(outbox.into_iter().map(Change::Outbox));
    changes.extend(held.into_iter().map(Change::Held));
    changes.extend(groups.into_iter().map(Change::Group));
    Store::open(path, &user("alice")).unwrap().apply(&changes).unwrap();
}

/// The file as SQL that makes it: its marks, its tables, their rows.
fn dump(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    let texts = |query: &str| -> Vec<String> {
        let mut statement = connection.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut sql = String::new();
    for pragma in ["application_id", "user_version"] {
        let value: i32 = connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
        writeln!(sql, "PRAGMA {pragma} = {value};").unwrap();
    }
    for table in texts("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name") {
        writeln!(sql, "{table};").unwrap();
    }
    for table in texts("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        let columns = texts(&format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')")).join(" || ', ' || ");
        for row in texts(&format!("SELECT {columns} FROM {table} ORDER BY 1")) {
            writeln!(sql, "INSERT INTO {table} VALUES ({row});").unwrap();
        }
    }
    sql
}

#[test]
fn device_files_of_every_generation_are_read_and_the_newest_is_written() {
    let folder = Folder::new();
    let path = folder.0.join("written.sqlite");
    write(&path);
    for (generation, sql) in generations("device.sql", &dump(&path)) {
        let path = folder.0.join(format!("{generation}.sqlite"));
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        let store = Store::open(&path, &user("alice")).unwrap();
        assert_eq!((store.device(), store.restore().unwrap()), (device(), restored(generation)));
        assert_eq!(store.entries(&conversation("d-1"), None, 99).unwrap(), entries(generation));
        assert_eq!(store.entries(&conversation("d-2"), None, 9).unwrap(), []);
    }
}

/// A version that did not know them has kept an edit, a reaction and a deletion as they came.
// holds: K1
#[test]
fn what_a_version_before_kept_as_it_came_is_folded_once() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("before.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(include_str!("../../../../tests/fixtures/generation-7/device.sql")).unwrap();
    let edited = EntryKind::Edit { target: at(3).seq, body: Some(Body::text("edited").unwrap()) };
    let reacting = Reacting { target: at(3).seq, key: ReactionKey::new("b").unwrap(), change: ReactionChange::Add };
    let gone = EntryKind::Edit { target: at(4).seq, body: Some(Body::text("secret").unwrap()) };
    for (seq, kind) in (6..).zip([edited, EntryKind::Reaction(reacting), gone, EntryKind::Deletion { target: at(4).seq }]) {
        let entry = Entry { position: at(seq), kind, ..entries(0).remove(0) };
        let insert = "INSERT INTO entries VALUES ('d-1', ?1, ?2)";
        connection.execute(insert, rusqlite::params![seq, serde_json::to_string(&entry).unwrap()]).unwrap();
    }
    drop(connection);
    for _ in 0..2 {
        let entries = Store::open(&path, &user("alice")).unwrap().entries(&conversation("d-1"), None, 9).unwrap();
        let EntryKind::Message(message) = &entries[1].kind else { panic!("{entries:?}") };
        assert_eq!((&message.body, message.edited), (&Body::text("edited").unwrap(), Some(at(6).seq)));
        assert_eq!((message.reactions[0].count, message.reactions_to), (1, Some(at(7).seq)));
        assert_eq!(entries[2].kind, EntryKind::Deleted);
        assert_eq!(entries[6].kind, EntryKind::Edit { target: at(4).seq, body: None });
    }
}

/// Whatever stops it on the way, the file is of the one version or of the other.
// holds: K1
#[test]
fn a_file_that_cannot_be_brought_forward_whole_is_left_as_it_is() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("first.sqlite");
    let edit = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    edit(include_str!("../../../../tests/fixtures/generation-0/device.sql"));
    edit("CREATE TRIGGER full BEFORE UPDATE ON conversations BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    let before = dump(&path);
    let opened = Store::open(&path, &user("alice"));
    assert!(matches!(opened, Err(StoreError::Sqlite(_))), "{opened:?}");
    assert_eq!(dump(&path), before);

    edit("DROP TRIGGER full");
    for _ in 0..2 {
        assert_eq!(Store::open(&path, &user("alice")).unwrap().restore().unwrap(), restored(0));
    }
}
