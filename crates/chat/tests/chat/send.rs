//! `send`: what each message of a request becomes, and what is queued for delivery. Anchors and races have a file of their own.

use chatlane_chat::deployment::{Keys, Secret};
use chatlane_chat::log::admission::{Admission, Bucket};
use chatlane_chat::log::{Entry, Kind, MessageEntry, Role};
use chatlane_chat::settings::AdmissionLimit;
use chatlane_chat::testing::builders::{
    caller, conversation, entry, facts, message, message_id, position, seq, settings, start, task_by, text, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::task::Task;
use chatlane_chat::{Did, Done};
use chatlane_protocol::frames::Stored;
use chatlane_protocol::{Body, Content, Entry as WireEntry, EntryKind, ErrorCode, NewMessage, Outcome, Position, Refusal, Seq, limits};

/// The place of message `number` of a direct conversation, accepted at the start.
fn stored(number: u64) -> Stored {
    Stored { position: position(number), time_ms: start(), count: number - 1 }
}

/// The task of entries `first` to `last`, of which alice's connection sent all.
fn task_of(stage: &Stage, first: u64, last: u64) -> (Task, u32) {
    let own = (first..=last).map(seq).collect();
    (Task { own, origin: caller("alice").connection, ..task_by("alice", &stage.conversation, first, last) }, 0)
}

fn code(outcome: &Outcome) -> ErrorCode {
    match outcome {
        Outcome::Refused(refusal) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_message_is_stored_after_the_tail_with_its_facts_and_queued() {
    let stage = Stage::with_entries(3);
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(4)));

    let Admission::Admitted(bucket) =
        facts(3).bucket.admit(settings().keys.users.sender(&user("alice")), 300, start(), limits::ADMISSION_PER_S)
    else {
        panic!("a full bucket admits");
    };
    let expected = Entry {
        client_message_id: message_id("m-1"),
        kind: Kind::Message(MessageEntry::new(text("m-1"), &settings().keys.bodies)),
        facts: chatlane_chat::Facts { bucket, ..facts(4) },
        ..entry(&stage.conversation, 4, "alice")
    };
    assert_eq!(stage.entries()[3..], [expected]);
    assert_eq!(stage.take_tasks(), [task_of(&stage, 4, 4)]);
    // L3: durable before it is queued, queued before it is acknowledged. R1: the row before the log.
    assert!(stage.ports.is_answered_before("put", "enqueue"));
    assert!(stage.ports.is_answered_before("member", "read"));
}

#[test]
fn a_quiet_send_costs_two_reads_one_put_and_one_task() {
    let stage = Stage::new();
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(2)));
    let calls = ["read", "member", "put", "enqueue", "member_consistent", "read_back", "heads", "raise_head"];
    assert_eq!(calls.map(|call| stage.ports.count(call)), [1, 1, 1, 1, 0, 0, 0, 0]);
}

// holds: L2
#[test]
fn a_retried_send_is_answered_with_the_first_place() {
    let stage = Stage::new();
    let first = message("m-1", position(1));
    assert_eq!(stage.send_one(first.clone()), Outcome::Ok(stored(2)));
    stage.put(&entry(&stage.conversation, 3, "bob"));
    stage.ports.memory.clock.advance_ms(60_000);
    let did = Did { duplicates: 1, tasks: 1, ..Did::default() };
    assert_eq!(stage.send_and_tell(first), (Outcome::Duplicate(stored(2)), did));
    assert_eq!(stage.entries().len(), 3);
}

// holds: L2
#[test]
fn another_body_under_the_same_id_is_a_conflict_and_is_not_queued() {
    let stage = Stage::new();
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(2)));
    stage.take_tasks();
    let other_text = NewMessage { body: text("something else"), ..message("m-1", position(1)) };
    let other_type = NewMessage { body: Body::new("text/html", Content::Text("m-1".into())).unwrap(), ..message("m-1", position(1)) };
    for other in [other_text, other_type] {
        assert_eq!(stage.send_and_tell(other), (Outcome::Conflict(stored(2)), Did::default()));
    }
    // The id of the entry that created the conversation is used up too.
    assert_eq!(stage.send_one(message("create", Position::ZERO)), Outcome::Conflict(stored(1)));
    assert_eq!((stage.entries().len(), stage.take_tasks()), (2, vec![]));
}

