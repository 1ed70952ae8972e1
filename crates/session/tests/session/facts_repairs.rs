//! Anchors that are of no use any more, and conversations that begin anew. The outbox survives all of it. The simple cases are vectors.

use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ErrorCode, Outcome, Position, Request};

use crate::phone::*;

fn probes(phone: &Phone) -> Vec<Position> {
    phone.sent.iter().filter_map(|(_, request)| if let Request::Probe(probe) = request { Some(probe.anchor) } else { None }).collect()
}

/// A phone that has gone on at entry 5,000, before which a message has its anchor.
fn skipping() -> (Phone, SendMessages) {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live([row(at(5_000), at(1))]);
    let send = phone.send();
    phone.results(&send, [stale(at(5_000))]);
    (phone, send)
}

#[test]
fn a_stale_anchor_moves_over_the_entries_that_the_device_has_taken_and_is_used_when_the_store_has_it() {
    let (mut phone, send) = Phone::sending(3);
    phone.push(4..=300);
    phone.slow_store = true;
    phone.results(&send, [stale(at(300))]);
    assert!(phone.anchors() == [at(300)] && phone.sent.is_empty());
    phone.commit();
    assert_eq!(phone.store.outbox[&(d1(), message_id("m"))].anchor, at(300));
    assert_eq!((phone.send().messages[0].anchor, phone.sent.len()), (at(300), 0));
}

#[test]
fn a_stale_anchor_before_what_was_skipped_is_probed_and_moves_there() {
    let (mut phone, send) = skipping();
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(3));
    phone.probed(&probe, &[], at(1_003), false);
    let probe = phone.probe();
    assert_eq!((probe.anchor, phone.anchors()), (at(1_003), vec![at(1_003)]));
    phone.probed(&probe, &[], at(5_001), true);
    let again = phone.send();
    assert_eq!((again.messages[0].anchor, &again.messages[0].body), (at(5_001), &send.messages[0].body));
}

// holds: L2
#[test]
fn an_anchor_never_moves_over_a_skip_in_the_middle_of_the_run() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live([row(at(9), at(1))]);
    let send = phone.send();
    let sync = phone.sync();
    phone.skips(&sync, 7, entries(1, 8..=9), true);
    phone.results(&send, [stale(at(9))]);
    let probe = phone.probe();
    assert_eq!((probe.anchor, phone.anchors()), (at(3), vec![at(3)]));
    phone.probed(&probe, &[], at(9), true);
    let again = phone.send();
    // What was taken since was looked through.
    phone.push(10..=300);
    phone.results(&again, [stale(at(300))]);
    assert_eq!(phone.anchors(), [at(300)]);
}

#[test]
fn a_stale_anchor_from_before_a_restart_is_probed_over_what_was_taken_before_it() {
    let (mut phone, _) = Phone::sending(3);
    phone.push(4..=300);
    phone.restart();
    phone.go_live([]);
    phone.push(301..=310);
    let send = phone.send();
    phone.results(&send, [stale(at(310))]);
    assert_eq!((phone.probe().anchor, phone.anchors()), (at(3), vec![at(3)]));
}

#[test]
fn after_a_restore_an_anchor_moves_over_what_was_taken_since() {
    let (mut phone, send) = Phone::sending(9);
    phone.results(&send, [Outcome::Refused(restored_to(at(5)))]);
    let sync = phone.sync();
    phone.page(&sync, entries(2, 6..=300), true);
    phone.pass(500);
    let again = phone.send();
    assert_eq!(again.messages[0].anchor, at(5));
    phone.results(&again, [stale(at_epoch(2, 300))]);
    assert_eq!(phone.anchors(), [at_epoch(2, 300)]);
}

