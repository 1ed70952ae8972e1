//! A seeded interleaver: runs the real [`crate::send::send`], and with it the append, of many writers on one thread, and decides between
//! any two awaits who goes on, what is lost and who dies.
//!
//! Every call of a port is two steps of the schedule: it takes effect, and it is answered. Between them, and before the first, anything
//! else may run. A seed fixes the whole schedule: who sends what from which anchor, the order of all steps and all faults. After each
//! answer and at the end a judge compares log, answers and tasks with L1 to L5.
//!
//! The scenario is that of the models that the design was checked with (attempts of one message that overlap, stale writers, zombies
//! with a put in flight, SDK re-sends, batches, a restore), on the real code instead of a sketch of it. The same scenario run with one
//! [`Hole`] in the ports must break; that is how the schedules show that they reach the places that matter.
//!
//! Not promised: that all interleavings are visited, and nothing about liveness under faults.

mod calls;
mod device;
mod holes;
mod judge;
mod rng;
mod tally;

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::{Open, SendMessages};
use chatlane_protocol::{ClientMessageId, ConnectionId, ConversationId, DeviceId, Outcome, Position, RequestId, UnixMillis, UserId};
use futures_util::FutureExt as _;

use self::calls::{Answer, Call, Desk, Operation, Port};
use self::device::{Anchors, Device, Wish};
pub use self::holes::Hole;
use self::judge::Judge;
pub use self::judge::{Guarantee, Violation};
use self::rng::Rng;
pub use self::tally::{Fault, Tally};
use crate::entry::DedupeKey;
use crate::fan_out::{Task, fan_out};
use crate::open::open;
use crate::ports::{Heads as _, Put, Session, Sessions as _, Unavailable};
use crate::send::{Caller, send};
use crate::settings::Settings;
use crate::testing::memory::{Memory, SetClock};

/// No schedule comes near it; one that does will not end.
const STEPS_MAX: u32 = 100_000;

/// When the schedules happen.
const START_MS: u64 = 1_800_000_000_000;

/// Receives of a task before it goes to the dead letters.
const RECEIVES_MAX: u32 = 3;

/// One schedule that has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What fixed it.
    pub seed: u64,
    /// What happened, in numbers.
    pub tally: Tally,
    /// The first guarantee that was broken.
    pub violation: Option<Violation>,
    /// What happened, a line a step; empty unless it was recorded.
    pub script: Vec<String>,
}

/// What many schedules gave.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Of all schedules that ran.
    pub tally: Tally,
    /// The first that broke a guarantee, with its script; no schedule ran after it.
    pub broken: Option<Schedule>,
}

/// Runs the schedules of these seeds, of the real append (`None`) or with a hole, up to the first that breaks a guarantee.
pub fn explore(seeds: Range<u64>, hole: Option<Hole>) -> Explored {
    let mut tally = Tally::default();
    for seed in seeds {
        let schedule = Run::new(seed, hole, None).to_the_end();
        tally.add(&schedule.tally);
        if schedule.violation.is_some() {
            return Explored { tally, broken: Some(repeat(seed, hole)) };
        }
    }
    Explored { tally, broken: None }
}

/// Runs one schedule and records its script.
pub fn repeat(seed: u64, hole: Option<Hole>) -> Schedule {
    Run::new(seed, hole, Some(Vec::new())).to_the_end()
}

type Sending = Pin<Box<dyn Future<Output = Result<SendAnswer, Unavailable>> + Send>>;

/// One attempt of a frame.
struct Attempt {
    number: usize,
    device: usize,
    /// The frame whose client waits for the answer.
    frame: Option<u32>,
    /// Most of the times when it could go on, it does not.
    slow: bool,
    desk: Desk,
    stage: Stage,
}

enum Stage {
    /// On its way to a function: what a restore does not stop.
    Travelling(SendMessages),
    /// A function runs.
    Running(Sending),
}

/// A step that can be next.
#[derive(Clone, Copy)]
enum Step {
    Client(usize),
    Attempt(usize),
    InFlight(usize),
    Worker,
}

