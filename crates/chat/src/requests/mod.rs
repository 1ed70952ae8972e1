//! What a client may ask: one file for each action, named after it (`ack` and `read` share [`cursors`]); [`caller`] is who asks.

pub mod admit;
pub mod caller;
pub mod change;
pub mod create;
pub mod cursors;
pub mod hello;
pub mod history;
pub mod look;
pub mod open;
pub mod ping;
pub mod prefs;
pub mod probe;
pub mod refresh;
pub(crate) mod rows;
pub mod send;
pub mod sync;
pub mod ticket;
