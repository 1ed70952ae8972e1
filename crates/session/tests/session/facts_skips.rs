//! Conversations that are not caught up with: where they go on, what is counted, acknowledged and looked for there.

use chatlane_protocol::{ErrorCode, Outcome, Position};
use chatlane_session::{Act, OutboxState, Settings, Shown};

use crate::phone::*;

/// A phone with a message that is shown as failed: its anchor is entry 3.
fn with_a_failed_message() -> Phone {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [refused(ErrorCode::Forbidden)]);
    let probe = phone.probe();
    phone.probed(&probe, &[], at(3), true);
    assert_eq!(phone.failure_shown(), Some(ErrorCode::Forbidden));
    phone
}

#[test]
fn where_a_conversation_goes_on_nothing_is_acknowledged_before_an_entry_is_stored() {
    let mut phone = Phone::live(&knows(3), [row(at(5_000), at(1))]);
    phone.pass(10_000);
    assert_eq!((phone.row().have, phone.cursors.len()), (at(5_000), 0));
    phone.restart();
    phone.go_live([]);
    phone.pass(10_000);
    phone.mark_read(at(5_000));
    assert!(phone.cursors.is_empty(), "nor after a restart, nor read");
    phone.push([5_001]);
    assert_eq!(phone.ack().positions[0].position, at(5_001));
    phone.mark_read(at(5_000));
    assert!(phone.cursors.is_empty(), "it is not here");
}

#[test]
fn where_a_conversation_goes_on_it_is_acknowledged_when_history_has_brought_the_entry() {
    let mut phone = Phone::live(&knows(3), [row(at(5_000), at(1))]);
    phone.does(Act::LoadHistory { conversation: d1(), before: None });
    let asked = phone.history();
    phone.older(&asked, entries(1, 4_999..=5_000), false);
    assert_eq!(phone.ack().positions[0].position, at(5_000));
}

#[test]
fn what_a_skip_passes_over_is_not_acknowledged() {
    let (mut phone, sync) = Phone::behind(3, 9);
    phone.skips(&sync, 7, vec![], false);
    let sync = phone.sync();
    assert!(sync.ack.is_empty() && sync.conversations[0].after == at(7));
    let restarted = Phone::live(&phone.store, []);
    assert!(restarted.cursors.is_empty(), "nor after a restart");
    phone.page(&sync, entries(1, 8..=9), true);
    assert_eq!((phone.ack().positions[0].position, phone.entries_shown()), (at(9), vec![8, 9]));
}

#[test]
fn the_count_behind_a_skip_comes_with_the_next_hello() {
    let skipped = |to| {
        let (mut phone, sync) = Phone::behind(3, 7);
        phone.skips(&sync, to, vec![], true);
        phone
    };
    assert_eq!(skipped(7).row().have_count, 6, "or was by the one before");
    let mut phone = skipped(8);
    phone.breaks();
    let hello = phone.hello();
    assert_eq!((hello.known[0].have, phone.row().have), (at(7), at(8)));
    phone.hello_answered(hello, [row(at(8), at(1))], None);
    assert_eq!((phone.row().have_count, phone.row().head_count), (7, 7));
}

#[test]
fn hello_says_nothing_known_beyond_the_head_whose_count_is_known() {
    // The second: where the end of the log that came without a count is where a skip ends; the third: after a restart.
    for (skip, restart) in [(false, false), (true, false), (false, true)] {
        let (mut phone, send) = Phone::sending(3);
        phone.results(&send, [stale(at(8))]);
        phone.probe();
        phone.pass(1_000);
        let sync = phone.sync();
        if skip {
            phone.skips(&sync, 8, vec![], true);
        }
        if restart {
            phone.restart();
            phone.connect_now();
            phone.opened();
        } else {
            phone.breaks();
        }
        assert_eq!((phone.hello().known[0].have, phone.row().head), (at(3), at(8)));
    }
}

