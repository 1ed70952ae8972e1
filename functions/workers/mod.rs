//! The functions behind the queue.

pub mod fan_out;
