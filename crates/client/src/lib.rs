//! The Rust client, in layers that can be used alone:
//!
//! - [`store`]: what a device keeps over restarts, in `SQLite`;
//! - [`device`]: a [`chatlane_session::Session`] with its store and sockets, run by tokio. What an app with one user builds on;
//! - [`connection`]: one WebSocket, requests and answers, nothing kept and nothing retried. For tools and tests.

pub mod connection;
pub mod device;
pub mod store;

pub use connection::Connection;
pub use device::Device;
pub use store::Store;
