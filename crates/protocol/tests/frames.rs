//! Snapshots of every frame: a change of the wire is a change of this file's snapshots and of `docs/PROTOCOL.md`.

use chatlane_protocol::frames::{
    ConversationHead, Entries, ErrorFrame, Goaway, GoawayReason, HelloAnswer, Limits, OpenAnswer, PingAnswer, SendAnswer, Stored, Versions,
    encode, live_frame,
};
use chatlane_protocol::request::{Hello, NewMessage, Open, Ping, SendMessages};
use chatlane_protocol::{
    Body, ClientMessageId, Content, ConversationId, DeviceId, Entry, EntryKind, ErrorCode, MessageResult, Outcome, Position, Refusal,
    Request, RequestId, Seq, ServerFrame, UnixMillis, UserId, limits,
};

fn id() -> RequestId {
    RequestId::new("1").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::new("dQ2hhdGxhbmUtZXhhbXBsZS1pZCE").unwrap()
}

fn message_id() -> ClientMessageId {
    ClientMessageId::new("0190a6c1-7b54-7c31-8000-5b9f0d9a1f11").unwrap()
}

fn position(seq: u64) -> Position {
    Position::new(1, Seq::try_from(seq).unwrap())
}

fn time() -> UnixMillis {
    UnixMillis::try_from(1_795_000_000_000).unwrap()
}

fn message(seq: u64, body: Body) -> Entry {
    Entry {
        position: position(seq),
        sender: user("alice"),
        client_message_id: message_id(),
        time_ms: time(),
        count: seq - 1,
        kind: EntryKind::Message { body },
    }
}

fn requests() -> Vec<(&'static str, Request)> {
    let hello = Hello { id: id(), v: 1, after: None };
    vec![
        ("hello", Request::Hello(hello.clone())),
        ("hello_next_page", Request::Hello(Hello { after: Some(conversation()), ..hello })),
        ("open", Request::Open(Open { id: id(), with: user("bob"), client_message_id: message_id() })),
        (
            "send",
            Request::Send(SendMessages {
                id: id(),
                conversation: conversation(),
                messages: vec![
                    NewMessage { client_message_id: message_id(), anchor: position(1), body: Body::text("hi").unwrap() },
                    NewMessage {
                        client_message_id: ClientMessageId::new("m-2").unwrap(),
                        anchor: position(1),
                        body: Body::new("image/x-dot", Content::Data(vec![0, 255])).unwrap(),
                    },
                ],
            }),
        ),
        ("ping", Request::Ping(Ping { id: id() })),
    ]
}

fn frames() -> Vec<(&'static str, ServerFrame)> {
    let stored = Stored { position: position(2), time_ms: time(), count: 1 };
    let result = |outcome| MessageResult { client_message_id: message_id(), outcome };
    let head = ConversationHead { conversation: conversation(), with: Some(user("bob")), head: position(2) };
    let mut stale = Refusal::new(ErrorCode::AnchorStale, "the anchor is more than 200 entries behind");
    stale.tail = Some(position(999));
    let mut epoch = Refusal::new(ErrorCode::EpochChanged, "the service was restored");
    epoch.common = Some(position(7));
    vec![
        (
            "hello",
            ServerFrame::Hello(Box::new(HelloAnswer {
                id: id(),
                versions: Versions { min: limits::VERSION_MIN, max: limits::VERSION_MAX },
                user: user("alice"),
                device: DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap(),
                server_time_ms: time(),
                epoch: 1,
                reconnect_in_ms: limits::RECONNECT_IN_MS,
                limits: Limits {
                    entry_bytes_max: limits::ENTRY_BYTES_MAX,
                    request_bytes_max: limits::WEBSOCKET_FRAME_BYTES_MAX,
                    messages_per_send_max: limits::MESSAGES_PER_SEND_MAX,
                    anchor_entries_max: limits::ANCHOR_ENTRIES_MAX,
                    anchor_bytes_max: limits::ANCHOR_BYTES_MAX,
                    gap_wait_ms: limits::GAP_WAIT_MS,
                    ping_after_idle_ms: limits::PING_AFTER_IDLE_MS,
                },
                conversations: vec![head.clone()],
                next: Some(conversation()),
            })),
        ),
        ("open", ServerFrame::Open(OpenAnswer { id: id(), conversation: head })),
        (
            "send",
            ServerFrame::Send(SendAnswer {
                id: id(),
                conversation: conversation(),
                results: vec![
                    result(Outcome::Ok(stored)),
                    result(Outcome::Duplicate(stored)),
                    result(Outcome::Conflict(stored)),
                    result(Outcome::Refused(Refusal::new(ErrorCode::RateLimited, "too many messages").after_ms(50))),
                    result(Outcome::Refused(stale)),
                    result(Outcome::Refused(epoch)),
                    result(Outcome::NotAttempted),
                ],
            }),
        ),
        ("ping", ServerFrame::Ping(PingAnswer { id: id(), server_time_ms: time() })),
        (
            "entries",
            ServerFrame::Entries(Entries {
                conversation: conversation(),
                entries: vec![
                    Entry {
                        count: 0,
                        kind: EntryKind::Created { members: vec![user("alice"), user("bob")] },
                        ..message(1, Body::text("-").unwrap())
                    },
                    message(2, Body::text("hi").unwrap()),
                    message(3, Body::new("image/x-dot", Content::Data(vec![0, 255])).unwrap()),
                ],
            }),
        ),
        ("error", ServerFrame::Error(ErrorFrame { id: Some(id()), refusal: Refusal::new(ErrorCode::NotFound, "no such conversation") })),
        ("error_without_id", ServerFrame::Error(ErrorFrame { id: None, refusal: Refusal::new(ErrorCode::BadRequest, "not JSON") })),
        ("goaway", ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced })),
    ]
}

