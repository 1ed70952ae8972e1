//! Tickets: each is taken once.

use chatlane_protocol::TicketText;
use futures_util::future::join_all;

use super::{Backend, fresh, fresh_user};
use crate::ports::{Holder, TicketHash};
use crate::testing::builders::{device, start};

/// A ticket of device 1 that lasts for a second, and whose it is.
async fn kept<B: Backend>(store: &B) -> (TicketHash, Holder) {
    let name = fresh("ticket");
    let ticket = TicketHash::of(&TicketText::new(format!("{name:_<43}")).expect("43 characters"));
    let (expires, until) = (start().plus_ms(3_600_000), start().plus_ms(1000));
    let holder = Holder { user: fresh_user(), device: device(1), expires, until };
    store.keep_ticket(&ticket, holder.clone()).await.unwrap();
    (ticket, holder)
}

/// Neither another device nor a late one uses it up.
pub async fn a_ticket_is_taken_by_its_device_in_time_and_once<B: Backend>(store: &B) {
    let (ticket, holder) = kept(store).await;
    assert_eq!(store.redeem(&ticket, &device(2), start()).await.unwrap(), None, "of another device");
    assert_eq!(store.redeem(&ticket, &device(1), holder.until).await.unwrap(), None, "late");
    assert_eq!(store.redeem(&ticket, &device(1), start().plus_ms(999)).await.unwrap(), Some(holder));
    assert_eq!(store.redeem(&ticket, &device(1), start()).await.unwrap(), None, "again");
    let (other, holder) = kept(store).await;
    assert_eq!(store.redeem(&other, &device(1), start()).await.unwrap(), Some(holder), "another ticket");
}

/// As of sixteen handshakes that present it at the same moment.
pub async fn of_all_who_take_a_ticket_at_once_one_has_it<B: Backend>(store: &B) {
    let (ticket, holder) = kept(store).await;
    let taken = join_all((0..16).map(|_| store.redeem(&ticket, &holder.device, start()))).await;
    let taken: Vec<Holder> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken, [holder]);
}
