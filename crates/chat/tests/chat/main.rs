//! The rules of the core. One program: each would compile the core's ports and futures once more.

mod amend;
mod append;
mod caller;
mod contract_memory;
mod cursors;
mod d2;
mod damaged;
mod deployed;
mod fan_out;
mod hello;
mod hello_groups;
mod hello_pages;
mod history;
mod interleaver;
mod look;
mod manage;
mod membership;
mod open;
mod ping;
mod prefs;
mod probe;
mod refusal;
mod send;
mod stranger;
mod sweep;
mod sync;
