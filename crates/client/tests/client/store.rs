//! What a device keeps.

use std::fs;
use std::path::Path;

use chatlane_client::store::{Store, StoreError};
use chatlane_protocol::frames::MemberCursors;
use chatlane_protocol::{
    Body, ClientMessageId, Content, ConversationId, Entry, EntryKind, ErrorCode, GroupMarks, GroupSettings, Position, Prefs, PrefsChange,
    Reacting, ReactionChange, ReactionKey, Refusal, Role, Seq, Title, UnixMillis, UserId,
};
use chatlane_session::{Change, ConversationRow, Draft, HeldRow, NewGroup, OutboxRow, OutboxState, Restored};

use crate::server::{Folder, passes_again};

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn conversation(name: &str) -> ConversationId {
    ConversationId::new(name).unwrap()
}

fn at(epoch: u32, seq: u64) -> Position {
    Position::new(epoch, Seq::try_from(seq).unwrap())
}

fn entry(seq: u64, text: &str) -> Entry {
    Entry {
        position: at(1, seq),
        sender: user("bob\u{0}"),
        client_message_id: ClientMessageId::new(format!("b{seq}")).unwrap(),
        time_ms: UnixMillis::MAX,
        count: seq,
        kind: EntryKind::Message(Body::text(text).unwrap().into()),
        as_it_came: None,
    }
}

fn entries(name: &str, seqs: impl IntoIterator<Item = u64>) -> Change {
    Change::Entries { conversation: conversation(name), entries: seqs.into_iter().map(|seq| entry(seq, "text\u{0} 😀")).collect() }
}

fn full_row() -> ConversationRow {
    ConversationRow {
        conversation: conversation("d1"),
        with: Some(user("b'ob\u{0}")),
        told: true,
        from: at(1, 1),
        have: at(2, 2),
        have_count: 3,
        head: at(u32::MAX, Seq::MAX.get()),
        head_count: (1 << 53) - 1,
        acked: at(1, 4),
        read: at(1, 5),
        read_count: 6,
        read_pending: true,
        read_private: true,
        mentioned: Seq::MAX,
        prefs: Prefs { version: 3, muted_until_ms: Some(UnixMillis::MAX), pinned: true, ..Prefs::default() },
        wished: PrefsChange { muted_until_ms: Some(UnixMillis::ZERO), unread: Some(true), ..PrefsChange::default() },
        others: vec![MemberCursors { user: user("bob"), delivered: at(1, 7), read: at(1, 8) }],
        amended: Seq::MAX,
        role: Some(Role::Admin),
        group: Some(GroupMarks { members: 3, membership_changed: Seq::FIRST, settings_changed: Seq::ZERO, large: true }),
        title: Some(Title::new("Tr'am").unwrap()),
        titled: Seq::FIRST,
        member_at: at(1, 9),
        ended: true,
    }
}

fn outbox_row(order: u64, id: &str, state: OutboxState) -> OutboxRow {
    OutboxRow {
        conversation: conversation("d1"),
        order,
        client_message_id: ClientMessageId::new(id).unwrap(),
        anchor: at(1, 9),
        draft: Body::new("image/png", Content::Data(vec![0, 255])).unwrap().into(),
        state,
    }
}

fn held_row(order: u64, id: &str) -> HeldRow {
    let name = |name: &str| ClientMessageId::new(name).unwrap();
    HeldRow { user: user("cärol"), order, client_message_id: name(id), opening: name("o"), body: Body::text("hi").unwrap() }
}

/// The seqs that the store has of `d1`.
fn seqs(store: &Store) -> Vec<u64> {
    store.entries(&conversation("d1"), None, 100).unwrap().iter().map(|entry| entry.position.seq.get()).collect()
}