#[test]
fn what_was_taken_and_is_dropped_at_once_is_not_shown() {
    let mut phone = Phone::set(Settings { catch_up_entries_max: 10, ..settings() }, &knows(3));
    phone.go_live([]);
    let sync = phone.gap_before(9);
    phone.push([40]);
    phone.shown.clear();
    // One call takes these, and goes on at the head without them.
    phone.page(&sync, entries(1, 4..=5), false);
    assert!(phone.shown.contains(&Shown::Skipped { conversation: d1(), position: at(39) }));
    assert_eq!((phone.entries_shown(), phone.store.entries.len()), (vec![40], 1));
}

#[test]
fn what_was_taken_and_taken_back_at_once_is_not_shown() {
    // The second: of another log, so that all is dropped.
    for common in [at(3), at_epoch(2, 3)] {
        let mut phone = Phone::with(&knows(3));
        phone.compose("a");
        phone.compose("b");
        phone.go_live([]);
        let send = phone.send();
        phone.shown.clear();
        phone.results(&send, [Outcome::Ok(stored(4)), Outcome::Refused(restored_to(common))]);
        assert!(phone.shown.iter().any(|shown| matches!(shown, Shown::RolledBack { .. })));
        assert!(phone.entries_shown().is_empty());
    }
}

#[test]
fn a_head_that_ping_answers_comes_with_its_count() {
    let mut phone = Phone::live_at(3);
    let ping = phone.look();
    // Entries that do not count are among those that are skipped.
    phone.pong(&ping, false, vec![status(5_000, 4_000)]);
    phone.pass(1_000);
    assert_eq!((phone.row().have, phone.row().have_count, phone.row().unread()), (at(5_000), 4_000, 4_000));
    // The count of a head that is known already may come later.
    let mut row = row(at(5_000), at(1));
    row.count = 3_999;
    phone.reconnects([row]);
    assert_eq!((phone.row().have_count, phone.row().head_count), (3_999, 3_999));
}

#[test]
fn an_end_of_the_log_that_comes_without_its_count_is_not_gone_on_at() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [stale(at(5_000))]);
    phone.probe();
    let ping = phone.ping();
    assert_eq!((ping.open.as_slice(), phone.row().head_count), ([d1()].as_slice(), 2));
    phone.pass(1_000);
    let sync = phone.sync();
    assert_eq!((sync.conversations[0].after, phone.row().from), (at(3), Position::ZERO));
    phone.pong(&ping, false, vec![status(4_990, 4_000)]);
    phone.page(&sync, entries(1, [4]), false);
    assert!(phone.shown.contains(&Shown::Skipped { conversation: d1(), position: at(4_990) }));
    let sync = phone.sync();
    assert_eq!((sync.conversations[0].after, phone.row().have_count), (at(4_990), 4_000));
}

#[test]
fn a_failed_message_is_looked_for_again_in_what_is_jumped_over() {
    for found in [true, false] {
        let mut phone = with_a_failed_message();
        phone.reconnects([row(at(5_000), at(1))]);
        assert!(matches!(phone.store.outbox[&(d1(), message_id("m"))].state, OutboxState::Refused(_)), "also after a restart");
        phone.restart();
        phone.go_live([]);
        let probe = phone.probe();
        assert_eq!((probe.anchor, &probe.ids), (at(3), &vec![message_id("m")]));
        if found {
            phone.probed(&probe, &[("m", 4)], at(1_003), false);
            assert!(phone.shows_stored("m", 4));
        } else {
            phone.probed(&probe, &[], at(5_000), true);
            assert_eq!(phone.failure_shown(), Some(ErrorCode::Forbidden));
        }
    }
}

#[test]
fn a_failed_message_is_looked_for_again_in_what_a_skip_passes_over() {
    let mut phone = with_a_failed_message();
    phone.reconnects([row(at(9), at(1))]);
    let sync = phone.sync();
    phone.skips(&sync, 7, entries(1, 8..=9), true);
    assert_eq!(phone.probe().anchor, at(3));
}

#[test]
fn a_message_whose_id_another_one_has_is_not_looked_for_again() {
    let (mut phone, send) = Phone::sending(3);
    phone.results(&send, [Outcome::Conflict(stored(2))]);
    phone.reconnects([row(at(5_000), at(1))]);
    assert_eq!((phone.sent.len(), phone.row().have), (0, at(5_000)));
}
