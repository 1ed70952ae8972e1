//! The log: slots are taken once, and read as they were written.

use chatlane_protocol::{Body, Content, ConversationId, Position, Seq, UnixMillis, limits};
use futures_util::future::join_all;

use super::{ALL, Backend, fresh_conversation};
use crate::log::hash::BodyHash;
use crate::log::{CreatedEntry, Entry, Kind, MessageEntry};
use crate::ports::{Put, ReadBound, Run, last, read_run};
use crate::testing::builders::{entry, entry_of_bytes, message_id, seq, user};

async fn put_messages<B: Backend>(store: &B, entries: impl IntoIterator<Item = Entry>) {
    for entry in entries {
        assert_eq!(store.put(&entry).await.unwrap(), Put::Stored, "{}", entry.position);
    }
}

fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.seq.get()).collect()
}

/// Entries with the longest and the strangest texts that their fields can have; numbers are at the end of theirs in the last.
fn odd_entries() -> Vec<Entry> {
    let conversation = fresh_conversation();
    let plain = |number| entry(&conversation, number, "alice");
    let body = |content| Body::new("~".repeat(limits::CONTENT_TYPE_BYTES_MAX), content).unwrap();
    let message = |content, byte| {
        let key = (byte != 0).then_some([byte; BodyHash::KEY_ID_BYTES]); // hashes of before had none
        Kind::Message(MessageEntry {
            body: body(content),
            hash: BodyHash { key, hash: [byte; BodyHash::BYTES] },
            reply_to: None,
            mentions: vec![],
            edits: vec![],
            edits_bytes: 0,
        })
    };
    let many = (0..40).map(|n| user(&format!("{n:02}{}", "ü".repeat(63)))).collect();
    vec![
        Entry { kind: Kind::Created(CreatedEntry { members: vec![user("auth0|a#b/ü"), user("\u{0}")] }), ..plain(1) },
        Entry {
            position: Position::new(0, seq(2)),
            sender: user("auth0|a#b/ü"),
            time: UnixMillis::ZERO,
            kind: message(Content::Text("a\u{0}b\u{7f}\u{feff}😀\r\n".into()), 0),
            ..plain(2)
        },
        Entry {
            sender: user(&"u".repeat(limits::USER_ID_BYTES_MAX)),
            client_message_id: message_id(&"#".repeat(limits::CLIENT_MESSAGE_ID_BYTES_MAX)),
            kind: message(Content::Data((0..=u8::MAX).collect()), 0xff),
            ..plain(3)
        },
        Entry { sender: user(&"\u{0}".repeat(limits::USER_ID_BYTES_MAX)), kind: message(Content::Data(vec![0; 22_000]), 1), ..plain(4) },
        Entry {
            position: Position::new(u32::MAX, Seq::MAX),
            client_message_id: message_id("ü / 1"),
            time: UnixMillis::MAX,
            kind: Kind::Created(CreatedEntry { members: many }),
            ..plain(5)
        },
    ]
}

/// With odd texts. Facts of all forms are the backends' own tests': they are written and read item by item.
pub async fn a_put_entry_is_read_exactly_as_it_was_written<B: Backend>(store: &B) {
    let entries = odd_entries();
    put_messages(store, entries.clone()).await;
    let conversation = &entries[0].conversation;
    for entry in &entries {
        let one = ReadBound { entries_max: 1, ..ALL };
        assert_eq!(store.read(conversation, entry.position.seq, one).await.unwrap(), std::slice::from_ref(entry));
    }
    assert_eq!(store.read(conversation, Seq::ZERO, ALL).await.unwrap(), entries);
    assert_eq!(last(store, conversation).await.unwrap().as_ref(), entries.last());
    let again = store.put(&entries[1]).await.unwrap();
    assert_eq!(again, Put::Taken(Box::new(entries[1].clone())));
}

/// L1: slots never change hands.
pub async fn a_put_into_a_taken_slot_answers_the_occupant_and_changes_nothing<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let (first, second) = (entry(&conversation, 1, "alice"), entry_of_bytes(&conversation, 1, "bob", 9));
    put_messages(store, [first.clone()]).await;
    assert_eq!(store.put(&second).await.unwrap(), Put::Taken(Box::new(first.clone())));
    let later_epoch = Entry { position: Position::new(9, seq(1)), ..second };
    assert_eq!(store.put(&later_epoch).await.unwrap(), Put::Taken(Box::new(first.clone())));
    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), [first]);
}

/// L1, with everybody at once.
// holds: L1
pub async fn of_many_puts_into_one_slot_exactly_one_is_stored<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let entries: Vec<Entry> = (0..24).map(|n| entry(&conversation, 1, &format!("user-{n}"))).collect();
    let answers = join_all(entries.iter().map(|entry| store.put(entry))).await;
    let winners: Vec<&Entry> =
        entries.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Ok(Put::Stored))).map(|(e, _)| e).collect();
    let [winner] = winners[..] else { panic!("{} puts were stored", winners.len()) };
    for (entry, answer) in entries.iter().zip(answers) {
        if entry != winner {
            assert_eq!(answer.unwrap(), Put::Taken(Box::new(winner.clone())));
        }
    }
    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), std::slice::from_ref(winner));
}

