//! How refusals look to a client: one code each, and when to come back.

use chatlane_chat::Refused;
use chatlane_chat::ports::Failure;
use chatlane_chat::refusal::RETRY_AFTER_MS;
use chatlane_chat::testing::builders::position;
use chatlane_protocol::ErrorCode;

#[test]
fn every_refusal_has_its_code_and_says_when_to_come_back() {
    for (refused, code, retry_after_ms) in [
        (Refused::NotFound, ErrorCode::NotFound, None),
        (Refused::Forbidden, ErrorCode::Forbidden, None),
        (Refused::TooLarge { frame_bytes: 40_000 }, ErrorCode::TooLarge, None),
        (Refused::PositionUnknown, ErrorCode::AnchorUnknown, None),
        (Refused::PositionTooOld, ErrorCode::AnchorTooOld, None),
        (Refused::EpochChanged { common: position(3) }, ErrorCode::EpochChanged, None),
        (Refused::AnchorStale { tail: position(9) }, ErrorCode::AnchorStale, None),
        (Refused::RateLimited { retry_after_ms: 30 }, ErrorCode::RateLimited, Some(30)),
        (Refused::Busy, ErrorCode::Busy, Some(RETRY_AFTER_MS)),
        (Refused::UpgradeRequired, ErrorCode::UpgradeRequired, None),
        (Refused::WithOneself, ErrorCode::BadRequest, None),
        (Refused::TokenExpired, ErrorCode::TokenExpired, None),
        (Refused::TokenRefused, ErrorCode::TokenRefused, None),
        (Refused::Resync, ErrorCode::Resync, None),
        (Refused::Failed(Failure::unavailable("read", "a time-out")), ErrorCode::Unavailable, Some(RETRY_AFTER_MS)),
        // No repetition reads it better, but the client cannot know, and a corrected item is answered.
        (Refused::Failed(Failure::unreadable("an entry", "body")), ErrorCode::Unavailable, Some(RETRY_AFTER_MS)),
    ] {
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