#[test]
fn what_was_applied_comes_back_as_it_was() {
    let folder = Folder::new();
    let path = folder.0.join("device.sqlite");
    let refusal = Refusal { tail: Some(at(1, 3)), ..Refusal::new(ErrorCode::AnchorStale, "far").after_ms(5) };
    let rows = vec![full_row(), ConversationRow::empty(conversation("d2"))];
    let outbox = vec![
        outbox_row(1, "m2", OutboxState::Waiting),
        outbox_row(2, "m1", OutboxState::Refused(refusal.clone())),
        outbox_row(3, "m3", OutboxState::Failed(refusal)),
    ];
    let mut store = Store::open(&path, &user("alice")).unwrap();
    let device = store.device();
    let mut changes: Vec<Change> = rows.iter().rev().cloned().map(Change::Conversation).collect();
    changes.extend(outbox.iter().rev().cloned().map(Change::Outbox));
    changes.extend([held_row(5, "h0"), held_row(4, "h1")].map(Change::Held));
    changes.push(entries("d1", 1..=3));
    store.apply(&changes).unwrap();
    drop(store);

    let store = Store::open(&path, &user("alice")).unwrap();
    assert_eq!((store.device(), store.user()), (device, &user("alice")));
    assert_eq!(
        store.restore().unwrap(),
        Restored { conversations: rows, outbox, held: vec![held_row(4, "h1"), held_row(5, "h0")], groups: vec![] }
    );
    let kept = store.entries(&conversation("d1"), None, 10).unwrap();
    assert_eq!(kept, (1..=3).map(|seq| entry(seq, "text\u{0} 😀")).collect::<Vec<_>>());
}

#[test]
fn a_row_takes_the_place_of_the_one_before_and_goes_when_it_is_done() {
    let mut store = Store::in_memory(&user("alice")).unwrap();
    let refused = OutboxState::Refused(Refusal::new(ErrorCode::Forbidden, ""));
    let mut moved = full_row();
    moved.read_pending = false;
    let changes = [
        Change::Conversation(full_row()),
        Change::Conversation(moved.clone()),
        Change::Outbox(outbox_row(1, "m1", OutboxState::Waiting)),
        Change::Outbox(outbox_row(1, "m1", refused.clone())),
    ];
    store.apply(&changes).unwrap();
    let Restored { conversations, outbox, .. } = store.restore().unwrap();
    assert_eq!((conversations, outbox), (vec![moved], vec![outbox_row(1, "m1", refused)]));
    let done = Change::OutboxDone { conversation: conversation("d1"), client_message_id: ClientMessageId::new("m1").unwrap() };
    store.apply(&[done]).unwrap();
    assert_eq!(store.restore().unwrap().outbox, []);
    store.apply(&[Change::Held(held_row(1, "h1")), Change::Held(held_row(2, "h2"))]).unwrap();
    store.apply(&[Change::HeldDone(ClientMessageId::new("h1").unwrap())]).unwrap();
    assert_eq!(store.restore().unwrap().held, [held_row(2, "h2")]);
}

#[test]
fn every_draft_and_a_group_to_be_made_come_back_as_they_were() {
    let (second, users) = (Seq::FIRST.next(), || vec![user("bob"), user("cärol")]);
    let settings = GroupSettings { title: Some(Title::new("Tr'am").unwrap()), ..GroupSettings::default() };
    let drafts = [
        Draft::Message { body: Body::text("hi").unwrap(), reply_to: Some(second), mentions: users() },
        Draft::Edit { target: second, body: Body::text("ho").unwrap() },
        Draft::Delete { target: second },
        Draft::react(second, ReactionKey::new("👍").unwrap(), ReactionChange::Remove),
        Draft::Add { users: users() },
        Draft::Remove { users: users() },
        Draft::Leave { successor: None },
        Draft::Leave { successor: Some(user("bob")) },
        Draft::Role { user: user("bob"), role: Role::Moderator },
        Draft::Settings { settings: settings.clone() },
        Draft::Close,
    ];
    let row = |(order, draft)| OutboxRow { draft, ..outbox_row(order, &format!("m{order}"), OutboxState::Waiting) };
    let outbox: Vec<_> = (1..).zip(drafts).map(row).collect();
    let id = ClientMessageId::new("g").unwrap();
    let group = NewGroup { order: 12, client_message_id: id.clone(), users: users(), settings };
    let mut store = Store::in_memory(&user("alice")).unwrap();
    let changes: Vec<_> = outbox.iter().cloned().map(Change::Outbox).chain([Change::Group(group.clone())]).collect();
    store.apply(&changes).unwrap();
    let Restored { outbox: kept, groups, .. } = store.restore().unwrap();
    assert_eq!((kept, groups), (outbox, vec![group]));
    store.apply(&[Change::GroupDone(id)]).unwrap();
    assert_eq!(store.restore().unwrap().groups, []);
}

