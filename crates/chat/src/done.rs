//! What a use case answers, and what it did.

/// The answer to a request, and what was done for it: the answer is the client's, the rest is what metrics read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<A> {
    /// For the client.
    pub answer: A,
    /// For the operator.
    pub did: Did,
}

/// What was done for one request, in numbers. What a use case does not do stays 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// Entries that were stored.
    pub stored: usize,
    /// Messages that an earlier attempt had stored.
    pub duplicates: usize,
    /// Conditional writes that were tried for these entries: more than `stored` where others were faster.
    pub attempts: usize,
    /// Delivery tasks that were queued.
    pub tasks: usize,
    /// Cursors that moved, a row each.
    pub moved: usize,
    /// Receipts and `goaway`s that the gateway took.
    pub posted: usize,
}

impl<A> Done<A> {
    /// An answer for which nothing was done but reading.
    pub fn read(answer: A) -> Self {
        Self { answer, did: Did::default() }
    }
}
