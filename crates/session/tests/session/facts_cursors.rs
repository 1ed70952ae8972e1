//! Cursors: what was delivered and read, sent rarely; how far the others are.

use chatlane_protocol::frames::{
    ConversationStatus, CursorOutcome, CursorResult, CursorsAnswer, MemberCursors, Missed, Receipt, SyncAnswer, SyncOutcome, SyncPage,
};
use chatlane_protocol::request::Positions;
use chatlane_protocol::{ErrorCode, Position, Refusal, Request, ServerFrame};
use chatlane_session::{Act, Input, Shown};

use crate::phone::*;

fn read_to(phone: &mut Phone, seq: u64) {
    phone.input(Input::Do(Act::MarkRead { conversation: d1(), position: at(seq) }));
}

fn refuse(phone: &mut Phone, request: &Positions, code: ErrorCode, answer: fn(CursorsAnswer) -> ServerFrame) {
    let outcome = CursorOutcome::Refused(Refusal::new(code, ""));
    let results = vec![CursorResult { conversation: d1(), outcome }];
    phone.receive(&answer(CursorsAnswer { id: request.id.clone(), results }));
}

#[test]
fn delivered_is_sent_once_a_second_at_most() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let first = phone.ack();
    assert_eq!(first.positions[0].position, at(4));
    for seq in 5..=9 {
        phone.push([seq]);
    }
    phone.cursors_ok(&first, ServerFrame::Ack);
    assert!(phone.cursors.is_empty());
    phone.pass(999);
    assert!(phone.cursors.is_empty());
    phone.pass(1);
    let second = phone.ack();
    assert_eq!(second.positions[0].position, at(9));
    phone.cursors_ok(&second, ServerFrame::Ack);
    phone.pass(10_000);
    assert_eq!((phone.cursors.len(), phone.row().acked), (0, at(9)));
}

/// A phone whose `sync` carries that entry 5 is delivered.
fn carrying() -> (Phone, chatlane_protocol::request::Sync) {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let ack = phone.ack();
    phone.cursors_ok(&ack, ServerFrame::Ack);
    phone.push([5]);
    phone.push([7]);
    phone.pass(999);
    let sync = phone.sync();
    assert_eq!(sync.ack[0].position, at(5));
    (phone, sync)
}

#[test]
fn what_a_sync_has_acknowledged_is_not_acknowledged_again() {
    let (mut phone, sync) = carrying();
    phone.page(&sync, vec![], true);
    phone.pass(10_000);
    assert_eq!((phone.cursors.len(), phone.row().acked), (0, at(5)));
}

#[test]
fn what_a_sync_could_not_acknowledge_goes_by_an_ack() {
    let (mut phone, sync) = carrying();
    let outcome = SyncOutcome::Ok(Missed { skip: None, entries: vec![], done: true });
    let pages = vec![SyncPage { conversation: d1(), outcome }];
    phone.receive(&ServerFrame::Sync(SyncAnswer { id: sync.id, pages, done: true, acked: false }));
    phone.pass(1_000);
    assert_eq!((phone.ack().positions[0].position, phone.row().acked), (at(5), at(4)));
}

#[test]
fn read_implies_delivered() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let ack = phone.ack();
    phone.cursors_ok(&ack, ServerFrame::Ack);
    // Too early for the next `ack`; and then there is nothing left to acknowledge.
    phone.push([5]);
    read_to(&mut phone, 5);
    let read = phone.read();
    assert_eq!(read.positions[0].position, at(5));
    phone.cursors_ok(&read, ServerFrame::Read);
    phone.pass(10_000);
    assert!(phone.cursors.is_empty());
    assert_eq!((phone.row().acked, phone.row().read_pending), (at(5), false));
}

#[test]
fn reads_are_coalesced_and_only_move_forward() {
    let mut phone = Phone::live_at(9);
    for seq in [2, 5, 4, 7, 7] {
        read_to(&mut phone, seq);
    }
    let first = phone.read();
    assert_eq!(first.positions[0].position, at(2));
    phone.cursors_ok(&first, ServerFrame::Read);
    phone.pass(1_000);
    let second = phone.read();
    assert_eq!((second.positions[0].position, phone.row().unread()), (at(7), 2));
    phone.cursors_ok(&second, ServerFrame::Read);
    phone.pass(10_000);
    assert!(phone.cursors.is_empty());
}

#[test]
fn a_read_mark_that_the_device_does_not_have_is_ignored() {
    let mut phone = Phone::live_at(3);
    for position in [at(4), at_epoch(2, 3)] {
        phone.input(Input::Do(Act::MarkRead { conversation: d1(), position }));
    }
    phone.slow_store = true;
    phone.push([4]);
    read_to(&mut phone, 4);
    phone.input(Input::Do(Act::MarkRead { conversation: chatlane_protocol::ConversationId::new("d9").unwrap(), position: at(1) }));
    assert_eq!((phone.row().read, phone.cursors.len()), (Position::ZERO, 0));
}

#[test]
fn a_read_mark_survives_a_restart_until_the_server_knows_it() {
    let mut phone = Phone::with(&knows(9));
    read_to(&mut phone, 7);
    phone.restart();
    phone.go_live(vec![row(at(9), at(2))]);
    let read = phone.read();
    assert_eq!(read.positions[0].position, at(7));
    assert_eq!(phone.row().unread(), 2);
}