/// An entry about the second.
fn about(seq: u64, kind: EntryKind) -> Entry {
    Entry { kind, ..entry(seq, "-") }
}

fn edit(seq: u64) -> Entry {
    about(seq, EntryKind::Edit { target: Seq::FIRST.next(), body: Some(Body::text("edited").unwrap()) })
}

// holds: R1
#[test]
fn a_message_is_folded_with_what_is_about_it_whichever_is_stored_first() {
    let reacting = Reacting { target: Seq::FIRST.next(), key: ReactionKey::new("b").unwrap(), change: ReactionChange::Add };
    let later = [edit(3), about(4, EntryKind::Reaction(reacting))];
    let store_in = |entries: &[&[Entry]], name: &str| {
        let mut store = Store::in_memory(&user("alice")).unwrap();
        for entries in entries {
            store.apply(&[Change::Entries { conversation: conversation(name), entries: entries.to_vec() }]).unwrap();
        }
        store
    };
    let target = [entry(2, "sent")];
    for order in [[&target[..], &later], [&later, &target]] {
        let store = store_in(&order, "d1");
        let kept = store.entries(&conversation("d1"), None, 9).unwrap();
        let EntryKind::Message(message) = &kept[0].kind else { panic!("{kept:?}") };
        assert_eq!((&message.body, message.edited), (&Body::text("edited").unwrap(), Some(later[0].position.seq)));
        assert_eq!((message.reactions[0].count, message.reactions_to), (1, Some(later[1].position.seq)));
    }
    // Of another conversation nothing is changed.
    let mut store = store_in(&[&target], "d2");
    store.apply(&[Change::Entries { conversation: conversation("d1"), entries: later.to_vec() }]).unwrap();
    assert_eq!(store.entries(&conversation("d2"), None, 9).unwrap(), target);

    let deletion = [about(5, EntryKind::Deletion { target: Seq::FIRST.next() })];
    for order in [[&target[..], &later, &deletion], [&deletion, &later, &target]] {
        let store = store_in(&order, "d1");
        let kept = format!(
            "{:?}",
            store.entries(&conversation("d1"), None, 9).unwrap().iter().map(|one| serde_json::to_string(one).unwrap()).collect::<Vec<_>>()
        );
        assert!(!kept.contains("edited") && !kept.contains("sent") && kept.contains("deleted"), "{kept}");
    }
}

// holds: R1
#[test]
fn the_words_of_a_deleted_message_are_nowhere_in_the_files() {
    let folder = Folder::new();
    let path = folder.0.join("device.sqlite");
    let apply = |entries: Vec<Entry>| {
        let mut store = Store::open(&path, &user("alice")).unwrap();
        store.apply(&[Change::Entries { conversation: conversation("d1"), entries }]).unwrap();
    };
    let found = || {
        let files = fs::read_dir(&folder.0).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        files.filter(|bytes| bytes.windows(6).any(|window| window == b"seCRet")).count()
    };
    let edit = about(3, EntryKind::Edit { target: Seq::FIRST.next(), body: Some(Body::text("seCRet").unwrap()) });
    apply(vec![entry(2, &format!("{} seCRet", "x".repeat(9_000))), edit]);
    assert_eq!(found(), 1);
    apply(vec![about(5, EntryKind::Deletion { target: Seq::FIRST.next() })]);
    assert_eq!(found(), 0);
}

