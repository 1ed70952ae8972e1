//! Cursors: what was delivered and read, sent rarely; how far the others are. The simple cases are vectors.

use chatlane_protocol::frames::{ConversationStatus, MemberCursors, Missed, ReadMark, Receipt, SyncAnswer, SyncOutcome, SyncPage};
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{DeviceId, EntryKind, ErrorCode, Message, Position, Seq, ServerFrame};
use chatlane_session::{Act, Settings, Shown};

use crate::phone::*;

#[test]
fn delivered_is_sent_once_a_second_at_most() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let first = phone.ack();
    assert_eq!(first.positions[0].position, at(4));
    for seq in 5..=9 {
        phone.push([seq]);
    }
    phone.cursors_ok(&first);
    phone.pass(999);
    assert!(phone.cursors.is_empty());
    phone.pass(1);
    let second = phone.ack();
    assert_eq!(second.positions[0].position, at(9));
    phone.cursors_ok(&second);
    phone.pass(10_000);
    assert_eq!((phone.cursors.len(), phone.row().acked), (0, at(9)));
}

#[test]
fn what_a_sync_has_acknowledged_is_not_acknowledged_again_and_what_it_has_not_is() {
    for acked in [true, false] {
        let mut phone = Phone::live_at(3);
        phone.push([4]);
        let ack = phone.ack();
        phone.cursors_ok(&ack);
        phone.push([5]);
        phone.push([7]);
        phone.pass(999);
        let sync = phone.sync();
        assert_eq!(sync.ack[0].position, at(5));
        let outcome = SyncOutcome::Ok(Missed { skip: None, entries: vec![], done: true, ended: None });
        let pages = vec![SyncPage { conversation: d1(), outcome }];
        phone.receive(&ServerFrame::Sync(SyncAnswer { id: sync.id, pages, done: true, acked }));
        phone.pass(10_000);
        let acks: Vec<_> = phone.cursors.drain(..).collect();
        assert_eq!((acks.len(), phone.row().acked), if acked { (0, at(5)) } else { (1, at(4)) });
    }
}

#[test]
fn what_is_read_as_soon_as_it_is_shown_goes_with_what_was_delivered() {
    let mut phone = Phone::set(Settings::new(user("alice"), DeviceId::new(DEVICE).unwrap()), &knows(3));
    phone.go_live([]);
    phone.push([4]);
    phone.pass(199);
    phone.mark_read(at(4));
    assert!(phone.cursors.is_empty());
    phone.pass(1);
    let ack = phone.ack();
    assert_eq!((ack.positions[0].position, ack.positions[0].read), (at(4), Some(at(4))));
    phone.cursors_ok(&ack);
    phone.pass(10_000);
    assert!(phone.cursors.is_empty());
    assert_eq!((phone.row().acked, phone.row().read_pending), (at(4), false));
}

#[test]
fn read_implies_delivered() {
    // What another device has read is told anew by this one, which does not have it, if the server has lost it.
    let mut store = knows(5);
    store.rows.get_mut(&d1()).unwrap().read = at(4);
    store.rows.get_mut(&d1()).unwrap().acked = at(3);
    store.rows.get_mut(&d1()).unwrap().read_pending = true;
    let mut phone = Phone::live(&store, []);
    let read = phone.read();
    assert_eq!((read.positions[0].position, read.positions[0].read), (at(5), Some(at(4))));
    phone.mark_read(at(5));
    phone.cursors_ok(&read);
    assert_eq!((phone.row().acked, phone.row().read_pending), (at(5), true));
    phone.pass(1_000);
    let read = phone.read();
    assert_eq!((read.positions[0].position, read.positions[0].read), (at(5), Some(at(5))));
}

