//! The Rust client, in layers that can be used alone:
//!
//! - [`store`]: what a device keeps over restarts, in `SQLite`;
//! - [`device`]: a [`chatlane_session::Session`] with its store and sockets, run by tokio. What an app with one user builds on;
//! - [`socket`]: one WebSocket, from the handshake to its end.

pub mod device;
pub mod socket;
pub mod store;

pub use device::Device;
pub use store::Store;
