//! The Rust client: a WebSocket that speaks Chatlane's protocol ([`connection`]) and a line-based chat on top of it ([`terminal`]).
//!
//! What it keeps, it keeps in memory and for one connection: it stores no messages, asks for none that were missed and does not
//! reconnect. Whoever needs that, calls [`connection::Connection`] and follows `docs/PROTOCOL.md`.

pub mod connection;
pub mod terminal;

pub use connection::Connection;
