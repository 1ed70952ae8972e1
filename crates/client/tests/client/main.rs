//! The client against a server that does what each test says, over loopback TCP, and its store.

mod device;
mod fixtures;
mod server;
mod socket;
mod store;
mod tls;