struct Run {
    seed: u64,
    rng: Rng,
    hole: Option<Hole>,
    memory: Arc<Memory>,
    conversation: ConversationId,
    settings: Settings,
    devices: Vec<Device>,
    /// Messages made so far by each of the two users: ids are unique per user, not across users.
    numbers: [u32; 2],
    attempts: Vec<Attempt>,
    /// Operations whose writer is dead or was told "unavailable".
    in_flight: Vec<Operation>,
    /// Tasks that a worker had and did not delete, and how often they will have been received.
    visible_again: Vec<(Task, u32)>,
    /// A fault hits one call in so many; 0: none.
    fault_one_in: usize,
    /// The step before which the log is restored.
    restore_at: Option<u32>,
    steps: u32,
    judge: Judge,
    tally: Tally,
    script: Option<Vec<String>>,
}

impl Run {
    fn new(seed: u64, hole: Option<Hole>, script: Option<Vec<String>>) -> Self {
        let mut rng = Rng::new(seed);
        let mut settings = Settings::new(1, DedupeKey::new([7; 32]));
        if rng.one_in(8) {
            settings.anchor.entries_max = 4;
        }
        let restored = rng.one_in(4);
        let restore_at = restored.then(|| 60 + count(rng.below(300)));
        // A restore needs traffic before and after it.
        let (frames_max, attempts_min) = if restored { (3, 4) } else { (2, 2) };
        let attempts_max = attempts_min + rng.below(4);
        let devices: Vec<Device> = (0..2 + rng.below(3))
            .map(|index| {
                let anchors = match hole {
                    Some(Hole::NewerAnchorOnRetry) => Anchors::Refreshed,
                    _ if rng.one_in(12) => Anchors::Beyond,
                    _ => Anchors::Known,
                };
                let frames = 1 + rng.below(frames_max);
                Device::new(caller(index), anchors, count(frames), count(attempts_max))
            })
            .collect();
        let memory = Arc::new(Memory::new());
        let conversation = created(&memory, &settings, &devices[0].caller, &devices[1].caller.user);
        watch(&memory, &devices[1].caller);
        Self {
            seed,
            hole,
            memory,
            conversation,
            settings,
            devices,
            numbers: [0; 2],
            attempts: Vec::new(),
            in_flight: Vec::new(),
            visible_again: Vec::new(),
            fault_one_in: [0, 40, 15, 6][rng.below(4)],
            restore_at,
            steps: 0,
            judge: Judge::new(hole.is_none()),
            tally: Tally { schedules: 1, ..Tally::default() },
            script,
            rng,
        }
    }

