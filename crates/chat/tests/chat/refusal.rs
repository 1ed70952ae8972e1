//! How refusals look to a client: one code each, and when to come back.

use chatlane_chat::Refused;
use chatlane_chat::ports::{Failure, Span};
use chatlane_chat::refusal::{Distance, RETRY_AFTER_MS};
use chatlane_chat::testing::builders::{position, seq};
use chatlane_protocol::ErrorCode;
use chatlane_protocol::request::refuse;

/// All of them, with their code, and when to come back.
fn refusals() -> Vec<(Refused, ErrorCode, Option<u64>)> {
    vec![
        (Refused::NotFound, ErrorCode::NotFound, None),
        // Of `sync` only something else.
        (Refused::Ended(Span { from: seq(1), end: position(3) }), ErrorCode::NotFound, None),
        (Refused::Forbidden, ErrorCode::Forbidden, None),
        (Refused::MembersFull, ErrorCode::MembersFull, None),
        (Refused::GroupsFull, ErrorCode::MembersFull, None),
        (Refused::AddedEnough, ErrorCode::MembersFull, None),
        (Refused::LastOwner, ErrorCode::LastOwner, None),
        (Refused::NoMember, ErrorCode::NoMember, None),
        (Refused::NoMessage, ErrorCode::NoMessage, None),
        (Refused::NotEditable, ErrorCode::NotEditable, None),
        (Refused::ReactionsFull, ErrorCode::ReactionsFull, None),
        (Refused::TooLarge { frame_bytes: 40_000 }, ErrorCode::TooLarge, None),
        (Refused::PositionUnknown, ErrorCode::AnchorUnknown, None),
        (Refused::PositionTooOld, ErrorCode::AnchorTooOld, None),
        (Refused::EpochChanged { common: position(3) }, ErrorCode::EpochChanged, None),
        (Refused::AnchorStale { tail: position(9), more_than: Distance::Entries(200) }, ErrorCode::AnchorStale, None),
        (Refused::RateLimited { retry_after_ms: 30 }, ErrorCode::RateLimited, Some(30)),
        (Refused::TooMuch { retry_after_ms: 60_000 }, ErrorCode::RateLimited, Some(60_000)),
        (Refused::TooManyOpened { retry_after_ms: 7 }, ErrorCode::RateLimited, Some(7)),
        (Refused::Busy, ErrorCode::Busy, Some(RETRY_AFTER_MS)),
        (Refused::UpgradeRequired, ErrorCode::UpgradeRequired, None),
        (Refused::WithOneself, ErrorCode::BadRequest, None),
        (Refused::TokenExpired, ErrorCode::TokenExpired, None),
        (Refused::TokenRefused, ErrorCode::TokenRefused, None),
        (Refused::Resync, ErrorCode::Resync, None),
        (Refused::Failed(Failure::unavailable("read", "a time-out")), ErrorCode::Unavailable, Some(RETRY_AFTER_MS)),
        // No repetition reads it better, but the client cannot know, and a corrected item is answered.
        (Refused::Failed(Failure::unreadable("an entry", "body")), ErrorCode::Unavailable, Some(RETRY_AFTER_MS)),
    ]
}

/// What the document shows is what is said: its texts of errors are those of here, of the parser, and one of the gateway.
#[test]
fn the_texts_of_the_document_are_the_servers() {
    let mut said: Vec<String> = refusals().iter().map(|(refused, ..)| refused.to_string()).collect();
    said.push(refuse("hello bob").refusal.message);
    said.push("Internal server error".to_owned());
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let shown: Vec<&str> = document.split("\"message\": \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(shown.len() >= 10, "{shown:?}");
    for text in shown {
        assert!(said.iter().any(|said| said == text), "the document has: {text}");
    }
}

#[test]
fn every_refusal_has_its_code_and_says_when_to_come_back() {
    for (refused, code, retry_after_ms) in refusals() {
        let wire = refused.to_wire();
        assert_eq!((wire.code, wire.retry_after_ms), (code, retry_after_ms), "{refused:?}");
        assert_eq!(wire.retryable, retry_after_ms.is_some(), "{refused:?}");
        assert_eq!(wire.message, refused.to_string(), "{refused:?}");
        let common = matches!(refused, Refused::EpochChanged { .. }).then_some(position(3));
        let tail = matches!(refused, Refused::AnchorStale { .. }).then_some(position(9));
        assert_eq!((wire.common, wire.tail), (common, tail), "{refused:?}");
    }
}

#[test]
fn clients_are_not_told_what_a_port_says() {
    for failure in [Failure::unavailable("read the log", "secret"), Failure::unreadable("an entry", "secret")] {
        let said = failure.to_string();
        assert!(said.contains("secret"), "logs have it: {said}");
        let wire = Refused::Failed(failure).to_wire();
        assert_eq!(wire.message, "the outcome is unknown; retry with the same ids");
    }
}
