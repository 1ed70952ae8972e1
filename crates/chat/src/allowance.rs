//! What one request may cause to be read beyond the usual, so that its price has a bound.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of times that one request may do something costly. What goes beyond it is refused with `busy`; a later request does it.
#[derive(Debug)]
pub struct Allowance(AtomicUsize);

impl Allowance {
    /// Allows it so many times.
    pub const fn of(times: usize) -> Self {
        Self(AtomicUsize::new(times))
    }

    /// Uses one of them. `false`: none was left.
    pub fn takes(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// What one request is allowed, whatever the number of its conversations.
#[derive(Debug)]
pub struct Allowances {
    /// Rows that the first read did not find, and that are read once more (a single read may see a transaction half).
    pub settled: Allowance,
    /// Searches for the last entry that a client's log and the restored one have in common; each reads the log about ten times. A client
    /// with more such conversations gets the rest with later requests.
    pub searches: Allowance,
    /// Bytes of entries that it may still have read, whether they are answered or not.
    read_bytes: AtomicUsize,
}

impl Allowances {
    /// Of a request that has used nothing yet.
    pub const fn new() -> Self {
        Self { settled: Allowance::of(16), searches: Allowance::of(8), read_bytes: AtomicUsize::new(256 * 1024) }
    }

    /// Counts bytes of entries that were read.
    pub fn has_read(&self, bytes: usize) {
        let _never_fails = self.read_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)));
    }

    /// Whether the request has read all that it may.
    pub fn has_read_enough(&self) -> bool {
        self.read_bytes.load(Ordering::Relaxed) == 0
    }
}

impl Default for Allowances {
    fn default() -> Self {
        Self::new()
    }
}
