//! Displacement: whose doing it is when the server gives a socket up for another one.

use chatlane_protocol::frames::GoawayReason;
use chatlane_session::{ConnectionState, OpenFailure, SocketId};

use crate::facts_sockets::{CONNECTED, replacing};
use crate::phone::*;

const SUCCESSOR: SocketId = SocketId(2);

fn displace(phone: &mut Phone, socket: SocketId) {
    phone.goaway(socket, GoawayReason::Displaced, None);
}

/// Displaces the newest open socket.
fn displace_newest(phone: &mut Phone) -> SocketId {
    let socket = phone.socket();
    displace(phone, socket);
    socket
}

/// The state of the connection; none: it waits for the next attempt.
fn state(phone: &Phone) -> Option<ConnectionState> {
    (!phone.waits()).then(|| phone.connection())
}

#[test]
fn while_a_socket_is_replaced_it_depends_on_hello_whose_doing_a_displacement_is() {
    type Case = (&'static str, fn(&mut Phone), Option<ConnectionState>, &'static [SocketId]);
    let cases: [Case; 3] = [
        ("the successor has not said hello", |phone| displace(phone, CONNECTED), Some(ConnectionState::Displaced), &[CONNECTED, SUCCESSOR]),
        (
            "the successor dies after it has displaced the old one",
            |phone| {
                phone.opened();
                displace(phone, CONNECTED);
                phone.closed(SUCCESSOR);
            },
            None,
            &[CONNECTED],
        ),
        (
            "the successor is displaced",
            |phone| {
                phone.opened();
                displace(phone, SUCCESSOR);
            },
            Some(ConnectionState::Displaced),
            &[CONNECTED, SUCCESSOR],
        ),
    ];
    for (name, happen, end, closes) in cases {
        let mut phone = replacing();
        happen(&mut phone);
        assert_eq!((state(&phone), phone.closes.as_slice()), (end, closes), "{name}");
    }
}

#[test]
fn a_hello_that_is_answered_by_goaway_is_a_displacement_too() {
    let (mut phone, _) = Phone::greeting(&Shelf::default());
    displace_newest(&mut phone);
    assert_eq!(phone.connection(), ConnectionState::Displaced);
    phone.connect_now();
    phone.opened();
    displace_newest(&mut phone);
    assert_eq!(phone.connection(), ConnectionState::Displaced, "what became of the first hello is known");
}

/// A phone whose successor has died before its `hello` was answered; the old socket is live.
fn with_a_lost_hello() -> Phone {
    let mut phone = replacing();
    phone.opened();
    phone.hello();
    phone.closed(SUCCESSOR);
    assert_eq!(phone.connection(), ConnectionState::Live);
    phone
}

/// The same, and the server has had hello said again on the old socket.
fn with_hello_said_again() -> Phone {
    let mut phone = with_a_lost_hello();
    phone.connect_now();
    let ping = phone.ping();
    phone.pong(&ping, true, vec![]);
    phone
}

#[test]
fn a_socket_that_died_before_its_hello_was_answered_may_be_what_displaces_others_until_a_newer_one_is_known() {
    let cases: [fn() -> Phone; 4] = [
        with_a_lost_hello,
        with_hello_said_again,
        || {
            let mut phone = with_hello_said_again();
            phone.welcome([]); // on the old socket: it does not settle the dead one's
            phone
        },
        || {
            let (mut phone, _) = Phone::greeting(&Shelf::default());
            phone.breaks();
            phone
        },
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut phone = case();
        // The second time: what became of that socket's hello is known, and of the dead one's it is not.
        for _ in 0..2 {
            phone.sent.clear();
            let displaced = displace_newest(&mut phone);
            assert!(phone.waits() && phone.closes.last() == Some(&displaced), "{number}");
            phone.pass(10_000);
            phone.opened();
        }
        phone.welcome([]);
        assert_eq!(phone.connection(), ConnectionState::Live, "{number}");
        // A newer one is known: this is somebody else.
        displace_newest(&mut phone);
        assert_eq!(phone.connection(), ConnectionState::Displaced, "{number}");
    }
}

#[test]
fn a_successor_is_given_up_as_well_while_the_dead_one_may_be_what_displaced_it() {
    let mut phone = with_a_lost_hello();
    phone.pass(500);
    phone.opened();
    phone.hello();
    let successor = displace_newest(&mut phone);
    assert_eq!((phone.connection(), &phone.closes), (ConnectionState::Live, &vec![successor]));
    phone.pass(1_000);
    phone.opened();
    phone.welcome([]);
    assert_eq!(phone.closes, [successor, CONNECTED]);
    displace_newest(&mut phone);
    assert_eq!(phone.connection(), ConnectionState::Displaced);
}

#[test]
fn a_socket_that_never_opened_and_one_that_was_answered_leave_no_doubt() {
    let mut phone = Phone::new();
    phone.connect_now();
    phone.open_fails(OpenFailure::Unreachable);
    phone.pass(500);
    phone.opened();
    phone.welcome([]);
    phone.breaks();
    displace_newest(&mut phone);
    assert_eq!(phone.connection(), ConnectionState::Displaced);
}
