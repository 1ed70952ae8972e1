//! The lane: what an entry is, how it gets into the log, and how a position is judged.

pub mod admission;
pub mod anchor;
pub mod append;
pub mod entry;
