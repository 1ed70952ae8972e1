//! Sockets: when one is opened, given up, replaced.

use chatlane_protocol::frames::{Entries, ErrorFrame, GoawayReason, MemberCursors, Receipt, encode};
use chatlane_protocol::{ErrorCode, Outcome, Refusal, Request, ServerFrame};
use chatlane_session::{Act, ConnectionState, Input, OpenFailure, Shown, SocketId};

use crate::phone::*;

const CONNECTED: SocketId = SocketId(1);

pub fn states(phone: &mut Phone) -> Vec<ConnectionState> {
    let state = |shown| if let Shown::Connection(state) = shown { Some(state) } else { None };
    phone.shown.drain(..).filter_map(state).collect()
}

#[test]
fn nothing_happens_until_somebody_wants_a_connection() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.pass(1_000_000);
    assert!(phone.connects.is_empty());
    assert_eq!(phone.session.wake_at(), None);
}

#[test]
fn a_socket_of_which_impossible_things_are_said_is_given_up_with_all_that_was_in_flight() {
    for failure in [OpenFailure::Denied, OpenFailure::Unreachable] {
        let mut phone = Phone::live_at(3);
        phone.compose("m");
        phone.send();
        phone.open_fails(failure);
        phone.pass(40_000);
        phone.opened();
        phone.welcome(vec![]);
        assert_eq!(phone.send().messages[0].client_message_id, message_id("m"));
    }
}

#[test]
fn a_socket_that_closes_is_replaced_after_a_random_pause_whose_bound_grows() {
    let mut phone = Phone::live_at(3);
    let mut longest = 0;
    for attempt in 1..=8_u32 {
        let sockets = phone.connects.len();
        phone.closed(*phone.connects.last().unwrap());
        let ConnectionState::Waiting { until } = phone.session.connection() else { panic!("waits") };
        let pause = until.0 - phone.now;
        assert!(pause <= (500 << (attempt - 1)).min(30_000), "{pause}");
        longest = longest.max(pause);
        phone.pass(30_000);
        assert_eq!(phone.connects.len(), sockets + 1);
    }
    assert!(longest > 4_000);
}

#[test]
fn a_connection_that_lasted_makes_the_next_pause_a_short_one() {
    let mut phone = Phone::live_at(3);
    for _ in 0..7 {
        phone.closed(*phone.connects.last().unwrap());
        phone.pass(30_000);
    }
    phone.opened();
    phone.welcome(vec![]);
    phone.pass(60_000);
    phone.closed(phone.socket());
    phone.pass(500);
    assert_eq!(phone.session.connection(), ConnectionState::Connecting);
}

#[test]
fn connect_now_ends_the_pause() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    for sockets in 1..10 {
        phone.open_fails(OpenFailure::Unreachable);
        phone.input(Input::Do(Act::ConnectNow));
        assert_eq!(phone.connects.len(), sockets + 1);
    }
}

#[test]
fn connect_now_on_a_live_connection_asks_whether_it_lives() {
    let mut phone = Phone::live_at(3);
    phone.input(Input::Do(Act::ConnectNow));
    assert_eq!(phone.connects.len(), 1);
    phone.ping();
    phone.pass(10_000);
    assert_eq!(phone.closes, [CONNECTED]);
}

#[test]
fn connect_now_does_nothing_while_a_connection_is_being_made() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    phone.input(Input::Do(Act::ConnectNow));
    assert_eq!((phone.connects.len(), phone.sent.len()), (1, 1));
}

#[test]
fn a_socket_that_does_not_open_in_time_is_given_up() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.pass(35_000);
    assert_eq!(phone.closes, [CONNECTED]);
    phone.pass(500);
    assert_eq!(phone.connects.len(), 2);
}

#[test]
fn goaway_for_an_unknown_reason_means_another_connection_not_before_the_server_allows_it() {
    let mut phone = Phone::live_at(3);
    phone.goaway(CONNECTED, GoawayReason::Unknown, Some(60_000));
    assert_eq!(phone.closes, [CONNECTED]);
    phone.pass(59_999);
    assert_eq!(phone.connects.len(), 1);
    phone.pass(501);
    assert_eq!(phone.connects.len(), 2);
}