#[test]
fn of_two_cursors_that_are_refused_together_each_goes_alone_and_the_mark_first() {
    for (mark_is_good, delivered_is_good) in [(true, false), (false, true), (false, false)] {
        let mut phone = Phone::live_at(3);
        phone.push([4, 5]);
        let first = phone.ack();
        phone.refuse_cursor(&first, refusal(ErrorCode::Unavailable));
        phone.mark_read(at(4));
        phone.pass(30_000);
        let both = phone.read();
        assert_eq!((both.positions[0].position, both.positions[0].read), (at(5), Some(at(4))));
        phone.refuse_cursor(&both, refusal(ErrorCode::AnchorUnknown));
        assert!(phone.row().read_pending);
        // What comes meanwhile does not hold the mark up.
        phone.push([6]);
        phone.pass(1_000);
        let mark = phone.read();
        assert_eq!((mark.positions[0].position, mark.positions[0].read), (at(4), Some(at(4))));
        let answer = |phone: &mut Phone, ack, good| {
            if good { phone.cursors_ok(ack) } else { phone.refuse_cursor(ack, refusal(ErrorCode::AnchorUnknown)) }
        };
        answer(&mut phone, &mark, mark_is_good);
        assert_eq!((phone.row().read, phone.row().read_pending), (if mark_is_good { at(4) } else { Position::ZERO }, false));
        phone.pass(1_000);
        let delivered = phone.ack();
        assert_eq!((delivered.positions[0].position, delivered.positions[0].read), (at(6), None));
        answer(&mut phone, &delivered, delivered_is_good);
        phone.pass(10_000);
        assert!(phone.cursors.is_empty(), "what is refused for good is not sent again");
        assert_eq!(
            phone.row().acked,
            if delivered_is_good {
                at(6)
            } else if mark_is_good {
                at(4)
            } else {
                at(3)
            }
        );
    }
}

#[test]
fn a_mark_that_is_not_stored_yet_is_not_sent() {
    let mut phone = Phone::live_at(9);
    phone.slow_store = true;
    phone.mark_read(at(7));
    phone.pass(10_000);
    assert!(phone.cursors.is_empty());
    phone.settle_store();
    assert_eq!(phone.read().positions[0].read, Some(at(7)));
}

#[test]
fn a_sync_carries_a_read_mark_too_and_once() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let ack = phone.ack();
    phone.cursors_ok(&ack);
    phone.push([6]);
    phone.mark_read(at(4));
    let read = phone.cursors.pop_front();
    assert_eq!(read, None, "too early");
    phone.pass(999);
    let sync = phone.sync();
    assert_eq!((sync.ack[0].position, sync.ack[0].read), (at(4), Some(at(4))));
    phone.page(&sync, entries(1, 5..=6), true);
    assert!(!phone.row().read_pending);
    phone.pass(10_000);
    assert_eq!(phone.ack().positions[0], PositionIn::new(d1(), at(6)));
}

#[test]
fn reads_are_coalesced_and_only_move_forward() {
    let mut phone = Phone::live_at(9);
    for seq in [2, 5, 7, 7, 4] {
        phone.mark_read(at(seq));
    }
    let first = phone.read();
    assert_eq!(first.positions[0].read, Some(at(2)));
    phone.cursors_ok(&first);
    phone.pass(1_000);
    let second = phone.read();
    assert_eq!((second.positions[0].read, phone.row().unread()), (Some(at(7)), 2));
    phone.cursors_ok(&second);
    phone.pass(10_000);
    assert!(phone.cursors.is_empty());
}

#[test]
fn a_read_mark_that_the_device_does_not_have_is_ignored() {
    let mut phone = Phone::live_at(3);
    phone.mark_read(at(4));
    phone.mark_read(at_epoch(2, 3));
    phone.slow_store = true;
    phone.push([4]);
    phone.mark_read(at(4));
    phone.does(Act::MarkRead { conversation: d2(), position: at(1), private: false });
    assert_eq!((phone.row().read, phone.cursors.len()), (Position::ZERO, 0));
}

#[test]
fn a_read_mark_survives_a_restart_and_a_server_that_has_lost_one_gets_it_again() {
    for pending in [true, false] {
        let mut store = knows(9);
        let known = store.rows.get_mut(&d1()).unwrap();
        (known.read, known.read_count) = if pending { (Position::ZERO, 0) } else { (at(7), 6) };
        let mut phone = Phone::with(&store);
        if pending {
            phone.mark_read(at(7));
            phone.restart();
        }
        phone.go_live([row(at(9), at(2))]);
        assert_eq!((phone.read().positions[0].read, phone.row().unread()), (Some(at(7)), 2));
    }
}