/// As numbers, not as texts: 9 comes before 10.
pub async fn a_read_begins_at_its_seq_ascends_and_ends_at_its_bound_of_entries<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    put_messages(store, (1..=12).rev().map(|n| entry(&conversation, n, "alice"))).await;
    let read = async |from, entries_max| {
        let bound = ReadBound { entries_max, ..ALL };
        seqs(&store.read(&conversation, seq(from), bound).await.unwrap())
    };
    assert_eq!(read(1, 12).await, (1..=12).collect::<Vec<_>>());
    assert_eq!(read(8, 4).await, [8, 9, 10, 11]);
    assert_eq!(read(12, 1).await, [12]);
    assert_eq!(read(0, 1).await, [1]);
    assert_eq!(read(11, usize::MAX).await, [11, 12]);
}

/// One entry more than the bound holds, so that the reader knows that there is more; upward and back.
pub async fn a_read_ends_after_the_entry_that_exceeds_its_bound_of_bytes<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let entries: Vec<Entry> = (1..=4).map(|n| entry_of_bytes(&conversation, n, "alice", 3000)).collect();
    put_messages(store, entries.clone()).await;
    let descending: Vec<Entry> = entries.iter().rev().cloned().collect();
    let each = entries[0].stored_bytes();
    for (bytes_max, expected) in [(0, 1), (each - 1, 1), (each, 2), (2 * each - 1, 2), (2 * each, 3), (4 * each, 4), (usize::MAX, 4)] {
        let bound = ReadBound { bytes_max, ..ALL };
        assert_eq!(store.read(&conversation, Seq::FIRST, bound).await.unwrap(), entries[..expected], "{bytes_max} bytes");
        assert_eq!(store.read_back(&conversation, None, bound).await.unwrap(), descending[..expected], "{bytes_max} bytes back");
    }
}

/// Of what the reader has it only wants to see that it is there, whatever its size. What is not reached is the end.
pub async fn what_a_reader_has_does_not_count<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let entries: Vec<Entry> = (1..=12).map(|n| entry_of_bytes(&conversation, n, "alice", if n == 2 { 25_000 } else { 3000 })).collect();
    put_messages(store, entries.clone()).await;
    let each = entries[0].stored_bytes();
    let after_3: usize = entries[3..].iter().map(Entry::stored_bytes).sum();
    for (bound, from, to, reached) in [
        (ReadBound::entries(1).behind(true), 2, 3, true),
        (ReadBound { bytes_max: 2 * each, ..ALL }.behind(true), 2, 5, true),
        (ReadBound { bytes_max: 2 * each, ..ALL }, 2, 2, true),
        (ReadBound { bytes_max: 20 * each, ..ALL }.behind(true), 2, 12, false),
        (ReadBound { bytes_max: after_3 - 1, ..ALL }.behind(true), 3, 12, true),
        (ReadBound { bytes_max: after_3, ..ALL }.behind(true), 3, 12, false),
        (ReadBound::entries(1).behind(true), 12, 12, false),
    ] {
        let read = store.read(&conversation, seq(from), bound).await.unwrap();
        assert_eq!((seqs(&read), bound.is_reached_by(&read)), ((from..=to).collect(), reached), "{bound:?} from {from}");
    }
}

/// Nothing is no error.
pub async fn a_read_beyond_the_tail_or_of_no_conversation_is_empty<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    put_messages(store, [entry(&conversation, 1, "alice")]).await;
    assert_eq!(store.read(&conversation, seq(2), ALL).await.unwrap(), []);
    assert_eq!(store.read(&conversation, Seq::MAX, ALL).await.unwrap(), []);
    assert_eq!(store.read(&fresh_conversation(), Seq::FIRST, ALL).await.unwrap(), []);
    assert_eq!(last(store, &fresh_conversation()).await.unwrap(), None);
    assert_eq!(read_run(store, &fresh_conversation(), Seq::FIRST, ALL).await.unwrap(), Run::Whole(vec![]));
}

/// More than one page of a backend whose pages end at 1 MB (`DynamoDB` Developer Guide, "Paginating table query results"); upward and back.
pub async fn a_read_goes_past_a_megabyte<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let entries: Vec<Entry> = (1..=60).map(|n| entry_of_bytes(&conversation, n, "alice", 25_000)).collect();
    for stored in join_all(entries.iter().map(|entry| store.put(entry))).await {
        assert_eq!(stored.unwrap(), Put::Stored);
    }
    let descending: Vec<Entry> = entries.iter().rev().cloned().collect();
    let of_fifty = |entries: &[Entry]| entries[..50].iter().map(Entry::stored_bytes).sum();
    for (entries_max, is_bounded, expected) in [(usize::MAX, false, 60), (59, false, 59), (usize::MAX, true, 51)] {
        let bound = |entries| ReadBound { entries_max, bytes_max: if is_bounded { of_fifty(entries) } else { usize::MAX }, had: 0 };
        let read = store.read(&conversation, Seq::FIRST, bound(&entries)).await.unwrap();
        let back = store.read_back(&conversation, None, bound(&descending)).await.unwrap();
        // Not all of the entries in one message.
        assert!(read == entries[..expected] && back == descending[..expected], "{expected}: {:?}, {:?}", seqs(&read), seqs(&back));
    }
    assert!(store.read_back(&conversation, Some(seq(59)), ALL).await.unwrap() == descending[2..]);
}

