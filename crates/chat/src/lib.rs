//! The core of Chatlane: one lane per conversation, and what people do with it.
//!
//! A conversation is a gapless, append-only log of entries 1, 2, 3 …. [`append`] is the heart: one conditional put is the sequencer, the
//! durability point and the idempotency table. Around it stand the use cases, one module each: [`hello`], [`open`], [`send`],
//! [`fan_out`], [`sync`], [`history`], [`probe`], [`cursors`] (`ack` and `read`), [`ping`]. They reach the world only through the traits of [`ports`]; time and randomness are arguments, nothing is spawned and
//! nothing is left running when a call returns (a frozen Lambda would resume it later).
//!
//! The numbers in comments (L1, D2, …) are the guarantees of `docs/GUARANTEES.md`.

pub mod admission;
pub mod anchor;
pub mod append;
pub mod caller;
pub mod cursors;
mod delivery;
pub mod entry;
pub mod fan_out;
pub mod hello;
pub mod history;
pub mod open;
pub mod ping;
pub mod ports;
pub mod probe;
pub mod send;
pub mod settings;
pub mod sync;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;

pub use entry::{Entry, Facts, Kind};
pub use settings::Settings;
