//! A local Lambda service: functions run as real processes that speak the real Lambda Runtime API.
//!
//! [`Lambda::invoke`] gives an event to an *execution environment* (one child process) of the function: the one that became idle last, or a
//! new one while fewer than the function's `concurrency_max` exist. An environment handles one event at a time. Its name is
//! `<function>-<number>` (`send-3`). Numbers count up and are never reused while this service lives, so a name stands for one process. The
//! name is also the process's access key id and the first path segment of its Runtime API.
//!
//! Modelled as AWS documents it: cold starts, one invocation at a time, scale-out to a limit, throttling, init and function timeouts,
//! crashed and killed processes. Not promised: freezing between invocations, memory limits, recycling of idle environments, asynchronous
//! invocation.

mod environment;
mod pool;
mod process;
mod request;
mod runtime_api;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use pool::Pool;
use request::{Invocation, Request};

pub use process::die_with_parent;

/// How long a new process may take until it asks for its first event: 10 s.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>, "Init phase".
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one invocation of a function may take unless its settings say otherwise, as in the template.
pub const FUNCTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many environments of one function may exist at once unless its settings say otherwise. A belief about one developer's machine; an
/// AWS account starts with 1,000 for all functions together.
pub const CONCURRENCY_MAX: usize = 16;

/// One function of the service.
#[derive(Clone, Debug)]
pub struct FunctionSettings {
    /// The function's name, which is also its handler (`_HANDLER`): `send`, `fan_out`.
    pub name: String,
    /// Its environment variables. The ones that AWS reserves (`_HANDLER`, `AWS_LAMBDA_*`, credentials, region) are set by the service and
    /// win.
    pub environment: BTreeMap<String, String>,
    /// Longest time from the delivery of an event to the request for the next one; then the process is killed.
    pub timeout: Duration,
    /// Most environments at once; one more concurrent invocation is throttled.
    pub concurrency_max: usize,
}

impl FunctionSettings {
    /// A function with the default timeout and concurrency and no environment variables of its own.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), environment: BTreeMap::new(), timeout: FUNCTION_TIMEOUT, concurrency_max: CONCURRENCY_MAX }
    }
}

/// What the service needs to know to start processes.
#[derive(Clone, Debug)]
pub struct LambdaSettings {
    /// The executable that every function runs; `_HANDLER` names the function. It is started without arguments.
    pub program: PathBuf,
    /// `host:port` at which [`Lambda::router`] is served. A process gets it with its own name as the base path.
    pub runtime_api: String,
    /// Longest time from the start of a process to its first request for an event; then it is killed and its invocation fails.
    pub init_timeout: Duration,
    /// The functions that can be invoked.
    pub functions: Vec<FunctionSettings>,
}

/// Why an invocation has no answer. With `UnknownFunction`, `Throttled` and `ShutDown` the function did not see the event; with all others
/// its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No function has this name.
    #[error("there is no function `{function}`")]
    UnknownFunction {
        /// The name that was asked for.
        function: String,
    },
    /// All environments that the function may have are busy. AWS: `TooManyRequestsException`, HTTP 429.
    #[error("all {concurrency_max} environments of the function are busy")]
    Throttled {
        /// The limit that was reached.
        concurrency_max: usize,
    },
    /// The function did not answer in time; its process was killed. AWS: `Task timed out after N seconds`.
    #[error("the function timed out after {} s", after.as_secs_f64())]
    TimedOut {
        /// The function's timeout.
        after: Duration,
    },
    /// The process ended, was killed or could not be started. AWS: `Runtime.ExitError`.
    #[error("the function's process failed: {reason}")]
    Crashed {
        /// What happened to the process.
        reason: String,
    },
    /// The function itself reported an error. The environment stays usable.
    #[error("the function answered with an error of type {error_type}: {message}")]
    Handled {
        /// `errorType` of the report.
        error_type: String,
        /// `errorMessage` of the report.
        message: String,
    },
    /// The service is being shut down.
    #[error("the local Lambda service is shut down")]
    ShutDown,
}

