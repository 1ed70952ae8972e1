//! `ticket`: what opens a connection once, in place of a token. Over HTTPS only.

use serde::{Deserialize, Serialize};

use crate::ids::{RequestId, TicketText};
use crate::position::UnixMillis;
use crate::reading::Bounded;

/// So long a ticket can be used. Ours: a handshake that follows at once, also on a bad network.
pub const TICKET_LIFE_MS: u64 = 30_000;

/// `ticket`: a ticket for the caller's next handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Echoed.
    pub id: RequestId,
}

impl Bounded for Ticket {}

/// The answer to `ticket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Presented as the subprotocol `ticket.<ticket>`, by this device.
    pub ticket: TicketText,
    /// When it can be used no more, by the server's clock.
    pub expires_ms: UnixMillis,
}
