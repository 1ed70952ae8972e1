//! The gateway over loopback TCP: a real WebSocket client in front, functions made of closures behind. Each test is one rule of the
//! gateway's part of the fidelity page.

mod closing;
mod handshake;
mod limits;
mod management;
mod messages;
mod observing;
mod stack;