#[test]
fn a_successor_takes_over_with_the_answer_to_its_hello_and_the_old_socket_drains() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    let old = CONNECTED;
    keep_alive_until_replaced(&mut phone, &send);
    assert_eq!((phone.connects.len(), phone.session.connection()), (2, ConnectionState::Live));
    phone.shown.clear();
    phone.compose("n");
    let send = phone.send();
    phone.opened();
    let hello = phone.hello();
    // The server displaces the old one for ours before the answer is here.
    phone.goaway(old, GoawayReason::Displaced, None);
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(hello.id, vec![], None))));
    assert!(phone.closes.is_empty());
    phone.goaway(old, GoawayReason::Displaced, None);
    phone.receive_on(old, &answer_to(&send, 5));
    assert_eq!(phone.closes, [old]);
    assert_eq!((states(&mut phone), phone.row().have), (vec![], at(5)));
    phone.compose("o");
    assert_eq!(phone.sent.back().unwrap().0, SocketId(2));
}

fn answer_to(send: &chatlane_protocol::request::SendMessages, seq: u64) -> ServerFrame {
    let results = vec![chatlane_protocol::MessageResult {
        client_message_id: send.messages[0].client_message_id.clone(),
        outcome: Outcome::Ok(stored(seq)),
    }];
    ServerFrame::Send(chatlane_protocol::frames::SendAnswer { id: send.id.clone(), conversation: d1(), results })
}

/// Settles a message, answers pings and acks until the successor is asked for.
fn keep_alive_until_replaced(phone: &mut Phone, send: &chatlane_protocol::request::SendMessages) {
    phone.receive(&answer_to(send, 4));
    while phone.connects.len() < 2 {
        phone.pass(1_000);
        while let Some((_, request)) = phone.sent.pop_front() {
            match request {
                Request::Ping(ping) => phone.pong(&ping, false, vec![]),
                other => panic!("{other:?}"),
            }
        }
        while !phone.cursors.is_empty() {
            let ack = phone.ack();
            phone.cursors_ok(&ack, ServerFrame::Ack);
        }
    }
    assert!((6_000_000..6_010_000).contains(&(phone.now - 1_000)));
}

/// A phone whose old socket is live and whose successor is asked for.
pub fn replacing() -> Phone {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    keep_alive_until_replaced(&mut phone, &send);
    phone
}

#[test]
fn an_old_socket_that_does_not_answer_is_closed_in_the_end() {
    let mut phone = replacing();
    phone.compose("n");
    phone.send();
    phone.opened();
    phone.welcome(vec![]);
    phone.pass(35_000);
    assert!(phone.closes.contains(&CONNECTED));
    // Its outcome is unknown: the same message goes on the new socket.
    assert_eq!(phone.send().messages[0].client_message_id, message_id("n"));
}

#[test]
fn a_successor_that_fails_is_tried_again_and_the_old_socket_goes_on() {
    let mut phone = replacing();
    phone.open_fails(OpenFailure::Unreachable);
    assert_eq!(phone.session.connection(), ConnectionState::Live);
    phone.pass(500);
    assert_eq!(phone.connects.len(), 3);
    phone.open_fails(OpenFailure::Denied);
    assert_eq!((phone.tokens_needed, phone.session.connection()), (1, ConnectionState::Live));
}

#[test]
fn a_successor_takes_the_place_of_an_old_socket_that_closes_early() {
    let mut phone = replacing();
    phone.closed(CONNECTED);
    assert_eq!(phone.session.connection(), ConnectionState::Connecting);
    phone.opened();
    phone.welcome(vec![]);
    assert_eq!((phone.session.connection(), phone.connects.len()), (ConnectionState::Live, 2));
}

#[test]
fn a_successor_may_be_sent_away_or_asked_to_wait() {
    let mut phone = replacing();
    let successor = phone.opened();
    phone.goaway(successor, GoawayReason::Unknown, Some(5_000));
    assert_eq!((phone.session.connection(), &phone.closes), (ConnectionState::Live, &vec![successor]));
    phone.pass(4_999);
    assert_eq!(phone.connects.len(), 2);
    phone.pass(1_001);
    assert_eq!(phone.connects.len(), 3);
}

#[test]
fn a_half_open_socket_is_found_by_a_ping_and_given_up() {
    let mut phone = Phone::live_at(3);
    phone.pass(239_999);
    assert!(phone.sent.is_empty());
    phone.pass(1);
    phone.ping();
    phone.pass(9_999);
    assert!(phone.closes.is_empty());
    phone.pass(1);
    assert_eq!(phone.closes, [CONNECTED]);
}

