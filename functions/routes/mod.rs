//! The routes of the WebSocket API that take a request, a folder each, named after the action; `$default` is [`fallback`].

pub mod ack;
pub mod fallback;
pub mod hello;
pub mod history;
pub mod open;
pub mod ping;
pub mod probe;
pub mod read;
pub mod refresh;
pub mod send;
pub mod sync;