/// Functions that can be invoked by name, synchronously: those of a [`Lambda`], or closures in their place. Clones share them.
#[derive(Clone)]
pub struct Functions(Arc<dyn Fn(String, Bytes) -> Outcome + Send + Sync>);

type Outcome = BoxFuture<'static, Result<Bytes, InvokeError>>;

impl Functions {
    /// What `invoke` does with a function's name and an event (JSON), and answers (JSON). Calls overlap.
    pub fn new<F>(invoke: impl Fn(String, Bytes) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Bytes, InvokeError>> + Send + 'static,
    {
        Self(Arc::new(move |function, event| Box::pin(invoke(function, event))))
    }

    /// One event, one answer.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, function: &str, event: Bytes) -> Result<Bytes, InvokeError> {
        (self.0)(function.to_owned(), event).await
    }
}

/// One invocation that reached an environment, after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationEnded {
    /// The environment: `send-3`.
    pub caller: String,
    /// The function: `send`.
    pub function: String,
    /// From the delivery of the event to the answer. If the process never asked for the event: from the start of the process.
    pub took: Duration,
    /// The environment's first invocation.
    pub cold: bool,
    /// How the invocation ended.
    pub outcome: Result<(), InvokeError>,
}

/// Takes each line that a process writes to its standard output or error: the environment's name, the line without its end.
pub type LineSink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The service. Clones share it; when the last clone is gone, the processes are killed.
#[derive(Clone)]
pub struct Lambda {
    pool: Arc<Pool>,
    settings: Arc<LambdaSettings>,
    lines: LineSink,
}

impl fmt::Debug for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lambda").finish_non_exhaustive()
    }
}

impl Lambda {
    /// A service without processes yet. Every line they will write goes to `lines`.
    pub fn new(settings: LambdaSettings, lines: LineSink) -> Self {
        Self { pool: Arc::new(Pool::new(&settings.functions)), settings: Arc::new(settings), lines }
    }

    /// Its functions.
    pub fn functions(&self) -> Functions {
        let lambda = self.clone();
        Functions::new(move |function, event| {
            let lambda = lambda.clone();
            async move { lambda.invoke(&function, event).await }
        })
    }

    /// The Runtime API for the processes: `/{caller}/2018-06-01/runtime/…`. To be served at [`LambdaSettings::runtime_api`].
    pub fn router(&self) -> axum::Router {
        runtime_api::router(self.clone())
    }

    /// Invokes a function synchronously: one event, one answer. Waits for a cold start, never for a busy environment.
    ///
    /// If a warm environment dies before it takes its event, another one gets the event, because the function has not seen it.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, function: &str, event: Bytes) -> Result<Bytes, InvokeError> {
        loop {
            let (reply, answer) = oneshot::channel();
            let invocation = Invocation { request_id: uuid::Uuid::new_v4().to_string(), event: event.clone(), reply };
            let start = |function, caller: &str| environment::start(&self.pool, &self.settings, function, caller, &self.lines);
            self.pool.assign(function, invocation, start)?;
            // A dropped reply means that the environment ended before the event was delivered.
            if let Ok(outcome) = answer.await {
                return outcome;
            }
        }
    }

    /// Kills the process of an environment (SIGKILL) and returns when it is gone, so nothing that it does can be seen afterwards. Its
    /// invocation fails with [`InvokeError::Crashed`]. False if there is no such environment (any more).
    pub async fn kill(&self, caller: &str) -> bool {
        let (gone, is_gone) = oneshot::channel();
        let sent = self.pool.send(caller, Request::Kill { gone });
        // Either answer means the end: the environment drops the channel when its process is gone.
        sent && is_gone.await.is_err()
    }

    /// Every invocation that ends from now on, in the order in which they end. The report is sent before the invoker gets its answer.
    /// Unbounded: the receiver must be read or dropped.
    pub fn observe(&self) -> mpsc::UnboundedReceiver<InvocationEnded> {
        self.pool.observers.add()
    }

    /// Kills all processes and refuses further invocations; returns when the last process is gone.
    pub async fn shut_down(&self) {
        self.pool.refuse_invocations();
        for caller in self.pool.environments(None) {
            self.kill(&caller).await;
        }
    }
}
