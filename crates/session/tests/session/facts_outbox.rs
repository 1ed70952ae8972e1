//! The outbox: written first, attempted in order, settled once, never lost.

use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::{Body, ConversationId, ErrorCode, Outcome, Position, Refusal, ServerFrame};
use chatlane_session::{Act, Failure, Input, OutboxState, OutgoingState, Shown};

use crate::phone::*;

fn refused(code: ErrorCode) -> Outcome {
    Outcome::Refused(Refusal::new(code, ""))
}

fn ids(send: &chatlane_protocol::request::SendMessages) -> Vec<&str> {
    send.messages.iter().map(|message| message.client_message_id.as_str()).collect()
}

#[test]
fn a_message_is_attempted_when_the_store_has_it() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.compose("m");
    assert!(phone.sent.is_empty() && phone.outgoing_shown().is_empty());
    phone.commit();
    assert_eq!(phone.outgoing_shown(), [("m".to_owned(), OutgoingState::Waiting)]);
    let send = phone.send();
    assert_eq!((ids(&send), send.messages[0].anchor), (vec!["m"], at(3)));
}

#[test]
fn the_anchor_is_the_highest_position_that_is_known() {
    let mut phone = Phone::live_at(3);
    phone.push([9]);
    phone.compose("m");
    assert_eq!(phone.anchors(), [at(9)]);
    let mut phone = Phone::with(&knows(0));
    phone.compose("m");
    assert_eq!(phone.anchors(), [Position::ZERO]);
}

#[test]
fn a_stored_message_is_the_next_entry_and_is_shown_once() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Ok(stored(4))]);
    assert_eq!(phone.store.entries[&(d1(), at(4).seq)], own_entry("m", 4));
    let shown: Vec<_> = phone.shown.iter().filter(|shown| matches!(shown, Shown::Outgoing { .. } | Shown::Entry { .. })).collect();
    assert!(matches!(shown[1], Shown::Outgoing { state: OutgoingState::Stored(found), .. } if *found == stored(4)));
    assert!(matches!(shown[2], Shown::Entry { entry, .. } if *entry == own_entry("m", 4)));
    phone.shown.clear();
    phone.receive(&ServerFrame::Entries(chatlane_protocol::frames::Entries { conversation: d1(), entries: vec![own_entry("m", 4)] }));
    assert!(phone.shown.is_empty());
    assert!(phone.store.outbox.is_empty());
}

#[test]
fn a_duplicate_is_as_good_as_stored() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Duplicate(stored(4))]);
    assert_eq!(phone.entries_shown(), [4]);
}

#[test]
fn a_message_stored_behind_a_gap_is_settled_at_once_and_shown_in_its_place() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Ok(stored(5))]);
    assert_eq!(phone.outgoing_shown().pop(), Some(("m".to_owned(), OutgoingState::Stored(stored(5)))));
    assert!(phone.store.outbox.is_empty());
    phone.push([4]);
    assert_eq!(phone.entries_shown(), [4, 5]);
}

// holds: L5
#[test]
fn one_send_at_a_time_with_all_that_waits_keeps_the_order() {
    let mut phone = Phone::live_at(3);
    phone.compose("a");
    phone.compose("b");
    phone.compose("c");
    let first = phone.send();
    assert_eq!(ids(&first), ["a"]);
    assert!(phone.sent.is_empty());
    phone.results(&first, vec![Outcome::Ok(stored(4))]);
    assert_eq!(ids(&phone.send()), ["b", "c"]);
}

#[test]
fn conversations_do_not_wait_for_each_other() {
    let mut store = knows(3);
    let mut other = store.rows[&d1()].clone();
    other.conversation = ConversationId::new("d2").unwrap();
    store.rows.insert(other.conversation.clone(), other);
    let mut phone = Phone::with(&store);
    phone.go_live(vec![]);
    phone.compose("a");
    let compose =
        Input::Do(Act::Compose { conversation: ConversationId::new("d2").unwrap(), client_message_id: message_id("b"), body: body("b") });
    phone.input(compose);
    assert_eq!(phone.sent.len(), 2);
}