#[test]
fn every_request_looks_like_this() {
    let all: serde_json::Map<_, _> =
        requests().into_iter().map(|(name, it)| (name.to_owned(), serde_json::to_value(it).unwrap())).collect();
    insta::assert_json_snapshot!(all);
}

#[test]
fn every_frame_of_the_server_looks_like_this() {
    let all: serde_json::Map<_, _> = frames().into_iter().map(|(name, it)| (name.to_owned(), serde_json::to_value(it).unwrap())).collect();
    insta::assert_json_snapshot!(all);
}

#[test]
fn every_request_is_read_back() {
    for (name, request) in requests() {
        assert_eq!(Request::parse(&encode(&request)).unwrap(), request, "{name}");
    }
}

#[test]
fn every_frame_of_the_server_is_read_back() {
    for (name, frame) in frames() {
        assert_eq!(serde_json::from_str::<ServerFrame>(&encode(&frame)).unwrap(), frame, "{name}");
    }
}

#[test]
fn every_error_code_has_its_word_and_says_whether_to_retry() {
    let all = [
        ErrorCode::BadRequest,
        ErrorCode::UnknownAction,
        ErrorCode::UpgradeRequired,
        ErrorCode::TokenExpired,
        ErrorCode::NotFound,
        ErrorCode::Forbidden,
        ErrorCode::TooLarge,
        ErrorCode::AnchorUnknown,
        ErrorCode::AnchorStale,
        ErrorCode::AnchorTooOld,
        ErrorCode::EpochChanged,
        ErrorCode::RateLimited,
        ErrorCode::Busy,
        ErrorCode::Unavailable,
    ];
    let words: serde_json::Map<_, _> =
        all.iter().map(|code| (encode(code).trim_matches('"').to_owned(), code.retryable().into())).collect();
    insta::assert_json_snapshot!(words);
}

#[test]
fn a_client_goes_on_past_what_it_does_not_know() {
    let frame = r#"{"type":"typing","conversation":"d1","ttl_ms":5000}"#;
    assert_eq!(serde_json::from_str::<ServerFrame>(frame).unwrap(), ServerFrame::Unknown);

    let entry = r#"{"position":{"epoch":1,"seq":9},"sender":"a","client_message_id":"m","time_ms":1,"count":3,"kind":"reaction","to":4}"#;
    let entry: Entry = serde_json::from_str(entry).unwrap();
    assert_eq!((entry.position, entry.kind), (position(9), EntryKind::Unknown));

    let error = r#"{"type":"error","code":"under_water","retryable":true,"message":"glug"}"#;
    let ServerFrame::Error(error) = serde_json::from_str(error).unwrap() else { panic!("an error frame") };
    assert_eq!((error.refusal.code, error.refusal.retryable), (ErrorCode::Unknown, true));
}

#[test]
fn joined_entries_are_the_same_text_as_an_encoded_frame() {
    let entries = vec![message(2, Body::text("\u{0} \"quoted\" ü").unwrap()), message(3, Body::text("b").unwrap())];
    let encoded: Vec<String> = entries.iter().map(encode).collect();
    let frame = ServerFrame::Entries(Entries { conversation: conversation(), entries });
    assert_eq!(live_frame(&conversation(), &encoded), encode(&frame));
}

