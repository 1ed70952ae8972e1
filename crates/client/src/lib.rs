//! The Rust client, in layers that can be used alone:
//!
//! - [`session`]: one device's side of the protocol, without input or output;
//! - [`store`]: what a device keeps over restarts, in `SQLite`;
//! - [`device`]: a session with its store and sockets, run by tokio. What an app with one user builds on;
//! - [`connection`]: one WebSocket, requests and answers, nothing kept and nothing retried. For tools and tests;
//! - [`terminal`]: a line-based chat on top of [`device`].

pub mod connection;
pub mod device;
pub mod session;
pub mod store;
pub mod terminal;

pub use connection::Connection;
pub use device::Device;
pub use session::Session;
pub use store::Store;
