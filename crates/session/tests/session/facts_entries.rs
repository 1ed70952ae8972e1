//! Entries: each once, in order, whatever is lost, doubled or overtakes (D1); and what was missed.

use chatlane_protocol::frames::Missed;
use chatlane_protocol::frames::{Entries, Skip, SyncOutcome};
use chatlane_protocol::{ConversationId, EntryKind, ErrorCode, Position, Refusal, Request, ServerFrame};
use chatlane_session::{Act, ConnectionState, Input, Settings, Shown};

use crate::phone::*;

// holds: D1
#[test]
fn the_next_entry_is_shown_and_an_old_one_dropped() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    phone.push([4, 2]);
    phone.push([5, 6]);
    assert_eq!(phone.entries_shown(), [4, 5, 6]);
    assert_eq!((phone.row().have, phone.row().head, phone.row().have_count), (at(6), at(6), 5));
}

// holds: D1
#[test]
fn an_early_entry_waits_for_those_before_it() {
    let mut phone = Phone::live_at(3);
    phone.push([6]);
    phone.push([5, 6]);
    assert!(phone.entries_shown().is_empty());
    phone.push([4]);
    assert_eq!(phone.entries_shown(), [4, 5, 6]);
    phone.pass(5_000);
    assert!(phone.sent.is_empty(), "the gap has closed by itself");
}

// holds: D1
#[test]
fn a_gap_that_stays_open_is_synced_once_and_never_closes_the_socket() {
    let mut phone = Phone::live_at(3);
    phone.push([5]);
    phone.push([7]);
    phone.pass(499);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(3));
    phone.pass(5_000);
    assert!(phone.sent.is_empty());
    phone.page(&sync, vec![entry(1, 4), entry(1, 5), entry(1, 6), entry(1, 7)], true);
    assert_eq!(phone.entries_shown(), [4, 5, 6, 7]);
    assert_eq!((phone.session.connection(), phone.closes.len()), (ConnectionState::Live, 0));
}

#[test]
fn a_gap_that_moved_has_its_own_time() {
    let mut phone = Phone::live_at(3);
    phone.push([5]);
    phone.pass(490);
    phone.push([7, 4]);
    phone.pass(495);
    assert!(phone.sent.is_empty());
    phone.pass(505);
    assert_eq!(phone.sync().conversations[0].after, at(5));
}

#[test]
fn what_is_kept_ahead_is_bounded_and_the_lowest_stay() {
    let mut phone = Phone::set(Settings { ahead_entries_max: 3, ..settings() }, &knows(3));
    phone.go_live(vec![]);
    phone.push([9, 8, 7, 6, 5]);
    phone.push([4]);
    assert_eq!(phone.entries_shown(), [4, 5, 6, 7]);
    phone.pass(1_000);
    assert_eq!((phone.sync().conversations[0].after, phone.row().head), (at(7), at(9)));
}

// holds: D1
#[test]
fn entries_are_shown_only_when_the_store_has_them() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.push([4]);
    phone.push([5]);
    phone.pass(5_000);
    assert!(phone.entries_shown().is_empty() && phone.cursors.is_empty());
    phone.commit();
    assert_eq!(phone.entries_shown(), [4]);
    assert_eq!(phone.ack().positions[0].position, at(4));
    phone.commit();
    assert_eq!(phone.entries_shown(), [5]);
}

// holds: D1
#[test]
fn a_phone_that_dies_before_the_commit_gets_the_entry_again() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.push([4]);
    phone.restart();
    phone.go_live(vec![row(at(4), at(1))]);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(3));
    phone.page(&sync, vec![entry(1, 4)], true);
    assert_eq!(phone.entries_shown(), [4]);
}

#[test]
fn an_entry_of_a_later_version_keeps_its_place() {
    let mut phone = Phone::live_at(3);
    let mut unknown = entry(1, 4);
    unknown.kind = EntryKind::Unknown;
    phone.receive(&ServerFrame::Entries(Entries { conversation: d1(), entries: vec![unknown, entry(1, 5)] }));
    assert_eq!(phone.entries_shown(), [4, 5]);
}

#[test]
fn an_entry_of_an_unknown_conversation_begins_it() {
    let mut phone = Phone::new();
    phone.go_live(vec![]);
    phone.push([1, 2]);
    assert_eq!(phone.entries_shown(), [1, 2]);
    assert_eq!(phone.row().with, Some(user("bob")));
    let mut phone = Phone::new();
    phone.go_live(vec![]);
    phone.push([2]);
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, Position::ZERO);
}

