//! Deterministic simulation: the real handlers and use cases, the real client session, and everything between them modelled, under one
//! seed. Time is virtual, the executor has one thread, and what is next between any two awaits is drawn.
//!
//! - `world` has the clock and the events; `lambda` runs invocations, whose calls (`port`) take effect and are answered at times of their
//!   own; `transaction` shows one item by item; `amend` is what is done to messages; `gateway`, `queue` and `phone` are what their names say;
//! - [`Script`] is what users do, [`Fault`] what goes wrong; both are drawn from a seed, and can be saved and shortened ([`shrink`]);
//! - `rest` waits until everything has converged; the verdict is the independent checker's (`tests/checker`).
//!
//! Every second run is *strict*: heartbeats tell nothing and no fault may cost a push, so that no repair hides what was not delivered.

mod bad;
mod fault;
mod issuer;
mod met;
mod run;
mod script;
mod shrink;
mod tally;
mod world;

pub use fault::{Fault, Hits, Plan};
pub use met::Met;
pub use run::{Outcome, first_seed, run};
pub use script::{Operation, Script, Step};
pub use shrink::{shrink, shrink_while};
pub use tally::Tally;
pub use world::Violation;
