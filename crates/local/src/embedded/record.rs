//! What a test has seen of the calls.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::mpsc::UnboundedReceiver;

use super::call::Call;

/// The calls that finish while this value lives, in the order in which they finished.
///
/// A call is in the recording before its answer is sent: whoever has the answer finds the call here. `Next` of the Runtime API is a
/// long poll, so a recording begins with the polls that were waiting when it was made.
#[must_use = "a dropped recording records nothing"]
pub struct Recording(Mutex<Log>);

struct Log {
    finished: UnboundedReceiver<Call>,
    calls: Vec<Call>,
}

impl Recording {
    pub(super) fn new(finished: UnboundedReceiver<Call>) -> Self {
        Self(Mutex::new(Log { finished, calls: Vec::new() }))
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.so_far().calls.clone()
    }

    /// The calls so far, which are forgotten: the next ones start a new list.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.so_far().calls)
    }

    /// Waits until `find` finds something among the calls so far. Has no time limit of its own. One task at a time waits.
    pub async fn until<T>(&self, find: impl Fn(&[Call]) -> Option<T>) -> T {
        poll_fn(|context| {
            let mut log = self.so_far();
            while let Poll::Ready(Some(call)) = log.finished.poll_recv(context) {
                log.calls.push(call);
            }
            find(&log.calls).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn so_far(&self) -> MutexGuard<'_, Log> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(call) = log.finished.try_recv() {
            log.calls.push(call);
        }
        log
    }
}
