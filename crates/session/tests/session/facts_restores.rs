//! Logs that were restored from a backup: what is not in the log any more is dropped, once, and the rest goes on.

use chatlane_protocol::frames::{MemberCursors, Receipt};
use chatlane_protocol::{ErrorCode, Outcome, Position, ServerFrame};
use chatlane_session::{Input, Shown};

use crate::phone::*;

/// A phone that has up to entry 9, and the server knows that of entry 3.
fn acknowledging() -> Phone {
    let mut store = knows(9);
    store.rows.get_mut(&d1()).unwrap().acked = at(3);
    Phone::live(&store, [])
}

// holds: D1
#[test]
fn after_a_restore_what_is_beyond_the_common_entry_is_dropped_and_synced_anew() {
    let (mut phone, send) = Phone::sending(9);
    phone.results(&send, [Outcome::Refused(restored_to(at(5)))]);
    assert!(phone.shown.contains(&Shown::RolledBack { conversation: d1(), position: at(5) }));
    assert_eq!((phone.row().have, phone.row().have_count, phone.row().acked), (at(5), 4, at(5)));
    assert_eq!((phone.anchors(), phone.store.entries.len()), (vec![at(5)], 5));
    phone.shown.clear();
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(5));
    phone.page(&sync, entries(2, 6..=7), true);
    assert_eq!(phone.entries_shown(), [6, 7]);
    phone.pass(500);
    let again = phone.send();
    assert_eq!((again.messages[0].anchor, ids(&again)), (at(5), vec!["m"]));
    assert_eq!(phone.row().head, at_epoch(2, 7));
}

// holds: D1
#[test]
fn an_answer_to_a_sync_of_before_a_restore_says_nothing() {
    let (mut phone, send) = Phone::sending(9);
    let sync = phone.gap_before(12);
    phone.results(&send, [Outcome::Refused(restored_to(at(5)))]);
    phone.page(&sync, entries(1, 10..=12), true);
    assert_eq!((phone.row().have, phone.entries_shown()), (at(5), vec![]));
    assert_eq!(phone.sync().conversations[0].after, at(5));
}

#[test]
fn a_restore_of_all_that_is_here_leaves_nothing_to_acknowledge() {
    let mut phone = Phone::live(&knows(3), [row_with_last(at_epoch(2, 5_000), Position::ZERO)]);
    assert_eq!((phone.ack().positions[0].position, phone.row().from.seq), (at_epoch(2, 5_000), at(4_999).seq));
    phone.push_in(3, [5_000]);
    phone.pass(1_000);
    let sync = phone.sync();
    // The place before the run was given the epoch of the entry behind it; the log has one of an earlier epoch there.
    phone.refuse_page(&sync, restored_to(at(4_999)));
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    phone.reconnects([]);
    phone.pass(10_000);
    assert_eq!((phone.row().have, phone.store.entries.len()), (at(4_999), 0));
    assert!(phone.cursors.is_empty());
}

#[test]
fn nothing_is_acknowledged_before_the_store_has_dropped_what_a_restore_took_back() {
    let mut phone = acknowledging();
    let ack = phone.ack();
    phone.refuse_cursor(&ack, restored_to(at(5)));
    phone.pass(1_000);
    let sync = phone.sync();
    phone.slow_store = true;
    phone.refuse_page(&sync, restored_to(at(5)));
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
    let mut phone = acknowledging();
    let ack = phone.ack();
    let sync = phone.gap_before(11);
    phone.refuse_page(&sync, restored_to(at(5)));
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    phone.refuse_cursor(&ack, restored_to(at(5)));
    assert_eq!(phone.ack().positions[0].position, at(5));
}

#[test]
fn a_second_answer_of_the_same_restore_takes_nothing_back() {
    let (mut phone, send) = Phone::sending(9);
    let sync = phone.gap_before(11);
    phone.refuse_page(&sync, restored_to(at(5)));
    let sync = phone.sync();
    phone.page(&sync, entries(2, [6]), true);
    phone.shown.clear();
    phone.results(&send, [Outcome::Refused(restored_to(at(5)))]);
    assert!(phone.shown.is_empty());
    assert_eq!(phone.row().have, at_epoch(2, 6));
}

#[test]
fn a_common_entry_that_contradicts_the_device_makes_the_conversation_begin_anew() {
    // Restored twice: what the device has at 3 is not the entry 3 of the second log; nor is its 4 the one of an earlier epoch.
    for common in [at_epoch(2, 3), at_epoch(0, 4)] {
        let mut phone = Phone::live_at(3);
        phone.push([4, 5]);
        let sync = phone.gap_before(7);
        phone.refuse_page(&sync, restored_to(common));
        assert!(phone.shown.contains(&Shown::RolledBack { conversation: d1(), position: Position::ZERO }));
        assert_eq!((phone.row().have, phone.store.entries.len()), (Position::ZERO, 0));
        // So far the log goes; whether a ping is answered or not, it is asked for.
        assert_eq!(phone.row().head, common);
        phone.pass(1_000);
        phone.ping();
        assert_eq!(phone.sync().conversations[0].after, Position::ZERO);
    }
}

