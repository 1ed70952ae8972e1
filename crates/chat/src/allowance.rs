//! How often one request may have something read that an honest one needs seldom.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many times of something; what is left over is `busy`, and comes with a later request.
#[derive(Debug)]
pub struct Allowance(AtomicUsize);

impl Allowance {
    /// So many.
    pub const fn of(times: usize) -> Self {
        Self(AtomicUsize::new(times))
    }

    /// Whether there is one more, which is used by this.
    pub fn takes(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// What one request has of each, whatever the number of its conversations.
#[derive(Debug)]
pub struct Allowances {
    /// Rows that are not there and are looked for as a whole.
    pub settled: Allowance,
    /// Searches for what is common with the log of before a restore; each reads the log some ten times. A client that has many conversations
    /// to set back learns of so many at a time.
    pub searches: Allowance,
    /// Bytes of entries that are read, whatever is told of them.
    read_bytes: AtomicUsize,
}

impl Allowances {
    /// Of a request that has used nothing yet.
    pub const fn new() -> Self {
        Self { settled: Allowance::of(16), searches: Allowance::of(8), read_bytes: AtomicUsize::new(256 * 1024) }
    }
}

impl Allowances {
    /// So many bytes have been read.
    pub fn has_read(&self, bytes: usize) {
        let _never_fails = self.read_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)));
    }

    /// Whether as much has been read as one request may.
    pub fn has_read_enough(&self) -> bool {
        self.read_bytes.load(Ordering::Relaxed) == 0
    }
}

impl Default for Allowances {
    fn default() -> Self {
        Self::new()
    }
}