#[test]
fn the_last_entry_in_hello_needs_no_sync_if_it_is_the_only_one_missing() {
    let mut phone = Phone::with(&knows(3));
    let mut row = row(at(4), at(1));
    row.last = Some(entry(1, 4));
    phone.go_live(vec![row]);
    assert_eq!((phone.entries_shown(), phone.session.connection()), (vec![4], ConnectionState::Live));
    assert!(phone.sent.is_empty());
}

// holds: D1
#[test]
fn catching_up_goes_page_by_page_and_carries_what_the_pages_before_have_brought() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(7), at(1))]);
    let first = phone.sync();
    assert!(first.ack.is_empty());
    phone.page(&first, vec![entry(1, 4), entry(1, 5)], false);
    let second = phone.sync();
    assert_eq!(second.conversations[0].after, at(5));
    assert!(second.ack.is_empty(), "the store had not confirmed it when the page was asked for");
    phone.page(&second, vec![entry(1, 6)], false);
    let third = phone.sync();
    assert_eq!((third.conversations[0].after, third.ack[0].position), (at(6), at(5)));
    phone.page(&third, vec![entry(1, 7)], true);
    let ack = phone.ack();
    assert_eq!(ack.positions[0].position, at(7));
    assert!(phone.sent.is_empty() && phone.cursors.is_empty());
    assert_eq!(phone.entries_shown(), [4, 5, 6, 7]);
}

#[test]
fn a_page_that_is_not_done_is_followed_by_another_whatever_the_head_was() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(4), at(1))]);
    let sync = phone.sync();
    phone.page(&sync, vec![entry(1, 4)], false);
    assert_eq!(phone.sync().conversations[0].after, at(4));
}

#[test]
fn at_most_a_hundred_conversations_are_asked_for_and_those_looked_at_first() {
    let mut store = knows(3);
    let id = |number: u64| ConversationId::new(format!("e{number:03}")).unwrap();
    let mut rows = vec![];
    for number in 0..150 {
        let mut known = store.rows[&d1()].clone();
        known.conversation = id(number);
        store.rows.insert(id(number), known);
        let mut row = row(at(4), at(1));
        row.conversation.conversation = id(number);
        rows.push(row);
    }
    let mut phone = Phone::with(&store);
    phone.input(Input::Do(Act::Look { conversations: vec![id(149)] }));
    phone.go_live(rows);
    let sync = phone.sync();
    assert_eq!((sync.conversations.len(), &sync.conversations[0].conversation), (100, &id(149)));
    let page = |_| SyncOutcome::Ok(Missed { skip: None, entries: vec![entry(1, 4)], done: true });
    phone.pages(&sync, (0..100).map(page).collect(), true);
    phone.ping();
    let rest = phone.sync();
    assert_eq!(rest.conversations.len(), 50);
}

#[test]
fn pages_that_the_answer_has_not_come_to_are_asked_for_again() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(4), at(1))]);
    let sync = phone.sync();
    phone.pages(&sync, vec![], false);
    assert!(phone.sent.is_empty(), "an empty page is not repeated at once");
    phone.pass(500);
    assert_eq!(phone.sync().conversations, sync.conversations);
}

#[test]
fn a_sync_without_an_answer_is_repeated_with_back_off() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(4), at(1))]);
    let sync = phone.sync();
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.sync();
    assert_eq!(again.conversations, sync.conversations);
    phone.refuse(&again.id, Refusal::new(ErrorCode::Unavailable, "").after_ms(2_000));
    phone.pass(1_999);
    assert!(phone.sent.is_empty());
    phone.pass(1_001);
    let again = phone.sync();
    let refusal = Refusal::new(ErrorCode::Unavailable, "").after_ms(2_000);
    phone.pages(&again, vec![SyncOutcome::Refused(refusal)], true);
    phone.pass(1_999);
    assert!(phone.sent.is_empty());
    phone.pass(2_001);
    phone.sync();
}

