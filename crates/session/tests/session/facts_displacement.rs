//! Displacement: whose doing it is when the server gives a socket up for another one.

use chatlane_protocol::frames::GoawayReason;
use chatlane_session::{Act, ConnectionState, Input, OpenFailure, SocketId};

use crate::facts_sockets::replacing;
use crate::phone::*;

const CONNECTED: SocketId = SocketId(1);

fn displace(phone: &mut Phone, socket: SocketId) {
    phone.goaway(socket, GoawayReason::Displaced, None);
}

fn waits(phone: &Phone) -> bool {
    matches!(phone.session.connection(), ConnectionState::Waiting { .. })
}

/// A phone whose successor has died before its `hello` was answered; the old socket is live.
fn with_a_lost_hello() -> Phone {
    let mut phone = replacing();
    let successor = phone.opened();
    phone.hello();
    phone.closed(successor);
    assert_eq!(phone.session.connection(), ConnectionState::Live);
    phone
}

#[test]
fn a_displaced_device_stays_away_until_the_user_acts() {
    let mut phone = Phone::live_at(3);
    displace(&mut phone, CONNECTED);
    assert_eq!((phone.session.connection(), &phone.closes), (ConnectionState::Displaced, &vec![CONNECTED]));
    phone.pass(10_000_000);
    assert_eq!(phone.connects.len(), 1);
    phone.input(Input::Do(Act::ConnectNow));
    assert_eq!(phone.connects.len(), 2);
}

#[test]
fn a_hello_that_is_answered_by_goaway_is_a_displacement_too() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    let socket = phone.opened();
    displace(&mut phone, socket);
    assert_eq!(phone.session.connection(), ConnectionState::Displaced);
    phone.input(Input::Do(Act::ConnectNow));
    let next = phone.opened();
    displace(&mut phone, next);
    assert_eq!(phone.session.connection(), ConnectionState::Displaced, "what became of the first hello is known");
}

#[test]
fn a_displacement_before_the_successor_has_said_hello_is_somebody_elses() {
    let mut phone = replacing();
    displace(&mut phone, CONNECTED);
    assert_eq!((phone.session.connection(), &phone.closes), (ConnectionState::Displaced, &vec![CONNECTED, SocketId(2)]));
}

#[test]
fn a_successor_that_dies_after_it_has_displaced_the_old_socket_takes_it_along() {
    let mut phone = replacing();
    let successor = phone.opened();
    phone.hello();
    displace(&mut phone, CONNECTED);
    phone.closed(successor);
    assert_eq!(phone.closes, [CONNECTED]);
    assert!(matches!(phone.session.connection(), ConnectionState::Waiting { .. }));
}

#[test]
fn a_successor_can_be_displaced_by_somebody_else() {
    let mut phone = replacing();
    let successor = phone.opened();
    displace(&mut phone, successor);
    assert_eq!((phone.session.connection(), &phone.closes), (ConnectionState::Displaced, &vec![CONNECTED, successor]));
}

#[test]
fn a_socket_that_died_before_its_hello_was_answered_may_be_what_displaces_the_old_one() {
    let mut phone = with_a_lost_hello();
    displace(&mut phone, CONNECTED);
    assert!(waits(&phone));
    assert_eq!(phone.closes, [CONNECTED]);
    phone.pass(500);
    let next = phone.opened();
    phone.welcome(vec![]);
    assert_eq!(phone.session.connection(), ConnectionState::Live);
    // A newer one is known: this is somebody else.
    displace(&mut phone, next);
    assert_eq!(phone.session.connection(), ConnectionState::Displaced);
}

#[test]
fn a_hello_again_that_is_answered_by_goaway_may_be_the_dead_sockets_doing_too() {
    let mut phone = with_a_lost_hello();
    phone.input(Input::Do(Act::ConnectNow));
    let ping = phone.ping();
    phone.pong(&ping, true, vec![]);
    assert_eq!(phone.hello().after, None);
    displace(&mut phone, CONNECTED);
    assert!(waits(&phone));
    // What became of that hello is known, and of the dead one's it is not: the next socket is given up once more.
    phone.pass(500);
    let next = phone.opened();
    displace(&mut phone, next);
    assert!(waits(&phone));
}

#[test]
fn a_hello_again_on_the_old_socket_does_not_settle_the_dead_ones() {
    let mut phone = with_a_lost_hello();
    phone.input(Input::Do(Act::ConnectNow));
    let ping = phone.ping();
    phone.pong(&ping, true, vec![]);
    phone.welcome(vec![]);
    displace(&mut phone, CONNECTED);
    assert!(waits(&phone));
}

#[test]
fn a_successor_is_given_up_as_well_while_the_dead_one_may_be_what_displaced_it() {
    let mut phone = with_a_lost_hello();
    phone.pass(500);
    let successor = phone.opened();
    phone.hello();
    displace(&mut phone, successor);
    assert_eq!((phone.session.connection(), &phone.closes), (ConnectionState::Live, &vec![successor]));
    phone.pass(1_000);
    let next = phone.opened();
    phone.welcome(vec![]);
    assert_eq!(phone.closes, [successor, CONNECTED]);
    displace(&mut phone, next);
    assert_eq!(phone.session.connection(), ConnectionState::Displaced);
}

#[test]
fn a_first_socket_that_died_with_its_hello_leaves_the_same_doubt() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    let first = phone.opened();
    phone.hello();
    phone.closed(first);
    phone.pass(500);
    let second = phone.opened();
    phone.hello();
    displace(&mut phone, second);
    assert!(waits(&phone));
    phone.pass(1_000);
    let third = phone.opened();
    phone.welcome(vec![]);
    displace(&mut phone, third);
    assert_eq!(phone.session.connection(), ConnectionState::Displaced);
}

#[test]
fn a_socket_that_never_opened_and_one_that_was_answered_leave_no_doubt() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.open_fails(OpenFailure::Unreachable);
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    phone.closed(phone.socket());
    phone.pass(1_000);
    let third = phone.opened();
    displace(&mut phone, third);
    assert_eq!(phone.session.connection(), ConnectionState::Displaced);
}