#[test]
fn a_frame_has_at_most_25_messages_and_32_kb() {
    let mut phone = Phone::with(&knows(3));
    for number in 0..30 {
        phone.compose(&format!("m{number}"));
    }
    phone.go_live(vec![]);
    assert_eq!(phone.send().messages.len(), 25);
    let mut phone = Phone::with(&knows(3));
    for id in ["a", "b", "c"] {
        let body = Body::text("\"".repeat(7_000)).unwrap();
        phone.input(Input::Do(Act::Compose { conversation: d1(), client_message_id: message_id(id), body }));
    }
    phone.go_live(vec![]);
    assert_eq!(phone.send().messages.len(), 2, "as encoded");
}

#[test]
fn a_message_that_fits_into_no_request_fails_and_does_not_hold_up_the_next() {
    let mut phone = Phone::live_at(3);
    let body = Body::text("x".repeat(40_000)).unwrap();
    phone.input(Input::Do(Act::Compose { conversation: d1(), client_message_id: message_id("big"), body }));
    phone.compose("small");
    let probe = phone.probe();
    phone.probed(&probe, vec![], at(3), true);
    let (id, state) = phone.outgoing_shown().pop().unwrap();
    assert_eq!(id, "big");
    assert!(matches!(state, OutgoingState::Failed(refusal) if refusal.code == ErrorCode::TooLarge));
    assert_eq!(ids(&phone.send()), ["small"]);
}

// holds: L2
#[test]
fn an_unknown_outcome_is_repeated_with_the_same_id_anchor_and_body() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.push([4]);
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.send();
    assert_eq!((&again.messages, again.messages[0].anchor), (&send.messages, at(3)));
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    assert_eq!(phone.send().messages, send.messages);
}

// holds: L2
#[test]
fn a_restart_repeats_what_waits_as_it_was() {
    let mut phone = Phone::live_at(3);
    phone.compose("a");
    phone.compose("b");
    let first = phone.send();
    phone.push([4]);
    phone.restart();
    phone.go_live(vec![]);
    let again = phone.send();
    assert_eq!((ids(&again), again.messages[0].anchor), (vec!["a", "b"], at(3)));
    assert_eq!(again.messages[0], first.messages[0]);
    phone.results(&again, vec![Outcome::Duplicate(stored(5)), Outcome::Ok(stored(6))]);
    phone.compose("c");
    assert!(phone.session.outbox().next().unwrap().order > 2);
}

#[test]
fn a_retryable_refusal_waits_and_the_rest_of_the_frame_with_it() {
    let mut phone = Phone::with(&knows(3));
    for id in ["a", "b", "c"] {
        phone.compose(id);
    }
    phone.go_live(vec![]);
    let send = phone.send();
    let wait = Outcome::Refused(Refusal::new(ErrorCode::RateLimited, "").after_ms(400));
    phone.results(&send, vec![Outcome::Ok(stored(4)), wait, Outcome::NotAttempted]);
    phone.pass(399);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    assert_eq!(ids(&phone.send()), ["b", "c"]);
}

#[test]
fn a_frame_that_is_refused_whole_is_repeated_or_taken_apart() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("a");
    phone.compose("b");
    phone.go_live(vec![]);
    let send = phone.send();
    phone.refuse(&send.id, Refusal::new(ErrorCode::Unavailable, "").after_ms(100));
    phone.pass(600);
    let send = phone.send();
    assert_eq!(ids(&send), ["a", "b"]);
    phone.refuse(&send.id, Refusal::new(ErrorCode::BadRequest, ""));
    let alone = phone.send();
    assert_eq!(ids(&alone), ["a"]);
    phone.refuse(&alone.id, Refusal::new(ErrorCode::BadRequest, ""));
    let probe = phone.probe();
    phone.probed(&probe, vec![], at(3), true);
    assert_eq!(ids(&phone.send()), ["b"]);
}

#[test]
fn an_answer_without_results_is_not_repeated_at_once() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.receive(&ServerFrame::Send(SendAnswer { id: send.id, conversation: d1(), results: vec![] }));
    assert!(phone.sent.is_empty());
    phone.pass(500);
    phone.send();
}

