//! Conversations that are not caught up with: where they go on, what is counted, acknowledged and looked for there.

use chatlane_protocol::frames::{ConversationStatus, HistoryAnswer, Missed, Skip, SyncOutcome};
use chatlane_protocol::{ErrorCode, Outcome, Position, Refusal, Request, ServerFrame};
use chatlane_session::{Act, Input, OutboxState, OutgoingState, Settings, Shown};

use crate::phone::*;

fn stale(tail: u64) -> Outcome {
    let mut refusal = Refusal::new(ErrorCode::AnchorStale, "");
    refusal.tail = Some(at(tail));
    Outcome::Refused(refusal)
}

/// A phone with a message that is shown as failed: its anchor is entry 3.
fn with_a_failed_message(code: ErrorCode) -> Phone {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Refused(Refusal::new(code, ""))]);
    let probe = phone.probe();
    phone.probed(&probe, vec![], at(3), true);
    assert!(matches!(phone.outgoing_shown().pop(), Some((_, OutgoingState::Failed(_)))));
    phone
}

/// The connection breaks; the next `hello` answers this head.
fn away_until(phone: &mut Phone, head: u64) {
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![row(at(head), at(1))]);
}

#[test]
fn where_a_conversation_goes_on_nothing_is_acknowledged_before_an_entry_is_stored() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(5_000), at(1))]);
    phone.pass(10_000);
    assert_eq!((phone.row().have, phone.cursors.len()), (at(5_000), 0));
    phone.restart();
    phone.go_live(vec![]);
    phone.pass(10_000);
    assert!(phone.cursors.is_empty(), "nor after a restart");
    phone.input(Input::Do(Act::MarkRead { conversation: d1(), position: at(5_000) }));
    assert!(phone.cursors.is_empty(), "nor read");
    phone.push([5_001]);
    assert_eq!(phone.ack().positions[0].position, at(5_001));
    phone.input(Input::Do(Act::MarkRead { conversation: d1(), position: at(5_000) }));
    assert!(phone.cursors.is_empty(), "it is not here");
}

#[test]
fn where_a_conversation_goes_on_it_is_acknowledged_when_history_has_brought_the_entry() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(5_000), at(1))]);
    phone.input(Input::Do(Act::LoadHistory { conversation: d1(), before: None }));
    let Request::History(asked) = phone.next() else { panic!("a history") };
    let entries = vec![entry(1, 4_999), entry(1, 5_000)];
    phone.receive(&ServerFrame::History(HistoryAnswer { id: asked.id, conversation: d1(), entries, done: false }));
    assert_eq!(phone.ack().positions[0].position, at(5_000));
}

#[test]
fn what_a_skip_passes_over_is_not_acknowledged() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(9), at(1))]);
    let sync = phone.sync();
    let missed = Missed { skip: Some(Skip { to: at(7) }), entries: vec![], done: false };
    phone.pages(&sync, vec![SyncOutcome::Ok(missed)], false);
    let sync = phone.sync();
    assert!(sync.ack.is_empty() && sync.conversations[0].after == at(7));
    let mut restarted = Phone::with(&phone.store);
    restarted.go_live(vec![]);
    assert!(restarted.cursors.is_empty(), "nor after a restart");
    phone.page(&sync, vec![entry(1, 8), entry(1, 9)], true);
    assert_eq!(phone.ack().positions[0].position, at(9));
}

#[test]
fn the_count_behind_a_skip_comes_with_the_next_hello() {
    let skipped = |to| {
        let mut phone = Phone::with(&knows(3));
        phone.go_live(vec![row(at(7), at(1))]);
        let sync = phone.sync();
        let missed = Missed { skip: Some(Skip { to: at(to) }), entries: vec![], done: true };
        phone.pages(&sync, vec![SyncOutcome::Ok(missed)], true);
        phone
    };
    assert_eq!(skipped(7).row().have_count, 6, "or was by the one before");
    let mut phone = skipped(8);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    let hello = phone.hello();
    assert_eq!((hello.known[0].have, phone.row().have), (at(7), at(8)));
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(hello.id, vec![row(at(8), at(1))], None))));
    assert_eq!((phone.row().have_count, phone.row().head_count), (7, 7));
    // Also where the end of the log came without a count, and is where the skip ends.
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![stale(8)]);
    phone.probe();
    phone.pass(1_000);
    let sync = phone.sync();
    let missed = Missed { skip: Some(Skip { to: at(8) }), entries: vec![], done: true };
    phone.pages(&sync, vec![SyncOutcome::Ok(missed)], true);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    assert_eq!((phone.hello().known[0].have, phone.row().head), (at(3), at(8)));
}

#[test]
fn what_was_taken_and_is_dropped_at_once_is_not_shown() {
    let mut phone = Phone::set(Settings { catch_up_entries_max: 10, ..settings() }, &knows(3));
    phone.go_live(vec![]);
    phone.push([9]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.push([40]);
    phone.shown.clear();
    // One call takes these, and goes on at the head without them.
    phone.page(&sync, vec![entry(1, 4), entry(1, 5)], false);
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
        phone.go_live(vec![]);
        let send = phone.send();
        phone.shown.clear();
        let mut restored = Refusal::new(ErrorCode::EpochChanged, "");
        restored.common = Some(common);
        phone.results(&send, vec![Outcome::Ok(stored(4)), Outcome::Refused(restored)]);
        assert!(phone.shown.iter().any(|shown| matches!(shown, Shown::RolledBack { .. })));
        assert!(phone.entries_shown().is_empty());
    }
}