/// Of a restored copy under another secret, or of before hashes named their key: nobody can compare the bodies.
// holds: L2
#[test]
fn under_another_key_the_client_message_id_alone_says_duplicate() {
    let mut stage = Stage::new();
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(2)));
    stage.settings.keys = Keys::of(&Secret([8; Secret::BYTES]));
    for what in ["m-1", "something else"] {
        let again = NewMessage { body: text(what), ..message("m-1", position(1)) };
        assert_eq!(stage.send_one(again), Outcome::Duplicate(stored(2)), "{what}");
    }
    assert_eq!(stage.entries().len(), 2);
}

// holds: L5
#[test]
fn the_messages_of_a_request_are_stored_in_their_order_and_make_one_task() {
    let stage = Stage::new();
    let batch: Vec<NewMessage> = (1..=3).map(|n| message(&format!("m-{n}"), position(1))).collect();
    let Done { answer, did } = stage.try_send(&stage.conversation, "alice", batch).unwrap();
    assert_eq!(answer, [2, 3, 4].map(|n| Outcome::Ok(stored(n))));
    assert_eq!(did, Did { stored: 3, attempts: 3, tasks: 1, ..Did::default() });
    let ids: Vec<String> = stage.entries()[1..].iter().map(|entry| entry.client_message_id.to_string()).collect();
    assert_eq!(ids, ["m-1", "m-2", "m-3"]);
    assert_eq!(stage.take_tasks(), [task_of(&stage, 2, 4)]);
    assert_eq!(["read", "member", "put"].map(|call| stage.ports.count(call)), [1, 1, 3]);
}

// holds: L5
#[test]
fn a_request_stops_at_the_first_message_that_is_not_in_the_log() {
    let stage = Stage::new();
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(2)));
    stage.take_tasks();
    let conflict = NewMessage { body: text("something else"), ..message("m-1", position(1)) };
    let too_large = NewMessage { body: text(&"x".repeat(40_000)), ..message("m-9", position(1)) };
    let before_the_others = [(conflict, "conflict"), (too_large, "too large")];
    for (number, (bad, what)) in (3..).zip(before_the_others) {
        let batch = vec![
            message("m-1", position(1)),
            message(&format!("new-{number}"), position(1)),
            bad.clone(),
            message("after-1", position(1)),
            message("after-2", position(1)),
        ];
        let Done { answer: outcomes, did } = stage.try_send(&stage.conversation, "alice", batch).unwrap();
        assert_eq!(did, Did { stored: 1, duplicates: 1, attempts: 1, tasks: 1, ..Did::default() }, "{what}");
        assert_eq!(outcomes[..2], [Outcome::Duplicate(stored(2)), Outcome::Ok(stored(number))], "{what}");
        assert!(matches!(outcomes[2], Outcome::Conflict(_) | Outcome::Refused(_)), "{what}");
        assert_eq!(outcomes[3..], [Outcome::NotAttempted, Outcome::NotAttempted], "{what}");
        // What is in the log is delivered; L5: nothing after the bad one is written.
        let (mut task, delay) = task_of(&stage, 2, number);
        task.own = vec![seq(number), seq(2)];
        assert_eq!(stage.take_tasks(), [(task, delay)], "{what}");
        assert_eq!(stage.entries().len(), usize::try_from(number).unwrap(), "{what}");
    }
}

// holds: L2
#[test]
fn a_message_that_comes_twice_in_a_request_is_stored_once() {
    let stage = Stage::new();
    let outcomes = stage.send("alice", vec![message("m-1", position(1)), message("m-1", position(1))]).unwrap();
    assert_eq!(outcomes, [Outcome::Ok(stored(2)), Outcome::Duplicate(stored(2))]);
    assert_eq!(stage.entries().len(), 2);
}

