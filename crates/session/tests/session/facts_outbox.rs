//! The outbox: attempted in order, settled once, never lost. The simple cases are vectors.

use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{Body, EntryKind, ErrorCode, Outcome, Position, ServerFrame};
use chatlane_session::{Act, Failure, OutboxState, OutgoingState, Shown};

use crate::phone::*;

/// A phone with these messages of one request, which waits for its answer.
fn sending_together(ids: &[&str]) -> (Phone, SendMessages) {
    let mut phone = Phone::with(&knows(3));
    for id in ids {
        phone.compose(id);
    }
    phone.go_live([]);
    let send = phone.send();
    (phone, send)
}

fn compose_text(phone: &mut Phone, id: &str, text: String) {
    phone.does(Act::Compose { conversation: d1(), client_message_id: message_id(id), draft: Body::text(text).unwrap().into() });
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
fn a_message_stored_behind_a_gap_is_settled_at_once_and_shown_in_its_place() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [Outcome::Ok(stored(5))]);
    assert!(phone.shows_stored("m", 5) && phone.store.outbox.is_empty());
    phone.push([4]);
    assert_eq!(phone.entries_shown(), [4, 5]);
}

// holds: L5
#[test]
fn one_send_at_a_time_with_all_that_waits_keeps_the_order() {
    let mut phone = Phone::live_at(3);
    let first = phone.attempt("a");
    phone.compose("b");
    phone.compose("c");
    assert!(ids(&first) == ["a"] && phone.sent.is_empty());
    phone.results(&first, [Outcome::Ok(stored(4))]);
    assert_eq!(ids(&phone.send()), ["b", "c"]);
}

#[test]
fn conversations_do_not_wait_for_each_other() {
    let mut phone = Phone::live(&knows_also(3, [d2()]), []);
    phone.compose("a");
    phone.does(Act::Compose { conversation: d2(), client_message_id: message_id("b"), draft: body("b").into() });
    assert_eq!(phone.sent.len(), 2);
}

#[test]
fn a_frame_has_as_many_messages_as_the_server_said() {
    let (mut phone, hello) = Phone::greeting(&knows(3));
    for id in ["a", "b", "c", "d", "e"] {
        phone.compose(id);
    }
    let mut answer = hello_answer(hello.id, vec![], None);
    answer.limits.messages_per_send_max = 3;
    phone.receive(&ServerFrame::Hello(Box::new(answer)));
    assert_eq!(ids(&phone.send()), ["a", "b", "c"]);
}

#[test]
fn a_frame_has_at_most_25_messages_and_32_kb() {
    let many: Vec<_> = (0..30).map(|number| format!("m{number}")).collect();
    let (_, send) = sending_together(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(send.messages.len(), 25);
    let mut phone = Phone::with(&knows(3));
    for id in ["a", "b", "c"] {
        compose_text(&mut phone, id, "\"".repeat(7_000));
    }
    phone.go_live([]);
    assert_eq!(phone.send().messages.len(), 2, "as encoded");
}

#[test]
fn a_message_that_fits_into_no_request_fails_and_does_not_hold_up_the_next() {
    let mut phone = Phone::live_at(3);
    compose_text(&mut phone, "big", "x".repeat(40_000));
    phone.compose("small");
    let probe = phone.probe();
    phone.probed(&probe, &[], at(3), true);
    assert_eq!(phone.failure_shown(), Some(ErrorCode::TooLarge));
    assert_eq!(ids(&phone.send()), ["small"]);
}

// holds: L2
#[test]
fn an_unknown_outcome_is_repeated_with_the_same_id_anchor_and_body() {
    let (mut phone, send) = Phone::sending(3);
    phone.push([4]);
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.send();
    assert_eq!((&again.messages, again.messages[0].anchor), (&send.messages, at(3)));
    phone.reconnects([]);
    assert_eq!(phone.send().messages, send.messages);
}

// holds: L2
#[test]
fn a_restart_repeats_what_waits_as_it_was() {
    let mut phone = Phone::live_at(3);
    let first = phone.attempt("a");
    phone.compose("b");
    phone.push([4]);
    phone.restart();
    phone.go_live([]);
    let again = phone.send();
    assert_eq!((ids(&again), again.messages[0].anchor), (vec!["a", "b"], at(3)));
    assert_eq!(again.messages[0], first.messages[0]);
    phone.results(&again, [Outcome::Duplicate(stored(5)), Outcome::Ok(stored(6))]);
    phone.compose("c");
    assert!(phone.session.outbox().next().unwrap().order > 2);
}

#[test]
fn a_frame_that_is_refused_whole_is_repeated_or_taken_apart() {
    let (mut phone, send) = sending_together(&["a", "b"]);
    phone.refuse(&send.id, refusal(ErrorCode::Unavailable).after_ms(100));
    phone.pass(600);
    let send = phone.send();
    assert_eq!(ids(&send), ["a", "b"]);
    phone.refuse(&send.id, refusal(ErrorCode::BadRequest));
    let alone = phone.send();
    assert_eq!(ids(&alone), ["a"]);
    phone.refuse(&alone.id, refusal(ErrorCode::BadRequest));
    let probe = phone.probe();
    phone.probed(&probe, &[], at(3), true);
    assert_eq!(ids(&phone.send()), ["b"]);
}

#[test]
fn an_answer_without_results_is_not_repeated_at_once() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, []);
    assert!(phone.sent.is_empty());
    phone.pass(500);
    phone.send();
}

