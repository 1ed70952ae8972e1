//! Logs that were restored from a backup: what is not in the log any more is dropped, once, and the rest goes on.

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, SyncOutcome};
use chatlane_protocol::{Outcome, Position, ServerFrame};
use chatlane_session::{Act, Input, Shown};

use crate::facts_repairs::restored_to;
use crate::phone::*;

// holds: D1
#[test]
fn after_a_restore_what_is_beyond_the_common_entry_is_dropped_and_synced_anew() {
    let mut phone = Phone::live_at(9);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Refused(restored_to(at(5)))]);
    assert!(phone.shown.contains(&Shown::RolledBack { conversation: d1(), position: at(5) }));
    assert_eq!((phone.row().have, phone.row().have_count, phone.row().acked), (at(5), 4, at(5)));
    assert_eq!((phone.anchors(), phone.store.entries.len()), (vec![at(5)], 5));
    phone.shown.clear();
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(5));
    phone.page(&sync, vec![entry(2, 6), entry(2, 7)], true);
    assert_eq!(phone.entries_shown(), [6, 7]);
    phone.pass(500);
    let again = phone.send();
    assert_eq!((again.messages[0].anchor, &again.messages[0].client_message_id), (at(5), &message_id("m")));
    assert_eq!(phone.row().head, at_epoch(2, 7));
}

#[test]
fn a_restore_of_all_that_is_here_leaves_nothing_to_acknowledge() {
    let mut phone = Phone::with(&knows(3));
    let mut row = row(at_epoch(2, 5_000), Position::ZERO);
    row.last = Some(entry(2, 5_000));
    phone.go_live(vec![row]);
    assert_eq!((phone.ack().positions[0].position, phone.row().from.seq), (at_epoch(2, 5_000), at(4_999).seq));
    phone.push_in(3, [5_000]);
    phone.pass(1_000);
    let sync = phone.sync();
    // The place before the run was given the epoch of the entry behind it; the log has one of an earlier epoch there.
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(4_999)))], true);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    phone.pass(10_000);
    assert_eq!((phone.row().have, phone.store.entries.len()), (at(4_999), 0));
    assert!(phone.cursors.is_empty());
}

#[test]
fn nothing_is_acknowledged_before_the_store_has_dropped_what_a_restore_took_back() {
    let mut store = knows(9);
    store.rows.get_mut(&d1()).unwrap().acked = at(3);
    let mut phone = Phone::with(&store);
    phone.go_live(vec![]);
    let ack = phone.ack();
    let outcome = CursorOutcome::Refused(restored_to(at(5)));
    let results = vec![CursorResult { conversation: d1(), outcome }];
    phone.receive(&ServerFrame::Ack(CursorsAnswer { id: ack.id, results }));
    phone.pass(1_000);
    let sync = phone.sync();
    phone.slow_store = true;
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(5)))], true);
    let sync = phone.sync();
    assert_eq!((sync.conversations[0].after, sync.ack.len()), (at(5), 0));
    phone.page(&sync, vec![], true);
    phone.pass(5_000);
    assert!(phone.cursors.is_empty());
    phone.settle_store();
    assert_eq!(phone.ack().positions[0].position, at(5));
}

#[test]
fn a_late_refusal_of_what_was_taken_back_keeps_nothing_from_being_acknowledged() {
    let mut store = knows(9);
    store.rows.get_mut(&d1()).unwrap().acked = at(3);
    let mut phone = Phone::with(&store);
    phone.go_live(vec![]);
    let ack = phone.ack();
    phone.push([11]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(5)))], true);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    let outcome = CursorOutcome::Refused(restored_to(at(5)));
    let results = vec![CursorResult { conversation: d1(), outcome }];
    phone.receive(&ServerFrame::Ack(CursorsAnswer { id: ack.id, results }));
    assert_eq!(phone.ack().positions[0].position, at(5));
}

#[test]
fn a_second_answer_of_the_same_restore_takes_nothing_back() {
    let mut phone = Phone::live_at(9);
    phone.compose("m");
    let send = phone.send();
    phone.push([11]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(5)))], true);
    let sync = phone.sync();
    phone.page(&sync, vec![entry(2, 6)], true);
    phone.shown.clear();
    phone.results(&send, vec![Outcome::Refused(restored_to(at(5)))]);
    assert!(phone.shown.is_empty());
    assert_eq!(phone.row().have, at_epoch(2, 6));
}