#[test]
fn a_refused_message_fails_only_when_the_log_was_looked_through() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.compose("n");
    phone.go_live(vec![]);
    let send = phone.send();
    phone.shown.clear();
    phone.results(&send, vec![refused(ErrorCode::Forbidden), Outcome::NotAttempted]);
    assert!(phone.outgoing_shown().is_empty());
    assert!(matches!(phone.store.outbox[&(d1(), message_id("m"))].state, OutboxState::Refused(_)));
    let probe = phone.probe();
    assert_eq!((probe.anchor, &probe.ids), (at(3), &vec![message_id("m"), message_id("n")]));
    phone.probed(&probe, vec![], at(8), false);
    assert!(phone.outgoing_shown().is_empty());
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(8));
    phone.probed(&probe, vec![], at(9), true);
    assert!(matches!(phone.outgoing_shown().as_slice(), [(id, OutgoingState::Failed(_))] if id == "m"));
    assert!(matches!(phone.store.outbox[&(d1(), message_id("m"))].state, OutboxState::Failed(_)));
    let next = phone.send();
    assert_eq!((ids(&next), next.messages[0].anchor), (vec!["n"], at(9)));
}

#[test]
fn a_refused_message_that_is_in_the_log_is_shown_as_sent() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.probed(&probe, vec![("m", 4)], at(4), true);
    assert_eq!(phone.outgoing_shown().pop(), Some(("m".to_owned(), OutgoingState::Stored(stored(4)))));
    assert!(phone.store.outbox.is_empty());
}

#[test]
fn a_refusal_outlives_a_restart_and_so_does_the_look_through() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::Forbidden)]);
    phone.restart();
    phone.go_live(vec![]);
    let probe = phone.probe();
    phone.refuse(&probe.id, Refusal::new(ErrorCode::Unavailable, ""));
    phone.pass(500);
    let probe = phone.probe();
    phone.gateway_fails();
    phone.pass(1_000);
    assert_eq!(phone.probe().ids, probe.ids);
}

#[test]
fn where_not_even_the_log_may_be_looked_through_the_message_fails_and_stays() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::NotFound)]);
    let probe = phone.probe();
    phone.refuse(&probe.id, Refusal::new(ErrorCode::NotFound, ""));
    assert!(matches!(phone.outgoing_shown().pop(), Some((_, OutgoingState::Failed(_)))));
    phone.pass(100_000);
    assert_eq!((phone.sent.len(), phone.store.outbox.len()), (0, 1));
}

#[test]
fn a_failed_message_is_discarded_by_the_user_and_an_open_one_is_not() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let discard = Input::Do(Act::Discard { conversation: d1(), client_message_id: message_id("m") });
    phone.input(discard.clone());
    assert_eq!(phone.store.outbox.len(), 1);
    let send = phone.send();
    phone.results(&send, vec![Outcome::Conflict(stored(2))]);
    phone.input(discard);
    assert!(phone.store.outbox.is_empty());
}

#[test]
fn a_conflict_fails_at_once_and_the_other_message_is_not_taken_for_it() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Conflict(stored(4))]);
    assert!(matches!(phone.outgoing_shown().pop(), Some((_, OutgoingState::Failed(refusal))) if refusal.code == ErrorCode::BadRequest));
    let mut other = own_entry("m", 4);
    other.kind = chatlane_protocol::EntryKind::Message { body: body("something else") };
    phone.receive(&ServerFrame::Entries(chatlane_protocol::frames::Entries { conversation: d1(), entries: vec![other] }));
    assert!(phone.outgoing_shown().is_empty());
    assert_eq!(phone.store.outbox.len(), 1);
}