#[test]
fn a_head_that_ping_answers_comes_with_its_count() {
    let mut phone = Phone::live_at(3);
    phone.input(Input::Do(Act::Look { conversations: vec![d1()] }));
    let ping = phone.ping();
    // Entries that do not count are among those that are skipped.
    phone.pong(&ping, false, vec![ConversationStatus { conversation: d1(), head: at(5_000), count: 4_000, cursors: vec![] }]);
    phone.pass(1_000);
    assert_eq!((phone.row().have, phone.row().have_count, phone.row().unread()), (at(5_000), 4_000, 4_000));
}

#[test]
fn an_end_of_the_log_that_comes_without_its_count_is_not_gone_on_at() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![stale(5_000)]);
    phone.probe();
    let ping = phone.ping();
    assert_eq!((ping.open.as_slice(), phone.row().head_count), ([d1()].as_slice(), 2));
    phone.pass(1_000);
    let sync = phone.sync();
    assert_eq!((sync.conversations[0].after, phone.row().from), (at(3), Position::ZERO));
    phone.pong(&ping, false, vec![ConversationStatus { conversation: d1(), head: at(4_990), count: 4_000, cursors: vec![] }]);
    phone.page(&sync, vec![entry(1, 4)], false);
    assert!(phone.shown.contains(&Shown::Skipped { conversation: d1(), position: at(4_990) }));
    let sync = phone.sync();
    assert_eq!((sync.conversations[0].after, phone.row().have_count), (at(4_990), 4_000));
}

#[test]
fn hello_says_nothing_known_beyond_the_head_whose_count_is_known() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![stale(300)]);
    assert_eq!(phone.row().head, at(300));
    for restart in [false, true] {
        if restart {
            phone.restart();
            phone.input(Input::Do(Act::ConnectNow));
        } else {
            phone.closed(phone.socket());
            phone.pass(500);
        }
        phone.sent.clear();
        phone.opened();
        assert_eq!(phone.hello().known[0].have, at(3));
    }
}

#[test]
fn the_count_of_a_head_that_is_known_already_may_come_later() {
    let mut phone = Phone::live_at(3);
    phone.input(Input::Do(Act::Look { conversations: vec![d1()] }));
    let ping = phone.ping();
    phone.pong(&ping, false, vec![ConversationStatus { conversation: d1(), head: at(5_000), count: 4_000, cursors: vec![] }]);
    phone.pass(1_000);
    let mut row = row(at(5_000), at(1));
    row.count = 3_999;
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![row]);
    assert_eq!((phone.row().have_count, phone.row().head_count), (3_999, 3_999));
}

#[test]
fn a_failed_message_is_looked_for_again_in_what_is_jumped_over() {
    let mut phone = with_a_failed_message(ErrorCode::Forbidden);
    away_until(&mut phone, 5_000);
    assert!(matches!(phone.store.outbox[&(d1(), message_id("m"))].state, OutboxState::Refused(_)), "also after a restart");
    phone.restart();
    phone.go_live(vec![]);
    let probe = phone.probe();
    assert_eq!((probe.anchor, &probe.ids), (at(3), &vec![message_id("m")]));
    phone.probed(&probe, vec![("m", 4)], at(1_003), false);
    assert_eq!(phone.outgoing_shown().pop(), Some(("m".to_owned(), OutgoingState::Stored(stored(4)))));
}

#[test]
fn a_failed_message_that_is_not_in_what_is_jumped_over_fails_again() {
    let mut phone = with_a_failed_message(ErrorCode::Forbidden);
    away_until(&mut phone, 5_000);
    let probe = phone.probe();
    phone.probed(&probe, vec![], at(5_000), true);
    assert!(matches!(phone.outgoing_shown().pop(), Some((_, OutgoingState::Failed(refusal))) if refusal.code == ErrorCode::Forbidden));
}

#[test]
fn a_failed_message_is_looked_for_again_in_what_a_skip_passes_over() {
    let mut phone = with_a_failed_message(ErrorCode::Forbidden);
    away_until(&mut phone, 9);
    let sync = phone.sync();
    let missed = Missed { skip: Some(Skip { to: at(7) }), entries: vec![entry(1, 8), entry(1, 9)], done: true };
    phone.pages(&sync, vec![SyncOutcome::Ok(missed)], true);
    assert_eq!(phone.probe().anchor, at(3));
}

#[test]
fn a_message_whose_id_another_one_has_is_not_looked_for_again() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.results(&send, vec![Outcome::Conflict(stored(2))]);
    away_until(&mut phone, 5_000);
    assert_eq!((phone.sent.len(), phone.row().have), (0, at(5_000)));
    assert_ne!(phone.row().have, Position::ZERO);
}