// holds: L4
#[test]
fn a_duplicate_whose_delivery_has_not_begun_is_queued_again_and_no_other() {
    let stage = Stage::new();
    let batch = vec![message("m-1", position(1)), message("m-2", position(1))];
    stage.send("alice", batch.clone()).unwrap();
    stage.take_tasks();
    let again = |tasks| {
        let did = stage.try_send(&stage.conversation, "alice", batch.clone()).unwrap().did;
        assert_eq!(did, Did { duplicates: 2, tasks, ..Did::default() });
    };
    // L4: the writer may have died before its enqueue.
    again(1);
    assert_eq!(stage.take_tasks(), [task_of(&stage, 2, 3)]);
    stage.deliver_up_to(2);
    again(1);
    assert_eq!(stage.take_tasks(), [task_of(&stage, 3, 3)]);
    stage.deliver_up_to(3);
    again(0);
    assert_eq!(stage.take_tasks(), []);
}

// holds: L3
#[test]
fn nothing_is_acknowledged_unless_it_is_queued() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let stage = Stage::new();
        stage.ports.on("enqueue", fault);
        assert!(stage.send("alice", vec![message("m-1", position(1))]).is_err());
        assert_eq!(stage.entries().len(), 2);
        stage.take_tasks();

        assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Duplicate(stored(2)));
        assert_eq!(stage.take_tasks(), [task_of(&stage, 2, 2)]);
    }
}

#[test]
fn a_duplicate_is_not_acknowledged_while_the_head_cannot_be_read() {
    let stage = Stage::new();
    stage.send_one(message("m-1", position(1)));
    stage.take_tasks();
    stage.ports.on("heads", Fault::RequestLost);
    let error = stage.send("alice", vec![message("m-1", position(1))]).unwrap_err();
    assert_eq!(error.to_string(), "call the backend: it is lost");
    assert_eq!(stage.take_tasks(), []);
}

// holds: R1
#[test]
fn unknown_and_foreign_conversations_give_the_same_answer() {
    let stage = Stage::with_entries(4);
    let broken = Stage::with_entries(4);
    broken.remove_entry(3);
    let unknown = conversation("dUnknown");
    let anchors = [Position::ZERO, position(1), position(4), position(99), Position::new(0, seq(1)), Position::new(9, seq(1))];
    let not_found = [Outcome::Refused(Refusal::new(ErrorCode::NotFound, "no such conversation"))];
    for anchor in anchors {
        for (stage, to) in [(&stage, &stage.conversation), (&stage, &unknown), (&broken, &broken.conversation)] {
            assert_eq!(stage.send_to(to, "mallory", vec![message("m-1", anchor)]).unwrap(), not_found, "{to} from {anchor}");
        }
    }
    assert_eq!((stage.entries().len(), stage.take_tasks()), (4, vec![]));
}

// holds: M1
#[test]
fn a_removed_member_writes_no_more() {
    let stage = Stage::new();
    stage.send_one(message("m-1", position(1)));
    stage.remove_member(&user("alice"));
    for id in ["m-1", "m-2"] {
        assert_eq!(stage.refusal(message(id, position(1))).code, ErrorCode::NotFound);
    }
    assert_eq!(stage.entries().len(), 2);
}

// holds: M1
#[test]
fn the_policy_at_the_tail_decides_who_may_send() {
    let stage = Stage::new();
    stage.change_tail(|facts| facts.policy.closed = true);
    let refusal = stage.refusal(message("m-1", position(1)));
    assert_eq!(refusal, Refusal::new(ErrorCode::Forbidden, "the conversation does not take this from this member"));
    stage.change_tail(|facts| (facts.policy.closed, facts.policy.locked) = (false, true));
    assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::Forbidden);
    stage.change_tail(|facts| (facts.policy.locked, facts.policy.send) = (false, Role::Moderator));
    assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::Forbidden);
    stage.change_tail(|facts| facts.policy.send = Role::Member);
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(2)));
}