#[test]
fn a_refused_message_fails_only_when_the_log_was_looked_through() {
    let (mut phone, send) = sending_together(&["m", "n"]);
    phone.shown.clear();
    phone.results(&send, [refused(ErrorCode::Forbidden), Outcome::NotAttempted]);
    assert!(phone.outgoing_shown().is_empty());
    assert!(matches!(phone.store.outbox[&(d1(), message_id("m"))].state, OutboxState::Refused(_)));
    let probe = phone.probe();
    assert_eq!((probe.anchor, &probe.ids), (at(3), &vec![message_id("m"), message_id("n")]));
    phone.probed(&probe, &[], at(8), false);
    assert!(phone.outgoing_shown().is_empty());
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(8));
    phone.probed(&probe, &[], at(9), true);
    assert_eq!(phone.failure_shown(), Some(ErrorCode::Forbidden));
    assert!(matches!(phone.store.outbox[&(d1(), message_id("m"))].state, OutboxState::Failed(_)));
    let next = phone.send();
    assert_eq!((ids(&next), next.messages[0].anchor), (vec!["n"], at(9)));
}

#[test]
fn a_refusal_outlives_a_restart_and_so_does_the_look_through() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [refused(ErrorCode::Forbidden)]);
    phone.restart();
    phone.go_live([]);
    let probe = phone.probe();
    phone.refuse(&probe.id, refusal(ErrorCode::Unavailable));
    phone.pass(500);
    assert_eq!(phone.probe().ids, probe.ids);
    phone.gateway_fails();
    phone.pass(1_000);
    assert_eq!(phone.probe().ids, probe.ids);
}

#[test]
fn where_not_even_the_log_may_be_looked_through_the_message_fails_and_stays() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [refused(ErrorCode::NotFound)]);
    let probe = phone.probe();
    phone.refuse(&probe.id, refusal(ErrorCode::NotFound));
    assert_eq!(phone.failure_shown(), Some(ErrorCode::NotFound));
    phone.open(); // for the next one
    phone.pass(30_000);
    assert_eq!((phone.sent.len(), phone.store.outbox.len()), (0, 1));
}

#[test]
fn a_conflict_fails_at_once_and_the_other_message_is_not_taken_for_it() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [Outcome::Conflict(stored(4))]);
    assert_eq!(phone.failure_shown(), Some(ErrorCode::BadRequest));
    let mut other = own_entry("m", 4);
    other.kind = EntryKind::Message(body("something else").into());
    phone.entries_come(vec![other]);
    assert!(phone.outgoing_shown().is_empty());
    assert_eq!(phone.store.outbox.len(), 1);
}

