//! Tickets: each opens one connection.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_protocol::{DeviceId, TicketText, UnixMillis, UserId};
use sha2::{Digest as _, Sha256};

use super::{Failure, port};

port! {
    /// Tickets that were issued and not used yet.
    pub trait Tickets {
        /// Keeps a ticket for its holder.
        writes fn keep_ticket(ticket: &TicketHash; holder: Holder) -> Result<(), Failure>;

        /// Takes a ticket of this device away, if it can be used yet. `None`: there is no such ticket. Of all who ask at the same time one gets
        /// it; a ticket of another device stays.
        writes fn redeem(ticket: &TicketHash, device: &DeviceId; now: UnixMillis) -> Result<Option<Holder>, Failure>;
    }
}

/// By what a ticket is found: whoever reads the tables can use none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketHash(String);

impl TicketHash {
    /// Of this ticket: 43 characters of base64url.
    pub fn of(ticket: &TicketText) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(ticket.as_str())))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose ticket it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user.
    pub user: UserId,
    /// The one device that may use it.
    pub device: DeviceId,
    /// When the time of the token is over for which it was issued, leeway included: so long a connection lasts that it opens.
    pub expires: UnixMillis,
    /// When the ticket can be used no more.
    pub until: UnixMillis,
}
