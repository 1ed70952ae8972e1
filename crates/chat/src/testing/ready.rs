//! Runs futures that wait for nothing outside: those of the memory backend.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// More polls than any test needs.
const POLLS_MAX: usize = 1_000_000;

/// Polls the future until it is ready, without a runtime.
///
/// # Panics
/// If it waits for something outside.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future waits for something outside");
}
