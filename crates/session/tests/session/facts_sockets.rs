//! Sockets: when one is opened, given up, replaced. The simple cases are vectors.

use chatlane_protocol::frames::{Entries, GoawayReason, MemberCursors, Receipt};
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ErrorCode, Outcome, Request, ServerFrame, Token};
use chatlane_session::{Act, ConnectionState, Input, OpenFailure, SocketId};

use crate::phone::*;

pub const CONNECTED: SocketId = SocketId(1);

/// Time passes, and pings are answered.
pub fn pass_with_pings(phone: &mut Phone, ms: u64) {
    let end = phone.now + ms;
    while phone.now < end {
        phone.pass(5_000.min(end - phone.now));
        while matches!(phone.sent.front(), Some((_, Request::Ping(_)))) {
            let ping = phone.ping();
            phone.pong(&ping, false, vec![]);
        }
    }
}

/// A phone whose old socket is live and whose successor is asked for.
pub fn replacing() -> Phone {
    let mut phone = Phone::live_at(3);
    pass_with_pings(&mut phone, 5_999_999);
    assert_eq!(phone.connects, [CONNECTED]);
    pass_with_pings(&mut phone, 1);
    assert_eq!((phone.connects.len(), phone.connection()), (2, ConnectionState::Live));
    phone
}

#[test]
fn nothing_happens_until_somebody_wants_a_connection() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.pass(1_000_000);
    assert!(phone.connects.is_empty() && phone.session.wake_at().is_none());
}

#[test]
fn a_socket_that_is_given_up_loses_nothing_that_was_in_flight() {
    // An open socket cannot fail to open: the session believes it all the same.
    let ends: [fn(&mut Phone); 3] =
        [|phone| phone.pass(35_000), |phone| phone.open_fails(OpenFailure::Denied), |phone| phone.open_fails(OpenFailure::Unreachable)];
    for end in ends {
        let (mut phone, send) = Phone::sending(3);
        end(&mut phone);
        phone.pass(40_000);
        phone.opened();
        phone.welcome([]);
        assert_eq!(phone.send().messages, send.messages);
    }
}

#[test]
fn a_connection_that_lasted_makes_the_next_pause_a_short_one() {
    let ends: [fn(&mut Phone); 2] = [
        |phone| phone.closed(phone.socket()),
        |phone| {
            phone.error(ErrorCode::TokenExpired);
            phone.input(Input::NewToken(Token::new("new").unwrap()));
        },
    ];
    for end in ends {
        let mut phone = Phone::live_at(3);
        for _ in 0..7 {
            phone.closed(*phone.connects.last().unwrap());
            phone.pass(30_000);
        }
        phone.opened();
        phone.welcome([]);
        phone.pass(60_000);
        end(&mut phone);
        phone.pass(500);
        assert_eq!(phone.connection(), ConnectionState::Connecting);
    }
}

#[test]
fn connect_now_ends_the_pause_waits_for_what_is_opening_and_asks_whether_a_live_connection_lives() {
    let mut phone = Phone::new();
    phone.connect_now();
    for sockets in 1..10 {
        phone.connect_now();
        assert_eq!(phone.connects.len(), sockets, "being opened");
        phone.open_fails(OpenFailure::Unreachable);
        phone.connect_now();
    }
    phone.opened();
    phone.connect_now();
    assert_eq!((phone.connects.len(), phone.sent.len()), (10, 1), "being greeted");
    phone.welcome([]);
    phone.connect_now();
    phone.ping();
    phone.pass(10_000);
    assert_eq!(phone.closes, [SocketId(10)]);
}

#[test]
fn a_successor_takes_over_with_the_answer_to_its_hello_and_the_old_socket_drains() {
    let mut phone = replacing();
    phone.shown.clear();
    let send = phone.attempt("n");
    phone.opened();
    let hello = phone.hello();
    // The server displaces the old one for ours before the answer is here.
    phone.goaway(CONNECTED, GoawayReason::Displaced, None);
    phone.hello_answered(hello, [], None);
    assert!(phone.closes.is_empty());
    phone.goaway(CONNECTED, GoawayReason::Displaced, None);
    phone.receive_on(CONNECTED, &send_answer(&send, [Outcome::Ok(stored(4))]));
    assert_eq!(phone.closes, [CONNECTED]);
    assert_eq!((phone.states_shown(), phone.row().have), (vec![], at(4)));
    phone.compose("o");
    assert_eq!(phone.sent.back().unwrap().0, SocketId(2));
}

