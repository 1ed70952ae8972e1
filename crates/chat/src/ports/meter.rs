//! What is done, in money.

/// What the requests of one piece of work cost.
pub trait Meter: Sync {
    /// Does the work. Answers its output, and what its requests have cost in units of $0.125 a million: a read unit of the tables 1, a write
    /// unit 5, a task 3, a post 8. What others do at the same time does not count.
    fn metered<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = (T, u64)>;
}
