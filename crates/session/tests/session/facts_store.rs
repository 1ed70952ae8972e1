//! A store that cannot write: full, locked, gone. The device goes on; what is not stored is not shown, acknowledged or sent.

use chatlane_session::{ConnectionState, Shown};

use crate::phone::*;

fn told(phone: &mut Phone) -> Vec<bool> {
    let told = phone.shown.iter().filter_map(|shown| if let Shown::Storing(works) = shown { Some(*works) } else { None }).collect();
    phone.shown.clear();
    told
}

// holds: D1
#[test]
fn what_the_store_does_not_take_is_neither_shown_nor_acknowledged_until_it_does() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.push([4]);
    phone.push([5]);
    phone.refuse_write();
    assert_eq!(told(&mut phone), [false]);
    assert_eq!((phone.writes(), phone.entries_shown()), (0, vec![]));
    // Given again as one, ever more slowly; said once.
    for _ in 0..5 {
        phone.pass(30_000);
        assert_eq!(phone.writes(), 1);
        phone.refuse_write();
    }
    assert_eq!((told(&mut phone), phone.cursors.len(), phone.connection()), (vec![], 0, ConnectionState::Live));
    phone.pass(30_000);
    phone.settle_store();
    let shown: Vec<u64> = phone.shown.iter().filter_map(entry_shown).collect();
    assert_eq!((shown, told(&mut phone)), (vec![4, 5], vec![true]));
    phone.pass(1_000);
    assert_eq!(phone.ack().positions[0].position, at(5));
}

fn entry_shown(shown: &Shown) -> Option<u64> {
    if let Shown::Entry { entry, .. } = shown { Some(entry.position.seq.get()) } else { None }
}

/// It would have nowhere to put them.
// holds: D1
#[test]
fn what_comes_while_nothing_is_stored_is_fetched_when_it_can_be() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.push([4]);
    phone.refuse_write();
    for seq in 5..200 {
        phone.push([seq]);
    }
    phone.pass(60_000);
    assert_eq!((phone.row().have, phone.row().head, phone.row().unread()), (at(4), at(199), 198));
    phone.settle_store();
    phone.pass(2_000);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(4));
    phone.page(&sync, entries(1, 5..=199), true);
    assert_eq!(phone.row().have, at(199));
}

// holds: L2
#[test]
fn a_message_that_is_not_stored_is_not_sent_and_goes_when_it_is() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.compose("m");
    phone.refuse_write();
    phone.compose("n");
    phone.pass(60_000);
    assert!(phone.sent.is_empty());
    assert_eq!(phone.writes(), 1);
    phone.settle_store();
    assert_eq!(ids(&phone.send()), ["m", "n"]);
}

/// Both are in one write then.
// holds: D1
#[test]
fn what_is_taken_and_dropped_before_the_store_had_it_is_not_shown() {
    let (mut phone, send) = Phone::sending(9);
    phone.slow_store = true;
    phone.push([10]);
    phone.refuse_write();
    phone.results(&send, [chatlane_protocol::Outcome::Refused(restored_to(at(5)))]);
    phone.shown.clear();
    phone.pass(30_000);
    phone.settle_store();
    assert!(phone.shown.contains(&Shown::RolledBack { conversation: d1(), position: at(5) }));
    assert!(phone.entries_shown().is_empty());
    assert_eq!(phone.store.entries.len(), 5);
}
