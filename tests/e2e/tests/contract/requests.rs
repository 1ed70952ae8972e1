//! What a call of a port costs: its requests and their units, counted where they arrive. What whole messages cost is in
//! `tests/e2e/tests/counted`.

use chatlane_chat::ports::{
    Advance, Created, Creations as _, Heads as _, Inboxes as _, MessageLog as _, Put, ReadBound, ReadCursor, Shown, last,
};
use chatlane_chat::testing::builders::{conversation, creation, device, entry_of_bytes, position, seq, user};
use chatlane_local::embedded::Recording;
use chatlane_protocol::{ConversationId, DeviceId, PrefsChange, Seq, UserId};

use crate::embedded::Backend;

/// Operations in their order, and all their write and read units.
fn cost(recording: &Recording) -> (Vec<String>, f64, f64) {
    let calls = recording.calls();
    let operations = calls.iter().map(|call| call.operation.clone()).collect();
    (operations, calls.iter().map(|call| call.write_units).sum(), calls.iter().map(|call| call.read_units).sum())
}

async fn backend_with(id: &ConversationId) -> Backend {
    let backend = Backend::embedded().await;
    assert_eq!(backend.store.create(&creation(id, &user("alice"), &user("bob"))).await.unwrap(), Created::New);
    backend
}

// holds: C1
#[tokio::test]
async fn cursors_cost_one_request_and_one_more_only_where_one_of_two_is_there_already() {
    let id = conversation("d-1");
    let backend = backend_with(&id).await;
    let cursor = |number| ReadCursor { position: position(number), count: number };
    for (delivered, read, requests) in [
        (Some(5), None, 1),    // quiet
        (None, Some(5), 1),    // read what was acknowledged before
        (Some(6), Some(6), 1), // both: the common case of a user who looks
        (Some(6), Some(6), 1), // nothing moves: learnt from the refusal itself
        (Some(4), None, 1),    // neither
        (Some(7), Some(6), 2), // the delivered one only
    ] {
        let recording = backend.endpoints.record();
        let to = Advance { delivered: delivered.map(position), read: read.map(cursor), dropped: vec![], shown: Shown::Follows };
        backend.store.advance(&user("alice"), &id, device(1), to.clone()).await.unwrap().expect("she is a member");
        let expected = vec!["UpdateItem".to_owned(); requests];
        #[expect(clippy::cast_precision_loss, reason = "one or two")]
        let write_units = requests as f64;
        assert_eq!(cost(&recording), (expected, write_units, 0.0), "{to:?}");
    }
    let recording = backend.endpoints.record();
    let to = Advance { delivered: Some(position(1)), read: Some(cursor(1)), dropped: vec![], shown: Shown::Follows };
    assert_eq!(backend.store.advance(&user("mallory"), &id, device(1), to).await.unwrap(), None);
    assert_eq!(cost(&recording).0, ["UpdateItem"]);
}

/// Sixteen devices, however many there were; a row of before there was a limit, too. With ids as long as they may be: as many as there is room
/// for, whatever else the row has.
// holds: C1
#[tokio::test]
async fn a_row_is_one_write_unit_however_many_devices_a_user_has_had() {
    let id = conversation("d-1");
    for (alice, bob, devices) in
        [("alice".to_owned(), "bob".to_owned(), 16), ("a".repeat(128), "b".repeat(128), 14), ("é".repeat(64), "ö".repeat(64), 9)]
    {
        let (alice, bob) = (user(&alice), user(&bob));
        let backend = Backend::embedded().await;
        assert_eq!(backend.store.create(&creation(&id, &alice, &bob)).await.unwrap(), Created::New);
        let prefs = PrefsChange {
            muted_until_ms: Some(1_795_003_600_000_u64.try_into().unwrap()),
            mentions: Some(true),
            pinned: Some(true),
            archived: Some(true),
            unread: Some(true),
        };
        assert!(backend.store.prefer(&alice, &id, prefs).await.unwrap().is_some());
        backend.store.mention(&alice, &id, Seq::MAX).await.unwrap();
        let read = Some(ReadCursor { position: position(1), count: 1_000_000 });
        let to = Advance { delivered: None, read, dropped: vec![], shown: Shown::Stays(position(1)) };
        backend.store.advance(&alice, &id, DeviceId::new(DEVICE).unwrap(), to).await.unwrap();
        fills_up(&backend, &id, &alice, devices).await;
    }
}

const DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-000000000000";

