//! Load on a running stack. Two programs print what they measured and judge nothing but errors and losses: `load` (pairs that talk at a
//! given rate, beside the floor of the same run) and `storm` (2,000 devices that lose their connection at once, beside pairs that go on
//! talking).
//!
//! The generator is open-loop: the times at which messages are due are fixed before the first is sent, and a latency counts from the due
//! time. So a stall is felt by every message that was due meanwhile, and not only by the one that waited (no *coordinated omission*).

pub mod cpu;
pub mod ledger;
pub mod pairs;
pub mod schedule;
pub mod table;
