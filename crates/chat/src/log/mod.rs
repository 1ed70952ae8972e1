//! The lane: what an entry is, how it gets into the log, and how a position is judged.

pub mod admission;
pub mod anchor;
pub mod append;
pub mod entry;
pub mod facts;
pub mod hash;
pub mod kinds;
pub mod recheck;

pub use entry::{Entry, Head};
pub use facts::{Facts, Kept, Policy, Role, SizeClass};
pub use kinds::{CreatedEntry, Kind, LaterEntry, MessageEntry};
