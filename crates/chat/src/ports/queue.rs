//! The queue of delivery tasks.

use super::{Failure, port};
use crate::workers::task::Task;

port! {
    /// The queue of delivery tasks: at least once, in any order, as often as it likes.
    pub trait FanOutQueue {
        /// Accepts the task durably; it is received not before `delay_s` (at most 900) seconds from now.
        writes fn enqueue(task: &Task; delay_s: u32) -> Result<(), Failure>;
    }
}