#[test]
fn the_measured_size_is_that_of_the_longest_live_frame() {
    let body = Body::text("hi").unwrap();
    let longest = Entry {
        position: Position::new(u32::MAX, Seq::MAX),
        time_ms: UnixMillis::MAX,
        count: limits::INTEGER_MAX,
        ..message(2, body.clone())
    };
    let frame = ServerFrame::Entries(Entries { conversation: conversation(), entries: vec![longest] });
    assert_eq!(Entry::live_frame_bytes_max(&conversation(), &user("alice"), &message_id(), &body), encode(&frame).len());
}

#[test]
fn bad_requests_are_refused_with_the_id_where_one_can_be_read() {
    let deep = format!(r#"{{"action":"ping","id":"7","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let many = format!(
        r#"{{"action":"send","id":"7","conversation":"d1","messages":[{}]}}"#,
        vec![r#"{"client_message_id":"m","anchor":{"epoch":1,"seq":1},"body":{"content_type":"t","text":"x"}}"#; 26].join(",")
    );
    let with_anchor = |anchor: &str| {
        format!(
            r#"{{"action":"send","id":"7","conversation":"d1","messages":[{{"client_message_id":"m","anchor":{anchor},"body":{{"content_type":"t","text":"x"}}}}]}}"#
        )
    };
    let (too_big, negative) = (with_anchor(r#"{"epoch":1,"seq":9007199254740992}"#), with_anchor(r#"{"epoch":1,"seq":-1}"#));
    let array_anchor = with_anchor("[1,1]");
    let array_message =
        r#"{"action":"send","id":"7","conversation":"d1","messages":[["m",{"epoch":1,"seq":1},{"content_type":"t","text":"x"}]]}"#;
    let array_body = r#"{"action":"send","id":"7","conversation":"d1","messages":[{"client_message_id":"m","anchor":{"epoch":1,"seq":1},"body":["t","x"]}]}"#;
    let bad = [
        ("", None),
        ("nonsense", None),
        ("[]", None),
        (r#"["ping","7"]"#, None),
        ("{}", None),
        (deep.as_str(), None),
        ("{\"action\":\"ping\",\"id\":\"7\u{0}\"}", None),
        (r#"{"action":"ping","id":"\ud800"}"#, None),
        (r#"{"action":"ping"}"#, None),
        (r#"{"action":"ping","id":null}"#, None),
        (r#"{"action":"ping","id":7}"#, None),
        (r#"{"action":"ping","id":""}"#, None),
        (r#"{"action":"ping","id":"7","id":"8"}"#, None),
        (r#"{"id":"7"}"#, Some("7")),
        (r#"{"action":5,"id":"7"}"#, Some("7")),
        (r#"{"action":"ping","action":"ping","id":"7"}"#, Some("7")),
        (r#"{"action":"hello","id":"7"}"#, Some("7")),
        (r#"{"action":"hello","id":"7","v":"1"}"#, Some("7")),
        (r#"{"action":"hello","id":"7","v":1,"v":1}"#, Some("7")),
        (r#"{"action":"open","id":"7","with":"","client_message_id":"m"}"#, Some("7")),
        (r#"{"action":"open","id":"7","with":"bob","client_message_id":""}"#, Some("7")),
        (r#"{"action":"send","id":"7","conversation":"d1","messages":[]}"#, Some("7")),
        (r#"{"action":"send","id":"7","conversation":"a#b","messages":[]}"#, Some("7")),
        (many.as_str(), Some("7")),
        (array_anchor.as_str(), Some("7")),
        (array_message, Some("7")),
        (array_body, Some("7")),
        (too_big.as_str(), Some("7")),
        (negative.as_str(), Some("7")),
    ];
    for (text, id) in bad {
        let refused = Request::parse(text).expect_err(text);
        assert_eq!(refused.refusal.code, ErrorCode::BadRequest, "{text}");
        assert_eq!(refused.id.as_ref().map(RequestId::as_str), id, "{text}");
    }
    let unknown = Request::parse(r#"{"action":"dance","id":"7"}"#).unwrap_err();
    assert_eq!((unknown.refusal.code, unknown.id.unwrap().as_str()), (ErrorCode::UnknownAction, "7"));
}

#[test]
fn a_refusal_never_repeats_what_the_client_sent() {
    for text in [r#"{"action":"hello","id":"7","v":"SECRET"}"#, r#"{"action":"open","id":"7","with":["SECRET"],"client_message_id":"m"}"#] {
        assert!(!Request::parse(text).unwrap_err().refusal.message.contains("SECRET"), "{text}");
    }
}
