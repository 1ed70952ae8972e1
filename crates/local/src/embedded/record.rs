//! Who gets the finished calls: the recordings of tests, and the `-v` story.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, broadcast};

use super::call::Call;

/// Calls that an observer may be behind before it misses some. The story may miss calls, because nothing depends on it.
const OBSERVER_BACKLOG_MAX: usize = 4096;

/// The listeners. While there is none, nothing is kept and no body is parsed, since the runner may stay up for days.
pub(super) struct Listeners {
    recordings: Mutex<Vec<Weak<Log>>>,
    observers: broadcast::Sender<Arc<Call>>,
}

#[derive(Default)]
struct Log {
    calls: Mutex<Vec<Call>>,
    grown: Notify,
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self { recordings: Mutex::default(), observers: broadcast::Sender::new(OBSERVER_BACKLOG_MAX) }
    }

    /// Whether anybody listens. Removes recordings that were dropped.
    pub(super) fn any(&self) -> bool {
        let mut recordings = self.recordings.lock().unwrap_or_else(PoisonError::into_inner);
        recordings.retain(|log| log.strong_count() > 0);
        !recordings.is_empty() || self.observers.receiver_count() > 0
    }

    pub(super) fn notify(&self, call: Call) {
        let recordings = self.recordings.lock().unwrap_or_else(PoisonError::into_inner);
        for log in recordings.iter().filter_map(Weak::upgrade) {
            log.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
            log.grown.notify_waiters();
        }
        drop(recordings);
        // An error says that no observer is there: nothing to do.
        self.observers.send(Arc::new(call)).ok();
    }

    pub(super) fn record(&self) -> Recording {
        let log = Arc::new(Log::default());
        self.recordings.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&log));
        Recording { log }
    }

    pub(super) fn observe(&self) -> broadcast::Receiver<Arc<Call>> {
        self.observers.subscribe()
    }
}

/// The calls that finish while this value lives, in the order in which they finished.
///
/// A call is in the recording before its answer is sent: whoever has the answer finds the call here. `Next` of the Runtime API is a
/// long poll, so a recording begins with the polls that were waiting when it was made.
#[must_use = "a dropped recording records nothing"]
pub struct Recording {
    log: Arc<Log>,
}

impl Recording {
    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.log.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls so far, which are forgotten: the next ones start a new list.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.log.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `find` finds something among the calls so far. Has no time limit of its own.
    pub async fn until<T>(&self, find: impl Fn(&[Call]) -> Option<T>) -> T {
        loop {
            // Made before the look, so that a call that comes between look and wait wakes it.
            let grown = self.log.grown.notified();
            let found = find(&self.log.calls.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(found) = found {
                return found;
            }
            grown.await;
        }
    }
}
