//! How a connection ended: the code and reason that the close frame carries and `$disconnect` reports.

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A close code of RFC 6455 §7.4 with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Closing {
    fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.to_owned() }
    }

    /// Idle, life, stop. The code is a belief (docs/FIDELITY.md, "Limits").
    pub(super) fn going_away() -> Self {
        Self::new(1001, "Going away")
    }

    /// `DELETE @connections`. Code and reason are those of captured events (boto3 issue 3789).
    pub(super) fn deleted() -> Self {
        Self::new(1000, "Connection Closed Normally")
    }

    /// "If a client app sends a binary frame, API Gateway rejects it and disconnects the client with code 1003" (page "Binary media types
    /// for WebSocket APIs").
    pub(super) fn binary_frame() -> Self {
        Self::new(1003, "Binary frames are not supported")
    }

    /// TCP ended without a close frame.
    pub(super) fn lost() -> Self {
        Self::new(1006, "Connection closed abnormally")
    }

    /// The client's close frame. Without a code it is 1005, with the reason of captured events (`aws_lambda_events`).
    pub(super) fn by_client(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self::new(frame.code.into(), &frame.reason),
            None => Self::new(1005, "Client-side close frame status not set"),
        }
    }

    /// Why reading from the socket failed.
    pub(super) fn after(error: &Error) -> Self {
        match error {
            // "If a larger message (or larger frame size) is received, the connection is closed with code 1009" (quotas page).
            Error::Capacity(_) => Self::new(1009, "Message too big"),
            // RFC 6455 §8.1.
            Error::Utf8(_) => Self::new(1007, "Invalid UTF-8 in a text frame"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::lost(),
            // RFC 6455 §7.4.1.
            Error::Protocol(_) => Self::new(1002, "Protocol error"),
            _ => Self::lost(),
        }
    }

    /// The close frame to send; 1005 and 1006 never travel (RFC 6455 §7.4.1).
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        let code = CloseCode::from(self.code);
        code.is_allowed().then(|| CloseFrame { code, reason: Utf8Bytes::from(self.reason.as_str()) })
    }

    /// Whether the peer is gone, so that no close frame can reach it.
    pub(super) fn is_lost(&self) -> bool {
        self.code == 1006
    }
}