async fn fills_up(backend: &Backend, id: &ConversationId, alice: &UserId, devices_max: usize) {
    let device_of = |number: u64| DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-{number:012x}")).unwrap();
    let ack = async |number: u64, dropping: bool| {
        let row = backend.store.inbox_rows(alice, std::slice::from_ref(id)).await.unwrap().remove(0).unwrap().unwrap();
        let device = device_of(number);
        let dropped = if dropping { row.room_for(alice, device, position(number)).unwrap() } else { vec![] };
        let to = Advance { delivered: Some(position(number)), read: None, dropped, shown: Shown::Follows };
        let recording = backend.endpoints.record();
        let after = backend.store.advance(alice, id, device, to).await.unwrap().unwrap().after;
        (cost(&recording).2 + cost(&recording).1, after.delivered.len())
    };
    for number in 1..=60 {
        assert_eq!(ack(number, true).await, (1.0, usize::try_from(number).unwrap().min(devices_max)), "{number}");
    }
    for number in 61..=160 {
        ack(number, false).await;
    }
    let mut devices = vec![];
    for number in 161..=165 {
        devices.push(ack(number, true).await.1);
    }
    assert_eq!(devices, [69, 38, 7, 0, 0].map(|more| devices_max + more));
    assert_eq!(ack(166, true).await, (1.0, devices_max));
}

#[tokio::test]
async fn one_is_got_alone_many_in_batches_of_a_hundred_and_none_without_a_request() {
    let backend = Backend::embedded().await;
    let alice = user("alice");
    for (count, requests) in
        [(0, vec![]), (1, vec!["GetItem"]), (2, vec!["BatchGetItem"]), (100, vec!["BatchGetItem"]), (101, vec!["BatchGetItem"; 2])]
    {
        let ids: Vec<ConversationId> = (0..count).map(|n| conversation(&format!("d-{n}"))).collect();
        let slots: Vec<(ConversationId, Seq)> = ids.iter().map(|id| (id.clone(), Seq::FIRST)).collect();
        let recording = backend.endpoints.record();
        assert_eq!(backend.store.heads(&ids).await.unwrap().len(), count);
        assert_eq!(cost(&recording).0, requests, "heads of {count}");
        let recording = backend.endpoints.record();
        assert_eq!(backend.store.inbox_rows(&alice, &ids).await.unwrap().len(), count);
        assert_eq!(cost(&recording).0, requests, "rows of {count}");
        let recording = backend.endpoints.record();
        assert_eq!(backend.store.at(&slots).await.unwrap().len(), count);
        assert_eq!(cost(&recording).0, requests, "entries in {count} slots");
    }
}

#[tokio::test]
async fn a_read_back_reads_no_more_than_is_wanted_however_long_the_log_is() {
    let id = conversation("d-1");
    let backend = Backend::embedded().await;
    for number in 1..=40 {
        assert_eq!(backend.store.put(&entry_of_bytes(&id, number, "alice", 3000)).await.unwrap(), Put::Stored);
    }
    // An entry is about 3.2 KB here; a read unit is 4 KB of all that one query reads.
    for (entries_max, read_units) in [(1, 1.0), (5, 4.0)] {
        let recording = backend.endpoints.record();
        let bound = ReadBound::entries(entries_max);
        assert_eq!(backend.store.read_back(&id, Some(seq(30)), bound).await.unwrap().len(), entries_max);
        assert_eq!(cost(&recording), (vec!["Query".to_owned()], 0.0, read_units));
    }
    let recording = backend.endpoints.record();
    assert_eq!(last(&backend.store, &id).await.unwrap(), Some(entry_of_bytes(&id, 40, "alice", 3000)));
    assert_eq!(cost(&recording), (vec!["Query".to_owned()], 0.0, 1.0));
}

/// What is read is bounded by bytes as it is paid: eight entries until their size is known, and then no more than the bound still takes.
#[tokio::test]
async fn a_read_that_is_bounded_by_bytes_pays_for_little_more_than_it_brings() {
    let id = conversation("d-1");
    let backend = Backend::embedded().await;
    for number in 1..=40 {
        let bytes = if number <= 20 { 28_000 } else { 20 };
        assert_eq!(backend.store.put(&entry_of_bytes(&id, number, "alice", bytes)).await.unwrap(), Put::Stored);
    }
    // An entry is 27.6 KB, 6.9 read units; or 0.2 KB.
    for (from, bound, entries, read_units, queries) in [
        (1, ReadBound::bytes(30_000), 2, 56.0, 1),
        (1, ReadBound::bytes(128 * 1024).behind(true), 6, 62.0, 1),
        (1, ReadBound::bytes(256 * 1024).behind(true), 11, 76.0, 3),
        (21, ReadBound::bytes(30_000), 20, 2.0, 2),
        (21, ReadBound::entries(20), 20, 1.0, 1),
        (34, ReadBound::bytes(30_000), 7, 1.0, 1),
        (1, ReadBound::entries(2), 2, 14.0, 1),
    ] {
        let recording = backend.endpoints.record();
        assert_eq!(backend.store.read(&id, seq(from), bound).await.unwrap().len(), entries, "{bound:?} from {from}");
        let (operations, _, units) = cost(&recording);
        assert_eq!((units, operations), (read_units, vec!["Query".to_owned(); queries]), "{bound:?} from {from}");
    }
    let recording = backend.endpoints.record();
    assert_eq!(backend.store.read_back(&id, Some(seq(21)), ReadBound::bytes(30_000)).await.unwrap().len(), 2);
    assert_eq!(cost(&recording), (vec!["Query".to_owned()], 0.0, 56.0));
}