#[test]
fn entries_are_read_from_the_end_in_pages() {
    let mut store = Store::in_memory(&user("alice")).unwrap();
    store.apply(&[entries("d1", 1..=5), entries("d2", [9])]).unwrap();
    let page = |before: Option<u64>, limit: usize| {
        let before = before.map(|seq| Seq::try_from(seq).unwrap());
        let entries = store.entries(&conversation("d1"), before, limit).unwrap();
        entries.iter().map(|entry| entry.position.seq.get()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2), [4, 5]);
    assert_eq!(page(Some(4), 2), [2, 3]);
    assert_eq!(page(Some(2), 2), [1]);
    assert_eq!(page(Some(1), 2), [0; 0]);
    assert_eq!(page(None, usize::MAX), [1, 2, 3, 4, 5]);
}

#[test]
fn entries_of_a_restored_log_replace_those_that_were_dropped() {
    let mut store = Store::in_memory(&user("alice")).unwrap();
    store.apply(&[entries("d1", 1..=5), entries("d2", [1])]).unwrap();
    let beyond = Change::DropBeyond { conversation: conversation("d1"), position: at(1, 2) };
    let again = Change::Entries { conversation: conversation("d1"), entries: vec![entry(3, "other")] };
    store.apply(&[beyond, again]).unwrap();
    assert_eq!(seqs(&store), [1, 2, 3]);
    assert_eq!(store.entries(&conversation("d1"), None, 1).unwrap(), [entry(3, "other")]);
    store.apply(&[Change::DropAll(conversation("d1"))]).unwrap();
    assert_eq!(seqs(&store), [0; 0]);
    assert_eq!(store.entries(&conversation("d2"), None, 9).unwrap().len(), 1);
}

const VICTIM: &str = "CHATLANE_TEST_STORE";

/// The process ends without a word between two commits and in the middle of a third: `apply` has returned for the first two.
#[test]
fn what_was_committed_survives_the_death_of_the_process() {
    if let Some(path) = std::env::var_os(VICTIM) {
        let mut store = Store::open(Path::new(&path), &user("alice")).unwrap();
        store.apply(&[entries("d1", 1..=2)]).unwrap();
        store.apply(&[Change::Outbox(outbox_row(1, "m1", OutboxState::Waiting)), entries("d1", [3])]).unwrap();
        let dying = [entries("d1", [4])];
        let mut dying = dying.iter();
        store.apply(std::iter::from_fn(|| Some(dying.next().unwrap_or_else(|| std::process::abort())))).unwrap();
    }
    let folder = Folder::new();
    let path = folder.0.join("device.sqlite");
    assert!(!passes_again("store::what_was_committed_survives_the_death_of_the_process", VICTIM, &path));
    let store = Store::open(&path, &user("alice")).unwrap();
    assert_eq!(seqs(&store), [1, 2, 3]);
    assert_eq!(store.restore().unwrap().outbox.len(), 1);
}

#[test]
fn a_store_is_for_one_at_a_time() {
    let folder = Folder::new();
    let path = folder.0.join("device.sqlite");
    let held = Store::open(&path, &user("alice")).unwrap();
    for _ in 0..2 {
        let second = Store::open(&path, &user("alice"));
        assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
    }
    assert!(!passes_again("store::a_process_finds_the_store_free", VICTIM, &path), "free for another process");
    drop(held);
    assert!(passes_again("store::a_process_finds_the_store_free", VICTIM, &path), "not free when it is dropped");
}

/// Alone: a store of its own. As a process of the test above: that one's.
#[test]
fn a_process_finds_the_store_free() {
    let folder = Folder::new();
    let path = std::env::var_os(VICTIM).map_or_else(|| folder.0.join("device.sqlite"), Into::into);
    Store::open(&path, &user("alice")).unwrap();
}

#[test]
fn another_users_store_is_refused() {
    let folder = Folder::new();
    let path = folder.0.join("device.sqlite");
    drop(Store::open(&path, &user("alice")).unwrap());
    let opened = Store::open(&path, &user("bob"));
    assert!(matches!(opened, Err(StoreError::OtherUser)), "{opened:?}");
    assert!(Store::open(&path, &user("alice")).is_ok());
}

