//! Chatlane's Lambda functions: one package, one `bootstrap` binary, a folder per function.
//!
//! A function decodes its event, calls one use case of `chatlane-chat` and encodes the answer; no rule lives here. What every route
//! shares is in [`websocket`], what `ack` and `read` share in [`cursors`]; what a function reads from its environment is in
//! [`environment`]. `_HANDLER` picks the role: link-time optimization is paid once, and all functions are the same few megabytes.

pub mod ack;
pub mod authorize;
pub mod bootstrap;
pub mod connect;
pub mod cursors;
pub mod disconnect;
pub mod environment;
pub mod fallback;
pub mod fan_out;
pub mod hello;
pub mod history;
pub mod open;
pub mod ping;
pub mod probe;
pub mod read;
pub mod refresh;
pub mod role;
pub mod send;
pub mod sync;
pub mod websocket;

pub use bootstrap::bootstrap;
pub use role::Role;