/// Restored twice: what the device has at 3 is not the entry 3 of the second log, which only the anchor's refusal names.
#[test]
fn a_common_entry_of_a_later_epoch_than_anything_here_makes_the_conversation_begin_anew() {
    let mut phone = Phone::live_at(5);
    phone.compose("m");
    let send = phone.send();
    phone.shown.clear();
    phone.results(&send, vec![Outcome::Refused(restored_to(at_epoch(2, 3)))]);
    assert!(phone.shown.contains(&Shown::RolledBack { conversation: d1(), position: Position::ZERO }));
    assert_eq!((phone.row().have, phone.store.entries.len()), (Position::ZERO, 0));
}

#[test]
fn a_restore_that_lost_only_what_was_not_here_yet_drops_nothing() {
    let mut phone = Phone::live_at(5);
    phone.push([9]);
    phone.compose("m");
    let send = phone.send();
    phone.shown.clear();
    phone.results(&send, vec![Outcome::Refused(restored_to(at(7)))]);
    assert!(!phone.shown.iter().any(|shown| matches!(shown, Shown::RolledBack { .. })));
    assert_eq!((phone.anchors(), phone.row().have, phone.row().head), (vec![at(7)], at(5), at(7)));
    assert_eq!(phone.sync().conversations[0].after, at(5));
}

#[test]
fn what_the_store_had_before_a_restore_is_acknowledged_up_to_the_common_entry() {
    let mut phone = Phone::live_at(5);
    phone.slow_store = true;
    phone.push([6]);
    phone.push([8]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(7)))], true);
    phone.slow_store = false;
    phone.input(Input::Tick);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(6));
    phone.page(&sync, vec![], true);
    assert_eq!(phone.ack().positions[0].position, at(6));
}

#[test]
fn an_entry_of_a_later_epoch_at_a_place_that_is_taken_means_a_restore() {
    let mut phone = Phone::live_at(9);
    phone.push_in(2, [6]);
    phone.pass(1_000);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(9));
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(5)))], true);
    assert_eq!(phone.sync().conversations[0].after, at(5));
}

#[test]
fn the_next_entry_is_not_taken_unchecked_if_its_epoch_is_a_later_one() {
    let mut phone = Phone::live_at(9);
    // The log may have been restored to 5 and gone on: its 6 to 9 are not those that are here.
    phone.push_in(2, [10]);
    assert!(phone.entries_shown().is_empty());
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, vec![entry(2, 10)], true);
    assert_eq!(phone.entries_shown(), [10], "the log holds 9 as it is here");
}

#[test]
fn what_was_on_its_way_since_before_a_restore_is_dropped() {
    let mut phone = Phone::live_at(3);
    phone.push([6]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, vec![entry(2, 4), entry(2, 5)], true);
    phone.push([6, 7]);
    phone.pass(10_000);
    assert_eq!((phone.entries_shown(), phone.row().head), (vec![4, 5], at_epoch(2, 5)));
}

#[test]
fn a_page_of_another_log_than_the_devices_is_not_taken() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(6), at(1))]);
    let sync = phone.sync();
    phone.push([4, 5]);
    phone.entries_shown();
    phone.page(&sync, vec![entry(2, 4), entry(2, 5)], true);
    assert!(phone.entries_shown().is_empty());
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, at(5));
}

#[test]
fn hello_of_a_restored_deployment_makes_what_is_beyond_its_head_doubtful() {
    let mut phone = Phone::with(&knows(9));
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let hello = phone.hello();
    let mut answer = hello_answer(hello.id, vec![row(at(5), at(1))], None);
    answer.epoch = 2;
    phone.receive(&ServerFrame::Hello(Box::new(answer)));
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(9));
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at(5)))], true);
    assert_eq!(phone.row().have, at(5));
}

#[test]
fn a_restore_of_a_restore_that_contradicts_the_device_begins_the_conversation_anew() {
    let mut phone = Phone::live_at(3);
    phone.push([4, 5]);
    phone.push([7]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(restored_to(at_epoch(0, 4)))], true);
    assert!(phone.shown.contains(&Shown::RolledBack { conversation: d1(), position: Position::ZERO }));
    assert_eq!((phone.row().have, phone.store.entries.len()), (Position::ZERO, 0));
}
