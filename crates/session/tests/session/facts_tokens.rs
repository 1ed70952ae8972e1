//! Tokens: asked for in time, given to the server in band, and what happens without a good one.

use chatlane_protocol::frames::{ErrorFrame, RefreshAnswer};
use chatlane_protocol::request::Refresh;
use chatlane_protocol::{DeviceId, ErrorCode, Refusal, Request, ServerFrame, Token, UnixMillis};
use chatlane_session::{Act, ConnectionState, Input, OpenFailure, Output, SocketId, Text};

use crate::phone::*;

const CONNECTED: SocketId = SocketId(1);

/// A phone whose token lives for ten hours, if its conversations are left alone and its pings are answered.
fn pass_with_pings(phone: &mut Phone, ms: u64) {
    let end = phone.now + ms;
    while phone.now < end {
        phone.pass(1_000.min(end - phone.now));
        while matches!(phone.sent.front(), Some((_, Request::Ping(_)))) {
            let ping = phone.ping();
            phone.pong(&ping, false, vec![]);
        }
    }
}

/// Live with a token that ends after this long.
fn with_life(ms: u64) -> Phone {
    let mut phone = Phone::with(&knows(3));
    phone.input(Input::Do(Act::ConnectNow));
    phone.opened();
    let hello = phone.hello();
    let mut answer = hello_answer(hello.id, vec![], None);
    (answer.server_time_ms, answer.expires_ms) = (UnixMillis::ZERO.plus_ms(5_000), UnixMillis::ZERO.plus_ms(5_000 + ms));
    phone.receive(&ServerFrame::Hello(Box::new(answer)));
    phone
}

fn token(text: &str) -> Input {
    Input::NewToken(Token::new(text).unwrap())
}

fn refresh(phone: &mut Phone) -> Refresh {
    let Request::Refresh(refresh) = phone.next() else { panic!("a refresh") };
    refresh
}

#[test]
fn a_token_is_asked_for_two_minutes_before_its_end_and_given_in_band() {
    let mut phone = with_life(1_000_000);
    pass_with_pings(&mut phone, 879_999);
    assert_eq!(phone.tokens_needed, 0);
    pass_with_pings(&mut phone, 1);
    assert_eq!(phone.tokens_needed, 1);
    phone.input(token("new"));
    let asked = refresh(&mut phone);
    assert_eq!(asked.token.as_str(), "new");
    let expires_ms = UnixMillis::ZERO.plus_ms(5_000 + 2_000_000);
    phone.receive(&ServerFrame::Refresh(RefreshAnswer { id: asked.id, expires_ms }));
    pass_with_pings(&mut phone, 999_999);
    assert_eq!(phone.tokens_needed, 1);
    pass_with_pings(&mut phone, 1);
    assert_eq!((phone.tokens_needed, phone.connects.len()), (2, 1));
}

#[test]
fn a_token_with_a_short_life_is_used_for_half_of_it() {
    let mut phone = with_life(60_000);
    phone.pass(29_999);
    assert_eq!(phone.tokens_needed, 0);
    phone.pass(1);
    assert_eq!(phone.tokens_needed, 1);
    phone.pass(40_000);
    assert_eq!(phone.tokens_needed, 1, "asked once until there is one");
}

#[test]
fn a_refresh_that_is_lost_is_repeated_with_the_same_token() {
    let mut phone = with_life(1_000_000);
    phone.input(token("new"));
    refresh(&mut phone);
    phone.gateway_fails();
    phone.pass(500);
    let asked = refresh(&mut phone);
    phone.refuse(&asked.id, Refusal::new(ErrorCode::Unavailable, ""));
    phone.pass(1_000);
    assert_eq!(refresh(&mut phone).token.as_str(), "new");
}

#[test]
fn a_refused_token_is_not_given_again_and_another_one_is_asked_for_later() {
    let mut phone = with_life(1_000_000);
    phone.input(token("bad"));
    let asked = refresh(&mut phone);
    phone.refuse(&asked.id, Refusal::new(ErrorCode::TokenRefused, ""));
    assert_eq!((phone.sent.len(), phone.tokens_needed, phone.session.connection()), (0, 0, ConnectionState::Live));
    phone.pass(31_000);
    assert_eq!(phone.tokens_needed, 1);
}

#[test]
fn a_refresh_on_a_connection_that_the_server_does_not_know_comes_after_hello() {
    let mut phone = with_life(1_000_000);
    phone.input(token("new"));
    let asked = refresh(&mut phone);
    phone.refuse(&asked.id, Refusal::new(ErrorCode::Resync, ""));
    phone.welcome(vec![]);
    assert_eq!(refresh(&mut phone).token.as_str(), "new");
}

