//! The lane: what an entry is, how it gets into the log, and how a position is judged.

pub mod admission;
pub mod amend;
pub mod anchor;
pub mod append;
pub mod change;
pub mod draft;
pub mod entry;
pub mod facts;
pub mod hash;
pub mod kinds;
pub mod reactions;
pub mod recheck;
pub mod room;

pub use chatlane_protocol::Role;
pub use entry::{Entry, Head};
pub use facts::{Deed, Facts, Kept, Policy, SizeClass};
pub use kinds::{AmendmentEntry, ChangeEntry, CreatedEntry, GroupCreatedEntry, Kind, LaterEntry, MessageEntry};
