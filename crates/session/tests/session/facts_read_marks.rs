//! Read marks after a restore: none stays on an entry that the log does not have, and what was read is counted.

use chatlane_protocol::request::Positions;
use chatlane_protocol::{ErrorCode, Position, ServerFrame};

use crate::phone::*;

/// The mark, its count, and whether it has yet to be sent to the server.
fn mark(phone: &Phone) -> (Position, u64, bool) {
    let row = phone.row();
    (row.read, row.read_count, row.read_pending)
}

/// A phone that has up to entry 9 and sends the mark that was set at entry 7.
fn marking() -> (Phone, Positions) {
    let mut phone = Phone::live_at(9);
    phone.mark_read(at(7));
    let read = phone.read();
    (phone, read)
}

/// A phone that has up to entry 5 and was informed that another device has read up to entry 7, which a restore takes back.
fn ahead_of_itself() -> Phone {
    let phone = Phone::live(&knows(5), [row(at(8), at(7))]);
    assert_eq!(mark(&phone), (at(7), 6, false));
    phone
}

#[test]
fn a_read_that_meets_a_restore_moves_back_to_the_common_entry() {
    let (mut phone, read) = marking();
    phone.refuse_cursor(&read, restored_to(at(5)));
    assert_eq!(mark(&phone), (at(5), 4, true));
    assert_eq!(phone.store.rows[&d1()].read, at(5));
    phone.pass(1_000);
    let sync = phone.sync();
    assert_eq!(sync.ack[0].read, Some(at(5)));
    phone.page(&sync, vec![], true);
    assert_eq!(mark(&phone), (at(5), 4, false));
    // Not one that has gone on since.
    let (mut phone, read) = marking();
    phone.mark_read(at(8));
    phone.refuse_cursor(&read, restored_to(at(5)));
    assert_eq!(mark(&phone), (at(8), 7, true));
}

#[test]
fn a_read_of_an_entry_that_never_was_is_forgotten_and_the_servers_taken() {
    for refusal in [refusal(ErrorCode::AnchorUnknown), restored_to(at(7)), restored_to(Position::ZERO)] {
        let (mut phone, read) = marking();
        phone.refuse_cursor(&read, refusal);
        assert_eq!(mark(&phone), (Position::ZERO, 0, false));
        phone.reconnects([row(at(9), at(4))]);
        assert_eq!(mark(&phone), (at(4), 3, false));
    }
}

#[test]
fn a_mark_that_a_restore_has_taken_back_moves_back_with_the_run() {
    let (mut phone, read) = marking();
    phone.cursors_ok(&read);
    let sync = phone.gap_before(11);
    phone.refuse_page(&sync, restored_to(at(5)));
    assert_eq!(mark(&phone), (at(5), 4, true));
    phone.pass(500);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    phone.pass(1_000);
    assert_eq!(phone.read().positions[0].read, Some(at(5)), "the backup may be older than the cursor");
}

#[test]
fn a_mark_beyond_the_end_of_the_log_or_where_it_goes_on_otherwise_moves_back() {
    for beyond in [vec![], entries(2, 7..=8)] {
        let mut phone = ahead_of_itself();
        let sync = phone.sync();
        phone.page(&sync, [entries(1, [6]), beyond].concat(), true);
        assert_eq!(mark(&phone), (at(6), 5, true));
    }
}

#[test]
fn a_mark_that_came_while_the_log_was_read_may_be_beyond_what_was_its_end() {
    let (mut phone, sync) = Phone::behind(5, 6);
    phone.error(ErrorCode::Resync);
    phone.welcome([row(at(8), at(8))]);
    phone.page(&sync, entries(1, [6]), true);
    assert_eq!(phone.row().read, at(8));
}

#[test]
fn a_mark_before_what_is_jumped_over_in_a_later_epoch_is_sent_anew() {
    let (mut phone, read) = marking();
    phone.cursors_ok(&read);
    phone.breaks();
    let hello = phone.hello();
    let mut answer = hello_answer(hello.id, vec![row(at_epoch(2, 5_000), at(7))], None);
    answer.epoch = 2;
    phone.receive(&ServerFrame::Hello(Box::new(answer)));
    phone.pass(1_000);
    let read = phone.read();
    assert_eq!((phone.row().have, read.positions[0].read), (at_epoch(2, 5_000), Some(at(7))));
    phone.refuse_cursor(&read, restored_to(at(5)));
    assert_eq!(mark(&phone), (at(5), 4, true));
}

#[test]
fn a_row_of_hello_from_before_a_restore_is_not_taken() {
    let (mut phone, hello) = Phone::greeting(&knows(5));
    phone.hello_answered(hello, [], Some(conversation("c")));
    let second = phone.hello();
    phone.push_in(2, [6]);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, entries(2, [6]), true);
    phone.hello_answered(second, [row(at(9), at(8))], None);
    assert_eq!((phone.row().head, mark(&phone)), (at_epoch(2, 6), (Position::ZERO, 0, false)));
}

#[test]
fn a_count_that_had_to_be_guessed_is_mended_when_the_entry_comes() {
    let mut phone = Phone::live(&knows(5), [row(at(9), at(8))]);
    let sync = phone.sync();
    // The restore lost nothing of what is here, and what both have is beyond it.
    phone.refuse_page(&sync, restored_to(at(7)));
    assert_eq!(mark(&phone), (at(7), 6, true));
    phone.pass(500);
    let sync = phone.sync();
    let mut quiet = entries(1, 6..=7);
    for entry in &mut quiet {
        entry.count = 5;
    }
    phone.page(&sync, quiet, true);
    assert_eq!(phone.row().read_count, 5);
}

#[test]
fn a_conversation_that_begins_anew_takes_the_servers_mark() {
    let (mut phone, _) = marking();
    let sync = phone.gap_before(11);
    phone.refuse_page(&sync, refusal(ErrorCode::AnchorUnknown));
    assert_eq!(mark(&phone), (Position::ZERO, 0, false));
}