#[test]
fn a_device_that_keeps_sending_still_learns_that_nothing_is_pushed_to_it() {
    let mut phone = Phone::live_at(3);
    for minute in 0..3 {
        phone.pass(60_000);
        phone.compose(&format!("m{minute}"));
        let send = phone.send();
        phone.results(&send, vec![Outcome::Ok(stored(4 + minute))]);
        let ack = phone.ack();
        phone.cursors_ok(&ack, ServerFrame::Ack);
    }
    phone.pass(59_999);
    assert!(phone.sent.is_empty());
    phone.pass(1);
    let ping = phone.ping();
    phone.pong(&ping, true, vec![]);
    assert_eq!(phone.hello().after, None);
}

#[test]
fn pushes_and_answers_to_pings_put_the_next_ping_off() {
    let cursors = MemberCursors { user: user("bob"), delivered: at(3), read: at(3) };
    let entries = ServerFrame::Entries(Entries { conversation: d1(), entries: vec![entry(1, 3)] });
    let receipt = ServerFrame::Receipt(Receipt { conversation: d1(), cursors, ttl_ms: 1_000 });
    let mut phone = Phone::live_at(3);
    for push in [Some(entries), Some(receipt), None] {
        phone.pass(200_000);
        if let Some(push) = push {
            phone.receive(&push);
        } else {
            phone.input(Input::Do(Act::ConnectNow));
            let ping = phone.ping();
            phone.pong(&ping, false, vec![]);
        }
        phone.pass(100_000);
        assert!(phone.sent.is_empty());
        phone.pass(140_000);
        let ping = phone.ping();
        phone.pong(&ping, false, vec![]);
    }
}

#[test]
fn a_ping_that_is_refused_is_not_repeated_at_once() {
    let mut phone = Phone::live_at(3);
    phone.pass(240_000);
    let ping = phone.ping();
    phone.refuse(&ping.id, Refusal::new(ErrorCode::Unavailable, "").after_ms(2_000));
    phone.pass(1_999);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    phone.ping();
}

#[test]
fn any_request_without_an_answer_gives_the_socket_up() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    phone.send();
    phone.pass(35_000);
    assert_eq!(phone.closes, [CONNECTED]);
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    assert_eq!(phone.send().messages[0].client_message_id, message_id("m"));
}

#[test]
fn an_error_about_the_connection_is_heard_whatever_request_it_names() {
    let after = |code| {
        let mut phone = Phone::live_at(3);
        phone.compose("m");
        let send = phone.send();
        phone.gateway_fails();
        phone.refuse(&send.id, Refusal::new(code, ""));
        phone
    };
    assert_eq!(after(ErrorCode::TokenExpired).session.connection(), ConnectionState::NoToken);
    assert_eq!(after(ErrorCode::UpgradeRequired).session.connection(), ConnectionState::UpgradeRequired);
    assert_eq!(after(ErrorCode::Resync).hello().after, None);
    let phone = after(ErrorCode::Forbidden);
    assert_eq!((phone.session.connection(), phone.sent.len(), phone.store.outbox.len()), (ConnectionState::Live, 0, 1));
}

#[test]
fn frames_that_nobody_knows_are_ignored() {
    let mut phone = Phone::live_at(3);
    for text in ["not JSON", "[]", r#"{"type":"teleport"}"#, r#"{"type":"ping","id":"77","server_time_ms":1}"#, r#"{"type":"entries"}"#] {
        phone.receive_text(CONNECTED, text);
    }
    phone.receive(&ServerFrame::Error(ErrorFrame { id: None, refusal: Refusal::new(ErrorCode::BadRequest, "") }));
    assert_eq!((phone.session.connection(), phone.sent.len(), phone.closes.len()), (ConnectionState::Live, 0, 0));
}

#[test]
fn what_comes_of_a_socket_that_was_given_up_is_ignored() {
    let mut phone = Phone::live_at(3);
    phone.goaway(CONNECTED, GoawayReason::Unknown, None);
    let text = encode(&ServerFrame::Entries(Entries { conversation: d1(), entries: vec![entry(1, 4)] }));
    phone.receive_text(CONNECTED, &text);
    phone.closed(CONNECTED);
    phone.input(Input::Opened(CONNECTED));
    phone.input(Input::OpenFailed { socket: CONNECTED, failure: OpenFailure::Denied });
    assert_eq!((phone.row().have, phone.tokens_needed), (at(3), 0));
    assert!(matches!(phone.session.connection(), ConnectionState::Waiting { .. }));
}
