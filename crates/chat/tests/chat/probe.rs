//! `probe`: which of the caller's messages are in the log, and from where the others may be sent.

use chatlane_chat::log::Entry;
use chatlane_chat::requests::probe::probe;
use chatlane_chat::testing::builders::{
    caller, conversation, entry, entry_of_bytes, message, message_id, position, request_id, seq, start, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ErrorFrame, Found, ProbeAnswer, ServerFrame, Stored, encode};
use chatlane_protocol::request::Probe;
use chatlane_protocol::{ConversationId, ErrorCode, Outcome, Position, Refusal, limits};

fn look_in(stage: &Stage, to: &ConversationId, who: &str, anchor: Position, ids: &[&str]) -> Result<ProbeAnswer, Refused> {
    Ok(look_and_tell(stage, to, who, anchor, ids)?.answer)
}

fn look_and_tell(stage: &Stage, to: &ConversationId, who: &str, anchor: Position, ids: &[&str]) -> Result<Done<ProbeAnswer>, Refused> {
    let ids = ids.iter().map(|id| message_id(id)).collect();
    let request = Probe { id: request_id("r-1"), conversation: to.clone(), anchor, ids };
    let done = block_on(probe(&stage.ports, &stage.settings, &caller(who), &request))?;
    assert_eq!((&done.answer.id, &done.answer.conversation), (&request.id, to));
    Ok(done)
}

fn look(stage: &Stage, who: &str, anchor: Position, ids: &[&str]) -> ProbeAnswer {
    look_in(stage, &stage.conversation, who, anchor, ids).unwrap()
}

fn refusal(stage: &Stage, anchor: Position) -> Refusal {
    look_in(stage, &stage.conversation, "bob", anchor, &["bob-2"]).unwrap_err().to_wire()
}

fn found(id: &str, number: u64) -> Found {
    let stored = Stored { position: position(number), time_ms: start(), count: number - 1 };
    Found { client_message_id: message_id(id), stored }
}

/// What was found, how far it was looked, and whether that was the end.
fn told(answer: ProbeAnswer) -> (Vec<Found>, Position, bool) {
    (answer.found, answer.reached, answer.done)
}

#[test]
fn what_is_in_the_log_is_found_with_its_place_and_what_is_not_is_not() {
    let stage = Stage::with_entries(6);
    let ids = ["bob-6", "bob-3", "bob-99", "create"];
    let both = vec![found("bob-3", 3), found("bob-6", 6)];
    for anchor in [Position::ZERO, position(1), position(2)] {
        assert_eq!(told(look(&stage, "bob", anchor, &ids)), (both.clone(), position(6), true), "from {anchor}");
    }
    assert_eq!(told(look(&stage, "bob", position(4), &ids)), (vec![found("bob-6", 6)], position(6), true));
    assert_eq!(told(look(&stage, "bob", position(6), &["bob-99"])), (vec![], position(6), true));
}

#[test]
fn the_same_id_of_another_sender_is_not_found() {
    let stage = Stage::with_entries(4);
    stage.put(&Entry { sender: user("alice"), ..entry(&stage.conversation, 5, "bob") });
    assert_eq!(look(&stage, "alice", position(1), &["bob-3", "bob-5"]).found, [found("bob-5", 5)]);
    assert_eq!(look(&stage, "bob", position(1), &["bob-3", "bob-5"]).found, [found("bob-3", 3)]);
}

/// Pages of 256 KB: from `reached` to `reached`, until it is the end. The entry at the anchor is looked at too, as a send does.
#[test]
fn a_long_log_is_looked_through_page_by_page() {
    let stage = Stage::with_entries(2500);
    for anchor in [0, 1, 950] {
        let mut from = if anchor == 0 { Position::ZERO } else { position(anchor) };
        let (mut all, mut pages) = (vec![], 0);
        loop {
            let (found, reached, done) = told(look(&stage, "bob", from, &["bob-900", "bob-1001", "bob-1999", "bob-2400"]));
            assert!(found.iter().all(|found| found.stored.position >= from && found.stored.position <= reached), "from {from}");
            let bytes: usize = stage.entries().iter().filter(|e| e.position > from && e.position <= reached).map(Entry::stored_bytes).sum();
            assert!(done || (limits::PROBE_BYTES_MAX..limits::PROBE_BYTES_MAX + 400).contains(&bytes), "{bytes} bytes from {from}");
            all.extend(found);
            (from, pages) = (reached, pages + 1);
            if done {
                break;
            }
        }
        let expected = [900, 1001, 1999, 2400].into_iter().filter(|number| *number >= anchor).map(|n| found(&format!("bob-{n}"), n));
        assert_eq!((all, from, pages), (expected.collect(), position(2500), if anchor == 950 { 2 } else { 3 }), "from {anchor}");
    }
}

