//! The session against a model server, in a world that loses, doubles, reorders, cuts and restores.
//!
//! A run is a script (proptest-state-machine) on a virtual clock. Every rule that a session promises is looked at where it could break:
//! `device` at each request, `disk` at each write, `user` at each thing shown, `server` at each entry, `rest` when the faults are over.
//! A failure prints `seed N`; `CHATLANE_SEED=N` repeats that script alone and prints what happened.

mod delivery;
mod device;
mod dice;
mod disk;
mod harm;
mod log;
mod machine;
mod rest;
mod script;
mod server;
mod sockets;
mod tally;
mod token;
mod user;
mod watch;
mod world;
