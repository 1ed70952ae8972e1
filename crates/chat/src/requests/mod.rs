//! What a client may ask, one file an action; [`caller`] is who asks. `refresh` is there too: it is about the caller's time.

pub mod caller;
pub mod cursors;
pub mod hello;
pub mod history;
pub mod open;
pub mod ping;
pub mod probe;
pub mod send;
pub mod sync;
