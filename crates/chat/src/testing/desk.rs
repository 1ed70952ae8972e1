//! The desk is where callers and a scheduler meet: a call waits here until the scheduler lets it take effect, and again until the
//! scheduler answers it. The interleaver, the stepping search and the simulation all schedule with it.

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use chatlane_protocol::UnixMillis;

use super::ready::block_on;
use super::wrapper::{Answer, Argument, Call, Effect, Taking, Wrapper};

/// What a call was answered by the backend, whatever its type.
pub trait Outcome: Any + Debug + Send {}

impl<T: Any + Debug + Send> Outcome for T {}

/// Lets a call take effect on the backend.
type Take<I> = dyn Fn(&I) -> Box<dyn Outcome> + Send + Sync;

/// Hands the caller its answer; `None`: it is lost.
type Answering = dyn Fn(Option<Box<dyn Outcome>>) + Send + Sync;

/// A call that was made. It keeps all that it needs: it can take effect when its caller is dead, and as often as the scheduler likes.
pub struct Waiting<I> {
    /// The port's method.
    pub method: &'static str,
    /// What it does to the backend.
    pub effect: Effect,
    /// How many calls its caller had made before it.
    pub number: usize,
    arguments: Vec<Box<dyn Argument>>,
    take: Arc<Take<I>>,
    answer: Arc<Answering>,
}

impl<I> Waiting<I> {
    /// The first argument of this type; a slice is a `Vec`, a text is a `String`.
    pub fn argument<T: 'static>(&self) -> Option<&T> {
        self.arguments.iter().find_map(|argument| (&**argument as &dyn Any).downcast_ref())
    }

    /// Whether it can take effect when its caller is dead.
    pub fn leaves_a_trace(&self) -> bool {
        self.effect != Effect::reads
    }

    /// The same request, sent a second time.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            arguments: self.arguments.iter().map(|argument| (**argument).to_box()).collect(),
            take: Arc::clone(&self.take),
            answer: Arc::clone(&self.answer),
            ..*self
        }
    }

    /// Takes effect, in one step.
    pub fn take_effect(&self, on: &I) -> Box<dyn Outcome> {
        (self.take)(on)
    }

    /// Answers the caller.
    ///
    /// # Panics
    /// If this is no answer of the method.
    pub fn answer(&self, outcome: Box<dyn Outcome>) {
        (self.answer)(Some(outcome));
    }

    /// The caller learns nothing: the request or its answer was lost.
    pub fn lose(&self) {
        (self.answer)(None);
    }
}

/// The method and its arguments, complete: two calls with the same text do the same.
impl<I> fmt::Display for Waiting<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.method, self.arguments)
    }
}

/// The calls of one caller that wait, in the order in which they were made.
pub struct Desk<I> {
    made: usize,
    /// What they have cost, as [`Effect::units`] counts.
    units: u64,
    /// Whoever takes one out has to answer it.
    pub calls: Vec<Waiting<I>>,
}

impl<I> Default for Desk<I> {
    fn default() -> Self {
        Self { made: 0, units: 0, calls: Vec::new() }
    }
}

/// Shared by a caller and the scheduler.
pub type SharedDesk<I> = Arc<Mutex<Desk<I>>>;

/// Locks what is shared; a panic elsewhere does not matter.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All ports of one caller. Every call waits at the desk until it is answered.
pub struct AtDesk<I, C> {
    /// Where its calls wait.
    pub desk: SharedDesk<I>,
    /// The caller's clock.
    pub clock: C,
}

/// What a caller waits for.
struct Awaited<T> {
    answer: Option<T>,
    /// Combinators of many futures poll only those that were woken.
    waker: Option<Waker>,
}

impl<I: Send + Sync + 'static, C: Fn() -> UnixMillis + Sync> Wrapper for AtDesk<I, C> {
    type Inner = I;

    fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    fn units(&self) -> u64 {
        lock(&self.desk).units
    }

    async fn call<T: Answer>(&self, call: Call<'_>, effect: impl for<'a> Fn(&'a I) -> Taking<'a, T> + Send + Sync + 'static) -> T {
        let awaited = Arc::new(Mutex::new(Awaited { answer: None, waker: None }));
        let answered = Arc::clone(&awaited);
        let answer = move |outcome: Option<Box<dyn Outcome>>| {
            let mut awaited = lock(&answered);
            awaited.answer = Some(outcome.map_or_else(T::lost, |outcome| {
                let any: Box<dyn Any> = outcome;
                *any.downcast().expect("an answer of the method that was called")
            }));
            if let Some(waker) = awaited.waker.take() {
                waker.wake();
            }
        };
        {
            let mut desk = lock(&self.desk);
            let number = desk.made;
            desk.made += 1;
            desk.units += call.effect.units();
            desk.calls.push(Waiting {
                method: call.method,
                effect: call.effect,
                number,
                arguments: call.arguments.iter().map(|argument| (**argument).to_box()).collect(),
                take: Arc::new(move |on| Box::new(block_on(effect(on)))),
                answer: Arc::new(answer),
            });
        }
        poll_fn(|context| {
            let mut awaited = lock(&awaited);
            awaited.waker = Some(context.waker().clone());
            awaited.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
