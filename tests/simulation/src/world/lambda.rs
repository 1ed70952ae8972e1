//! Invocations of the real handlers. Each is a future that waits for its calls; here calls take effect, are answered, and functions die.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chatlane_chat::ports::Failure;
use chatlane_chat::testing::desk::{Outcome, SharedDesk, lock};
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::wrapper::Effect;
use chatlane_functions::handshake::disconnect;
use chatlane_functions::routes::{ack, fallback, hello, history, look, manage, open, ping, probe, read, refresh, send, sync};
use chatlane_functions::websocket::Answered;
use chatlane_functions::workers::sweep::StreamEvent;
use chatlane_functions::workers::{fan_out, sweep};
use chatlane_protocol::Action;

use super::port::{Call, Ports, ends, machine_clock, reads_settled, what};
use super::queue::Tried;
use super::sweeper::Swept;
use super::{Event, START_MS, World};
use crate::fault::Fault;
use crate::issuer;

/// What started a function.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// A request on this socket.
    Request { socket: u64 },
    /// The end of a socket.
    Disconnect,
    /// Messages of the queue.
    Batch { messages: Vec<u64>, tried: Tried },
    /// Records of the log's stream.
    Sweep(Swept),
}

pub(crate) enum Ended {
    Answered(Answered),
    Batch(SqsBatchResponse),
    Swept(Result<(), Failure>),
}

type Running = Pin<Box<dyn Future<Output = Ended>>>;

/// One function at work.
pub(crate) struct Invocation {
    name: String,
    job: Job,
    desk: SharedDesk<Memory>,
    future: Running,
}

/// A call that was registered.
pub(crate) struct Waiting {
    invocation: u64,
    call: Call,
    effect: Taken,
    /// It is a post, and the connection takes it where it lives.
    never_throttled: bool,
}

/// What became of a call at the backend, where it takes effect once.
enum Taken {
    /// Nothing yet.
    Not,
    /// It was refused.
    Failed,
    /// It is to be answered so.
    Done(Box<dyn Outcome>),
}

/// When Lambda ends a function, which says so by its own clock. (Here none is ended for it.)
const FUNCTION_MS: u64 = 10_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Longest a dead function's write is on its way: SDK and table would have given it up.
const LATE_MS: u64 = 10_000;

impl World {
    /// The ports of a new invocation, and the desk where its calls wait.
    fn machine(&mut self) -> (SharedDesk<Memory>, Ports) {
        let desk = SharedDesk::default();
        let off_ms = self.clock_off();
        (Arc::clone(&desk), Ports { desk, clock: machine_clock(&self.clock, off_ms) })
    }

    pub(crate) fn clock_off(&mut self) -> i64 {
        self.faults.strike(Fault::ClockOff).map_or(0, |mut dice| {
            let most = if dice.one_in(2) { DAY_MS } else { 10_000 };
            let off = i64::try_from(dice.between(1, most)).unwrap_or_default();
            if dice.one_in(2) { off } else { -off }
        })
    }

    /// Starts the function of a route.
    pub(crate) fn invoke_route(&mut self, route: &str, socket: u64, event: ApiGatewayWebsocketProxyRequest) {
        let (desk, ports) = self.machine();
        let (deployed, limit, spread) = (Arc::clone(&self.deployed), Arc::clone(&self.limit), self.dice.next());
        let route = route.to_owned();
        let name = format!("{route} of c{socket}");
        let future = async move {
            let (ports, deployed, limit) = (&ports, &*deployed, &*limit);
            Ended::Answered(match Action::from_name(&route) {
                Some(Action::Hello) => hello::handle(ports, deployed, limit, spread, event).await,
                Some(Action::Open) => open::handle(ports, deployed, limit, event).await,
                Some(Action::Send | Action::Edit | Action::Delete | Action::React) => send::handle(ports, deployed, limit, event).await,
                Some(Action::Sync) => sync::handle(ports, deployed, limit, event).await,
                Some(Action::History) => history::handle(ports, deployed, limit, event).await,
                Some(Action::Probe) => probe::handle(ports, deployed, limit, event).await,
                Some(Action::Ack) => ack::handle(ports, deployed, limit, event).await,
                Some(Action::Read) => read::handle(ports, deployed, limit, event).await,
                Some(
                    Action::Create
                    | Action::Add
                    | Action::Remove
                    | Action::Leave
                    | Action::Role
                    | Action::Settings
                    | Action::Close
                    | Action::Prefs,
                ) => manage::handle(ports, deployed, limit, event).await,
                Some(Action::Info | Action::Members) => look::handle(ports, limit, event).await,
                Some(Action::Refresh) => refresh::handle(ports, &issuer::keys(), &issuer::policy(), limit, event).await,
                Some(Action::Ping) => ping::handle(ports, limit, event).await,
                Some(Action::Ticket) | None => fallback::handle(ports, limit, event).await,
            })
        };
        self.begin(name, Job::Request { socket }, desk, Box::pin(future));
    }