#[test]
fn a_failed_message_is_discarded_by_the_user_and_an_open_one_is_not() {
    let (mut phone, send) = Phone::sending(3);
    let discard = Act::Discard { conversation: d1(), client_message_id: message_id("m") };
    phone.does(discard.clone());
    assert_eq!(phone.store.outbox.len(), 1);
    phone.results(&send, [Outcome::Conflict(stored(2))]);
    phone.does(discard);
    assert!(phone.store.outbox.is_empty());
}

/// A phone whose first attempt of a message has an unknown outcome, and whose second was refused; the message failed.
fn with_a_late_answer() -> (Phone, SendMessages) {
    let (mut phone, first) = Phone::sending(3);
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.send();
    phone.results(&again, [refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.probed(&probe, &[], at(3), true);
    assert_eq!(phone.failure_shown(), Some(ErrorCode::Forbidden));
    (phone, first)
}

#[test]
fn an_own_entry_that_comes_settles_its_message_whatever_its_state() {
    let (mut phone, send) = Phone::sending(3);
    phone.entries_come(vec![own_entry("m", 4)]);
    assert!(phone.shows_stored("m", 4));
    phone.results(&send, [Outcome::Ok(stored(4))]);
    assert!(phone.entries_shown().is_empty(), "settled already");
    let (mut phone, _) = with_a_late_answer();
    phone.entries_come(vec![own_entry("m", 4)]);
    assert!(phone.shows_stored("m", 4) && phone.store.outbox.is_empty());
}

#[test]
fn a_late_result_settles_its_message_whatever_became_of_the_repetition() {
    for outcome in [Outcome::Ok(stored(4)), Outcome::Duplicate(stored(4))] {
        let (mut phone, first) = with_a_late_answer();
        phone.results(&first, [outcome]);
        assert_eq!(phone.store.entries[&(d1(), at(4).seq)], own_entry("m", 4));
        assert!(phone.shows_stored("m", 4) && phone.store.outbox.is_empty());
    }
    // Under way again: the late result is enough.
    let (mut phone, first) = Phone::sending(3);
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.send();
    phone.results(&first, [Outcome::Ok(stored(4))]);
    phone.results(&again, [Outcome::Duplicate(stored(4))]);
    assert_eq!((phone.entries_shown(), phone.store.outbox.len()), (vec![4], 0));
    // A late refusal says nothing.
    let (mut phone, first) = with_a_late_answer();
    phone.results(&first, [refused(ErrorCode::AnchorStale)]);
    phone.pass(10_000);
    assert_eq!((phone.sent.len(), phone.anchors()), (0, vec![at(3)]));
}

#[test]
fn a_late_result_is_listened_for_as_long_as_a_function_can_run_and_in_its_log_only() {
    let (mut phone, first) = with_a_late_answer();
    phone.pass(35_000);
    phone.gateway_fails();
    phone.results(&first, [Outcome::Ok(stored(4))]);
    assert!(phone.outgoing_shown().is_empty());
    let (mut phone, first) = with_a_late_answer();
    let sync = phone.gap_before(6);
    phone.refuse_page(&sync, restored_to(at(2)));
    phone.results(&first, [Outcome::Ok(stored(4))]);
    assert_eq!(phone.store.outbox.len(), 1, "what was stored is lost");
}

#[test]
fn a_double_tap_is_one_message() {
    let (mut phone, _) = Phone::sending(3);
    phone.compose("m");
    assert_eq!(phone.session.outbox().count(), 1);
}

#[test]
fn what_is_wanted_of_an_unknown_conversation_cannot_be_had() {
    for act in [
        Act::Compose { conversation: d1(), client_message_id: message_id("m"), draft: body("m").into() },
        Act::LoadHistory { conversation: d1(), before: None },
    ] {
        let mut phone = Phone::new();
        phone.does(act);
        assert_eq!(phone.shown, [Shown::Failed(Failure::NoConversation(d1()))]);
    }
}

#[test]
fn a_repair_that_nothing_waits_for_any_more_is_forgotten() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [refused(ErrorCode::AnchorTooOld)]);
    phone.probe();
    phone.entries_come(vec![own_entry("m", 4)]);
    phone.gateway_fails();
    phone.compose("n");
    phone.pass(500);
    assert_eq!(ids(&phone.send()), ["n"]);
}
