//! Tokens: asked for in time, given to the server in band, and what happens without a good one. The simple cases are vectors.

use chatlane_protocol::frames::{GoawayReason, RefreshAnswer};
use chatlane_protocol::{DeviceId, ErrorCode, ServerFrame, Token, UnixMillis};
use chatlane_session::{ConnectionState, Input, OpenFailure, Output, SocketId, Text, TokenNeed};

use crate::phone::*;

fn token(text: &str) -> Input {
    Input::NewToken(Token::new(text).unwrap())
}

#[test]
fn a_token_with_a_short_life_is_used_for_half_of_it() {
    let (mut phone, hello) = Phone::greeting(&knows(3));
    let mut answer = hello_answer(hello.id, vec![], None);
    (answer.server_time_ms, answer.expires_ms) = (UnixMillis::ZERO.plus_ms(5_000), UnixMillis::ZERO.plus_ms(65_000));
    phone.receive(&ServerFrame::Hello(Box::new(answer)));
    phone.pass(29_999);
    assert_eq!(phone.tokens_needed, 0);
    phone.pass(1);
    assert_eq!(phone.tokens_needed, 1);
    phone.pass(20_000);
    assert_eq!(phone.tokens_needed, 1, "asked once until there is one");
    phone.input(token("new"));
    let id = phone.refresh().id;
    let expires_ms = UnixMillis::ZERO.plus_ms(5_000 + 50_000 + 40_000);
    phone.receive(&ServerFrame::Refresh(RefreshAnswer { id, expires_ms }));
    phone.pass(19_999);
    assert_eq!(phone.tokens_needed, 1);
    phone.pass(1);
    assert_eq!(phone.tokens_needed, 2);
}

#[test]
fn a_refresh_that_is_lost_is_repeated_with_the_same_token() {
    let mut phone = Phone::live_at(3);
    phone.input(token("new"));
    phone.refresh();
    phone.gateway_fails();
    phone.pass(500);
    let asked = phone.refresh();
    phone.refuse(&asked.id, refusal(ErrorCode::Unavailable));
    phone.pass(1_000);
    assert_eq!(phone.refresh().token.as_str(), "new");
}

#[test]
fn a_refresh_on_a_connection_that_the_server_does_not_know_comes_after_hello() {
    let mut phone = Phone::live_at(3);
    phone.input(token("new"));
    let asked = phone.refresh();
    phone.refuse(&asked.id, refusal(ErrorCode::Resync));
    phone.welcome([]);
    assert_eq!(phone.refresh().token.as_str(), "new");
}

#[test]
fn a_token_that_comes_while_a_socket_opens_is_given_to_it() {
    let mut phone = Phone::new();
    phone.connect_now();
    phone.input(token("new"));
    phone.opened();
    phone.welcome([]);
    assert_eq!(phone.refresh().token.as_str(), "new");
}

#[test]
fn without_a_new_token_it_is_asked_for_once_and_always_denied_ones_are_tried_ever_more_slowly() {
    for (new, needed) in [(false, 1..=1), (true, 3..=12)] {
        let mut phone = Phone::new();
        phone.connect_now();
        for _ in 0..120 {
            if phone.connection() == ConnectionState::Connecting {
                phone.open_fails(OpenFailure::Denied);
                if new {
                    phone.input(token("bad"));
                }
            }
            phone.pass(500);
        }
        assert!(needed.contains(&phone.tokens_needed), "{}", phone.tokens_needed);
        assert!((2..=12).contains(&phone.connects.len()), "{}", phone.connects.len());
    }
}

/// A page in a browser is not told the handshake's status: to it 403 and nobody there look alike.
#[test]
fn who_is_not_told_why_no_socket_opens_suspects_the_token_after_the_second_one() {
    let mut phone = Phone::new();
    phone.connect_now();
    for opening in 1..=3 {
        phone.open_fails(OpenFailure::Unreachable);
        assert_eq!((phone.tokens_needed, phone.connects.len()), (u32::from(opening > 1), opening), "asked once until there is one");
        phone.pass(30_000 - 1);
    }
    assert_eq!(phone.needed_because, Some(TokenNeed::Suspect));
    // It may have been something else: the next pause asks again, and an attempt is made in each.
    phone.input(token("new"));
    phone.open_fails(OpenFailure::Unreachable);
    assert_eq!(phone.tokens_needed, 2);
    phone.input(token("newer"));
    phone.pass(30_000);
    // One that was open was not refused for its token.
    let socket = phone.opened();
    phone.closed(socket);
    phone.pass(30_000);
    phone.open_fails(OpenFailure::Unreachable);
    assert_eq!(phone.tokens_needed, 2);
}

#[test]
fn a_token_that_has_ended_meanwhile_opens_no_socket_and_a_new_one_comes_first() {
    let (mut phone, hello) = Phone::greeting(&knows(3));
    let mut answer = hello_answer(hello.id, vec![], None);
    answer.expires_ms = UnixMillis::ZERO.plus_ms(600_000);
    phone.receive(&ServerFrame::Hello(Box::new(answer)));
    let socket = phone.socket();
    // Nothing happens for long: the device sleeps.
    phone.now += 550_000;
    phone.closed(socket);
    assert_eq!((phone.tokens_needed, phone.connects.len()), (0, 1));
    phone.pass(30_000);
    assert_eq!((phone.connection(), phone.tokens_needed, phone.connects.len()), (ConnectionState::NoToken, 1, 1));
    assert_eq!(phone.needed_because, Some(TokenNeed::Ends));
    phone.input(token("new"));
    phone.pass(1);
    assert_eq!(phone.connects.len(), 2);
    // Nor does a user who asks for it; but a source that gives none is not waited for without end.
    let mut phone = Phone::live_at(3);
    let socket = phone.socket();
    phone.now += 36_000_000;
    phone.closed(socket);
    phone.connect_now();
    assert_eq!((phone.connection(), phone.connects.len()), (ConnectionState::NoToken, 1));
    phone.pass(60_000);
    assert_eq!((phone.connects.len(), phone.tokens_needed), (2, 1));
}

#[test]
fn who_takes_a_lost_place_back_after_the_token_has_ended_gets_a_new_one_first() {
    let mut phone = Phone::live_at(3);
    phone.goaway(phone.socket(), GoawayReason::Displaced, None);
    phone.now += 36_000_000;
    phone.connect_now();
    assert_eq!((phone.connection(), phone.needed_because), (ConnectionState::NoToken, Some(TokenNeed::Ends)));
    assert_eq!(phone.connects.len(), 1);
    phone.input(token("new"));
    phone.pass(1);
    assert_eq!(phone.connects.len(), 2);
}

#[test]
fn another_accounts_token_brings_nothing_into_this_store() {
    for other_device in [false, true] {
        let (mut phone, hello) = Phone::greeting(&Shelf::default());
        let mut answer = hello_answer(hello.id, vec![row(at(3), at(0))], None);
        if other_device {
            answer.device = DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002").unwrap();
        } else {
            answer.user = user("mallory");
        }
        phone.receive(&ServerFrame::Hello(Box::new(answer)));
        assert_eq!((phone.connection(), phone.tokens_needed), (ConnectionState::NoToken, 1));
        assert_eq!(phone.session.conversations().count(), 0);
    }
}

#[test]
fn neither_a_token_nor_a_body_is_in_the_debug_output() {
    let mut phone = Phone::live_at(3);
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
