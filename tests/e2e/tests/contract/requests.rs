//! What a call of a port costs: its requests and their units, counted where they arrive. What whole messages cost is in
//! `tests/e2e/tests/counted`.

use chatlane_chat::ports::{Advance, Created, Creations as _, Heads as _, Inboxes as _, MessageLog as _, Put, ReadBound, ReadCursor, last};
use chatlane_chat::testing::builders::{conversation, creation, device, entry_of_bytes, position, seq, user};
use chatlane_local::embedded::Recording;
use chatlane_protocol::{ConversationId, Seq};

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
async fn cursors_cost_one_request_and_one_more_only_where_a_read_entry_was_not_acknowledged() {
    let id = conversation("d-1");
    let backend = backend_with(&id).await;
    let cursor = |number| ReadCursor { position: position(number), count: number };
    for (delivered, read, requests) in [
        (5, None, 1),    // quiet
        (5, Some(5), 1), // read what was acknowledged before: the common case
        (6, Some(6), 2), // both
        (6, Some(6), 1), // nothing moves: learnt from the refusal itself
        (4, None, 1),    // neither
        (7, Some(6), 2), // the delivered one only
    ] {
        let recording = backend.endpoints.record();
        let to = Advance { delivered: position(delivered), read: read.map(cursor) };
        backend.store.advance(&user("alice"), &id, device(1), to).await.unwrap().expect("she is a member");
        let expected = vec!["UpdateItem".to_owned(); requests];
        #[expect(clippy::cast_precision_loss, reason = "one or two")]
        let write_units = requests as f64;
        assert_eq!(cost(&recording), (expected, write_units, 0.0), "{to:?}");
    }
    let recording = backend.endpoints.record();
    let to = Advance { delivered: position(1), read: Some(cursor(1)) };
    assert_eq!(backend.store.advance(&user("mallory"), &id, device(1), to).await.unwrap(), None);
    assert_eq!(cost(&recording).0, ["UpdateItem"]);
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
        let bound = ReadBound { entries_max, bytes_max: usize::MAX };
        assert_eq!(backend.store.read_back(&id, Some(seq(30)), bound).await.unwrap().len(), entries_max);
        assert_eq!(cost(&recording), (vec!["Query".to_owned()], 0.0, read_units));
    }
    let recording = backend.endpoints.record();
    assert_eq!(last(&backend.store, &id).await.unwrap(), Some(entry_of_bytes(&id, 40, "alice", 3000)));
    assert_eq!(cost(&recording), (vec!["Query".to_owned()], 0.0, 1.0));
}
