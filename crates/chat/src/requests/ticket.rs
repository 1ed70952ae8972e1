//! `ticket`: opens one connection, in place of a token, which is long and must not stand in what a proxy logs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_protocol::frames::TicketAnswer;
use chatlane_protocol::limits::TICKET_LIFE_MS;
use chatlane_protocol::request::Ticket;
use chatlane_protocol::{DeviceId, TicketText, UnixMillis, UserId};

use super::caller::Caller;
use crate::done::Done;
use crate::ports::{Clock, Failure, Holder, TicketHash, Tickets};
use crate::refusal::Refused;

/// Issues a ticket to a caller whose token's time is over at `expires`. `secret`: random bytes, used once.
///
/// # Panics
/// Never: 32 bytes have 43 characters of base64url.
pub async fn ticket<P: Tickets + Clock>(
    ports: &P,
    caller: &Caller,
    expires: UnixMillis,
    secret: [u8; 32],
    request: &Ticket,
) -> Result<Done<TicketAnswer>, Refused> {
    let ticket = TicketText::new(URL_SAFE_NO_PAD.encode(secret)).expect("43 characters of base64url");
    let until = ports.now().plus_ms(TICKET_LIFE_MS);
    let holder = Holder { user: caller.user.clone(), device: caller.device, expires, until };
    ports.keep_ticket(&TicketHash::of(&ticket), holder).await?;
    Ok(Done::read(TicketAnswer { id: request.id.clone(), ticket, expires_ms: until }))
}

/// Who comes with this ticket, and until when their connection may last. `None`: it was used, is too old, or is no ticket of this device.
pub async fn redeem<P: Tickets + Clock>(ports: &P, ticket: &TicketText, device: DeviceId) -> Result<Option<(UserId, UnixMillis)>, Failure> {
    let now = ports.now();
    let holder = ports.redeem(&TicketHash::of(ticket), &device, now).await?;
    Ok(holder.filter(|holder| holder.expires > now).map(|holder| (holder.user, holder.expires)))
}
