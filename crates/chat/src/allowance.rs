//! What one request of many conversations may have read that an honest one seldom needs.

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
