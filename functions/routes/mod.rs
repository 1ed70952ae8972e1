//! The routes of the WebSocket API that take a request, a folder each, named after the action; [`manage`] and [`look`] take several, and
//! `$default` is [`fallback`].

pub mod ack;
pub mod fallback;
pub mod hello;
pub mod history;
pub mod look;
pub mod manage;
pub mod open;
pub mod ping;
pub mod probe;
pub mod read;
pub mod refresh;
pub mod send;
pub mod sync;
