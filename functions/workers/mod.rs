//! The functions behind the queue and behind the log's stream.

pub mod fan_out;
pub mod sweep;