#[test]
fn done_is_the_end_of_the_log_also_where_a_page_is_exactly_full() {
    let fill = |bytes: usize| {
        let stage = Stage::with_entries(1);
        let each = entry_of_bytes(&stage.conversation, 2, "bob", 20_000).stored_bytes();
        (2..=9).for_each(|number| stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 20_000)));
        stage.put(&entry_of_bytes(&stage.conversation, 10, "bob", 20_000 - 1));
        let rest = bytes - 9 * each - (each - 20_000);
        stage.put(&entry_of_bytes(&stage.conversation, 11, "bob", rest - 1));
        stage
    };
    for (over, done) in [(0, true), (1, false)] {
        let stage = fill(limits::PROBE_BYTES_MAX + over);
        let answer = look(&stage, "bob", position(1), &["bob-2"]);
        assert_eq!((answer.reached, answer.done), (position(11), done), "{over} over");
        // Whoever goes on reaches the end.
        assert_eq!(told(look(&stage, "bob", answer.reached, &["bob-2"])), (vec![], position(11), true));
    }
}

#[test]
fn a_page_also_ends_after_256_kilobytes() {
    let stage = Stage::new();
    (2..=16).for_each(|number| stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 29_000)));
    let answer = look(&stage, "bob", position(1), &["bob-16"]);
    assert_eq!(told(answer), (vec![], position(10), false));
    assert_eq!(told(look(&stage, "bob", position(10), &["bob-16"])), (vec![found("bob-16", 16)], position(16), true));
}

/// What probe is for: an anchor too far behind to send becomes one that is not.
#[test]
fn a_message_that_is_not_found_may_be_sent_from_where_probe_has_looked() {
    let stage = Stage::with_entries(500);
    assert_eq!(stage.refusal(message("late", position(1))).code, ErrorCode::AnchorStale);
    let (found, reached, done) = told(look(&stage, "alice", position(1), &["late"]));
    assert_eq!((found, done), (vec![], true));
    assert!(matches!(stage.send_one(message("late", reached)), Outcome::Ok(stored) if stored.position == position(501)));
    assert_eq!(look(&stage, "alice", position(1), &["late"]).found[0].stored.position, position(501));
}

#[test]
fn an_anchor_is_judged_as_that_of_a_send() {
    let stage = Stage::with_entries(4);
    for anchor in [position(5), position(99), Position::new(2, seq(4)), Position::new(2, seq(9))] {
        assert_eq!(refusal(&stage, anchor).code, ErrorCode::AnchorUnknown, "{anchor}");
    }
    // Nothing before the first: whatever the epoch.
    assert!(look(&stage, "bob", Position::new(9, seq(0)), &["bob-2"]).done);

    let restored = Stage::restored(&[1, 1, 1, 1, 2]);
    for anchor in [position(5), position(99)] {
        let refusal = refusal(&restored, anchor);
        assert_eq!((refusal.code, refusal.common), (ErrorCode::EpochChanged, Some(position(4))), "{anchor}");
    }
    stage.remove_entry(3);
    assert_eq!(refusal(&stage, position(1)).code, ErrorCode::AnchorTooOld);
}