    fn to_the_end(mut self) -> Schedule {
        let mut possible = Vec::new();
        while self.judge.is_satisfied() {
            possible.clear();
            self.possible(&mut possible);
            if possible.is_empty() {
                break;
            }
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "the schedule of seed {} does not end", self.seed);
            if self.restore_at.is_some_and(|at| at <= self.steps) {
                self.restore();
                continue;
            }
            match possible[self.rng.below(possible.len())] {
                Step::Client(device) => self.client(device),
                Step::Attempt(index) => self.attempt(index),
                Step::InFlight(index) => self.arrive(index),
                Step::Worker => self.worker(),
            }
        }
        {
            let state = self.memory.state();
            let log = &state.log[&self.conversation];
            self.tally.stored = log.len() as u64 - 1;
            self.judge.at_the_end(log);
        }
        let violation = self.judge.into_violation();
        Schedule { seed: self.seed, tally: self.tally, violation, script: self.script.unwrap_or_default() }
    }

    fn possible(&self, steps: &mut Vec<Step>) {
        let clients = self.devices.iter().enumerate().filter(|(_, device)| device.wish() != Wish::Rest);
        steps.extend(clients.map(|(index, _)| Step::Client(index)));
        steps.extend((0..self.attempts.len()).map(Step::Attempt));
        steps.extend((0..self.in_flight.len()).map(Step::InFlight));
        if !self.visible_again.is_empty() || !self.memory.state().queue.is_empty() {
            steps.push(Step::Worker);
        }
    }

    /// A client sends its next frame, or the same again.
    fn client(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let state = self.memory.state();
        let log = &state.log[&self.conversation];
        match device.wish() {
            Wish::Rest => return,
            Wish::Send => {
                let user = device.caller.user.clone();
                for id in device.make(&mut self.rng, log, &mut self.numbers[index % 2]) {
                    self.judge.made(index, &user, id);
                    self.tally.made += 1;
                }
            }
            wish @ (Wish::Retry | Wish::Wait) => {
                let waits = wish == Wish::Wait;
                if waits && !self.rng.one_in(12) {
                    return;
                }
                if !device.retry(&mut self.rng, log) {
                    let frame = device.frame;
                    drop(state);
                    return self.note(format_args!("device {index} is done with frame {frame}: found in the log, or given up"));
                }
                self.tally.retried += 1;
                if waits {
                    self.tally.hit(Fault::Impatience);
                }
            }
        }
        let (request, frame) = (device.request(&mut self.rng, &self.conversation), device.frame);
        drop(state);
        self.tally.attempts += 1;
        let number = usize::try_from(self.tally.attempts).unwrap_or(usize::MAX);
        self.note(format_args!("device {index} sends {} as attempt {number}", Messages(&request)));
        let slow = self.rng.one_in(3);
        let stage = Stage::Travelling(request);
        self.attempts.push(Attempt { number, device: index, frame: Some(frame), slow, desk: Desk::new(), stage });
    }

    /// An attempt begins, one of its calls takes effect, or it is answered and goes on to the next.
    fn attempt(&mut self, index: usize) {
        let travels = matches!(self.attempts[index].stage, Stage::Travelling(_));
        let pace = if travels && self.restore_at.is_some() { 60 } else { 10 }; // late enough to arrive after the restore
        if self.attempts[index].slow && !self.rng.one_in(pace) {
            return;
        }
        let call = self.attempts[index].desk.take();
        if self.fault_one_in > 0 && self.rng.one_in(self.fault_one_in * 4) {
            return self.kill(index, call);
        }
        match call {
            Call::Submitted(operation) => self.call(index, operation),
            Call::None => {
                let draw = self.rng.next();
                let attempt = &mut self.attempts[index];
                if let Stage::Travelling(request) = &attempt.stage {
                    let port = Port::new(attempt.desk.clone(), Arc::clone(&self.memory));
                    let clock = SetClock::at(now(self.steps).plus_ms(draw % 2000)); // clocks differ
                    let (request, settings) = (request.clone(), self.settings.clone());
                    let caller = self.devices[attempt.device].caller.clone();
                    attempt.stage = Stage::Running(sending(self.hole, port, draw, clock, settings, caller, request));
                }
                self.go_on(index);
            }
            answered @ Call::Answered(_) => {
                self.attempts[index].desk.set(answered);
                self.go_on(index);
            }
        }
    }

    /// Polls the attempt, up to its next call or its end.
    fn go_on(&mut self, index: usize) {
        let attempt = &mut self.attempts[index];
        let Stage::Running(sending) = &mut attempt.stage else { return };
        let Poll::Ready(result) = sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { return };
        let Attempt { number, device: from, frame, .. } = self.attempts.swap_remove(index);
        let lost = self.fault_one_in > 0 && self.rng.one_in(self.fault_one_in);
        let device = &mut self.devices[from];
        let present = frame == Some(device.frame);
        if present {
            device.awaited -= 1;
        }
        match &result {
            Ok(answer) => {
                let state = self.memory.state();
                let log = &state.log[&self.conversation];
                self.judge.answered(&device.caller.user, answer, log, device.anchors != Anchors::Beyond);
                if present && !lost {
                    device.take(answer, log);
                }
                drop(state);
                for result in &answer.results {
                    match result.outcome {
                        Outcome::Ok(_) => self.tally.ok += 1,
                        Outcome::Duplicate(_) => self.tally.duplicates += 1,
                        Outcome::Refused(_) => self.tally.refused += 1,
                        Outcome::Conflict(_) | Outcome::NotAttempted => {}
                    }
                }
                self.note(format_args!("attempt {number} answers {}", Results(answer)));
            }
            Err(unavailable) => self.note(format_args!("attempt {number} fails: {unavailable}")),
        }
        if lost {
            self.tally.hit(Fault::AnswerToClientLost);
            self.note(format_args!("device {from} does not get it"));
        }
    }

    /// A call reaches the backend, or something goes wrong.
    fn call(&mut self, index: usize, operation: Operation) {
        let fault = self.fault_for(&operation);
        let number = self.attempts[index].number;
        let answer = match fault {
            None => self.take_effect(&operation),
            Some(Fault::PutAnswerLost | Fault::EnqueueAnswerLost) => self.take_effect(&operation).and_then(|_| unavailable("the answer")),
            Some(Fault::PutLate | Fault::EnqueueLate) => {
                self.in_flight.push(operation.clone());
                unavailable("the answer")
            }
            Some(Fault::PutContended) => Ok(Answer::Put(Put::Contended)),
            Some(Fault::PutResent | Fault::EnqueueResent) => {
                let first = self.take_effect(&operation);
                self.note_call(number, &operation, fault, &first);
                return self.attempts[index].desk.set(Call::Submitted(operation));
            }
            Some(Fault::PutResentWhileInFlight) => {
                self.note_call(number, &operation, fault, &unavailable("the answer"));
                self.in_flight.push(operation.clone());
                return self.attempts[index].desk.set(Call::Submitted(operation));
            }
            Some(_) => unavailable("the request"),
        };
        self.note_call(number, &operation, fault, &answer);
        self.attempts[index].desk.set(Call::Answered(answer));
    }

    fn fault_for(&mut self, operation: &Operation) -> Option<Fault> {
        const PUT: [Fault; 6] = [
            Fault::RequestLost,
            Fault::PutAnswerLost,
            Fault::PutLate,
            Fault::PutResent,
            Fault::PutResentWhileInFlight,
            Fault::PutContended,
        ];
        const ENQUEUE: [Fault; 4] = [Fault::EnqueueLost, Fault::EnqueueAnswerLost, Fault::EnqueueLate, Fault::EnqueueResent];
        if !self.rng.one_in(self.fault_one_in) {
            return None;
        }
        let fault = match operation {
            Operation::Put(_) => PUT[self.rng.below(PUT.len())],
            Operation::Enqueue(_) => ENQUEUE[self.rng.below(ENQUEUE.len())],
            Operation::Read { .. } | Operation::Last(_) | Operation::Member(..) | Operation::Heads(_) => Fault::RequestLost,
        };
        self.tally.hit(fault);
        Some(fault)
    }

    fn take_effect(&mut self, operation: &Operation) -> Result<Answer, Unavailable> {
        self.tally.effects += 1;
        let answer = operation.take_effect(&self.memory);
        if matches!(answer, Ok(Answer::Put(Put::Taken(_)))) {
            self.tally.taken += 1;
        }
        answer
    }

    /// A put or a task of a writer that no longer waits for it reaches the backend.
    fn arrive(&mut self, index: usize) {
        if !self.rng.one_in(8) {
            return;
        }
        let operation = self.in_flight.swap_remove(index);
        match self.take_effect(&operation) {
            Ok(answer) => self.note(format_args!("in flight: {operation} → {answer}")),
            Err(unavailable) => self.note(format_args!("in flight: {operation} → {unavailable}")),
        }
    }

    /// The process of an attempt dies; what it has sent may still arrive.
    fn kill(&mut self, index: usize, call: Call) {
        let Attempt { number, device, frame, .. } = self.attempts.swap_remove(index);
        if frame == Some(self.devices[device].frame) {
            self.devices[device].awaited -= 1;
        }
        let fault = match call {
            Call::Submitted(operation @ (Operation::Put(_) | Operation::Enqueue(_))) if self.rng.one_in(2) => {
                self.in_flight.push(operation);
                Fault::KilledInFlight
            }
            Call::Submitted(_) | Call::None => Fault::Killed,
            Call::Answered(_) => Fault::KilledBeforeAnswer,
        };
        self.tally.hit(fault);
        self.note(format_args!("attempt {number} of device {device} dies: {fault:?}"));
    }

    /// A fan-out worker receives one of the tasks, and does all of it in one step: what runs between its calls is not the append's matter.
    fn worker(&mut self) {
        if !self.rng.one_in(4) {
            return;
        }
        let (task, receives) = self.receive();
        let range = format_args!("#{} to {}", task.first, task.last).to_string();
        if self.rng.one_in(self.fault_one_in) {
            // It dies after its first call.
            let raised = self.memory.raise_head(&self.conversation, task.last).now_or_never();
            raised.expect("the memory backend never waits").expect("the conversation exists");
            self.visible_again.push((task, receives + 1));
            self.tally.hit(Fault::WorkerKilled);
            return self.note(format_args!("a worker raises the head for {range} and dies"));
        }
        let (memory, clock) = (&*self.memory, SetClock::at(now(self.steps)));
        let done = fan_out(memory, memory, memory, &clock, &task, receives).now_or_never();
        match done.expect("the memory backend never waits") {
            Ok(_) => {
                let frames = std::mem::take(&mut self.memory.state().posts);
                frames.iter().for_each(|(_, frame)| self.judge.posted(frame));
                self.note(format_args!("a worker delivers {range}"));
                if self.rng.one_in(self.fault_one_in) {
                    self.tally.hit(Fault::TaskReceivedAgain);
                    self.visible_again.push((task, receives + 1));
                }
            }
            Err(unavailable) => {
                self.note(format_args!("a worker fails at {range}: {unavailable}"));
                if receives < RECEIVES_MAX {
                    self.visible_again.push((task, receives + 1));
                } else {
                    self.judge.dead_letter(&task);
                }
            }
        }
    }

    /// Any task, and how often it was received with this time.
    fn receive(&mut self) -> (Task, u32) {
        let mut state = self.memory.state();
        let any = self.rng.below(state.queue.len() + self.visible_again.len());
        if any < state.queue.len() { (state.queue.swap_remove(any).0, 1) } else { self.visible_again.swap_remove(any - state.queue.len()) }
    }

    /// The tables are restored to an earlier moment under a raised epoch. What ran against the old ones has no effect on the new ones;
    /// requests on their way arrive at the new deployment.
    fn restore(&mut self) {
        self.restore_at = None;
        self.settings.epoch += 1;
        let last = {
            let mut state = self.memory.state();
            let log = state.log.get_mut(&self.conversation).expect("the conversation exists");
            let entries = log.len() as u64;
            let kept = entries - self.rng.between(0, 5.min(entries - 1));
            let last =
                log.values().take_while(|entry| entry.position.seq.get() <= kept).last().map_or(Position::ZERO, |last| last.position);
            log.split_off(&last.seq.next());
            let head = state.heads.get_mut(&self.conversation).expect("the conversation exists");
            *head = last.min(*head);
            last
        };
        self.in_flight.clear();
        self.attempts.retain(|attempt| matches!(attempt.stage, Stage::Travelling(_)));
        // Sockets end with the old deployment: what was on its way arrives now, and nobody waits for the answers.
        for attempt in &mut self.attempts {
            (attempt.frame, attempt.slow) = (None, false);
        }
        self.devices.iter_mut().for_each(Device::reconnect);
        // The others may all be beyond the tail and wait; one who held nothing of the old log goes on at once.
        self.devices.push(Device::new(caller(self.devices.len()), Anchors::Known, 3, 4));
        self.judge.restored(last.seq);
        self.tally.hit(Fault::Restore);
        let epoch = self.settings.epoch;
        self.note(format_args!("restored to {last}, epoch {epoch}"));
    }

    fn note_call(&mut self, number: usize, operation: &Operation, fault: Option<Fault>, answer: &Result<Answer, Unavailable>) {
        match (fault, answer) {
            (None, Ok(answer)) => self.note(format_args!("attempt {number}: {operation} → {answer}")),
            (Some(fault), Ok(answer)) => self.note(format_args!("attempt {number}: {operation} ({fault:?}) → {answer}")),
            (_, Err(unavailable)) => self.note(format_args!("attempt {number}: {operation} ({fault:?}) → {unavailable}")),
        }
    }

    fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(script) = &mut self.script {
            script.push(format!("{:4} {line}", self.steps));
        }
    }
}

