//! What is done, in money.

/// What the requests of this process have cost.
pub trait Meter: Sync {
    /// Units of $0.125 a million, since the process began: a read unit of the tables 1, a write unit 5, a task 3, a post 8. Where a process
    /// does one thing at a time, the difference is that thing's.
    fn units(&self) -> u64;
}
