//! Entries: each once, in order, whatever is lost, doubled or overtakes (D1); and what was missed. The simple cases are vectors.

use chatlane_protocol::frames::{ConversationRow, Missed, SyncOutcome};
use chatlane_protocol::request::Sync;
use chatlane_protocol::{ConversationId, ErrorCode, Position, Request};
use chatlane_session::{Act, ConnectionState, Settings, Shown};

use crate::phone::*;

/// The row of another conversation, as `hello` answers it.
fn row_of(id: ConversationId, head: u64) -> ConversationRow {
    let mut row = row(at(head), at(1));
    row.conversation.conversation = id;
    row
}

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
    phone.page(&sync, entries(1, 4..=7), true);
    assert_eq!(phone.entries_shown(), [4, 5, 6, 7]);
    assert_eq!((phone.connection(), phone.closes.len()), (ConnectionState::Live, 0));
}

#[test]
fn what_is_kept_ahead_is_bounded_and_the_lowest_stay() {
    let mut phone = Phone::set(Settings { ahead_entries_max: 3, ..settings() }, &knows(3));
    phone.go_live([]);
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
    phone.go_live([row(at(4), at(1))]);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(3));
    phone.page(&sync, entries(1, [4]), true);
    assert_eq!(phone.entries_shown(), [4]);
}

#[test]
fn an_entry_of_an_unknown_conversation_begins_it() {
    let mut phone = Phone::live(&Shelf::default(), []);
    phone.push([1, 2]);
    assert_eq!((phone.entries_shown(), phone.row().with.clone()), (vec![1, 2], Some(user("bob"))));
    let mut phone = Phone::live(&Shelf::default(), []);
    assert_eq!(phone.gap_before(2).conversations[0].after, Position::ZERO);
}

#[test]
fn the_last_entry_in_hello_needs_no_sync_if_it_is_the_only_one_missing() {
    let mut phone = Phone::live(&knows(3), [row_with_last(at(4), at(1))]);
    assert_eq!((phone.entries_shown(), phone.connection()), (vec![4], ConnectionState::Live));
    assert!(phone.sent.is_empty());
}

// holds: D1
#[test]
fn catching_up_goes_page_by_page_and_carries_what_the_pages_before_have_brought() {
    // A page that is not done is followed by another, whatever the head was said to be.
    let (mut phone, first) = Phone::behind(3, 5);
    phone.page(&first, entries(1, [3, 4, 5, 7]), false); // of which only what follows is taken
    let second = phone.sync();
    assert_eq!(second.conversations[0].after, at(5));
    assert!(second.ack.is_empty(), "the store had not confirmed it when the page was asked for");
    phone.page(&second, entries(1, [6]), false);
    let third = phone.sync();
    assert_eq!((third.conversations[0].after, third.ack[0].position), (at(6), at(5)));
    phone.page(&third, entries(1, [7]), true);
    assert_eq!(phone.ack().positions[0].position, at(7));
    assert!(phone.sent.is_empty() && phone.cursors.is_empty());
    assert_eq!(phone.entries_shown(), [4, 5, 6, 7]);
}

#[test]
fn at_most_a_hundred_conversations_are_asked_for_and_those_looked_at_first() {
    let id = |number: u64| conversation(&format!("e{number:03}"));
    let mut phone = Phone::with(&knows_also(3, (0..150).map(id)));
    phone.does(Act::Look { conversations: vec![id(149)] });
    phone.go_live((0..150).map(|number| row_of(id(number), 4)));
    let sync = phone.sync();
    assert_eq!((sync.conversations.len(), &sync.conversations[0].conversation), (100, &id(149)));
    let page = |_| SyncOutcome::Ok(Missed { skip: None, entries: vec![entry(1, 4)], done: true, ended: None });
    phone.pages(&sync, (0..100).map(page), true);
    phone.ping();
    assert_eq!(phone.sync().conversations.len(), 50);
}