// holds: R1
#[test]
fn a_stranger_gets_the_same_answer_whether_the_conversation_exists_or_not() {
    let stage = Stage::with_entries(40);
    let broken = Stage::with_entries(4);
    broken.remove_entry(3);
    let missing = conversation(&"x".repeat(stage.conversation.as_str().len()));
    for anchor in [Position::ZERO, position(1), position(40), position(99), Position::new(0, seq(1)), Position::new(9, seq(1))] {
        let frame = |stage: &Stage, id: &ConversationId| {
            let refusal = look_in(stage, id, "mallory", anchor, &["bob-2"]).unwrap_err().to_wire();
            encode(&ServerFrame::Error(ErrorFrame { id: Some(request_id("r-1")), refusal }))
        };
        let not_found = frame(&stage, &missing);
        assert!(not_found.contains(r#""code":"not_found""#), "{not_found}");
        assert_eq!(frame(&stage, &stage.conversation), not_found, "{anchor}");
        assert_eq!(frame(&broken, &broken.conversation), not_found, "{anchor}");
    }
}

/// M1: the row is read first; without another look a removed member would learn where entries after the removal stand.
// holds: M1
#[test]
fn who_is_removed_while_the_log_is_read_learns_nothing() {
    for secrets in [0, 150, 400] {
        let stage = Stage::with_entries(5);
        stage.remove_alice_meanwhile("read", 6, secrets);
        let refused = look_in(&stage, &stage.conversation, "alice", position(1), &["m-1"]).unwrap_err();
        assert_eq!(refused.to_wire().code, ErrorCode::NotFound, "{secrets}");
        assert!(stage.ports.is_answered_before("inbox_rows", "read"));
    }
}

#[test]
fn whatever_cannot_be_read_the_probe_is_repeated() {
    for (call, anchor) in [("read", 99), ("inbox_rows", 99), ("read_back", 99), ("member_consistent", 1)] {
        let mut stage = Stage::with_entries(5);
        stage.change_tail(|facts| facts.membership_changed = seq(5));
        stage.settings.epoch = 2;
        stage.ports.on(call, Fault::AnswerLost);
        let refusal = refusal(&stage, position(anchor));
        assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::Unavailable, Some(100)), "{call}");
        assert!(!refusal.message.contains("it is lost"), "{call}: clients never see the backend's text");
    }
}

#[test]
fn a_full_answer_fits_a_websocket_frame() {
    let stage = Stage::new();
    let long = |number: u64| format!("{}{number:03}", "\"".repeat(limits::CLIENT_MESSAGE_ID_BYTES_MAX - 3));
    let ids: Vec<String> = (2..2 + limits::PROBED_IDS_MAX as u64).map(long).collect();
    for (number, id) in (2..).zip(&ids) {
        stage.put(&Entry { client_message_id: message_id(id), ..entry(&stage.conversation, number, "bob") });
    }
    let answer = look(&stage, "bob", position(1), &ids.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(answer.found.len(), limits::PROBED_IDS_MAX);
    assert!(encode(&ServerFrame::Probe(answer)).len() <= limits::PAGE_BYTES_MAX);
}

// holds: L4
#[test]
fn what_is_found_and_whose_delivery_nobody_began_is_queued_before() {
    // L4: the attempt died before its enqueue, and who finds the message here sends it never again.
    let stage = Stage::with_entries(6);
    let ids = ["bob-3", "bob-5", "bob-99"];
    let probed = |ids: &[&str]| look_and_tell(&stage, &stage.conversation, "bob", position(1), ids).unwrap().did;
    let queued = |tasks| Did { tasks, ..Did::default() };
    assert_eq!(probed(&ids), queued(1));
    let tasks = stage.take_tasks();
    let [(task, 0)] = &tasks[..] else { panic!("not one task: {tasks:?}") };
    assert_eq!((&task.conversation, task.first, task.last, task.count), (&stage.conversation, seq(3), position(5), 4));
    assert_eq!((task.time, &task.own[..], &task.origin), (start(), &[][..], &None));
    assert_eq!(task.sender, Some(stage.settings.keys.users.sender(&user("bob"))));

    stage.deliver_up_to(4);
    assert_eq!(probed(&ids), queued(1));
    assert_eq!(stage.take_tasks().into_iter().map(|(task, _)| task.first).collect::<Vec<_>>(), [seq(5)]);
    stage.deliver_up_to(5);
    assert_eq!([probed(&ids), probed(&["bob-99"])], [queued(0), queued(0)]);
    assert_eq!(stage.take_tasks(), []);
}

// holds: L4
#[test]
fn nothing_is_found_unless_its_delivery_is_queued() {
    for (call, fault) in [("heads", Fault::RequestLost), ("enqueue", Fault::RequestLost), ("enqueue", Fault::AnswerLost)] {
        let stage = Stage::with_entries(3);
        stage.ports.on(call, fault);
        let refused = look_in(&stage, &stage.conversation, "bob", position(1), &["bob-3"]).unwrap_err();
        assert_eq!(refused.to_wire().code, ErrorCode::Unavailable);
        stage.take_tasks();
        assert_eq!(look(&stage, "bob", position(1), &["bob-3"]).found, [found("bob-3", 3)]);
        assert_eq!(stage.take_tasks().len(), 1);
    }
}
