//! The client against a server that does what each test says, over loopback TCP.

mod chat;
mod connection;
mod server;