#[test]
fn an_old_socket_that_does_not_answer_is_closed_in_the_end() {
    let mut phone = replacing();
    let send = phone.attempt("n");
    phone.opened();
    phone.welcome([]);
    phone.pass(35_000);
    assert!(phone.closes.contains(&CONNECTED));
    // Its outcome is unknown: the same message goes on the new socket.
    assert_eq!(phone.send().messages, send.messages);
}

#[test]
fn a_successor_that_fails_is_tried_again_and_the_old_socket_goes_on() {
    let mut phone = replacing();
    phone.open_fails(OpenFailure::Unreachable);
    assert_eq!(phone.connection(), ConnectionState::Live);
    phone.pass(500);
    assert_eq!(phone.connects.len(), 3);
    phone.open_fails(OpenFailure::Denied);
    assert_eq!((phone.tokens_needed, phone.connection()), (1, ConnectionState::Live));
    let mut phone = replacing();
    let successor = phone.opened();
    let hello = phone.hello();
    phone.refuse(&hello.id, refusal(ErrorCode::TokenExpired));
    assert_eq!((phone.connection(), phone.tokens_needed, &phone.closes), (ConnectionState::Live, 1, &vec![successor]));
}

#[test]
fn a_successor_takes_the_place_of_an_old_socket_that_closes_early() {
    let mut phone = replacing();
    phone.closed(CONNECTED);
    assert_eq!(phone.connection(), ConnectionState::Connecting);
    phone.opened();
    phone.welcome([]);
    assert_eq!((phone.connection(), phone.connects.len()), (ConnectionState::Live, 2));
}

#[test]
fn a_successor_may_be_sent_away_or_asked_to_wait() {
    let mut phone = replacing();
    let successor = phone.opened();
    phone.goaway(successor, GoawayReason::Unknown, Some(5_000));
    assert_eq!((phone.connection(), &phone.closes), (ConnectionState::Live, &vec![successor]));
    phone.pass(4_999);
    assert_eq!(phone.connects.len(), 2);
    phone.pass(1_001);
    assert_eq!(phone.connects.len(), 3);
}

#[test]
fn a_device_that_keeps_sending_still_learns_that_nothing_is_pushed_to_it() {
    let mut phone = Phone::live_at(3);
    for minute in 0..3 {
        phone.pass(60_000);
        let send = phone.attempt(&format!("m{minute}"));
        phone.results(&send, [Outcome::Ok(stored(4 + minute))]);
        let ack = phone.ack();
        phone.cursors_ok(&ack);
    }
    phone.pass(59_999);
    assert!(phone.sent.is_empty());
    phone.pass(1);
    phone.ping();
}