// holds: C1
#[test]
fn how_far_others_are_in_the_restored_log_survives_what_is_begun_anew() {
    let bob = |seq| {
        let cursors = MemberCursors { user: user("bob"), delivered: at_epoch(2, seq), read: at_epoch(2, seq) };
        ServerFrame::Receipt(Receipt { conversation: d1(), cursors, read_count: None, read_private: false, ttl_ms: 30_000 })
    };
    for (refused, shown) in [(restored_to(at_epoch(2, 3)), 1), (refusal(ErrorCode::AnchorUnknown), 2)] {
        let (mut phone, sync) = Phone::behind(3, 6);
        phone.shown.clear();
        phone.receive(&bob(5));
        phone.refuse_page(&sync, refused);
        phone.receive(&bob(4)); // late, or, in another log, what there is
        let cursors = phone.shown.iter().filter(|shown| matches!(shown, Shown::Cursors { .. }));
        assert_eq!((phone.row().have, cursors.count()), (Position::ZERO, shown));
    }
}

#[test]
fn a_restore_that_lost_only_what_was_not_here_yet_drops_nothing() {
    let mut phone = Phone::live_at(5);
    phone.push([9]);
    let send = phone.attempt("m");
    phone.shown.clear();
    phone.results(&send, [Outcome::Refused(restored_to(at(7)))]);
    assert!(!phone.shown.iter().any(|shown| matches!(shown, Shown::RolledBack { .. })));
    assert_eq!((phone.anchors(), phone.row().have, phone.row().head), (vec![at(7)], at(5), at(7)));
    assert_eq!(phone.sync().conversations[0].after, at(5));
}

#[test]
fn what_the_store_had_before_a_restore_is_acknowledged_up_to_the_common_entry() {
    let mut phone = Phone::live_at(5);
    phone.slow_store = true;
    phone.push([6]);
    let sync = phone.gap_before(8);
    phone.refuse_page(&sync, restored_to(at(7)));
    phone.slow_store = false;
    phone.input(Input::Tick);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(6));
    phone.page(&sync, vec![], true);
    assert_eq!(phone.ack().positions[0].position, at(6));
}

#[test]
fn what_says_that_the_log_was_restored_below_what_is_here_has_it_checked() {
    let doubts: [fn(&mut Phone); 3] = [
        |phone| phone.push_in(2, [6]),
        |phone| {
            phone.breaks();
            let hello = phone.hello();
            let mut answer = hello_answer(hello.id, vec![row(at(5), at(1))], None);
            answer.epoch = 2;
            phone.receive(&ServerFrame::Hello(Box::new(answer)));
        },
        |phone| {
            phone.push([10]);
            let ack = phone.ack();
            phone.refuse_cursor(&ack, restored_to(at(5)));
        },
    ];
    for doubt in doubts {
        let mut phone = Phone::live_at(9);
        doubt(&mut phone);
        phone.pass(1_000);
        let sync = phone.sync();
        assert_eq!(sync.conversations[0].after, phone.row().have);
        phone.refuse_page(&sync, restored_to(at(5)));
        assert_eq!((phone.row().have, phone.sync().conversations[0].after), (at(5), at(5)));
    }
}

#[test]
fn the_next_entry_is_not_taken_unchecked_if_its_epoch_is_a_later_one() {
    let mut phone = Phone::live_at(9);
    // The log may have been restored to 5 and gone on: its 6 to 9 are not those that are here.
    phone.push_in(2, [10]);
    assert!(phone.entries_shown().is_empty());
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, entries(2, [10]), true);
    assert_eq!(phone.entries_shown(), [10], "the log holds 9 as it is here");
}

#[test]
fn what_was_on_its_way_since_before_a_restore_is_dropped() {
    let mut phone = Phone::live_at(3);
    let sync = phone.gap_before(6);
    phone.page(&sync, entries(2, 4..=5), true);
    phone.push([6, 7]);
    phone.pass(10_000);
    assert_eq!((phone.entries_shown(), phone.row().head), (vec![4, 5], at_epoch(2, 5)));
}

#[test]
fn a_page_of_another_log_than_the_devices_is_not_taken() {
    let (mut phone, sync) = Phone::behind(3, 6);
    phone.push([4, 5]);
    phone.entries_shown();
    phone.page(&sync, entries(2, 4..=5), true);
    assert!(phone.entries_shown().is_empty());
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, at(5));
}
