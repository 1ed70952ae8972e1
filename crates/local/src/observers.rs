//! Who is notified of what happens: the story that `-v` prints, and tests.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Everybody who is notified of each `T`. While there is nobody, nothing is kept, since the runner may stay up for days.
#[derive(Debug)]
pub(crate) struct Observers<T>(Mutex<Vec<UnboundedSender<T>>>);

impl<T> Default for Observers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Observers<T> {
    /// All that happens from now on, in order and without loss. Unbounded: the receiver must be read or dropped.
    pub(crate) fn add(&self) -> UnboundedReceiver<T> {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Notifies everybody. What happened is built only if somebody listens: it copies whole messages.
    pub(crate) fn notify(&self, what: impl FnOnce() -> T) {
        let mut observers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| !observer.is_closed());
        if !observers.is_empty() {
            let what = what();
            // An error is an observer that was dropped since.
            observers.iter().for_each(|observer| drop(observer.send(what.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_notified_and_while_there_is_nobody_nothing_is_built() {
        let observers = Observers::default();
        observers.notify(|| unreachable!("nobody listens"));
        let (one, mut other) = (observers.add(), observers.add());
        observers.notify(|| 1);
        drop(one);
        observers.notify(|| 2);
        assert_eq!([other.try_recv(), other.try_recv()], [Ok(1), Ok(2)]);
        drop(other);
        observers.notify(|| unreachable!("nobody listens any more"));
    }
}
