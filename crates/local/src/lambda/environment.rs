//! The life of one environment: start → init → (event → answer → next)* → end. One task per environment owns its process and alone decides
//! what happens to it. The pool, the Runtime API and whoever kills it send requests to that task.

use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::pool::Pool;
use super::request::{Delivery, Invocation, Request};
use super::{FunctionSettings, InvocationEnded, InvokeError, LambdaSettings, LineSink, process};

/// Starts a process and the task that owns it.
pub(super) fn start(
    pool: &Arc<Pool>,
    settings: &LambdaSettings,
    function: Arc<FunctionSettings>,
    caller: &str,
    lines: &LineSink,
) -> Result<mpsc::UnboundedSender<Request>, InvokeError> {
    let (child, lifeline) = process::start(settings, &function, caller, lines)
        .map_err(|error| crashed(format!("{} could not be started: {error}", settings.program.display())))?;
    let (sender, requests) = mpsc::unbounded_channel();
    let now = Instant::now();
    let environment = Environment {
        caller: caller.to_owned(),
        function,
        pool: Arc::downgrade(pool),
        child,
        _lifeline: lifeline,
        init: Init::Running,
        began: now,
        deadline: Some(now + settings.init_timeout),
        waiting: None,
        poll: None,
        running: None,
        invocations: 0,
        fate: None,
        kills: Vec::new(),
    };
    tokio::spawn(environment.live(requests));
    Ok(sender)
}

/// Whether the process has asked for its first event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Init {
    Running,
    Done,
}

/// Why the process is being killed.
enum Fate {
    TimedOut,
    Killed,
}

struct Environment {
    caller: String,
    function: Arc<FunctionSettings>,
    /// Weak, because the pool owns the sender of this task's requests: without the pool nobody can use this environment.
    pool: Weak<Pool>,
    child: Child,
    _lifeline: process::Lifeline,
    init: Init,
    /// Start of the process, then delivery of the event.
    began: Instant,
    /// When the process is killed: end of the init time or of the function's time.
    deadline: Option<Instant>,
    /// An event that the process has not asked for yet.
    waiting: Option<Invocation>,
    /// The process's open request for an event.
    poll: Option<oneshot::Sender<Delivery>>,
    /// The event that the process is handling.
    running: Option<Invocation>,
    invocations: u64,
    fate: Option<Fate>,
    kills: Vec<oneshot::Sender<()>>,
}

impl Environment {
    async fn live(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let status = loop {
            let deadline = self.deadline;
            tokio::select! {
                // In this order: an answer that was posted before the process died or ran out of time counts.
                biased;
                request = requests.recv() => match request {
                    Some(request) => self.handle(request),
                    // The service was dropped.
                    None => break self.kill_and_wait().await,
                },
                status = self.child.wait() => break status,
                () = sleep_until(deadline.unwrap_or(self.began)), if deadline.is_some() => self.kill(Fate::TimedOut),
            }
        };
        self.end(status);
    }

    async fn kill_and_wait(&mut self) -> std::io::Result<ExitStatus> {
        self.kill(Fate::Killed);
        self.child.wait().await
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Invoke(invocation) => {
                self.waiting = Some(invocation);
                self.deliver();
            }
            Request::Next { delivery } => self.next(delivery),
            Request::Answer { request_id, outcome, accepted } => {
                if self.answer(&request_id, outcome) {
                    // The process may have gone away meanwhile; its answer counts all the same.
                    let _gone = accepted.send(());
                }
            }
            Request::Kill { gone } => {
                self.kills.push(gone);
                self.kill(Fate::Killed);
            }
        }
    }

    /// A process that asks before it has answered its event breaks the protocol. Dropping `delivery` refuses its request.
    fn next(&mut self, delivery: oneshot::Sender<Delivery>) {
        if self.running.is_some() {
            return;
        }
        self.init = Init::Done;
        // The function's time ends only here, so work that goes on after the answer counts against the invocation that left it.
        self.deadline = None;
        self.poll = Some(delivery);
        self.deliver();
    }

    /// Sends a waiting event to the process if it has asked for one.
    fn deliver(&mut self) {
        if self.fate.is_some() {
            return;
        }
        let (invocation, poll) = match (self.waiting.take(), self.poll.take()) {
            (Some(invocation), Some(poll)) => (invocation, poll),
            (waiting, poll) => {
                (self.waiting, self.poll) = (waiting, poll);
                return;
            }
        };
        let ends = SystemTime::now() + self.function.timeout;
        let delivery = Delivery {
            request_id: invocation.request_id.clone(),
            event: invocation.event.clone(),
            deadline_ms: ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
            function_arn: process::function_arn(&self.function.name),
        };
        if poll.send(delivery).is_err() {
            // The connection of that request is gone. The event waits for the next one.
            self.waiting = Some(invocation);
            return;
        }
        self.began = Instant::now();
        self.deadline = Some(self.began + self.function.timeout);
        self.invocations += 1;
        self.running = Some(invocation);
    }

    /// False if the process is not handling this request id.
    fn answer(&mut self, request_id: &str, outcome: Result<Bytes, InvokeError>) -> bool {
        let Some(invocation) = self.running.take_if(|running| running.request_id == request_id) else {
            return false;
        };
        // Before the invoker has its answer, so that its next event finds this environment idle. That event waits until the process asks
        // for it.
        if let Some(pool) = self.pool.upgrade() {
            pool.became_idle(&self.caller);
        }
        self.finish(invocation, outcome, self.invocations == 1);
        true
    }

    /// Ends an invocation: first the report, then the answer.
    fn finish(&self, invocation: Invocation, outcome: Result<Bytes, InvokeError>, cold: bool) {
        if let Some(pool) = self.pool.upgrade() {
            pool.observers.notify(|| InvocationEnded {
                caller: self.caller.clone(),
                function: self.function.name.clone(),
                took: self.began.elapsed(),
                cold,
                outcome: outcome.as_ref().map(|_| ()).map_err(Clone::clone),
            });
        }
        // An invoker that no longer waits has given up its answer.
        let _nobody_waits = invocation.reply.send(outcome);
    }

    /// Kills the process. The first fate is the one that is reported.
    fn kill(&mut self, fate: Fate) {
        self.fate.get_or_insert(fate);
        self.deadline = None;
        // An error means that the process has ended by itself; the wait for it says how.
        let _ended = self.child.start_kill();
    }

    /// The process is gone. Its place in the pool is free before anybody hears of the end, so that a retry can take it.
    fn end(mut self, status: std::io::Result<ExitStatus>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.ended(&self.caller);
        }
        let error = match (&self.fate, self.init) {
            (Some(Fate::TimedOut), Init::Done) => InvokeError::TimedOut { after: self.function.timeout },
            (Some(Fate::TimedOut), Init::Running) => crashed("it did not ask for an event within the init time"),
            (Some(Fate::Killed), _) => crashed("it was killed"),
            (None, _) => crashed(status.map_or_else(|error| error.to_string(), |status| format!("it ended with {status}"))),
        };
        if let Some(invocation) = self.running.take() {
            self.finish(invocation, Err(error.clone()), self.invocations == 1);
        }
        // A new process that dies before its first event fails the invocation that started it. A warm one that dies between two events
        // fails no invocation: the reply is dropped, and the invoker turns to another environment.
        if let Some(invocation) = self.waiting.take_if(|_| self.invocations == 0) {
            self.finish(invocation, Err(error), true);
        }
    }
}

fn crashed(reason: impl Into<String>) -> InvokeError {
    InvokeError::Crashed { reason: reason.into() }
}