#[test]
fn what_is_no_store_of_this_version_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    let text = folder.0.join("letter.txt");
    fs::write(&text, "Dear Bob, this is a letter and no database at all.").unwrap();
    let opened = Store::open(&text, &user("alice"));
    assert!(matches!(opened, Err(StoreError::Foreign { .. })), "{opened:?}");
    assert!(fs::read_to_string(&text).unwrap().starts_with("Dear Bob"));

    let foreign = folder.0.join("foreign.sqlite");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let opened = Store::open(&foreign, &user("alice"));
    assert!(matches!(opened, Err(StoreError::Foreign { .. })), "{opened:?}");

    let newer = folder.0.join("newer.sqlite");
    drop(Store::open(&newer, &user("alice")).unwrap());
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 6).unwrap();
    let opened = Store::open(&newer, &user("alice"));
    assert!(matches!(opened, Err(StoreError::Newer { found: 6 })), "{opened:?}");

    let before_the_first = folder.0.join("before.sqlite");
    drop(Store::open(&before_the_first, &user("alice")).unwrap());
    rusqlite::Connection::open(&before_the_first).unwrap().pragma_update(None, "user_version", 0).unwrap();
    let opened = Store::open(&before_the_first, &user("alice"));
    assert!(matches!(opened, Err(StoreError::Foreign { .. })), "{opened:?}");

    let opened = Store::open(&text.join("device.sqlite"), &user("alice"));
    assert!(matches!(opened, Err(StoreError::Open { .. })), "{opened:?}");
}

#[test]
fn a_row_that_no_version_writes_is_reported_without_its_text() {
    for (damage, what) in [
        ("UPDATE device SET device = 'secret'", "the device"),
        ("UPDATE conversations SET conversation = 'sec ret'", "a conversation id"),
        ("UPDATE conversations SET peer = ''", "a user"),
        ("UPDATE conversations SET have = 'secret'", "a position"),
        ("UPDATE conversations SET head = '1:-1'", "a position"),
        ("UPDATE conversations SET head_count = -1", "a number"),
        ("UPDATE conversations SET others = 'secret'", "cursors"),
        ("UPDATE conversations SET prefs = 'secret'", "preferences"),
        ("UPDATE conversations SET wished = 'secret'", "wished preferences"),
        ("UPDATE outbox SET client_message_id = ''", "a client message id"),
        ("UPDATE outbox SET draft = 'secret'", "a body"),
        ("UPDATE outbox SET state = 'secret'", "the state of a message"),
        ("UPDATE outbox SET state = 'failed', refusal = 'secret'", "the state of a message"),
        ("UPDATE entries SET entry = 'secret'", "an entry"),
    ] {
        let folder = Folder::new();
        let path = folder.0.join("device.sqlite");
        let mut store = Store::open(&path, &user("alice")).unwrap();
        let outbox = Change::Outbox(outbox_row(1, "m1", OutboxState::Waiting));
        store.apply(&[Change::Conversation(full_row()), outbox, entries("d1", [1])]).unwrap();
        drop(store);
        rusqlite::Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let read = Store::open(&path, &user("alice"))
            .and_then(|store| store.restore().map(|_| store))
            .and_then(|store| store.entries(&conversation("d1"), None, 1));
        let error = read.unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{damage}: {error:?}");
        assert_eq!(error.to_string(), format!("the local store is damaged: {what}"), "{damage}");
    }
}

#[test]
fn a_batch_that_cannot_be_written_whole_is_not_written_at_all() {
    let folder = Folder::new();
    let path = folder.0.join("device.sqlite");
    drop(Store::open(&path, &user("alice")).unwrap());
    let full = "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    rusqlite::Connection::open(&path).unwrap().execute_batch(full).unwrap();
    let mut store = Store::open(&path, &user("alice")).unwrap();
    let failed = store.apply(&[entries("d1", [1]), Change::Outbox(outbox_row(1, "m1", OutboxState::Waiting))]);
    assert!(matches!(failed, Err(StoreError::Sqlite(_))), "{failed:?}");
    assert_eq!(seqs(&store), [0; 0]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mut store = Store::open(&folder.0.join("device.sqlite"), &user("alice")).unwrap();
    store.apply(&[entries("d1", [1])]).unwrap();
    for file in fs::read_dir(&folder.0).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}