#[test]
fn an_own_entry_that_comes_settles_its_message_whatever_its_state() {
    for fail in [false, true] {
        let mut phone = Phone::live_at(3);
        phone.compose("m");
        let send = phone.send();
        if fail {
            phone.results(&send, vec![refused(ErrorCode::Forbidden)]);
            let probe = phone.probe();
            phone.probed(&probe, vec![], at(3), true);
        }
        phone.receive(&ServerFrame::Entries(chatlane_protocol::frames::Entries { conversation: d1(), entries: vec![own_entry("m", 4)] }));
        assert_eq!(phone.outgoing_shown().pop(), Some(("m".to_owned(), OutgoingState::Stored(stored(4)))));
        assert!(phone.store.outbox.is_empty());
        if !fail {
            phone.results(&send, vec![Outcome::Ok(stored(4))]);
            assert!(phone.entries_shown().is_empty(), "settled already");
        }
    }
}

/// A phone whose first attempt of a message has an unknown outcome, and whose second was refused; the message failed.
fn with_a_late_answer() -> (Phone, chatlane_protocol::request::SendMessages) {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let first = phone.send();
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.send();
    phone.results(&again, vec![refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.probed(&probe, vec![], at(3), true);
    assert!(matches!(phone.outgoing_shown().pop(), Some((_, OutgoingState::Failed(_)))));
    (phone, first)
}

#[test]
fn a_late_result_settles_its_message_whatever_became_of_the_repetition() {
    for outcome in [Outcome::Ok(stored(4)), Outcome::Duplicate(stored(4))] {
        let (mut phone, first) = with_a_late_answer();
        phone.results(&first, vec![outcome]);
        assert_eq!(phone.store.entries[&(d1(), at(4).seq)], own_entry("m", 4));
        assert_eq!(phone.outgoing_shown().pop(), Some(("m".to_owned(), OutgoingState::Stored(stored(4)))));
        assert!(phone.store.outbox.is_empty());
    }
}

#[test]
fn a_late_result_of_a_message_under_way_again_is_enough() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let first = phone.send();
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.send();
    phone.results(&first, vec![Outcome::Ok(stored(4))]);
    phone.results(&again, vec![Outcome::Duplicate(stored(4))]);
    assert_eq!((phone.entries_shown(), phone.store.outbox.len()), (vec![4], 0));
}

#[test]
fn a_late_refusal_says_nothing() {
    let (mut phone, first) = with_a_late_answer();
    phone.results(&first, vec![refused(ErrorCode::AnchorStale)]);
    phone.pass(10_000);
    assert_eq!((phone.sent.len(), phone.anchors()), (0, vec![at(3)]));
}

#[test]
fn a_late_result_is_listened_for_as_long_as_a_function_can_run_and_in_its_log_only() {
    let (mut phone, first) = with_a_late_answer();
    phone.pass(35_000);
    phone.gateway_fails();
    phone.results(&first, vec![Outcome::Ok(stored(4))]);
    assert!(phone.outgoing_shown().is_empty());
    let (mut phone, first) = with_a_late_answer();
    phone.push([6]);
    phone.pass(1_000);
    let sync = phone.sync();
    let mut restored = Refusal::new(ErrorCode::EpochChanged, "");
    restored.common = Some(at(2));
    phone.pages(&sync, vec![chatlane_protocol::frames::SyncOutcome::Refused(restored)], true);
    phone.results(&first, vec![Outcome::Ok(stored(4))]);
    assert_eq!(phone.store.outbox.len(), 1, "what was stored is lost");
}

#[test]
fn a_double_tap_is_one_message() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    phone.compose("m");
    assert_eq!(phone.session.outbox().count(), 1);
}

#[test]
fn a_message_into_an_unknown_conversation_cannot_be_had() {
    let mut phone = Phone::new();
    phone.compose("m");
    assert_eq!(phone.shown, [Shown::Failed(Failure::NoConversation(d1()))]);
}

#[test]
fn a_repair_that_nothing_waits_for_any_more_is_forgotten() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::AnchorTooOld)]);
    phone.probe();
    phone.receive(&ServerFrame::Entries(chatlane_protocol::frames::Entries { conversation: d1(), entries: vec![own_entry("m", 4)] }));
    phone.gateway_fails();
    phone.compose("n");
    phone.pass(500);
    assert_eq!(ids(&phone.send()), ["n"]);
}
