//! What happens behind the queue: tasks, and the worker that delivers them.

pub(crate) mod dispatch;
pub mod fan_out;
pub mod task;
