//! `hello`: what is said on a new socket, page by page, and again. The simple cases are vectors.

use chatlane_protocol::{ErrorCode, Position};
use chatlane_session::{ConnectionState, SocketId};

use crate::phone::*;

#[test]
fn hello_lists_what_is_known_in_order_and_in_pages_that_fit() {
    let store = knows_also(3, (0..700).map(|number| conversation(&format!("e{number:050}"))));
    // The server names the end of the page, or does not: the next one begins where the request was cut.
    for named in [true, false] {
        let (mut phone, first) = Phone::greeting(&store);
        let end = first.known_to.clone().expect("cut");
        let known = first.known.len();
        assert_eq!(first.known.last().map(|known| &known.conversation), Some(&end));
        phone.hello_answered(first, [], named.then(|| end.clone()));
        let second = phone.hello();
        assert_eq!((&second.after, &second.known_to, known + second.known.len()), (&Some(end), &None, 701));
        assert_eq!(phone.connection(), ConnectionState::CatchingUp);
        phone.hello_answered(second, [], None);
        assert_eq!(phone.connection(), ConnectionState::Live);
    }
}

#[test]
fn sending_begins_with_the_first_page_of_hello() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.connect_now();
    phone.opened();
    let hello = phone.hello();
    assert!(phone.sent.is_empty());
    phone.hello_answered(hello, [], Some(d1()));
    assert_eq!(phone.hello().after, Some(d1()));
    assert_eq!(ids(&phone.send()), ["m"]);
}

#[test]
fn a_hello_that_can_succeed_later_is_said_again_on_the_same_socket() {
    let (mut phone, hello) = Phone::greeting(&knows(3));
    phone.refuse(&hello.id, refusal(ErrorCode::Unavailable).after_ms(700));
    phone.pass(699);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    let again = phone.hello();
    assert_eq!((&again.known, again.after), (&hello.known, None));
    phone.gateway_fails();
    phone.pass(1_000);
    phone.welcome([]);
    assert_eq!((phone.connection(), phone.closes.len()), (ConnectionState::Live, 0));
}

#[test]
fn a_hello_that_is_refused_for_good_is_tried_on_another_socket_later() {
    let (mut phone, hello) = Phone::greeting(&Shelf::default());
    phone.refuse(&hello.id, refusal(ErrorCode::BadRequest));
    assert_eq!(phone.closes, [SocketId(1)]);
    assert!(phone.waits());
}

#[test]
fn resync_while_a_further_page_of_hello_is_in_flight_is_not_lost() {
    let (mut phone, first) = Phone::greeting(&Shelf::default());
    phone.hello_answered(first, [], Some(d1()));
    let second = phone.hello();
    phone.error(ErrorCode::Resync);
    assert!(phone.sent.is_empty());
    phone.hello_answered(second, [], Some(d1()));
    let again = phone.hello();
    assert_eq!((&again.after, phone.connection()), (&None, ConnectionState::CatchingUp));
    phone.hello_answered(again, [], None);
    assert_eq!((phone.connection(), phone.sent.len()), (ConnectionState::Live, 0));
}

/// A conversation of more than two has nobody in particular on the other side. That the server has said so is kept over restarts.
#[test]
fn a_conversation_that_is_with_nobody_is_known_once_the_server_has_told_it() {
    let mut store = knows(3);
    let local = store.rows.get_mut(&d1()).unwrap();
    (local.with, local.told) = (None, false);
    let (mut phone, first) = Phone::greeting(&store);
    assert_eq!(first.known, []);
    let mut told = row(at(3), Position::ZERO);
    told.conversation.with = None;
    phone.hello_answered(first, [told], None);
    let (_, again) = Phone::greeting(&phone.store);
    assert_eq!(again.known.len(), 1);
}
