//! A ticket that was issued and not used yet.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `u` | S | `#ticket#` and the SHA-256 of the ticket, base64url: partition key. No user's key begins so |
//! | `k` | S | `ticket`: sort key |
//! | `n` | S | whose it is |
//! | `d` | S | the one device that may use it |
//! | `x` | N | when the time of the token is over for which it was issued, ms |
//! | `y` | N | when the ticket can be used no more, ms |
//! | `ttl` | N | when `DynamoDB` may remove the item, seconds since 1970 |
//!
//! Table: users. Scope: one handshake; removed by it, or by its `ttl`. Written by `http`; removed by `authorize` under the condition that it
//! is the device's and in time, which answers it.

use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use chatlane_chat::ports::{Failure, Holder, TicketHash};
use chatlane_protocol::{DeviceId, UnixMillis};

use super::{Item, NEW, Read, map, n, s, sessions};

/// How long the item outlives its ticket.
const REST_MS: u64 = 60_000;

/// The key of a ticket.
fn key(ticket: &TicketHash) -> Item {
    map([("u", s(format!("#ticket#{}", ticket.as_str()))), ("k", s("ticket"))])
}

fn item(ticket: &TicketHash, holder: &Holder) -> Item {
    let mut item = key(ticket);
    item.extend(map([
        ("n", s(holder.user.as_str())),
        ("d", s(holder.device.to_string())),
        ("x", n(holder.expires.get())),
        ("y", n(holder.until.get())),
        (sessions::TTL, n(holder.until.plus_ms(REST_MS).get() / 1000)),
    ]));
    item
}

/// Whose ticket an item is.
pub fn read(item: &Item) -> Result<Holder, Failure> {
    let read = Read::of(item, "read a ticket");
    Ok(Holder { user: read.user("n")?, device: read.device("d")?, expires: read.time("x")?, until: read.time("y")? })
}

/// Keeps a ticket; there is none of its hash.
pub fn put(put: PutItemFluentBuilder, ticket: &TicketHash, holder: &Holder) -> PutItemFluentBuilder {
    put.set_item(Some(item(ticket, holder))).condition_expression(NEW)
}

/// Removes a ticket that this device can use now, and answers it.
pub fn take(delete: DeleteItemFluentBuilder, ticket: &TicketHash, device: &DeviceId, now: UnixMillis) -> DeleteItemFluentBuilder {
    delete
        .set_key(Some(key(ticket)))
        .condition_expression("d = :d AND y > :now")
        .expression_attribute_values(":d", s(device.to_string()))
        .expression_attribute_values(":now", n(now.get()))
        .return_values(ReturnValue::AllOld)
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders::{device, start, user};
    use chatlane_protocol::TicketText;

    use super::*;
    use crate::items::testing::form;

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_holds_nothing_of_its_secret() {
        let (ticket, until) = ("t".repeat(43), start().plus_ms(30_000));
        let hash = TicketHash::of(&TicketText::new(ticket.clone()).unwrap());
        let holder = Holder { user: user("a#b"), device: device(1), expires: start(), until };
        let item = item(&hash, &holder);
        form::is_documented(include_str!("ticket.rs"), [item.clone()]);
        form::is_needed(&item, &["u", "k", "ttl"], read);
        assert_eq!(read(&item).unwrap(), holder);
        assert!(!format!("{item:?}").contains(&ticket));
    }
}
