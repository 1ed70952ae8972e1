//! Which environment gets an event: the books of all environments. Each environment's own life is in [`super::environment`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::environment::{self, Invocation, Request};
use super::{FunctionSettings, InvocationEnded, InvokeError, LambdaSettings, LineSink};

pub(super) struct Pool {
    settings: LambdaSettings,
    lines: LineSink,
    books: Mutex<Books>,
    observers: Mutex<Vec<mpsc::UnboundedSender<InvocationEnded>>>,
}

struct Books {
    accepting: bool,
    functions: BTreeMap<String, Function>,
}

struct Function {
    settings: Arc<FunctionSettings>,
    /// Environments ever started; the next one gets the number after it.
    started: u64,
    /// Names of environments without an event; the last one became idle last.
    idle: Vec<String>,
    /// All environments by name, with the way to talk to each.
    environments: BTreeMap<String, mpsc::UnboundedSender<Request>>,
}

impl Pool {
    pub(super) fn new(settings: LambdaSettings, lines: LineSink) -> Arc<Self> {
        let functions = settings
            .functions
            .iter()
            .map(|function| {
                let books = Function { settings: Arc::new(function.clone()), started: 0, idle: Vec::new(), environments: BTreeMap::new() };
                (function.name.clone(), books)
            })
            .collect();
        let books = Mutex::new(Books { accepting: true, functions });
        Arc::new(Self { settings, lines, books, observers: Mutex::new(Vec::new()) })
    }

    /// Gives the event to an idle environment or starts one. The outcome comes through the invocation's reply.
    pub(super) fn assign(self: &Arc<Self>, function: &str, invocation: Invocation) -> Result<(), InvokeError> {
        let mut books = self.books();
        if !books.accepting {
            return Err(InvokeError::ShutDown);
        }
        let Some(function) = books.functions.get_mut(function) else {
            return Err(InvokeError::UnknownFunction { function: function.to_owned() });
        };
        // The one that was idle last, so that spare ones stay unused (and, on AWS, expire).
        let caller = if let Some(caller) = function.idle.pop() {
            caller
        } else if function.environments.len() < function.settings.concurrency_max {
            function.started += 1;
            let caller = format!("{}-{}", function.settings.name, function.started);
            let settings = Arc::clone(&function.settings);
            match environment::start(self, &self.settings, settings, &caller, &self.lines) {
                Ok(requests) => function.environments.insert(caller.clone(), requests),
                Err(error) => {
                    let reason = format!("{} could not be started: {error}", self.settings.program.display());
                    return Err(InvokeError::Crashed { reason });
                }
            };
            caller
        } else {
            return Err(InvokeError::Throttled { concurrency_max: function.settings.concurrency_max });
        };
        if let Some(requests) = function.environments.get(&caller) {
            // If the environment has just ended, the reply is dropped with the request and the invoker comes back.
            let _ended = requests.send(Request::Invoke(invocation));
        }
        Ok(())
    }

    /// Sends a request to an environment; false if it does not exist.
    pub(super) fn send(&self, caller: &str, request: Request) -> bool {
        let mut books = self.books();
        let environments = function_of(&mut books, caller).map(|function| &function.environments);
        environments.and_then(|environments| environments.get(caller)).is_some_and(|requests| requests.send(request).is_ok())
    }

    /// The environment has answered its event and may get another.
    pub(super) fn became_idle(&self, caller: &str) {
        if let Some(function) = function_of(&mut self.books(), caller) {
            function.idle.push(caller.to_owned());
        }
    }

    /// The environment has ended: its place is free.
    pub(super) fn ended(&self, caller: &str) {
        if let Some(function) = function_of(&mut self.books(), caller) {
            function.environments.remove(caller);
            function.idle.retain(|idle| idle != caller);
        }
    }

    /// Names of the environments of one function or of all.
    pub(super) fn environments(&self, function: Option<&str>) -> Vec<String> {
        let books = self.books();
        let functions = books.functions.iter().filter(|(name, _)| function.is_none_or(|function| function == *name));
        functions.flat_map(|(_, function)| function.environments.keys().cloned()).collect()
    }

    pub(super) fn refuse_invocations(&self) {
        self.books().accepting = false;
    }

    pub(super) fn observe(&self) -> mpsc::UnboundedReceiver<InvocationEnded> {
        let (observer, reports) = mpsc::unbounded_channel();
        self.observers.lock().unwrap_or_else(PoisonError::into_inner).push(observer);
        reports
    }

    pub(super) fn report(&self, ended: &InvocationEnded) {
        let mut observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| observer.send(ended.clone()).is_ok());
    }

    /// No code panics between two steps of a change to the books, so they are whole even if another thread died with them.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `send` of `send-3`.
fn function_of<'b>(books: &'b mut Books, caller: &str) -> Option<&'b mut Function> {
    let (function, _) = caller.rsplit_once('-')?;
    books.functions.get_mut(function)
}
