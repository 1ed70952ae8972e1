//! `refresh`: a new token for this connection.

use serde::{Deserialize, Serialize};

use crate::ids::{RequestId, Token};
use crate::position::UnixMillis;
use crate::reading::Bounded;

/// A client asks for a new token so long before the old one ends. Ours: twice the leeway.
pub const REFRESH_BEFORE_MS: u64 = 120_000;

/// `refresh`: a new token of the same user and device keeps the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Echoed.
    pub id: RequestId,
    /// As in a handshake.
    pub token: Token,
}

impl Bounded for Refresh {}

/// The answer to `refresh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshAnswer {
    /// Of the request.
    pub id: RequestId,
    /// When the connection's time is over now, leeway included, by the server's clock.
    pub expires_ms: UnixMillis,
}
