//! One file an action: its request, its answer, and the limits that are its alone.

pub mod cursors;
pub mod hello;
pub mod history;
pub mod open;
pub mod ping;
pub mod probe;
pub mod refresh;
pub mod send;
pub mod sync;
