//! Sockets and tokens: dying, replacing, displacing, refreshing.

use chatlane_session::{Act, ConnectionState, Input, OpenFailure, Output, Shown, SocketId, Text};
use serde_json::{Value, json};

use super::scenario::*;

pub fn all() -> Vec<Scenario> {
    vec![
        an_idle_socket_is_pinged_and_a_dead_one_replaced(),
        a_socket_that_receives_no_pushes_says_hello_again(),
        reconnects_back_off_with_full_jitter(),
        an_old_socket_is_replaced_before_its_end(),
        a_displaced_device_stays_away(),
        a_token_is_refreshed_in_band(),
        an_expired_token_needs_a_new_one(),
        a_refused_handshake_needs_a_token(),
        what_is_unknown_is_ignored(),
        a_client_that_is_too_old_stops(),
        a_conversation_is_opened(),
    ]
}

fn closes(s: &Scenario, socket: u64) -> bool {
    s.last.contains(&Output::Close(SocketId(socket)))
}

fn connects(s: &Scenario) -> bool {
    s.last.iter().any(|output| matches!(output, Output::Connect(_)))
}

fn needs_token(s: &Scenario) -> bool {
    s.last.contains(&Output::NeedToken)
}

fn an_idle_socket_is_pinged_and_a_dead_one_replaced() -> Scenario {
    let mut s = Scenario::live(
        "half-open",
        "Nothing came or went for ping_after_idle_ms: `ping`. No answer within ping_wait_ms: the socket is dead, whatever the network says; \
         it is closed, and another one opened after a random pause.",
    );
    s.tick_until("ping");
    s.tick();
    s.check(closes(&s, 1), "the dead one is closed");
    if !connects(&s) {
        s.tick();
    }
    s.check(connects(&s), "and another one opened");
    s.opened();
    s
}

fn a_socket_that_receives_no_pushes_says_hello_again() -> Scenario {
    let mut s = Scenario::live(
        "resync",
        "`ping` is answered `resync`: the server does not know the connection any more. Hello is said again on the same socket, and what \
         was missed is fetched.",
    );
    s.tick_until("ping");
    s.answer("ping", json!({"server_time_ms": 1_795_000_240_000_u64, "resync": true}));
    s.check(s.sent("hello").is_some() && !closes(&s, 1), "hello again, on the same socket");
    s.answer("hello", hello(&[hello_row("dbob", "bob", 3)])).commit();
    s.answer("sync", page([3], true)).commit();
    s.check(s.state() == ConnectionState::Live, "live");
    s
}

fn reconnects_back_off_with_full_jitter() -> Scenario {
    let mut s = Scenario::new(
        "back-off",
        "Sockets that cannot be opened: the pause before the next attempt is a random part of a bound that doubles from back_off_min_ms to \
         back_off_max_ms.",
        vec![],
        vec![],
    );
    s.does(Act::ConnectNow);
    for socket in 1..=8 {
        s.input(Input::OpenFailed { socket: SocketId(socket), failure: OpenFailure::Unreachable });
        s.check(matches!(s.state(), ConnectionState::Waiting { .. }), "waiting");
        s.tick();
        s.check(connects(&s), "another one");
    }
    s
}

fn an_old_socket_is_replaced_before_its_end() -> Scenario {
    let mut s = Scenario::live(
        "overlap",
        "After reconnect_in_ms a second socket is opened beside the first. Its `hello` makes the server displace the first, whose goaway is \
         ignored: it is our own doing. What was in flight on the first is answered there; then it is closed. An entry that comes on both \
         is shown once.",
    );
    let mut terms = hello(&[]);
    terms["reconnect_in_ms"] = json!(60_000);
    // The terms of the newest `hello` count: said again, after a `resync`.
    s.tick_until("ping");
    s.answer("ping", json!({"server_time_ms": 1_795_000_240_000_u64, "resync": true})).answer("hello", terms);
    for _ in 0..5 {
        if connects(s.tick()) {
            break;
        }
    }
    s.check(connects(&s) && !closes(&s, 1), "a second socket, beside the first");
    s.pass(20).compose("m-1", "hi").commit();
    s.pass(20).opened();
    s.frame_on(1, &json!({"type": "goaway", "reason": "displaced"}));
    s.check(!closes(&s, 1), "the goaway is ignored");
    s.answer("hello", hello(&[]));
    s.check(!closes(&s, 1), "the first is drained");
    s.frame_on(1, &push([3])).frame(&push([3])).commit();
    s.answer_on(1, "send", results(&[stored("m-1", "ok", 4)]));
    s.check(closes(&s, 1), "its last answer is there");
    s.commit();
    s.check(s.state() == ConnectionState::Live, "live on the second");
    s
}

fn a_displaced_device_stays_away() -> Scenario {
    let mut s = Scenario::live(
        "displaced",
        "The same device said hello on a newer connection, somewhere else. This one is closed and stays so until the person acts.",
    );
    s.pass(10).frame(&json!({"type": "goaway", "reason": "displaced"}));
    s.check(closes(&s, 1) && s.state() == ConnectionState::Displaced, "closed");
    s.pass(3_600_000).input(Input::Tick);
    s.check(s.last.is_empty(), "nothing happens by itself");
    s.does(Act::ConnectNow);
    s.check(connects(&s), "the user has acted");
    s
}

