//! Anchors that are of no use any more, logs that were restored, conversations that begin anew. The outbox survives all of it.

use chatlane_protocol::frames::{ConversationStatus, CursorOutcome, CursorResult, CursorsAnswer, Missed, Skip, SyncOutcome};
use chatlane_protocol::{ErrorCode, Outcome, Position, Refusal, Request, ServerFrame};
use chatlane_session::OutgoingState;

use crate::phone::*;

fn stale(tail: u64) -> Outcome {
    let mut refusal = Refusal::new(ErrorCode::AnchorStale, "");
    refusal.tail = Some(at(tail));
    Outcome::Refused(refusal)
}

pub fn restored_to(common: Position) -> Refusal {
    let mut refusal = Refusal::new(ErrorCode::EpochChanged, "");
    refusal.common = Some(common);
    refusal
}

fn refused(code: ErrorCode) -> Outcome {
    Outcome::Refused(Refusal::new(code, ""))
}

/// A phone whose message is refused once the phone has gone on to this entry.
fn with_stale_anchor(have: u64) -> Phone {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.push(4..=have);
    phone.results(&send, vec![stale(have)]);
    phone
}

#[test]
fn a_stale_anchor_moves_over_the_entries_that_the_device_has_taken() {
    let mut phone = with_stale_anchor(300);
    assert_eq!(phone.anchors(), [at(300)]);
    assert_eq!(phone.store.outbox[&(d1(), message_id("m"))].anchor, at(300));
    let again = phone.send();
    assert_eq!((again.messages[0].anchor, &again.messages[0].client_message_id), (at(300), &message_id("m")));
    assert!(phone.sent.is_empty());
}

#[test]
fn a_moved_anchor_is_used_when_the_store_has_it() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.push(4..=300);
    phone.slow_store = true;
    phone.results(&send, vec![stale(300)]);
    assert!(phone.sent.is_empty());
    phone.commit();
    assert_eq!(phone.send().messages[0].anchor, at(300));
}

#[test]
fn a_stale_anchor_before_what_was_skipped_is_probed_and_moves_there() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live(vec![row(at(5_000), at(1))]);
    let send = phone.send();
    phone.results(&send, vec![stale(5_000)]);
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(3));
    phone.probed(&probe, vec![], at(1_003), false);
    let probe = phone.probe();
    assert_eq!((probe.anchor, phone.anchors()), (at(1_003), vec![at(1_003)]));
    phone.probed(&probe, vec![], at(5_001), true);
    let again = phone.send();
    assert_eq!((again.messages[0].anchor, &again.messages[0].body), (at(5_001), &send.messages[0].body));
}

// holds: L2
#[test]
fn an_anchor_never_moves_over_a_skip_in_the_middle_of_the_run() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live(vec![row(at(9), at(1))]);
    let send = phone.send();
    let sync = phone.sync();
    let missed = Missed { skip: Some(Skip { to: at(7) }), entries: vec![entry(1, 8), entry(1, 9)], done: true };
    phone.pages(&sync, vec![SyncOutcome::Ok(missed)], true);
    phone.results(&send, vec![stale(9)]);
    let probe = phone.probe();
    assert_eq!((probe.anchor, phone.anchors()), (at(3), vec![at(3)]));
    phone.probed(&probe, vec![], at(9), true);
    let again = phone.send();
    // What was taken since was looked through.
    phone.push(10..=300);
    phone.results(&again, vec![stale(300)]);
    assert_eq!(phone.anchors(), [at(300)]);
}

#[test]
fn a_stale_anchor_from_before_a_restart_is_probed_over_what_was_taken_before_it() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    phone.push(4..=300);
    phone.restart();
    phone.go_live(vec![]);
    phone.push(301..=310);
    let send = phone.send();
    phone.results(&send, vec![stale(310)]);
    assert_eq!((phone.probe().anchor, phone.anchors()), (at(3), vec![at(3)]));
}

#[test]
fn after_a_restore_an_anchor_moves_over_what_was_taken_since() {
    let mut phone = Phone::live_at(9);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Refused(restored_to(at(5)))]);
    let sync = phone.sync();
    phone.page(&sync, (6..=300).map(|seq| entry(2, seq)).collect(), true);
    phone.pass(500);
    let again = phone.send();
    assert_eq!(again.messages[0].anchor, at(5));
    let mut refusal = Refusal::new(ErrorCode::AnchorStale, "");
    refusal.tail = Some(at_epoch(2, 300));
    phone.results(&again, vec![Outcome::Refused(refusal)]);
    assert_eq!(phone.anchors(), [at_epoch(2, 300)]);
}

#[test]
fn a_probe_that_finds_the_message_settles_it() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live(vec![row(at(5_000), at(1))]);
    let send = phone.send();
    phone.results(&send, vec![stale(5_000)]);
    let probe = phone.probe();
    phone.shown.clear();
    phone.probed(&probe, vec![("m", 9)], at(1_003), false);
    assert_eq!(phone.outgoing_shown(), [("m".to_owned(), OutgoingState::Stored(stored(9)))]);
    assert!(phone.sent.iter().all(|(_, request)| !matches!(request, Request::Probe(_))));
}