/// L1: a missing entry below one that exists is never passed over in silence.
// holds: L1
pub async fn a_run_with_a_gap_is_broken<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    put_messages(store, [1, 2, 4].map(|n| entry(&conversation, n, "alice"))).await;
    for from in [1, 2, 3] {
        let run = read_run(store, &conversation, seq(from), ALL).await.unwrap();
        assert!(matches!(&run, Run::Broken(_)) && run.last().unwrap().position.seq == seq(4), "from {from}: {run:?}");
    }
    let up_to_the_gap = ReadBound { entries_max: 2, ..ALL };
    for (from, bound, expected) in [(1, up_to_the_gap, vec![1, 2]), (4, ALL, vec![4]), (5, ALL, vec![])] {
        let Run::Whole(run) = read_run(store, &conversation, seq(from), bound).await.unwrap() else { panic!("from {from}: broken") };
        assert_eq!(seqs(&run), expected, "from {from}");
    }
}

/// As numbers: 9 comes after 10. Below `before`, which need not exist itself.
pub async fn a_read_back_descends_from_below_its_seq_and_ends_at_its_bound_of_entries<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    put_messages(store, (1..=12).map(|n| entry(&conversation, n, "alice"))).await;
    let read_back = async |before: Option<u64>, entries_max| {
        let bound = ReadBound { entries_max, ..ALL };
        seqs(&store.read_back(&conversation, before.map(seq), bound).await.unwrap())
    };
    assert_eq!(read_back(None, usize::MAX).await, (1..=12).rev().collect::<Vec<_>>());
    assert_eq!(read_back(None, 3).await, [12, 11, 10]);
    assert_eq!(read_back(Some(99), 2).await, [12, 11]);
    assert_eq!(read_back(Some(12), 3).await, [11, 10, 9]);
    assert_eq!(read_back(Some(3), 3).await, [2, 1]);
    assert_eq!(read_back(Some(2), 1).await, [1]);
    for nothing_below in [1, 0] {
        assert!(read_back(Some(nothing_below), 1).await.is_empty());
    }
    assert_eq!(store.read_back(&fresh_conversation(), None, ALL).await.unwrap(), []);
}

/// C1: what a client says that it has is looked up, in many conversations at once. More than a hundred, not in the order of their keys,
/// with free slots between them; of one, of none.
pub async fn entries_come_in_the_order_of_the_slots_asked<B: Backend>(store: &B) {
    let (one, other, unknown) = (fresh_conversation(), fresh_conversation(), fresh_conversation());
    let mut expected = vec![];
    for number in (1..=50).rev() {
        for conversation in [&one, &other] {
            expected.push((conversation, number, Some(entry(conversation, number, "alice"))));
        }
        expected.push((&unknown, number, None));
    }
    expected.extend([(&one, 0, None), (&one, 51, None), (&other, Seq::MAX.get(), None)]);
    put_messages(store, expected.iter().filter_map(|(.., entry)| entry.clone())).await;

    let slots: Vec<(ConversationId, Seq)> = expected.iter().map(|(of, number, _)| ((*of).clone(), seq(*number))).collect();
    let entries: Vec<Option<Entry>> = expected.iter().map(|(.., entry)| entry.clone()).collect();
    assert!(slots.len() > 100);
    assert_eq!(store.at(&slots).await.unwrap(), entries);
    for (slot, entry) in slots.iter().zip(&entries).take(3) {
        assert_eq!(store.at(std::slice::from_ref(slot)).await.unwrap(), std::slice::from_ref(entry));
    }
    assert_eq!(store.at(&[]).await.unwrap(), []);
}

/// Whatever was written last.
pub async fn the_last_entry_has_the_highest_seq<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    put_messages(store, [9, 10, 2].map(|n| entry(&conversation, n, "alice"))).await;
    assert_eq!(last(store, &conversation).await.unwrap(), Some(entry(&conversation, 10, "alice")));
}

/// Also where one id begins with the other.
pub async fn a_log_holds_no_entries_of_others<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let longer = crate::testing::builders::conversation(&format!("{conversation}-1"));
    put_messages(store, [entry(&conversation, 1, "alice"), entry(&longer, 1, "bob"), entry(&longer, 2, "bob")]).await;
    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), [entry(&conversation, 1, "alice")]);
    assert_eq!(last(store, &longer).await.unwrap(), Some(entry(&longer, 2, "bob")));
}
