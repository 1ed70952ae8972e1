//! Chatlane's Lambda functions: one package, one `bootstrap` binary, a folder for each function, by kind: [`handshake`], [`routes`],
//! [`workers`]; and [`http`], which is a kind of its own.
//!
//! A folder's `mod.rs` says what the function is given (`asks`), how its process starts (`run`) and what it does with one event
//! (`handle`): decode, call one use case of `chatlane-chat`, encode. No rule lives here. What every route shares is in [`websocket`].
//! The list of functions is the enum [`Function`]; `_HANDLER` picks one, so that link-time optimization is paid once.

pub mod bootstrap;
pub mod environment;
pub mod function;
pub mod handshake;
pub mod http;
pub mod limit;
pub mod routes;
pub mod start;
pub mod websocket;
pub mod workers;

pub use bootstrap::bootstrap;
pub use function::Function;
