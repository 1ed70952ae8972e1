//! The core of Chatlane: one lane per conversation, and what users do with it.
//!
//! A conversation is a lane, an append-only log of entries 1, 2, 3 … without gaps. [`log`] is the heart: one conditional put is the
//! sequencer, the durability point and the idempotency table. Around it are the use cases: [`requests`], one file for each action of a
//! client, and [`workers`] behind the queue. They reach the world only through the traits of [`ports`]. Time and randomness are arguments.
//! Nothing is spawned, and nothing is left running when a call returns: a frozen Lambda would resume it later.
//!
//! The numbers in comments (L1, D2, …) are the guarantees of `docs/GUARANTEES.md`.

pub mod allowance;
pub mod deployment;
pub mod done;
pub mod limit;
pub mod log;
mod page;
pub mod ports;
pub mod refusal;
pub mod requests;
pub mod settings;
#[cfg(feature = "testing")]
pub mod testing;
pub mod workers;

pub use done::{Did, Done};
pub use log::{Entry, Facts, Kind};
pub use refusal::Refused;
pub use settings::Settings;