#[test]
fn an_expired_token_closes_the_socket_until_there_is_a_new_one() {
    let mut phone = Phone::live_at(3);
    phone.compose("m");
    let send = phone.send();
    phone.refuse(&send.id, Refusal::new(ErrorCode::TokenExpired, ""));
    assert_eq!((phone.session.connection(), phone.tokens_needed, &phone.closes), (ConnectionState::NoToken, 1, &vec![CONNECTED]));
    phone.input(token("new"));
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    assert_eq!(phone.send().messages, send.messages);
    assert!(phone.sent.is_empty(), "the socket was opened with it: no refresh");
}

#[test]
fn an_expired_token_is_also_reported_without_a_request() {
    let mut phone = Phone::live_at(3);
    phone.receive(&ServerFrame::Error(ErrorFrame { id: None, refusal: Refusal::new(ErrorCode::TokenExpired, "") }));
    assert_eq!(phone.session.connection(), ConnectionState::NoToken);
}

#[test]
fn a_token_that_ends_on_a_connection_that_lasted_is_replaced_after_a_short_pause() {
    let mut phone = Phone::live_at(3);
    for _ in 0..7 {
        phone.closed(*phone.connects.last().unwrap());
        phone.pass(30_000);
    }
    phone.opened();
    phone.welcome(vec![]);
    phone.pass(60_000);
    phone.receive(&ServerFrame::Error(ErrorFrame { id: None, refusal: Refusal::new(ErrorCode::TokenExpired, "") }));
    phone.input(token("new"));
    phone.pass(500);
    assert_eq!(phone.session.connection(), ConnectionState::Connecting);
}

#[test]
fn a_denied_handshake_needs_a_token_and_tries_the_old_one_after_a_while() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.open_fails(OpenFailure::Denied);
    assert_eq!((phone.session.connection(), phone.tokens_needed), (ConnectionState::NoToken, 1));
    phone.pass(14_999);
    assert_eq!(phone.connects.len(), 1);
    // The identity provider may have been out of reach.
    phone.pass(16_000);
    assert_eq!(phone.connects.len(), 2);
    phone.open_fails(OpenFailure::Denied);
    assert_eq!(phone.tokens_needed, 1);
}

#[test]
fn tokens_that_are_always_denied_are_tried_ever_more_slowly() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    for _ in 0..40 {
        if phone.session.connection() == ConnectionState::Connecting {
            phone.open_fails(OpenFailure::Denied);
            phone.input(token("bad"));
        }
        phone.pass(500);
    }
    assert!((3..12).contains(&phone.connects.len()), "{}", phone.connects.len());
}

#[test]
fn a_token_that_comes_while_a_socket_opens_is_given_to_it() {
    let mut phone = Phone::new();
    phone.input(Input::Do(Act::ConnectNow));
    phone.input(token("new"));
    phone.opened();
    phone.welcome(vec![]);
    assert_eq!(refresh(&mut phone).token.as_str(), "new");
}

#[test]
fn another_accounts_token_brings_nothing_into_this_store() {
    for other_device in [false, true] {
        let mut phone = Phone::new();
        phone.input(Input::Do(Act::ConnectNow));
        phone.opened();
        let hello = phone.hello();
        let mut answer = hello_answer(hello.id, vec![row(at(3), at(0))], None);
        if other_device {
            answer.device = DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002").unwrap();
        } else {
            answer.user = user("mallory");
        }
        phone.receive(&ServerFrame::Hello(Box::new(answer)));
        assert_eq!((phone.session.connection(), phone.tokens_needed), (ConnectionState::NoToken, 1));
        assert_eq!(phone.session.conversations().count(), 0);
    }
}

#[test]
fn a_successors_expired_token_leaves_the_old_socket_alone() {
    let mut phone = with_life(36_000_000);
    pass_with_pings(&mut phone, 6_000_000);
    let successor = phone.opened();
    let hello = phone.hello();
    phone.refuse(&hello.id, Refusal::new(ErrorCode::TokenExpired, ""));
    assert_eq!((phone.session.connection(), phone.tokens_needed, &phone.closes), (ConnectionState::Live, 1, &vec![successor]));
}

#[test]
fn neither_a_token_nor_a_body_is_in_the_debug_output() {
    let mut phone = with_life(1_000_000);
    phone.slow_store = true;
    phone.compose("secret");
    phone.input(token("hush-hush"));
    // What goes to and fro holds them as well.
    let text = Text(r#"{"action":"send","text":"says secret","token":"hush-hush"}"#.to_owned());
    let (sent, received) = (Output::Send { socket: SocketId(1), text: text.clone() }, Input::Received { socket: SocketId(1), text });
    let debug = format!("{:?} {sent:?} {received:?}", phone.session);
    assert!(!debug.contains("says secret") && !debug.contains("hush-hush"));
    assert!(debug.contains("Text(58 bytes)"));
}