fn a_token_is_refreshed_in_band() -> Scenario {
    let mut s = Scenario::live(
        "refresh",
        "Two minutes before the token's time is over a new one is asked for, and said on the same socket. One that the server refuses is \
         replaced by another.",
    );
    for _ in 0..40 {
        if needs_token(s.tick()) {
            break;
        }
        if s.sent("ping").is_some() {
            s.answer("ping", json!({"server_time_ms": 1_795_000_000_000_u64}));
        }
    }
    s.check(needs_token(&s), "a new token is needed");
    s.token("of.somebody.else");
    s.check(s.sent("refresh").is_some(), "said on the same socket");
    s.answer("refresh", error("token_refused"));
    if !needs_token(&s) {
        s.tick();
    }
    s.check(needs_token(&s), "another one");
    s.token("header.claims.signature");
    s.until("refresh");
    s.answer("refresh", json!({"expires_ms": 1_795_007_200_000_u64}));
    s.check(s.state() == ConnectionState::Live, "the socket goes on");
    s
}

fn an_expired_token_needs_a_new_one() -> Scenario {
    let mut s = Scenario::live(
        "token-expired",
        "The token's time is over: the server says so and ends the connection. A new token, a new socket, and what was not answered is \
         repeated.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    s.answer("send", error("token_expired"));
    s.check(needs_token(&s) && s.state() == ConnectionState::NoToken, "a new token is needed");
    s.pass(100).token("header.claims.signature");
    if !connects(&s) {
        s.tick();
    }
    s.check(connects(&s), "a new socket");
    s.opened();
    s.answer("hello", hello(&[]));
    let again = s.until("send");
    s.check(again["messages"][0]["client_message_id"] == "m-1", "the same message");
    s
}

fn a_refused_handshake_needs_a_token() -> Scenario {
    let mut s = Scenario::new(
        "handshake-denied",
        "The handshake is answered with 403: not again with this token. (After a while it is tried all the same: the server may not have \
         reached the identity provider.)",
        vec![],
        vec![],
    );
    s.does(Act::ConnectNow);
    s.input(Input::OpenFailed { socket: SocketId(1), failure: OpenFailure::Denied });
    s.check(needs_token(&s) && s.state() == ConnectionState::NoToken, "a new token is needed");
    s.tick();
    s.check(connects(&s), "after a while");
    s
}

fn what_is_unknown_is_ignored() -> Scenario {
    let mut s = Scenario::live(
        "unknown-frames",
        "A frame of an unknown type, a text that is not JSON, unknown fields: ignored. An answer to nothing is ignored too. A goaway for an \
         unknown reason ends the connection; another one is opened, not before retry_after_ms.",
    );
    for text in [r#"{"type":"hologram","id":"77"}"#, "not JSON", "[1]", "{}", r#"{"type":"ping","id":"77","server_time_ms":1}"#] {
        s.pass(10).input(Input::Received { socket: SocketId(1), text: Text(text.to_owned()) });
        s.check(s.last.is_empty(), "nothing happens");
    }
    let mut odd: Value = push([3]);
    odd["color"] = json!("green");
    s.frame(&odd).commit();
    s.check(s.entries_shown() == [3], "unknown fields do no harm");
    s.pass(10).frame(&json!({"type": "goaway", "reason": "maintenance", "retry_after_ms": 5_000}));
    s.check(closes(&s, 1), "closed");
    s.pass(4_999).input(Input::Tick);
    s.check(!connects(&s), "not before");
    s.tick();
    s.check(connects(&s), "another one");
    s
}

fn a_client_that_is_too_old_stops() -> Scenario {
    let mut s =
        Scenario::open("upgrade-required", "The server does not speak this version any more: only another program helps.", vec![], vec![]);
    s.answer("hello", error("upgrade_required"));
    s.check(s.state() == ConnectionState::UpgradeRequired, "it stops");
    s.pass(3_600_000).does(Act::ConnectNow);
    s.check(!connects(&s), "for good");
    s
}

fn a_conversation_is_opened() -> Scenario {
    let mut s = Scenario::live(
        "open",
        "The person wants to talk to somebody: a conversation that is known is there at once, another one is asked for until it is answered.",
    );
    let open = |name: &str, id: &str| Input::Do(Act::OpenWith { user: user(name), client_message_id: message_id(id) });
    s.pass(10).input(open("bob", "o-1"));
    s.check(matches!(s.shown()[..], [Shown::Opened { .. }]) && s.sent("open").is_none(), "known");
    s.pass(10).input(open("carol", "o-2"));
    s.check(s.sent("open").is_some(), "asked for");
    s.answer("open", json!({"conversation": "dcarol", "with": "carol", "head": at(1)})).commit();
    let opened = Shown::Opened { user: user("carol"), conversation: conversation("dcarol") };
    s.check(s.shown().contains(&&opened), "there");
    s
}