#[test]
fn a_probe_that_comes_no_further_is_not_repeated_at_once() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live(vec![row(at(5_000), at(1))]);
    let send = phone.send();
    phone.results(&send, vec![stale(5_000)]);
    let probe = phone.probe();
    phone.probed(&probe, vec![], at(3), false);
    assert!(phone.sent.iter().all(|(_, request)| !matches!(request, Request::Probe(_))));
    phone.pass(500);
    assert_eq!(phone.probe().anchor, at(3));
}

#[test]
fn an_anchor_that_is_stale_by_bytes_although_it_is_the_newest_is_probed() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![stale(150)]);
    assert_eq!(phone.probe().anchor, at(3));
}

#[test]
fn a_position_that_the_log_never_had_begins_the_conversation_anew_as_a_new_one() {
    for code in [ErrorCode::AnchorUnknown, ErrorCode::AnchorTooOld] {
        let mut phone = Phone::live_at(9);
        phone.slow_store = false;
        phone.compose("m");
        phone.send();
        phone.push([11]);
        phone.pass(1_000);
        let sync = phone.sync();
        phone.pages(&sync, vec![SyncOutcome::Refused(Refusal::new(code, ""))], true);
        assert_eq!((phone.store.entries.len(), phone.store.outbox.len()), (0, 1), "never the outbox");
        let ping = phone.ping();
        assert_eq!(ping.open, [d1()]);
        phone.pong(&ping, false, vec![ConversationStatus { conversation: d1(), head: at(8), count: 7, cursors: vec![] }]);
        phone.pass(1_000);
        if code == ErrorCode::AnchorUnknown {
            assert_eq!(phone.sync().conversations[0].after, Position::ZERO);
        } else {
            assert_eq!((phone.row().from, phone.row().have), (at(8), at(8)), "its first entries are gone");
        }
    }
}

#[test]
fn a_ping_that_is_refused_still_finds_the_head_that_was_forgotten() {
    let mut phone = Phone::live_at(9);
    phone.push([11]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(Refusal::new(ErrorCode::AnchorUnknown, ""))], true);
    let ping = phone.ping();
    phone.refuse(&ping.id, Refusal::new(ErrorCode::Unavailable, ""));
    phone.pass(500);
    let ping = phone.ping();
    assert_eq!(ping.open, [d1()]);
    phone.gateway_fails();
    phone.pass(1_000);
    assert_eq!(phone.ping().open, [d1()]);
}

#[test]
fn an_anchor_that_is_none_is_looked_for_from_the_first_entry() {
    let mut phone = Phone::live_at(9);
    phone.push([11]);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::AnchorUnknown)]);
    phone.pass(500);
    let probe = phone.probe();
    assert_eq!(probe.anchor, Position::ZERO);
    phone.probed(&probe, vec![], at(4), false);
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(4));
    phone.probed(&probe, vec![], at(9), true);
    assert_eq!(phone.send().messages[0].anchor, at(9));
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, at(9), "what the device has is checked as well");
}

#[test]
fn a_probe_at_an_anchor_that_is_none_begins_at_the_first_entry_and_ends_there() {
    let mut phone = Phone::live_at(9);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::AnchorTooOld)]);
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(9));
    phone.refuse(&probe.id, Refusal::new(ErrorCode::AnchorUnknown, ""));
    let probe = phone.probe();
    assert_eq!(probe.anchor, Position::ZERO);
    phone.refuse(&probe.id, Refusal::new(ErrorCode::AnchorTooOld, ""));
    assert!(matches!(phone.outgoing_shown().pop(), Some((_, OutgoingState::Failed(refusal))) if refusal.code == ErrorCode::AnchorTooOld));
    assert_eq!(phone.store.outbox.len(), 1);
}

#[test]
fn a_probe_can_find_a_restore_too() {
    let mut phone = Phone::live_at(9);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.refuse(&probe.id, restored_to(at(5)));
    assert_eq!((phone.anchors(), phone.row().have), (vec![at(5)], at(5)));
    phone.pass(500);
    let again = phone.sent.iter().find_map(|(_, request)| if let Request::Probe(probe) = request { Some(probe) } else { None });
    assert_eq!(again.unwrap().anchor, at(5));
}

#[test]
fn a_probe_of_the_log_before_a_restore_says_nothing() {
    let mut phone = Phone::live_at(9);
    phone.push([11]);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.pass(1_000);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(5)))], true);
    phone.probed(&probe, vec![], at(11), true);
    assert_eq!(phone.anchors(), [at(5)]);
    assert!(phone.outgoing_shown().iter().all(|(_, state)| !matches!(state, OutgoingState::Failed(_))));
}

#[test]
fn a_cursor_that_meets_a_restore_has_the_conversation_checked() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let ack = phone.ack();
    let outcome = CursorOutcome::Refused(restored_to(at(2)));
    let results = vec![CursorResult { conversation: d1(), outcome }];
    phone.receive(&ServerFrame::Ack(CursorsAnswer { id: ack.id, results }));
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, at(4));
}

#[test]
fn a_restore_without_a_common_entry_is_checked_from_what_the_device_has() {
    let mut phone = Phone::live_at(9);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![refused(ErrorCode::EpochChanged)]);
    phone.pass(1_000);
    let mut asked = vec![];
    while let Some((_, request)) = phone.sent.pop_front() {
        asked.push(request);
    }
    assert!(asked.iter().any(|request| matches!(request, Request::Probe(probe) if probe.anchor == Position::ZERO)));
    assert!(asked.iter().any(|request| matches!(request, Request::Sync(sync) if sync.conversations[0].after == at(9))));
}