    pub(crate) fn invoke_disconnect(&mut self, socket: u64, event: ApiGatewayWebsocketProxyRequest) {
        let (desk, ports) = self.machine();
        let future = async move { Ended::Answered(disconnect::handle(&ports, event).await) };
        self.begin(format!("disconnect of c{socket}"), Job::Disconnect, desk, Box::pin(future));
    }

    pub(crate) fn invoke_fan_out(&mut self, messages: Vec<u64>, tried: Tried, event: SqsEvent) {
        let (desk, ports) = self.machine();
        let (deployed, limit, ends_ms) = (Arc::clone(&self.deployed), Arc::clone(&self.limit), START_MS + self.now_ms + FUNCTION_MS);
        let future = async move { Ended::Batch(fan_out::handle(&ports, &deployed, &limit, event, ends_ms).await) };
        self.begin(format!("worker of {messages:?}"), Job::Batch { messages, tried }, desk, Box::pin(future));
    }

    pub(crate) fn invoke_sweep(&mut self, swept: Swept, event: StreamEvent) {
        let (desk, ports) = self.machine();
        let deployed = Arc::clone(&self.deployed);
        let future = async move { Ended::Swept(sweep::handle(&ports, &deployed, event).await) };
        self.begin("sweeper".to_owned(), Job::Sweep(swept), desk, Box::pin(future));
    }

    fn begin(&mut self, name: String, job: Job, desk: SharedDesk<Memory>, future: Running) {
        let number = self.number();
        self.log(format_args!("{name} begins"));
        self.invocations.insert(number, Invocation { name, job, desk, future });
        self.go_on(number);
    }

    /// Runs an invocation up to its next calls or to its end.
    fn go_on(&mut self, number: u64) {
        let Some(mut invocation) = self.invocations.remove(&number) else { return };
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(ended) = invocation.future.as_mut().poll(&mut context) {
            self.log(format_args!("{} ends", invocation.name));
            match (invocation.job, ended) {
                (Job::Request { socket }, Ended::Answered(answered)) => self.route_answered(socket, answered),
                (Job::Batch { messages, .. }, Ended::Batch(answer)) => self.batch_answered(&messages, &answer),
                (Job::Sweep(swept), Ended::Swept(Err(_))) => self.not_swept(swept),
                _ => {}
            }
            return;
        }
        let calls = mem::take(&mut lock(&invocation.desk).calls);
        let tried = if let Job::Batch { tried, .. } = invocation.job { tried } else { Tried::Never };
        self.invocations.insert(number, invocation);
        for call in calls {
            self.register(number, call, tried);
        }
    }

    /// A call was made: what becomes of it, and when.
    fn register(&mut self, invocation: u64, call: Call, tried: Tried) {
        let number = self.number();
        let (effect_ms, answer_ms) = (self.call_ms(), self.call_ms());
        // A connection is given up after five lost posts, an entry after two minutes of throttling: a push that is lost by rule.
        let posts = self.strict && call.effect == Effect::posts;
        let (spared, never_throttled) = (posts && tried >= Tried::Once, posts && tried == Tried::Long);
        let (writes, answered) = (call.leaves_a_trace(), effect_ms + answer_ms);
        self.calls.insert(number, Waiting { invocation, call, effect: Taken::Not, never_throttled });
        if self.faults.strike(Fault::Killed).is_some() {
            self.at(effect_ms, Event::Dies { invocation });
            return;
        }
        if writes && let Some(mut dice) = self.faults.strike(Fault::KilledInFlight) {
            let late_ms = effect_ms + dice.between(1, LATE_MS);
            self.at(late_ms, Event::Effect { call: number });
            self.at(effect_ms, Event::Dies { invocation });
            return;
        }
        if !spared && self.faults.strike(Fault::Throttled).is_some() {
            self.at(answered, Event::Answer { call: number, comes: false });
            return;
        }
        let lost = writes && !spared && self.faults.strike(Fault::ResponseLost).is_some();
        self.at(effect_ms, Event::Effect { call: number });
        self.at(answered, Event::Answer { call: number, comes: !lost });
    }

