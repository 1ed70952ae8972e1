//! Holding a request at an exact point.
//!
//! "The request was lost", "the answer was lost after the effect" and "the effect came late, after the caller had given up or died" are
//! different faults with different consequences. With a [`Hold`] a test can cause each of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::call::{Call, Service};

/// Where on its way a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before it takes effect.
    Request,
    /// After it took effect, before its caller knows.
    Answer,
}

/// Which requests a hold catches: all that fit every given part.
#[derive(Clone)]
pub struct Matching(Arc<dyn Fn(&Call) -> bool + Send + Sync>);

impl Matching {
    /// Every request to one endpoint.
    #[must_use]
    pub fn service(service: Service) -> Self {
        Self(Arc::new(move |call| call.service == service))
    }

    /// Only those of one function's processes, e.g. `send`.
    #[must_use]
    pub fn function(self, function: &str) -> Self {
        let function = function.to_owned();
        self.when(move |call| call.caller.function() == function)
    }

    /// Only one operation, in the words of [`Service`], e.g. `PutItem`.
    #[must_use]
    pub fn operation(self, operation: &str) -> Self {
        let operation = operation.to_owned();
        self.when(move |call| call.operation == operation)
    }

    /// Only if `when` returns true, e.g. for a put on one table. It sees the call so far: without status and answer in [`At::Request`],
    /// with both in [`At::Answer`].
    #[must_use]
    pub fn when(self, when: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |call| (self.0)(call) && when(call)))
    }
}

/// A test's own answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers; the length is added.
    pub headers: HeaderMap,
    /// Body, as sent.
    pub body: Bytes,
}

impl Answer {
    /// An AWS error that the SDK understands in each protocol used here: AWS JSON reads `__type`, REST JSON the `x-amzn-errortype`
    /// header. A throttle of `DynamoDB`: 400, `ProvisionedThroughputExceededException`.
    #[must_use]
    pub fn error(status: StatusCode, code: &'static str, message: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
        let body = json!({ "__type": code, "message": message }).to_string().into();
        Self { status, headers, body }
    }
}

/// What a test decided about a held request.
pub(super) enum Verdict {
    Release,
    Lose,
    Answer(Answer),
}

/// A request that is held. Dropping it releases it.
#[must_use = "a dropped request goes on at once"]
pub struct Held {
    /// The request, and in [`At::Answer`] its answer too. `call.caller` is the process that waits.
    pub call: Call,
    verdict: oneshot::Sender<Verdict>,
}

impl Held {
    /// Lets it go on, also if its caller has given up or was killed meanwhile: what was sent arrives late.
    pub fn release(self) {
        self.decide(Verdict::Release);
    }

    /// Loses it and closes the caller's connection without an answer. In [`At::Request`] it never takes effect.
    pub fn lose(self) {
        self.decide(Verdict::Lose);
    }

    /// Sends `answer` instead of the endpoint's. In [`At::Request`] it never takes effect.
    pub fn answer(self, answer: Answer) {
        self.decide(Verdict::Answer(answer));
    }

    fn decide(self, verdict: Verdict) {
        // An error says that the request is gone: a `Next` whose process died while it was held.
        self.verdict.send(verdict).ok();
    }
}

/// Catches a number of requests. Dropping it releases the caught requests that were not handed out, and ends the catching. A [`Held`] that
/// was handed out stays held.
#[must_use = "a dropped hold catches nothing"]
pub struct Hold {
    trap: Arc<Trap>,
    traps: Arc<Traps>,
    caught: mpsc::UnboundedReceiver<Held>,
}

impl Hold {
    /// The next request that was caught, in the order of arrival. Waits for it without a time limit.
    ///
    /// # Panics
    /// Never: the hold itself owns a sender of its channel.
    pub async fn caught(&mut self) -> Held {
        self.caught.recv().await.expect("the hold owns a sender of its channel")
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.traps.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|trap| !Arc::ptr_eq(trap, &self.trap));
    }
}

struct Trap {
    matching: Matching,
    at: At,
    /// How many it may still catch.
    left: AtomicUsize,
    caught: mpsc::UnboundedSender<Held>,
}

/// All holds of the runner, oldest first.
#[derive(Default)]
pub(super) struct Traps(Mutex<Vec<Arc<Trap>>>);

impl Traps {
    pub(super) fn set(self: &Arc<Self>, matching: Matching, at: At, count: usize) -> Hold {
        let (sender, caught) = mpsc::unbounded_channel();
        let trap = Arc::new(Trap { matching, at, left: AtomicUsize::new(count), caught: sender });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&trap));
        Hold { trap, traps: Arc::clone(self), caught }
    }

    /// Waits while a hold keeps the call, and returns the verdict. Of several holds that fit, the oldest catches. `call` is made only if
    /// there is any hold at this point.
    pub(super) async fn pass(&self, at: At, call: impl FnOnce() -> Call) -> Verdict {
        // Copied out of the lock: a test's predicate runs while others go on.
        let traps: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|trap| trap.at == at).cloned().collect();
        if traps.is_empty() {
            return Verdict::Release;
        }
        let call = call();
        let catches = |trap: &&Arc<Trap>| {
            (trap.matching.0)(&call) && trap.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        };
        let Some(trap) = traps.iter().find(catches) else {
            return Verdict::Release;
        };
        let (verdict, decided) = oneshot::channel();
        // If the hold or the held request was dropped, so was `verdict`: the request is released.
        trap.caught.send(Held { call, verdict }).ok();
        drop(traps);
        decided.await.unwrap_or(Verdict::Release)
    }
}