#[test]
fn a_cursor_that_is_refused_for_good_is_not_sent_again() {
    for whole in [false, true] {
        let mut phone = Phone::live_at(3);
        phone.push([4]);
        let ack = phone.ack();
        phone.mark_read(at(4));
        if whole {
            phone.refuse(&ack.id, refusal(ErrorCode::BadRequest));
        } else {
            phone.refuse_cursor(&ack, refusal(ErrorCode::NotFound));
        }
        phone.pass(1_000);
        let read = phone.read();
        if whole {
            phone.refuse(&read.id, refusal(ErrorCode::BadRequest));
        } else {
            phone.refuse_cursor(&read, refusal(ErrorCode::AnchorUnknown));
        }
        phone.pass(10_000);
        assert!(phone.cursors.is_empty());
        phone.push([5]);
        assert_eq!(phone.ack().positions[0].position, at(5));
    }
}

#[test]
fn an_exact_count_is_kept_with_a_read_mark_and_never_a_lower_one() {
    let mut phone = Phone::live_at(3);
    // An entry that does not count.
    let (mut quiet, mut next) = (entry(1, 4), entry(1, 5));
    (quiet.count, next.count) = (2, 3);
    phone.entries_come(vec![quiet, next]);
    phone.mark_read(at(4));
    assert_eq!((phone.row().read_count, phone.row().unread()), (2, 1));
}

/// What alice has read on another device, as a receipt and as a ping tell it.
fn own_read(phone: &mut Phone, by_receipt: bool, read: Position) {
    own_read_as(phone, by_receipt, read, false);
}

fn own_read_as(phone: &mut Phone, by_receipt: bool, read: Position, read_private: bool) {
    let read_count = read.seq.get() - 1;
    if by_receipt {
        let cursors = MemberCursors { user: user("alice"), delivered: read, read };
        let receipt = Receipt { conversation: d1(), cursors, read_count: Some(read_count), read_private, ttl_ms: 30_000 };
        return phone.receive(&ServerFrame::Receipt(receipt));
    }
    phone.does(Act::Look { conversations: vec![] });
    phone.does(Act::Look { conversations: vec![d1()] });
    let ping = phone.ping();
    let have = phone.row().have.seq.get();
    phone.pong(&ping, false, vec![ConversationStatus { own: Some(ReadMark { read, read_count, read_private }), ..status(have, have - 1) }]);
}

#[test]
fn what_another_device_has_read_is_read_here_and_told_to_nobody() {
    for by_receipt in [true, false] {
        let mut phone = Phone::live_at(9);
        own_read(&mut phone, by_receipt, at(7));
        assert_eq!((phone.row().read, phone.row().read_count, phone.row().unread()), (at(7), 6, 2));
        own_read(&mut phone, by_receipt, at(4));
        assert_eq!((phone.row().read, phone.row().read_count), (at(7), 6));
        // Its entries are on their way.
        own_read(&mut phone, by_receipt, at(11));
        assert_eq!((phone.row().read, phone.row().unread()), (at(11), 0));
        phone.push([10, 11, 12]);
        assert_eq!((phone.row().read, phone.row().unread()), (at(11), 1));
        let ack = phone.ack();
        assert_eq!((ack.positions[0].position, ack.positions[0].read), (at(12), None));
        // What the user reads here, and the other device has read too, is not told any more.
        phone.cursors_ok(&ack);
        phone.mark_read(at(12));
        own_read(&mut phone, by_receipt, at(12));
        phone.pass(10_000);
        assert_eq!((phone.cursors.len(), phone.row().read_pending), (0, false));
    }
}

#[test]
fn a_mark_of_before_a_restore_is_not_taken() {
    // The device knows the log of after the restore up to 2:4.
    let mut store = knows(4);
    store.rows.get_mut(&d1()).unwrap().have = at_epoch(2, 4);
    let mut phone = Phone::live(&store, []);
    phone.entries_come(vec![entry(2, 5)]);
    for gone in [5, 9] {
        own_read(&mut phone, true, at(gone));
        assert_eq!(phone.row().read, Position::ZERO, "{gone}");
    }
    own_read(&mut phone, true, at(4));
    assert_eq!(phone.row().read, at(4));
    own_read(&mut phone, true, at_epoch(2, 9));
    assert_eq!(phone.row().read, at_epoch(2, 9));
}

