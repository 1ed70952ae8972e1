//! Backends that pass their calls on: with faults, when a scheduler says so, in another order. One method sees every call of every port.

use std::any::Any;
use std::fmt;
use std::pin::Pin;

use chatlane_protocol::UnixMillis;

use crate::ports::{Clock, Failure, Meter, PostOutcome};

/// What a call does to the backend. In lower case, because the declarations of the ports name them as their markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, missing_docs, reason = "they are the markers that stand before the ports' methods")]
pub enum Effect {
    reads,
    writes,
    posts,
}

impl Effect {
    /// What a call costs here: one that reads 1, one that writes 5, one that posts 8.
    pub const fn units(self) -> u64 {
        match self {
            Self::reads => 1,
            Self::writes => 5,
            Self::posts => 8,
        }
    }
}

/// An argument of a call, to be looked at.
pub trait Argument: Any + fmt::Debug + Send + Sync {
    /// A copy that outlives the call.
    fn to_box(&self) -> Box<dyn Argument>;
}

impl<T: Any + Clone + fmt::Debug + Send + Sync> Argument for T {
    fn to_box(&self) -> Box<dyn Argument> {
        Box::new(self.clone())
    }
}

/// One call of a port, as a wrapper sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The port's method.
    pub method: &'static str,
    /// What it does to the backend.
    pub effect: Effect,
    /// Owned copies of the arguments, in their order.
    pub arguments: &'a [&'a dyn Argument],
}

impl Call<'_> {
    /// The first argument of this type; a slice is a `Vec`, a text is a `String`.
    pub fn argument<T: 'static>(&self) -> Option<&T> {
        self.arguments.iter().find_map(|argument| (*argument as &dyn Any).downcast_ref())
    }
}

/// The method and its arguments, complete: two calls with the same text do the same.
impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.method, self.arguments)
    }
}

/// What a port answers.
pub trait Answer: Any + fmt::Debug + Send {
    /// What the caller has when the request or its answer is lost.
    fn lost() -> Self;
}

impl<T: Any + fmt::Debug + Send> Answer for Result<T, Failure> {
    fn lost() -> Self {
        Err(Failure::unavailable("call the backend", "it is lost"))
    }
}

impl Answer for PostOutcome {
    fn lost() -> Self {
        Self::Unknown(Failure::unavailable("post to a connection", "it is lost"))
    }
}

/// What a call does to the backend when it takes effect. It owns its arguments, so it can take effect when its caller is dead.
pub type Taking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A backend that passes its calls on to another one.
pub trait Wrapper: Sync {
    /// The other one.
    type Inner: Sync;

    /// The clock of whoever calls.
    fn now(&self) -> UnixMillis;

    /// Milliseconds that never go back; by the same clock, where that does not jump.
    fn steady_ms(&self) -> u64 {
        self.now().get()
    }

    /// What the calls of this backend have cost so far ([`Meter`]).
    fn units(&self) -> u64 {
        0
    }

    /// Any call of any port. `effect` does it to the inner backend, as often as it is called.
    fn call<T: Answer>(
        &self,
        call: Call<'_>,
        effect: impl for<'a> Fn(&'a Self::Inner) -> Taking<'a, T> + Send + Sync + 'static,
    ) -> impl Future<Output = T> + Send;
}

impl<W: Wrapper> Clock for W {
    fn now(&self) -> UnixMillis {
        Wrapper::now(self)
    }

    fn steady_ms(&self) -> u64 {
        Wrapper::steady_ms(self)
    }
}

impl<W: Wrapper> Meter for W {
    async fn metered<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.units();
        let done = work.await;
        (done, self.units() - before)
    }
}

/// The answer as another type, where it is one: for wrappers that change what one port says.
///
/// # Panics
/// If it is of another type.
pub fn same<T: 'static, U: 'static>(answer: T) -> U {
    let any: Box<dyn Any> = Box::new(answer);
    *any.downcast().expect("the method answers this type")
}