fn sending(
    hole: Option<Hole>,
    port: Port,
    draw: u64,
    clock: SetClock,
    settings: Settings,
    caller: Caller,
    request: SendMessages,
) -> Sending {
    match hole {
        None => Box::pin(async move { send(&port, &port, &clock, &settings, &caller, &request).await }),
        Some(hole) => Box::pin(async move { holes::send_through(hole, port, draw, &clock, &settings, &caller, request).await }),
    }
}

/// The direct conversation of the two, with nothing in it.
fn created(memory: &Memory, settings: &Settings, caller: &Caller, with: &UserId) -> ConversationId {
    let request = Open {
        id: RequestId::new("open").expect("this is a request id"),
        with: with.clone(),
        client_message_id: ClientMessageId::new("created").expect("this is a client message id"),
    };
    let clock = SetClock::at(now(0));
    let opened = open(memory, memory, &clock, settings, caller, &request).now_or_never();
    let opened = opened.and_then(Result::ok).expect("the memory backend never waits nor refuses a conversation");
    opened.conversation.conversation
}

/// Devices take turns: even ones are alice's, odd ones bob's.
fn caller(index: usize) -> Caller {
    let user = if index.is_multiple_of(2) { "alice" } else { "bob" };
    Caller {
        user: UserId::new(user).expect("this is a user id"),
        device: DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf00{index}")).expect("this is a UUID"),
        connection: ConnectionId::new(format!("connection-{index}")).expect("this is a connection id"),
        connected_at: now(0),
        expires: UnixMillis::MAX,
    }
}

