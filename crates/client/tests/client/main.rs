//! The client against a server that does what each test says, over loopback TCP, and its store.

mod chat;
mod connection;
mod device;
mod fixtures;
mod person;
mod server;
mod store;
mod tls;
