//! The memory backend with faults at an exact call, and with a record of what was called in which order.
//!
//! Every call lets the others of the same future go on before it takes effect and again before it answers, so that calls which the core
//! makes at once really overlap here.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use chatlane_protocol::UnixMillis;

use super::memory::Memory;
use super::wrapper::{Answer, Call, Taking, Wrapper, same};
use crate::ports::{Clock as _, Created, Failure, Put, has_method};

/// What goes wrong with one call.
pub enum Fault {
    /// It never arrives.
    RequestLost,
    /// It takes effect; the caller learns nothing.
    AnswerLost,
    /// It takes effect, its answer is lost below the port, and the same request is sent again: the second answer arrives.
    Resent,
    /// A `put` or `create` meets a transaction of somebody else.
    Contended,
    /// Just before it takes effect, somebody else does this.
    Meanwhile(Box<dyn FnOnce(&Memory) + Send>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begun(&'static str),
    Answered(&'static str),
}

/// The memory backend, and what is to go wrong. Panics when it is dropped with a fault that no call met, and when it is asked about a
/// method that no port has.
pub struct Faulty {
    /// What is stored.
    pub memory: Memory,
    faults: Mutex<Vec<(&'static str, Fault)>>,
    steps: Mutex<Vec<Step>>,
    units: AtomicU64,
}

impl Faulty {
    /// An empty one without faults, whose clock shows this time.
    pub fn new(now: UnixMillis) -> Self {
        Self { memory: Memory::at(now), faults: Mutex::default(), steps: Mutex::default(), units: AtomicU64::new(0) }
    }

    /// The next call of this method that has no fault yet gets this one.
    pub fn on(&self, method: &'static str, fault: Fault) {
        lock(&self.faults).push((known(method), fault));
    }

    /// [`Fault::Meanwhile`].
    pub fn meanwhile(&self, method: &'static str, act: impl FnOnce(&Memory) + Send + 'static) {
        self.on(method, Fault::Meanwhile(Box::new(act)));
    }

    /// How often this method was called.
    pub fn count(&self, method: &'static str) -> usize {
        let begun = Step::Begun(known(method));
        lock(&self.steps).iter().filter(|step| **step == begun).count()
    }

    /// How often each method was called that was.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for step in lock(&self.steps).iter() {
            if let Step::Begun(method) = step {
                *counts.entry(*method).or_default() += 1;
            }
        }
        counts
    }

    /// Whether both were called, and every call of `then` began after every call of `first` was answered.
    pub fn is_answered_before(&self, first: &'static str, then: &'static str) -> bool {
        let (answered, begun) = (Step::Answered(known(first)), Step::Begun(known(then)));
        let steps = lock(&self.steps);
        let answered = steps.iter().rposition(|step| *step == answered);
        let begun = steps.iter().position(|step| *step == begun);
        matches!((answered, begun), (Some(answered), Some(begun)) if answered < begun)
    }

    fn fault(&self, method: &'static str) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let index = faults.iter().position(|(of, _)| *of == method)?;
        Some(faults.remove(index).1)
    }
}

impl Wrapper for Faulty {
    type Inner = Memory;

    fn now(&self) -> UnixMillis {
        self.memory.now()
    }

    fn steady_ms(&self) -> u64 {
        self.memory.steady_ms()
    }

    fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    async fn call<T: Answer>(&self, call: Call<'_>, effect: impl for<'a> Fn(&'a Memory) -> Taking<'a, T> + Send + Sync + 'static) -> T {
        let method = call.method;
        self.units.fetch_add(call.effect.units(), Ordering::Relaxed);
        lock(&self.steps).push(Step::Begun(method));
        let_others_go_on().await;
        let answer = match self.fault(method) {
            None => effect(&self.memory).await,
            Some(Fault::Meanwhile(act)) => {
                act(&self.memory);
                effect(&self.memory).await
            }
            Some(Fault::RequestLost) => T::lost(),
            Some(Fault::AnswerLost) => {
                let _lost = effect(&self.memory).await;
                T::lost()
            }
            Some(Fault::Resent) => {
                let _lost = effect(&self.memory).await;
                effect(&self.memory).await
            }
            Some(Fault::Contended) => match method {
                "put" | "change" | "amend" => same(Ok::<_, Failure>(Put::Contended)),
                "create" => same(Ok::<_, Failure>(Created::Contended)),
                other => panic!("only `put`, `change`, `amend` and `create` can be contended, not `{other}`"),
            },
        };
        let_others_go_on().await;
        lock(&self.steps).push(Step::Answered(method));
        answer
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let left: Vec<&str> = lock(&self.faults).iter().map(|(method, _)| *method).collect();
        assert!(left.is_empty() || std::thread::panicking(), "no call met the faults on {left:?}");
    }
}

/// The name, which is no misspelt one.
fn known(method: &'static str) -> &'static str {
    assert!(has_method(method), "no port has a method `{method}`");
    method
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn let_others_go_on() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no port has a method `raisehead`")]
    fn a_misspelt_method_does_not_pass() {
        Faulty::new(UnixMillis::ZERO).count("raisehead");
    }
}