#[test]
fn an_answer_that_brings_nothing_is_not_asked_for_again_at_once() {
    let answers: [fn(&mut Phone, &Sync); 2] = [|phone, sync| phone.pages(sync, [], false), |phone, sync| phone.page(sync, vec![], false)];
    for answer in answers {
        let (mut phone, sync) = Phone::behind(3, 4);
        answer(&mut phone, &sync);
        assert!(phone.sent.is_empty());
        phone.pass(500);
        assert_eq!(phone.sync().conversations, sync.conversations);
    }
}

#[test]
fn a_sync_without_an_answer_is_repeated_with_back_off() {
    let (mut phone, sync) = Phone::behind(3, 4);
    phone.gateway_fails();
    phone.pass(500);
    let again = phone.sync();
    assert_eq!(again.conversations, sync.conversations);
    let later = || refusal(ErrorCode::Unavailable).after_ms(2_000);
    phone.refuse(&again.id, later());
    phone.pass(1_999);
    assert!(phone.sent.is_empty());
    phone.pass(1_001);
    let again = phone.sync();
    phone.refuse_page(&again, later());
    phone.pass(1_999);
    assert!(phone.sent.is_empty());
    phone.pass(2_001);
    phone.sync();
}

#[test]
fn a_head_that_the_log_does_not_have_is_forgotten() {
    let (mut phone, sync) = Phone::behind(3, 5);
    phone.page(&sync, entries(1, [4]), true);
    assert_eq!((phone.row().head, phone.connection()), (at(4), ConnectionState::Live));
    phone.pass(5_000);
    assert!(phone.sent.is_empty());
}

#[test]
fn a_conversation_too_far_behind_goes_on_at_its_head_and_only_that_one() {
    let mut phone = Phone::with(&knows_also(3, [d2()]));
    phone.compose("m");
    phone.go_live([row(at(2_004), at(1)), row_of(d2(), 2_003)]);
    assert!(phone.shown.contains(&Shown::Skipped { conversation: d1(), position: at(2_004) }));
    assert_eq!((phone.row().from, phone.row().have), (at(2_004), at(2_004)));
    assert!(phone.store.entries.keys().all(|(conversation, _)| *conversation == d2()));
    assert_eq!(phone.store.entries.len(), 3);
    assert_eq!(phone.anchors(), [at(3)], "never the outbox");
    let Some((_, Request::Sync(sync))) = phone.sent.iter().find(|(_, request)| matches!(request, Request::Sync(_))) else { panic!() };
    let [asked] = sync.conversations.as_slice() else { panic!("{sync:?}") };
    assert_eq!((&asked.conversation, asked.after), (&d2(), at(3)));
    phone.push([2_005]);
    assert_eq!(phone.entries_shown(), [2_005]);
}

#[test]
fn a_conversation_new_to_the_device_begins_with_its_last_entry() {
    let mut phone = Phone::live(&Shelf::default(), [row_with_last(at(900), at(890))]);
    assert_eq!((phone.row().from.seq, phone.row().have, phone.row().unread()), (at(899).seq, at(900), 10));
    assert_eq!(phone.entries_shown(), [900]);
    let mut short = Phone::live(&Shelf::default(), [row(at(50), at(1))]);
    assert_eq!(short.sync().conversations[0].after, Position::ZERO);
}

#[test]
fn what_is_there_ahead_of_a_jump_is_kept() {
    let mut phone = Phone::set(Settings { catch_up_entries_max: 10, ..settings() }, &knows(3));
    phone.go_live([]);
    phone.push([20, 22, 23, 24]);
    phone.pass(1_000);
    assert_eq!((phone.entries_shown(), phone.row().from.seq), (vec![22, 23, 24], at(21).seq));
}

#[test]
fn unread_is_the_count_at_the_head_without_those_read_on_any_device() {
    let mut phone = Phone::live_at(3);
    phone.push([4, 5]);
    assert_eq!(phone.row().unread(), 4);
    phone.reconnects([row(at(5), at(4))]);
    assert_eq!((phone.row().read, phone.row().unread()), (at(4), 1));
}