#[test]
fn what_the_user_wrote_right_behind_the_mark_is_read_and_goes_with_the_ack() {
    let mut phone = Phone::live_at(3);
    // Two entries of bob's are unread: an answer that was given without reading is not read either.
    phone.push([4, 5]);
    let first = phone.ack();
    phone.cursors_ok(&first);
    phone.entries_come(vec![own_entry("elsewhere", 6)]);
    assert_eq!((phone.row().read, phone.row().unread()), (Position::ZERO, 5));
    phone.mark_read(at(4));
    assert_eq!((phone.row().read, phone.row().unread()), (at(4), 2));
    // Whoever reads what is before it has read it, here or elsewhere.
    own_read(&mut phone, true, at(5));
    assert_eq!((phone.row().read, phone.row().unread()), (at(6), 0));
    phone.entries_come(vec![own_entry("more", 7)]);
    phone.push([8]);
    phone.entries_come(vec![own_entry("late", 9)]);
    assert_eq!((phone.row().read, phone.row().read_count, phone.row().unread()), (at(7), 6, 2));
    phone.pass(1_000);
    let ack = phone.ack();
    assert_eq!((ack.positions[0].position, ack.positions[0].read), (at(9), Some(at(7))));
}

#[test]
fn the_others_cursors_only_move_forward() {
    let cursors = |name, delivered, read| MemberCursors { user: user(name), delivered: at(delivered), read: at(read) };
    let receipt =
        |cursors| ServerFrame::Receipt(Receipt { conversation: d1(), cursors, read_count: None, read_private: false, ttl_ms: 30_000 });
    let mut phone = Phone::live_at(9);
    phone.shown.clear();
    for cursors in [cursors("bob", 5, 3), cursors("bob", 4, 2), cursors("bob", 4, 6), cursors("alice", 9, 9)] {
        phone.receive(&receipt(cursors));
    }
    let shown = |cursors| Shown::Cursors { conversation: d1(), cursors };
    assert_eq!(phone.shown, [shown(cursors("bob", 5, 3)), shown(cursors("bob", 6, 6))]);
    assert_eq!(phone.row().others, [cursors("bob", 6, 6)]);
    let mut phone = Phone::live(&Shelf::default(), []);
    phone.receive(&receipt(cursors("bob", 5, 3)));
    assert_eq!(phone.session.conversations().count(), 0, "not a conversation of this device");
}

#[test]
fn what_the_user_looks_at_is_asked_for_when_the_device_is_live_again() {
    let mut phone = Phone::live_at(3);
    phone.does(Act::Look { conversations: vec![d1(), d1()] });
    assert_eq!(phone.ping().open, [d1()]);
    phone.reconnects([]);
    let ping = phone.ping();
    assert_eq!(ping.open, [d1()]);
    phone.pong(&ping, false, vec![]);
    phone.pass(240_000);
    assert_eq!(phone.ping().open, [d1()]);
}

#[test]
fn what_is_read_in_private_goes_in_a_frame_of_its_own_and_in_no_ack() {
    let mut phone = Phone::live_at(3);
    phone.push([4]);
    let ack = phone.ack();
    phone.mark_read_in_private(at(4));
    let read = phone.ack();
    assert_eq!((read.private, read.positions.as_slice()), (true, &[PositionIn::new(d1(), at(4))][..]));
    phone.cursors_ok(&ack);
    // No answer comes: it is told again, after a restart too, and a `sync` carries what was delivered without it.
    phone.restart();
    let row = row(at(6), at(1));
    phone.go_live([row]);
    let sync = phone.sync();
    assert_eq!(sync.ack, [PositionIn::new(d1(), at(4))]);
    phone.page(&sync, entries(1, 5..=6), true);
    let both = [phone.ack(), phone.ack()];
    assert_eq!(
        both.each_ref().map(|told| (told.private, told.positions[0].position, told.positions[0].read)),
        [(false, at(6), None), (true, at(4), None)]
    );
    for told in &both {
        phone.cursors_ok(told);
    }
    phone.pass(10_000);
    assert_eq!((phone.cursors.len(), phone.row().read_pending, phone.row().acked), (0, false, at(6)));
}

