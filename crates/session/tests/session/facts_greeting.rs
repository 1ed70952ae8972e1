//! `hello`: what is said on a new socket, page by page, and again.

use chatlane_protocol::frames::ErrorFrame;
use chatlane_protocol::{ErrorCode, Refusal, ServerFrame};
use chatlane_session::{Act, ConnectionState, Input, SocketId};

use crate::facts_sockets::states;
use crate::phone::*;

const CONNECTED: SocketId = SocketId(1);

#[test]
fn a_socket_is_greeted_caught_up_with_and_live() {
    let mut phone = Phone::with(&knows(3));
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    phone.welcome(vec![row(at(5), at(3))]);
    let sync = phone.sync();
    assert_eq!(states(&mut phone), [ConnectionState::Connecting, ConnectionState::CatchingUp]);
    phone.page(&sync, vec![entry(1, 4), entry(1, 5)], true);
    assert_eq!(states(&mut phone), [ConnectionState::Live]);
}

#[test]
fn hello_lists_what_is_known_in_order_and_in_pages_that_fit() {
    let mut store = knows(3);
    for number in 0..700 {
        let mut known = store.rows[&d1()].clone();
        known.conversation = chatlane_protocol::ConversationId::new(format!("e{number:050}")).unwrap();
        store.rows.insert(known.conversation.clone(), known);
    }
    let mut phone = Phone::with(&store);
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let first = phone.hello();
    let end = first.known_to.clone().expect("cut");
    assert_eq!(first.known.last().map(|known| &known.conversation), Some(&end));
    // The server names the end of the page; the next one begins there.
    let next = hello_answer(first.id, vec![], Some(end.clone()));
    phone.receive(&ServerFrame::Hello(Box::new(next)));
    let second = phone.hello();
    assert_eq!((second.after, second.known_to), (Some(end), None));
    assert_eq!(first.known.len() + second.known.len(), 701);
    assert_eq!(phone.session.connection(), ConnectionState::CatchingUp);
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(second.id, vec![], None))));
    assert_eq!(phone.session.connection(), ConnectionState::Live);
}

#[test]
fn where_the_request_was_cut_the_next_page_begins_even_if_the_server_does_not_say_so() {
    let mut store = knows(3);
    for number in 0..700 {
        let mut known = store.rows[&d1()].clone();
        known.conversation = chatlane_protocol::ConversationId::new(format!("e{number:050}")).unwrap();
        store.rows.insert(known.conversation.clone(), known);
    }
    let mut phone = Phone::with(&store);
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let first = phone.hello();
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(first.id, vec![], None))));
    assert_eq!(phone.hello().after, first.known_to);
}

#[test]
fn a_conversation_of_which_it_is_not_known_with_whom_is_not_said_to_be_known() {
    let mut store = knows(3);
    store.rows.get_mut(&d1()).unwrap().with = None;
    let mut phone = Phone::with(&store);
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    assert!(phone.hello().known.is_empty());
}

#[test]
fn sending_begins_with_the_first_page_of_hello() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let hello = phone.hello();
    assert!(phone.sent.is_empty());
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(hello.id, vec![], Some(d1())))));
    assert_eq!(phone.hello().after, Some(d1()));
    assert_eq!(phone.send().messages[0].client_message_id, message_id("m"));
}

#[test]
fn a_hello_without_an_answer_gives_the_socket_up() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    phone.pass(35_000);
    assert_eq!(phone.closes, [CONNECTED]);
}

#[test]
fn a_hello_that_can_succeed_later_is_said_again_on_the_same_socket() {
    let mut phone = Phone::with(&knows(3));
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let hello = phone.hello();
    phone.refuse(&hello.id, Refusal::new(ErrorCode::Unavailable, "").after_ms(700));
    phone.pass(699);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    let again = phone.hello();
    assert_eq!((&again.known, again.after), (&hello.known, None));
    phone.gateway_fails();
    phone.pass(1_000);
    phone.welcome(vec![]);
    assert_eq!((phone.session.connection(), phone.closes.len()), (ConnectionState::Live, 0));
}

#[test]
fn a_hello_that_is_refused_for_good_is_tried_on_another_socket_later() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let hello = phone.hello();
    phone.refuse(&hello.id, Refusal::new(ErrorCode::BadRequest, ""));
    assert_eq!(phone.closes, [CONNECTED]);
    assert!(matches!(phone.session.connection(), ConnectionState::Waiting { .. }));
}

#[test]
fn upgrade_required_is_the_end() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let hello = phone.hello();
    phone.refuse(&hello.id, Refusal::new(ErrorCode::UpgradeRequired, ""));
    phone.input(Input::Do(Act::ConnectNow));
    phone.pass(10_000_000);
    assert_eq!((phone.session.connection(), phone.connects.len()), (ConnectionState::UpgradeRequired, 1));
    assert_eq!(phone.closes, [CONNECTED]);
}

#[test]
fn resync_means_hello_again_on_the_same_socket() {
    let mut phone = Phone::live_at(3);
    phone.pass(240_000);
    let ping = phone.ping();
    phone.pong(&ping, true, vec![]);
    assert_eq!(phone.session.connection(), ConnectionState::CatchingUp);
    phone.welcome(vec![row(at(4), at(1))]);
    let sync = phone.sync();
    phone.page(&sync, vec![entry(1, 4)], true);
    assert_eq!((phone.session.connection(), phone.connects.len()), (ConnectionState::Live, 1));
}

#[test]
fn resync_while_a_further_page_of_hello_is_in_flight_is_not_lost() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let first = phone.hello();
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(first.id, vec![], Some(d1())))));
    let second = phone.hello();
    phone.receive(&ServerFrame::Error(ErrorFrame { id: None, refusal: Refusal::new(ErrorCode::Resync, "") }));
    assert!(phone.sent.is_empty());
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(second.id, vec![], Some(d1())))));
    let again = phone.hello();
    assert_eq!((again.after, phone.session.connection()), (None, ConnectionState::CatchingUp));
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(again.id, vec![], None))));
    assert_eq!((phone.session.connection(), phone.sent.len()), (ConnectionState::Live, 0));
}