#[test]
fn a_probe_that_comes_no_further_is_not_repeated_at_once_and_one_that_finds_all_not_at_all() {
    for found in [vec![], vec![("m", 9)]] {
        let (mut phone, _) = skipping();
        let probe = phone.probe();
        phone.probed(&probe, &found, at(3), false);
        assert!(probes(&phone).is_empty());
        phone.pass(500);
        assert_eq!((probes(&phone).len(), phone.shows_stored("m", 9)), if found.is_empty() { (1, false) } else { (0, true) });
    }
}

#[test]
fn an_anchor_that_is_stale_by_bytes_although_it_is_the_newest_is_probed() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [stale(at(150))]);
    assert_eq!(phone.probe().anchor, at(3));
}

#[test]
fn a_position_that_the_log_never_had_begins_the_conversation_anew_as_a_new_one() {
    for code in [ErrorCode::AnchorUnknown, ErrorCode::AnchorTooOld] {
        let (mut phone, _) = Phone::sending(9);
        let sync = phone.gap_before(11);
        phone.refuse_page(&sync, refusal(code));
        assert_eq!((phone.store.entries.len(), phone.store.outbox.len()), (0, 1), "never the outbox");
        // Where its head is, is asked until there is an answer.
        let ping = phone.ping();
        phone.refuse(&ping.id, refusal(ErrorCode::Unavailable));
        phone.pass(500);
        assert_eq!(phone.ping().open, [d1()]);
        phone.gateway_fails();
        phone.pass(1_000);
        phone.sent.retain(|(_, request)| matches!(request, Request::Ping(_)));
        let ping = phone.ping();
        assert_eq!(ping.open, [d1()]);
        phone.pong(&ping, false, vec![status(8, 7)]);
        phone.pass(1_000);
        if code == ErrorCode::AnchorUnknown {
            assert_eq!(phone.sync().conversations[0].after, Position::ZERO);
        } else {
            assert_eq!((phone.row().from, phone.row().have), (at(8), at(8)), "its first entries are gone");
        }
    }
}

#[test]
fn a_probe_at_an_anchor_that_is_none_begins_at_the_first_entry_and_ends_there() {
    let (mut phone, send) = Phone::sending(9);
    phone.results(&send, [refused(ErrorCode::AnchorTooOld)]);
    let probe = phone.probe();
    assert_eq!(probe.anchor, at(9));
    phone.refuse(&probe.id, refusal(ErrorCode::AnchorUnknown));
    let probe = phone.probe();
    assert_eq!(probe.anchor, Position::ZERO);
    phone.refuse(&probe.id, refusal(ErrorCode::AnchorTooOld));
    assert_eq!(phone.failure_shown(), Some(ErrorCode::AnchorTooOld));
    assert_eq!(phone.store.outbox.len(), 1);
}

#[test]
fn a_probe_can_find_a_restore_too() {
    let (mut phone, send) = Phone::sending(9);
    phone.results(&send, [refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.refuse(&probe.id, restored_to(at(5)));
    assert_eq!((phone.anchors(), phone.row().have), (vec![at(5)], at(5)));
    phone.pass(500);
    assert_eq!(probes(&phone), [at(5)]);
}

#[test]
fn a_probe_of_the_log_before_a_restore_says_nothing() {
    let mut phone = Phone::live_at(9);
    phone.push([11]);
    let send = phone.attempt("m");
    phone.results(&send, [refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.pass(1_000);
    let sync = phone.sync();
    phone.refuse_page(&sync, restored_to(at(5)));
    phone.probed(&probe, &[], at(11), true);
    assert_eq!((phone.anchors(), phone.failure_shown()), (vec![at(5)], None));
}

#[test]
fn a_restore_without_a_common_entry_is_checked_from_what_the_device_has() {
    let (mut phone, send) = Phone::sending(9);
    phone.results(&send, [refused(ErrorCode::EpochChanged)]);
    phone.pass(1_000);
    assert_eq!(probes(&phone), [Position::ZERO]);
    phone.sent.retain(|(_, request)| matches!(request, Request::Sync(_)));
    assert_eq!(phone.sync().conversations[0].after, at(9));
}
