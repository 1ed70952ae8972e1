//! Tickets: an item each, which a handshake deletes.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use chatlane_chat::ports::{Failure, Holder, TicketHash, Tickets};
use chatlane_protocol::{DeviceId, UnixMillis};

use super::{Backend, Part, Users};
use crate::failure::unavailable;
use crate::items::ticket;

impl<L: Part, C: Part, I: Part, Q: Part, G: Part> Tickets for Backend<L, C, I, Users, Q, G> {
    async fn keep_ticket(&self, hash: &TicketHash, holder: Holder) -> Result<(), Failure> {
        let put = ticket::put(self.users.0.put_item(), hash, &holder);
        put.send().await.map_err(|error| unavailable("keep a ticket", &error))?;
        Ok(())
    }

    async fn redeem(&self, hash: &TicketHash, device: &DeviceId, now: UnixMillis) -> Result<Option<Holder>, Failure> {
        match ticket::take(self.users.0.delete_item(), hash, device, now).send().await {
            Ok(taken) => taken.attributes.as_ref().map(ticket::read).transpose(),
            // By this very request too, where the SDK has sent it twice: whoever comes asks for another ticket.
            Err(error) if error.as_service_error().is_some_and(DeleteItemError::is_conditional_check_failed_exception) => Ok(None),
            Err(error) => Err(unavailable("redeem a ticket", &error)),
        }
    }
}