#[test]
fn a_cursor_whose_outcome_is_unknown_is_sent_again() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    phone.ack();
    phone.gateway_fails();
    phone.pass(1_500);
    let ack = phone.ack();
    refuse(&mut phone, &ack, ErrorCode::Unavailable, ServerFrame::Ack);
    phone.pass(1_500);
    let ack = phone.ack();
    phone.refuse(&ack.id, Refusal::new(ErrorCode::Busy, "").after_ms(5_000));
    phone.pass(4_999);
    assert!(phone.cursors.is_empty());
    phone.pass(2_001);
    assert_eq!(phone.ack().positions[0].position, at(4));
}

#[test]
fn a_cursor_that_is_refused_for_good_is_not_sent_again() {
    for whole in [false, true] {
        let mut phone = Phone::live_at(3);
        phone.push([4]);
        let ack = phone.ack();
        read_to(&mut phone, 4);
        let read = phone.read();
        if whole {
            phone.refuse(&ack.id, Refusal::new(ErrorCode::BadRequest, ""));
            phone.refuse(&read.id, Refusal::new(ErrorCode::BadRequest, ""));
        } else {
            refuse(&mut phone, &ack, ErrorCode::NotFound, ServerFrame::Ack);
            refuse(&mut phone, &read, ErrorCode::AnchorUnknown, ServerFrame::Read);
        }
        phone.pass(10_000);
        assert!(phone.cursors.is_empty());
        phone.push([5]);
        assert_eq!(phone.ack().positions[0].position, at(5));
    }
}

#[test]
fn a_server_that_has_lost_a_read_mark_gets_it_again() {
    let mut store = knows(9);
    let known = store.rows.get_mut(&d1()).unwrap();
    (known.read, known.read_count) = (at(7), 6);
    let mut phone = Phone::with(&store);
    phone.go_live(vec![row(at(9), at(2))]);
    assert_eq!(phone.read().positions[0].position, at(7));
}

#[test]
fn an_exact_count_is_kept_with_a_read_mark_and_never_a_lower_one() {
    let mut phone = Phone::live_at(3);
    // An entry that does not count.
    let mut quiet = entry(1, 4);
    quiet.count = 2;
    let mut next = entry(1, 5);
    next.count = 3;
    phone.receive(&ServerFrame::Entries(chatlane_protocol::frames::Entries { conversation: d1(), entries: vec![quiet, next] }));
    read_to(&mut phone, 4);
    assert_eq!((phone.row().read_count, phone.row().unread()), (2, 1));
}

fn cursors(delivered: u64, read: u64) -> MemberCursors {
    MemberCursors { user: user("bob"), delivered: at(delivered), read: at(read) }
}

fn receipt(phone: &mut Phone, cursors: MemberCursors) {
    phone.receive(&ServerFrame::Receipt(Receipt { conversation: d1(), cursors, ttl_ms: 30_000 }));
}

#[test]
fn the_others_cursors_only_move_forward() {
    let mut phone = Phone::live_at(9);
    phone.shown.clear();
    receipt(&mut phone, cursors(5, 3));
    receipt(&mut phone, cursors(4, 2));
    receipt(&mut phone, cursors(4, 6));
    receipt(&mut phone, MemberCursors { user: user("alice"), ..cursors(9, 9) });
    let shown = |cursors| Shown::Cursors { conversation: d1(), cursors };
    assert_eq!(phone.shown, [shown(cursors(5, 3)), shown(cursors(6, 6))]);
    assert_eq!(phone.row().others, [cursors(6, 6)]);
}

#[test]
fn a_receipt_of_an_unknown_conversation_is_ignored() {
    let mut phone = Phone::new();
    phone.go_live(vec![]);
    receipt(&mut phone, cursors(5, 3));
    assert_eq!(phone.session.conversations().count(), 0);
}

#[test]
fn a_ping_repairs_lost_receipts_and_lost_entries_of_what_the_user_looks_at() {
    let mut phone = Phone::live_at(3);
    phone.input(Input::Do(Act::Look { conversations: vec![d1(), d1()] }));
    let ping = phone.ping();
    assert_eq!(ping.open, [d1()]);
    phone.shown.clear();
    phone.pong(&ping, false, vec![ConversationStatus { conversation: d1(), head: at(5), count: 4, cursors: vec![cursors(3, 2)] }]);
    assert!(phone.shown.contains(&Shown::Cursors { conversation: d1(), cursors: cursors(3, 2) }));
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, at(3));
}

#[test]
fn what_the_user_looks_at_is_asked_for_when_the_device_is_live_again() {
    let mut phone = Phone::live_at(3);
    phone.input(Input::Do(Act::Look { conversations: vec![d1()] }));
    phone.ping();
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    let ping = phone.ping();
    assert_eq!(ping.open, [d1()]);
    phone.pong(&ping, false, vec![]);
    phone.pass(240_000);
    let Request::Ping(idle) = phone.next() else { panic!("a ping") };
    assert_eq!(idle.open, [d1()]);
}
