//! What happens behind the queue and the log: tasks, the worker that delivers them, and the sweeper for those that nobody queued.

pub(crate) mod dispatch;
pub mod fan_out;
pub mod sweep;
pub mod task;