/// One who receives everything: what the judge sees of the deliveries.
fn watch(memory: &Memory, caller: &Caller) {
    let connection = ConnectionId::new("watch").expect("this is a connection id");
    let session = Session { connection, device: caller.device, connected_at: caller.connected_at, expires: UnixMillis::MAX };
    let registered = memory.register(&caller.user, &session, now(0)).now_or_never();
    registered.expect("the memory backend never waits").expect("the memory backend never fails");
}

fn now(step: u32) -> UnixMillis {
    UnixMillis::try_from(START_MS + u64::from(step) * 10).unwrap_or_default()
}

fn unavailable(lost: &'static str) -> Result<Answer, Unavailable> {
    Err(Unavailable::new("call the backend", format!("{lost} was lost")))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Messages of a request, for the script.
struct Messages<'a>(&'a SendMessages);

impl fmt::Display for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for message in &self.0.messages {
            write!(f, "{gap}{} from {}", message.client_message_id, message.anchor)?;
            gap = ", ";
        }
        Ok(())
    }
}

/// Results of an answer, for the script.
struct Results<'a>(&'a SendAnswer);

impl fmt::Display for Results<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for result in &self.0.results {
            write!(f, "{gap}{} ", result.client_message_id)?;
            match &result.outcome {
                Outcome::Ok(stored) => write!(f, "ok at {}", stored.position)?,
                Outcome::Duplicate(stored) => write!(f, "duplicate of {}", stored.position)?,
                Outcome::Conflict(stored) => write!(f, "conflict with {}", stored.position)?,
                Outcome::Refused(refusal) => write!(f, "refused as {:?}", refusal.code)?,
                Outcome::NotAttempted => f.write_str("not attempted")?,
            }
            gap = ", ";
        }
        Ok(())
    }
}