    /// Mostly a few milliseconds; sometimes so long that much else happens in between.
    fn call_ms(&mut self) -> u64 {
        if self.dice.one_in(12) { self.dice.between(20, 400) } else { self.dice.between(0, 8) }
    }

    pub(crate) fn effect(&mut self, number: u64) {
        let Some(waiting) = self.calls.get(&number) else { return };
        if reads_settled(&waiting.call).iter().any(|(conversation, place)| self.conflicts(conversation, place)) {
            self.at(3, Event::Effect { call: number });
            return;
        }
        let Some(mut waiting) = self.calls.remove(&number) else { return };
        let caller = self.invocations.get(&waiting.invocation).map(|caller| caller.name.clone());
        self.log(format_args!("{} {}", caller.as_deref().unwrap_or("the dead"), what(&waiting.call)));
        if matches!(waiting.effect, Taken::Not) {
            if caller.is_some() && matches!(self.invocations[&waiting.invocation].job, Job::Batch { .. }) {
                self.check_removed(&waiting.call);
            }
            waiting.effect = self.take_effect(&waiting.call, waiting.never_throttled).map_or(Taken::Failed, Taken::Done);
            self.watch_guest(&waiting.call);
            self.watch_account(&waiting.call);
        }
        if caller.is_some() {
            self.calls.insert(number, waiting);
        }
    }

    pub(crate) fn answer(&mut self, number: u64, comes: bool) {
        let Some(waiting) = self.calls.get(&number) else { return };
        // Behind its effect, which may have had to wait, and behind the last row of a transaction.
        let is_pending = ends(&waiting.call).is_some_and(|conversation| self.is_in_hand(conversation));
        if is_pending || (comes && matches!(waiting.effect, Taken::Not)) {
            self.at(3, Event::Answer { call: number, comes });
            return;
        }
        let Some(Waiting { invocation, call, effect, .. }) = self.calls.remove(&number) else { return };
        match effect {
            Taken::Done(outcome) if comes => call.answer(outcome),
            Taken::Done(_) | Taken::Failed | Taken::Not => {
                self.log(format_args!("{} fails", what(&call)));
                self.blame(&call);
                call.lose();
            }
        }
        self.go_on(invocation);
    }

    /// A function dies between two awaits. Of its writes that have not taken effect, some do later. (One that has ended since, with a call
    /// that it did not wait for, only loses that call.)
    pub(crate) fn dies(&mut self, number: u64) {
        let dead = self.invocations.remove(&number);
        if let Some(dead) = &dead {
            self.log(format_args!("{} DIES", dead.name));
        }
        let mine: Vec<u64> = self.calls.iter().filter(|(_, waiting)| waiting.invocation == number).map(|(call, _)| *call).collect();
        for call in mine {
            let on_its_way =
                self.calls[&call].call.leaves_a_trace() && matches!(self.calls[&call].effect, Taken::Not) && self.dice.one_in(2);
            let planned = self.events.values().any(|event| matches!(event, Event::Effect { call: planned } if *planned == call));
            let late = self.late(call);
            if !(planned && (on_its_way || late)) {
                self.calls.remove(&call);
            }
        }
        match dead.map(|dead| dead.job) {
            Some(Job::Request { socket }) => {
                // A crash is told at once; one that hangs when the gateway's time is over.
                let after_ms = if self.dice.one_in(4) { 29_000 } else { self.dice.between(5, 50) };
                self.at(after_ms, Event::GatewayFails { socket, message: "Internal server error" });
            }
            Some(Job::Sweep(swept)) => self.not_swept(swept),
            Some(Job::Disconnect | Job::Batch { .. }) | None => {}
        }
    }

    /// Whether a call has no answer planned: it was in flight when its caller was to die.
    fn late(&self, call: u64) -> bool {
        !self.events.values().any(|event| matches!(event, Event::Answer { call: answered, .. } if *answered == call))
    }
}