#[test]
fn a_conversation_that_is_not_to_be_had_is_left_until_something_new_is_heard_of_it() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(5), at(1))]);
    let sync = phone.sync();
    phone.pages(&sync, vec![SyncOutcome::Refused(Refusal::new(ErrorCode::NotFound, ""))], true);
    phone.pass(100_000);
    assert_eq!((phone.sent.len(), phone.session.connection()), (0, ConnectionState::Live));
    phone.push([6]);
    phone.pass(1_000);
    phone.sync();
}

#[test]
fn a_skip_is_passed_over_as_if_the_entries_were_here() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(9), at(1))]);
    let sync = phone.sync();
    let missed = Missed { skip: Some(Skip { to: at(7) }), entries: vec![entry(1, 8), entry(1, 9)], done: true };
    phone.pages(&sync, vec![SyncOutcome::Ok(missed)], true);
    assert_eq!((phone.entries_shown(), phone.row().have), (vec![8, 9], at(9)));
}

#[test]
fn a_head_that_the_log_does_not_have_is_forgotten() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(5), at(1))]);
    let sync = phone.sync();
    phone.page(&sync, vec![entry(1, 4)], true);
    assert_eq!((phone.row().head, phone.session.connection()), (at(4), ConnectionState::Live));
    phone.pass(5_000);
    assert!(phone.sent.is_empty());
}

#[test]
fn a_conversation_too_far_behind_goes_on_at_its_head_and_only_that_one() {
    let mut store = knows(3);
    let mut other = store.rows[&d1()].clone();
    other.conversation = ConversationId::new("d2").unwrap();
    store.rows.insert(other.conversation.clone(), other);
    let mut phone = Phone::with(&store);
    phone.compose("m");
    let mut near = row(at(4), at(1));
    near.conversation.conversation = ConversationId::new("d2").unwrap();
    phone.go_live(vec![row(at(2_004), at(1)), near]);
    let skipped = Shown::Skipped { conversation: d1(), position: at(2_004) };
    assert!(phone.shown.contains(&skipped));
    assert_eq!((phone.row().from, phone.row().have), (at(2_004), at(2_004)));
    assert!(phone.store.entries.keys().all(|(conversation, _)| *conversation != d1()));
    assert_eq!(phone.anchors(), [at(3)], "never the outbox");
    let Some((_, Request::Sync(sync))) = phone.sent.iter().find(|(_, request)| matches!(request, Request::Sync(_))) else { panic!() };
    assert_eq!(sync.conversations.len(), 1);
    assert_eq!(sync.conversations[0].after, at(3));
    phone.push([2_005]);
    assert_eq!(phone.entries_shown(), [2_005]);
}

#[test]
fn one_entry_less_is_caught_up_with() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(2_003), at(1))]);
    assert_eq!(phone.sync().conversations[0].after, at(3));
}

#[test]
fn a_conversation_new_to_the_device_begins_with_its_last_entry() {
    let mut phone = Phone::new();
    let mut long = row(at(900), at(890));
    long.last = Some(entry(1, 900));
    phone.go_live(vec![long]);
    assert_eq!((phone.row().from.seq, phone.row().have), (at(899).seq, at(900)));
    let unread =
        phone.shown.iter().rev().find_map(|shown| if let Shown::Conversation { unread, .. } = shown { Some(*unread) } else { None });
    assert_eq!(unread, Some(10));
    assert_eq!(phone.entries_shown(), [900]);
    let mut short = Phone::new();
    short.go_live(vec![row(at(50), at(1))]);
    assert_eq!(short.sync().conversations[0].after, Position::ZERO);
}

#[test]
fn what_is_there_ahead_of_a_jump_is_kept() {
    let mut phone = Phone::set(Settings { catch_up_entries_max: 10, ..settings() }, &knows(3));
    phone.go_live(vec![]);
    phone.push([20, 22, 23, 24]);
    phone.pass(1_000);
    assert_eq!((phone.entries_shown(), phone.row().from.seq), (vec![22, 23, 24], at(21).seq));
}

#[test]
fn unread_is_the_count_at_the_head_without_those_read_on_any_device() {
    let mut phone = Phone::live_at(3);
    phone.push([4, 5]);
    assert_eq!(phone.row().unread(), 4);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![row(at(5), at(4))]);
    assert_eq!((phone.row().read, phone.row().unread()), (at(4), 1));
}

// holds: D1
#[test]
fn what_a_draining_socket_brings_is_taken() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    phone.send();
    phone.push([4]);
    assert_eq!(phone.entries_shown(), [4]);
}
