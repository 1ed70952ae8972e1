//! `local`: all of Chatlane on one machine, after one command.
//!
//! The Lambda functions are the production ones, unmodified. For each, `local` starts its own program again as a child process, which runs
//! the real `lambda_runtime` loop; the real AWS SDK in it talks to embedded endpoints. This crate is those endpoints:
//! the WebSocket gateway ([`gateway`]), the Lambda Runtime API with its pool of processes ([`lambda`]), the queue and its event source
//! mapping ([`queue`]), `DynamoDB` ([`embedded`]) with the mapping of the log's stream ([`stream_source`]), a development token issuer
//! ([`issuer`]). [`stack`] puts them together.
//!
//! `docs/FIDELITY.md` lists what is modelled, with its source and test, and what deviates. Not promised: throughput, retention, security
//! against other programs of this machine (it listens on loopback only, refuses web pages, and checks no signature).

pub mod command;
pub mod data_folder;
pub mod device_store;
pub mod embedded;
pub mod gateway;
pub mod http_api;
pub mod issuer;
pub mod lambda;
mod observers;
pub mod ops;
pub mod queue;
pub mod stack;
pub mod story;
pub mod stream_source;
#[cfg(test)]
mod testing;
mod web_page;

pub use stack::{Settings, Stack};
