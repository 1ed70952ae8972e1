//! The chat as a user sees it, against a server that does what each test says, over loopback TCP.

mod chat;
#[expect(dead_code, reason = "the client's tests, whose server this is, use more of it")]
#[path = "../../../client/tests/client/server.rs"]
mod server;
mod user;