#[test]
fn pushes_and_answers_to_pings_put_the_next_ping_off() {
    let cursors = MemberCursors { user: user("bob"), delivered: at(3), read: at(3) };
    let entries = ServerFrame::Entries(Entries { conversation: d1(), entries: vec![entry(1, 3)] });
    let receipt = ServerFrame::Receipt(Receipt { conversation: d1(), cursors, read_count: None, read_private: false, ttl_ms: 1_000 });
    let mut phone = Phone::live_at(3);
    for push in [Some(entries), Some(receipt), None] {
        phone.pass(200_000);
        if let Some(push) = push {
            phone.receive(&push);
        } else {
            phone.connect_now();
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
    phone.refuse(&ping.id, refusal(ErrorCode::Unavailable).after_ms(2_000));
    phone.pass(1_999);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    phone.ping();
}

#[test]
fn an_error_about_the_connection_is_heard_whatever_request_it_names() {
    for named in [true, false] {
        let after = |code| {
            let (mut phone, send) = Phone::sending(3);
            phone.gateway_fails();
            if named {
                phone.refuse(&send.id, refusal(code));
            } else {
                phone.error(code);
            }
            phone
        };
        assert_eq!(after(ErrorCode::TokenExpired).connection(), ConnectionState::NoToken);
        assert_eq!(after(ErrorCode::UpgradeRequired).connection(), ConnectionState::UpgradeRequired);
        assert_eq!(after(ErrorCode::Resync).hello().after, None);
        let phone = after(ErrorCode::Forbidden);
        assert_eq!((phone.connection(), phone.sent.len(), phone.store.outbox.len()), (ConnectionState::Live, 0, 1));
    }
}

#[test]
fn what_comes_of_a_socket_that_was_given_up_is_ignored() {
    let mut phone = Phone::live_at(3);
    phone.goaway(CONNECTED, GoawayReason::Unknown, None);
    phone.receive_on(CONNECTED, &ServerFrame::Entries(Entries { conversation: d1(), entries: vec![entry(1, 4)] }));
    phone.closed(CONNECTED);
    phone.input(Input::Opened(CONNECTED));
    phone.input(Input::OpenFailed { socket: CONNECTED, failure: OpenFailure::Denied });
    assert_eq!((phone.row().have, phone.tokens_needed), (at(3), 0));
    assert!(phone.waits());
}

#[test]
fn who_asks_too_much_comes_back_when_the_server_says_and_loses_nothing() {
    let (mut phone, send) = Phone::sending(3);
    phone.refuse(&send.id, refusal(ErrorCode::RateLimited).after_ms(60_000));
    phone.closed(phone.socket());
    let ConnectionState::Waiting { until } = phone.connection() else { panic!("{:?}", phone.connection()) };
    assert!((60_000..=60_500).contains(&(until.0 - phone.now)), "{until:?}");
    phone.pass(61_000);
    phone.opened();
    phone.welcome([]);
    assert_eq!(ids(&phone.send()), ["m"]);
    // Where the socket stays, only what was asked is put off.
    let (mut phone, send) = Phone::sending(3);
    phone.refuse(&send.id, refusal(ErrorCode::RateLimited).after_ms(1_000));
    phone.pass(999);
    assert!(phone.sent.is_empty());
    phone.pass(1_000);
    assert_eq!(ids(&phone.send()), ["m"]);
    assert_eq!(phone.connects.len(), 1);
}

/// How long a phone waits whose socket ends so.
fn pause_after(happen: impl FnOnce(&mut Phone, &SendMessages)) -> u64 {
    let (mut phone, send) = Phone::sending(3);
    happen(&mut phone, &send);
    phone.closed(phone.socket());
    let ConnectionState::Waiting { until } = phone.connection() else { panic!("{:?}", phone.connection()) };
    until.0 - phone.now
}

#[test]
fn only_a_refusal_right_before_the_end_and_of_an_hour_at_most_says_how_long_the_user_is_shut_out() {
    let limited = |phone: &mut Phone, send: &SendMessages, ms| phone.refuse(&send.id, refusal(ErrorCode::RateLimited).after_ms(ms));
    let refused = |phone: &mut Phone, send: &SendMessages| limited(phone, send, 3_600_000);
    assert!((3_600_000..=3_600_500).contains(&pause_after(refused)));
    assert!(pause_after(|phone: &mut Phone, send: &SendMessages| limited(phone, send, 3_600_001)) <= 500, "no more is opened today");
    // The socket stays, and ends much later for another reason.
    let answered_since = |phone: &mut Phone, send: &SendMessages| {
        refused(phone, send);
        phone.push([4]);
    };
    assert!(pause_after(answered_since) <= 500);
}

#[test]
fn waking_up_asks_whether_the_connection_lives_and_ends_a_pause_and_nothing_else() {
    let mut phone = Phone::live_at(3);
    phone.does(Act::Woke);
    phone.ping();
    phone.closed(CONNECTED);
    phone.does(Act::Woke);
    assert_eq!(phone.connects.len(), 2);
    phone.opened();
    phone.goaway(phone.socket(), GoawayReason::Displaced, None);
    phone.does(Act::Woke);
    assert_eq!((phone.connection(), phone.connects.len()), (ConnectionState::Displaced, 2));
    phone.connect_now();
    phone.input(Input::OpenFailed { socket: SocketId(3), failure: OpenFailure::Denied });
    phone.does(Act::Woke);
    assert_eq!((phone.connection(), phone.connects.len()), (ConnectionState::NoToken, 3));

    let (mut phone, send) = Phone::sending(3);
    phone.refuse(&send.id, refusal(ErrorCode::RateLimited).after_ms(60_000));
    phone.closed(phone.socket());
    phone.does(Act::Woke);
    assert_eq!(phone.connects.len(), 1, "the server has named the pause");
    phone.pass(60_000);
    phone.does(Act::Woke);
    assert_eq!(phone.connects.len(), 2);
}