#[test]
fn a_private_mark_is_put_off_and_refused_as_any_other() {
    let mut phone = Phone::live_at(9);
    phone.mark_read_in_private(at(5));
    let read = phone.ack();
    phone.refuse(&read.id, refusal(ErrorCode::Unavailable));
    phone.mark_read_in_private(at(6));
    phone.pass(1_000);
    let read = phone.ack();
    assert_eq!((read.private, read.positions[0].position), (true, at(6)));
    phone.refuse_cursor(&read, restored_to(at(4)));
    assert_eq!(phone.row().read, at(4));
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    let read = phone.ack();
    assert_eq!((read.private, read.positions[0].position), (true, at(4)), "it stays private where it moves by itself");
    phone.refuse(&read.id, refusal(ErrorCode::BadRequest));
    phone.pass(10_000);
    assert_eq!((phone.cursors.len(), phone.row().read_pending), (0, false));
}

#[test]
fn an_own_entry_behind_a_private_mark_is_read_in_private_too() {
    let mut phone = Phone::live_at(9);
    phone.mark_read_in_private(at(9));
    let read = phone.ack();
    phone.cursors_ok(&read);
    phone.entries_come(vec![own_entry("m", 10)]);
    phone.pass(1_000);
    let both = [phone.ack(), phone.ack()];
    assert_eq!(both.each_ref().map(|told| (told.private, told.positions[0].position)), [(false, at(10)), (true, at(10))]);
    assert_eq!(both[0].positions[0].read, None);
}

#[test]
fn what_was_read_in_private_on_another_device_is_told_to_nobody_by_this_one() {
    for by_receipt in [true, false] {
        let mut phone = Phone::live_at(9);
        own_read_as(&mut phone, by_receipt, at(9), true);
        phone.entries_come(vec![own_entry("m", 10)]);
        phone.pass(1_000);
        let both = [phone.ack(), phone.ack()];
        assert_eq!(both.each_ref().map(|told| (told.private, told.positions[0].position)), [(false, at(10)), (true, at(10))]);
        assert_eq!(both[0].positions[0].read, None);
        // What the user lets the others know here they are told, whatever was read in private meanwhile.
        phone.cursors_ok(&both[0]);
        phone.cursors_ok(&both[1]);
        phone.mark_read(at(10));
        own_read_as(&mut phone, by_receipt, at(10), true);
        let in_the_open = phone.read();
        assert_eq!((in_the_open.private, in_the_open.positions[0].read), (false, Some(at(10))));
    }
}

#[test]
fn who_has_read_in_private_may_let_the_others_know_later() {
    let mut phone = Phone::live_at(9);
    phone.mark_read_in_private(at(9));
    let in_private = phone.ack();
    phone.mark_read(at(9));
    let in_the_open = phone.read();
    assert!(!in_the_open.private);
    // The answer to the first says nothing of the second.
    phone.cursors_ok(&in_private);
    assert!(phone.row().read_pending);
    phone.cursors_ok(&in_the_open);
    assert!(!phone.row().read_pending);
    phone.mark_read_in_private(at(9));
    phone.mark_read(at(9));
    phone.pass(10_000);
    assert_eq!(phone.cursors.len(), 0, "what the others know they know");
}

fn mentions(seq: u64, sender: &str, name: &str) -> chatlane_protocol::Entry {
    let kind = EntryKind::Message(Message { mentions: vec![user(name)], ..body("hi").into() });
    chatlane_protocol::Entry { sender: user(sender), ..entry_of(seq, kind) }
}

#[test]
fn a_message_of_another_member_that_mentions_the_user_is_noted_until_they_have_read_it() {
    let mut phone = Phone::live(&knows_group(3), []);
    phone.entries_come(vec![mentions(4, "alice", "alice"), mentions(5, "bob", "carol")]);
    assert_eq!((phone.row().mentioned, phone.row().is_mentioned()), (Seq::ZERO, false));
    phone.entries_come(vec![mentions(6, "bob", "alice")]);
    phone.push([7]);
    assert!(phone.row().is_mentioned());
    phone.restart();
    assert!(phone.row().is_mentioned());
    phone.mark_read(at(6));
    assert!(!phone.row().is_mentioned());
}

