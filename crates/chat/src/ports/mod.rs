//! What the core needs of the world, a trait for each thing. A use case is given one value, and names the traits it needs as its bounds.
//! [`crate::testing::contract`] is the test of all traits on every backend.
//!
//! All reads are strong: they see every write that was answered before they began. A write whose answer is [`Failure::Unavailable`] may
//! or may not have taken effect, now or later. A port belongs to one table, but for [`Creations`], whose
//! transactions span all four, and [`Amendments`], whose transactions span two.

mod accounts;
mod amendments;
mod clock;
mod connections;
mod creation;
mod define;
mod deployment;
mod failure;
mod gate;
mod heads;
mod inboxes;
mod log;
mod memberships;
mod meter;
mod outbound;
mod post_outcome;
mod queue;
mod tickets;

use define::port;

pub use accounts::{Accounts, ConnectionsOfUser};
pub use amendments::{Amendment, Amendments, Amends};
pub use clock::Clock;
pub use connections::{Connection, Connections, Registered};
pub use creation::{Change, Created, Creation, Creations, Joining, RowChange};
pub use deployment::Deployments;
pub use failure::Failure;
pub use gate::Gate;
pub use heads::Heads;
pub use inboxes::{Advance, Advanced, InboxPlace, InboxRow, Inboxes, ReadCursor, Shown};
pub use log::{MessageLog, Put, ReadBound, Run, last, read_run, tells_up_to};
pub use memberships::{Description, Member, Membership, Memberships, Span};
pub use meter::Meter;
pub use outbound::Outbound;
pub use post_outcome::PostOutcome;
pub use queue::FanOutQueue;
pub use tickets::{Holder, TicketHash, Tickets};

/// Whether a port has a method of this name: tests name methods in text.
#[cfg(feature = "testing")]
pub(crate) fn has_method(name: &str) -> bool {
    let all = [
        accounts::METHODS,
        amendments::METHODS,
        connections::METHODS,
        creation::METHODS,
        deployment::METHODS,
        heads::METHODS,
        inboxes::METHODS,
        log::METHODS,
        memberships::METHODS,
        outbound::METHODS,
        queue::METHODS,
        tickets::METHODS,
    ];
    all.concat().contains(&name)
}
