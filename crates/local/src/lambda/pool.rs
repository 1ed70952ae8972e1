//! Which environment gets an event: all environments of all functions, and which of them are idle. Each environment's own life is in
//! [`super::environment`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::request::{Invocation, Request};
use super::{FunctionSettings, InvocationEnded, InvokeError};
use crate::observers::Observers;

pub(super) struct Pool {
    registry: Mutex<Registry>,
    pub(super) observers: Observers<InvocationEnded>,
}

struct Registry {
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
    pub(super) fn new(functions: &[FunctionSettings]) -> Self {
        let function = |settings: &FunctionSettings| {
            let settings = Arc::new(settings.clone());
            (settings.name.clone(), Function { settings, started: 0, idle: Vec::new(), environments: BTreeMap::new() })
        };
        let registry = Registry { accepting: true, functions: functions.iter().map(function).collect() };
        Self { registry: Mutex::new(registry), observers: Observers::default() }
    }

    /// Gives the event to an idle environment, or to a new one that `start` makes under the name it gets. The outcome comes through the
    /// invocation's reply.
    pub(super) fn assign(
        &self,
        function: &str,
        invocation: Invocation,
        start: impl FnOnce(Arc<FunctionSettings>, &str) -> Result<mpsc::UnboundedSender<Request>, InvokeError>,
    ) -> Result<(), InvokeError> {
        let mut registry = self.registry();
        if !registry.accepting {
            return Err(InvokeError::ShutDown);
        }
        let Some(function) = registry.functions.get_mut(function) else {
            return Err(InvokeError::UnknownFunction { function: function.to_owned() });
        };
        // The one that was idle last, so that spare ones stay unused (and, on AWS, expire).
        let caller = if let Some(caller) = function.idle.pop() {
            caller
        } else if function.environments.len() < function.settings.concurrency_max {
            function.started += 1;
            let caller = format!("{}-{}", function.settings.name, function.started);
            let requests = start(Arc::clone(&function.settings), &caller)?;
            function.environments.insert(caller.clone(), requests);
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
        let mut registry = self.registry();
        let environments = function_of(&mut registry, caller).map(|function| &function.environments);
        environments.and_then(|environments| environments.get(caller)).is_some_and(|requests| requests.send(request).is_ok())
    }

    /// The environment has answered its event and may get another.
    pub(super) fn became_idle(&self, caller: &str) {
        if let Some(function) = function_of(&mut self.registry(), caller) {
            function.idle.push(caller.to_owned());
        }
    }

    /// The environment has ended: its place is free.
    pub(super) fn ended(&self, caller: &str) {
        if let Some(function) = function_of(&mut self.registry(), caller) {
            function.environments.remove(caller);
            function.idle.retain(|idle| idle != caller);
        }
    }

    /// Names of the environments of one function or of all.
    pub(super) fn environments(&self, function: Option<&str>) -> Vec<String> {
        let registry = self.registry();
        let functions = registry.functions.iter().filter(|(name, _)| function.is_none_or(|function| function == *name));
        functions.flat_map(|(_, function)| function.environments.keys().cloned()).collect()
    }

    pub(super) fn refuse_invocations(&self) {
        self.registry().accepting = false;
    }

    /// No code panics between two steps of a change to the registry, so it is whole even if another thread died with its lock.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `send` of `send-3`.
fn function_of<'r>(registry: &'r mut Registry, caller: &str) -> Option<&'r mut Function> {
    let (function, _) = caller.rsplit_once('-')?;
    registry.functions.get_mut(function)
}