#[test]
fn hello_tells_of_mentions_that_the_device_does_not_have_and_a_restore_takes_them_back() {
    let mut told = row(at(6), at(1));
    told.mentioned = Some(at(6).seq);
    let mut phone = Phone::live(&knows(3), [told]);
    assert_eq!((phone.row().mentioned, phone.row().is_mentioned()), (at(6).seq, true));
    let sync = phone.sync();
    phone.page(&sync, vec![entry(1, 4), entry(1, 5), entry(1, 6)], true);
    assert_eq!(phone.row().mentioned, at(6).seq, "a lower one is no news");
    let sync = phone.gap_before(8);
    phone.refuse_page(&sync, restored_to(at(6)));
    assert!(phone.row().is_mentioned());
    let sync = phone.sync();
    phone.refuse_page(&sync, restored_to(at(5)));
    assert!(!phone.row().is_mentioned());
    // The server may have an earlier one, which the device forgot for the later one: it asks for the row, when nothing is missing any more.
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    let hello = phone.hello();
    assert!(hello.known.is_empty(), "{hello:?}");
    let mut told = row(at(5), at(1));
    told.mentioned = Some(at(4).seq);
    phone.sent.clear();
    phone.hello_answered(hello, [told], None);
    assert!(phone.row().is_mentioned());
    for code in [ErrorCode::AnchorUnknown, ErrorCode::AnchorTooOld] {
        let mut store = knows(3);
        store.rows.get_mut(&d1()).unwrap().mentioned = at(3).seq;
        let mut phone = Phone::live(&store, []);
        let sync = phone.gap_before(5);
        phone.refuse_page(&sync, refusal(code));
        assert!(!phone.row().is_mentioned());
    }
}

/// What `ping` tells of others in `d1`: who, delivered, read.
fn told(phone: &mut Phone, others: &[(&str, u64, u64)]) {
    phone.does(Act::Look { conversations: vec![] });
    let ping = phone.look();
    let cursors = |&(name, delivered, read): &(&str, _, _)| MemberCursors { user: user(name), delivered: at(delivered), read: at(read) };
    let (have, count) = (phone.row().have.seq.get(), phone.row().have_count);
    phone.pong(&ping, false, vec![ConversationStatus { cursors: others.iter().map(cursors).collect(), ..status(have, count) }]);
}

fn names<'a>(users: impl Iterator<Item = &'a chatlane_protocol::UserId>) -> Vec<&'a str> {
    users.map(chatlane_protocol::UserId::as_str).collect()
}

#[test]
fn of_a_group_it_can_be_asked_who_has_an_entry_and_who_has_read_it() {
    let mut phone = Phone::live(&knows_group(5), []);
    told(&mut phone, &[("bob", 5, 3), ("carol", 4, 4), ("dave", 2, 0)]);
    let row = phone.row();
    assert_eq!(
        (names(row.read_by(at(3))), names(row.read_by(at(4))), names(row.read_by(at(5)))),
        (vec!["bob", "carol"], vec!["carol"], vec![])
    );
    assert_eq!((names(row.delivered_to(at(4))), names(row.delivered_to(at(5)))), (vec!["bob", "carol"], vec!["bob"]));
    phone.push([6]); // cursors go to the store with the next write
    phone.restart();
    assert_eq!(names(phone.row().read_by(at(3))), ["bob", "carol"]);
}

#[test]
fn who_is_no_member_any_more_is_not_among_the_others() {
    let mut phone = Phone::live(&knows_group(5), []);
    let others = |phone: &Phone| phone.row().others.iter().map(|other| other.user.to_string()).collect::<Vec<_>>();
    told(&mut phone, &[("bob", 5, 3), ("carol", 5, 5), ("dave", 2, 0), ("erin", 5, 5)]);
    phone.entries_come(vec![removed(6, "carol")]);
    phone.entries_come(vec![chatlane_protocol::Entry { sender: user("dave"), ..entry_of(7, EntryKind::Left { successor: None }) }]);
    assert_eq!(others(&phone), ["bob", "erin"]);
    // An answer without anybody says nothing: there may be too many.
    told(&mut phone, &[]);
    assert_eq!(others(&phone), ["bob", "erin"]);
    told(&mut phone, &[("bob", 5, 3)]);
    assert_eq!((others(&phone), phone.store.rows[&d1()].others.len()), (vec!["bob".to_owned()], 1));
    // Who comes back begins anew, further back.
    phone.entries_come(vec![added(8, "carol")]);
    phone.shown.clear();
    told(&mut phone, &[("bob", 5, 3), ("carol", 2, 1)]);
    let carol = MemberCursors { user: user("carol"), delivered: at(2), read: at(1) };
    assert!(phone.shown.contains(&Shown::Cursors { conversation: d1(), cursors: carol }));
}