// holds: R1
#[test]
fn an_entry_is_measured_by_its_encoded_live_frame_before_anything_is_read() {
    let stage = Stage::new();
    // A quote takes two bytes on the wire: the encoded form counts.
    let quotes = |count: usize| NewMessage { body: text(&"\"".repeat(count)), ..message("m-1", position(1)) };
    let frame_bytes = |message: &NewMessage| {
        WireEntry::live_frame_bytes_max(
            &stage.conversation,
            &user("alice"),
            &message.client_message_id,
            EntryKind::Message(message.body.clone().into()),
        )
    };
    let fits = (limits::ENTRY_BYTES_MAX - frame_bytes(&quotes(1))) / 2 + 1;
    let refusal = stage.refusal(quotes(fits + 1));
    assert_eq!(refusal.code, ErrorCode::TooLarge);
    assert!(!refusal.retryable);
    assert_eq!(refusal.message, format!("the entry's live frame would have {} bytes", frame_bytes(&quotes(fits + 1))));
    assert_eq!(stage.ports.count("read"), 0);
    assert_eq!(stage.send_one(quotes(fits)), Outcome::Ok(stored(2)));
}

#[test]
fn a_full_conversation_says_when_to_come_back() {
    let stage = Stage::new();
    stage.change_tail(|facts| facts.bucket.tokens_milli = 400);
    let refusal = stage.refusal(message("m-1", position(1)));
    assert_eq!((refusal.code, refusal.retryable, refusal.retry_after_ms), (ErrorCode::RateLimited, true, Some(30)));
    stage.ports.memory.clock.advance_ms(29);
    assert_eq!(stage.refusal(message("m-1", position(1))).retry_after_ms, Some(1));
    stage.ports.memory.clock.advance_ms(1);
    assert!(matches!(stage.send_one(message("m-1", position(1))), Outcome::Ok(_)));
}

#[test]
fn a_message_is_charged_with_the_kilobytes_that_it_is_stored_with() {
    let stage = Stage::new();
    let large = NewMessage { body: text(&"x".repeat(10_000)), ..message("m-1", position(1)) };
    assert!(matches!(stage.send_one(large), Outcome::Ok(_)));
    let [first, second] = [0, 1].map(|index| stage.entries()[index].clone());
    let taken = u32::try_from(second.stored_bytes().div_ceil(1024)).unwrap() * 1000;
    assert_eq!((first.facts.bucket.tokens_milli - second.facts.bucket.tokens_milli, taken), (taken, 11_000));
}

#[test]
fn a_duplicate_is_not_charged() {
    let stage = Stage::new();
    stage.send_one(message("m-1", position(1)));
    stage.change_tail(|facts| facts.bucket.tokens_milli = 0);
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Duplicate(stored(2)));
}

#[test]
fn without_admission_everything_is_taken_and_the_bucket_stays_as_it_was() {
    let mut stage = Stage::new();
    stage.settings.limits.admission = AdmissionLimit::Off;
    let empty = Bucket { tokens_milli: 0, ..facts(1).bucket };
    stage.change_tail(|facts| facts.bucket = empty.clone());
    assert_eq!(stage.send_one(message("m-1", position(1))), Outcome::Ok(stored(2)));
    assert_eq!(stage.entries()[1].facts.bucket, empty);
}

#[test]
fn a_strangers_row_that_cannot_be_settled_is_no_answer() {
    let stage = Stage::new();
    stage.ports.on("memberships", Fault::RequestLost);
    let outcomes = stage.send("mallory", vec![message("m-1", position(1))]).unwrap();
    assert_eq!(code(&outcomes[0]), ErrorCode::Unavailable);
}

#[test]
fn the_first_message_of_a_request_may_be_anchored_before_the_log() {
    let stage = Stage::with_entries(3);
    assert_eq!(stage.send_one(message("m-1", Position::new(7, Seq::ZERO))), Outcome::Ok(stored(4)));
}
