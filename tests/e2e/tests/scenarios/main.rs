//! What people and phones do, against the running stack. One program for all of it: linking the stack takes longer than most of these run.

mod amending;
mod bad_input;
mod bad_network;
mod corpus;
mod crowd;
mod forward;
mod https;
mod kills;
mod limits;
mod logs;
mod runner;
mod starts;
mod stranger;
mod sweeping;
mod throttled;
