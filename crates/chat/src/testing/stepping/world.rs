//! One run of a scene: processes, the queue and the gateway between them, and what the device has in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::mem;
use std::task::{Context, Poll, Waker};

use chatlane_protocol::{Position, ServerFrame};
use sha2::{Digest as _, Sha256};

use super::actors::{Actor, Ended, Playing, had, play, socket, task};
use super::mutated::Ports;
use super::names::{conversation, users};
use super::search::{Identity, Run};
use super::{Mutation, Scene};
use crate::ports::{Connection, Connections as _, Created, Creations as _, FanOutQueue as _, Heads as _, MessageLog as _, Put};
use crate::requests::hello::Greeting;
use crate::testing::builders::{creation, entry, head, start};
use crate::testing::desk::{SharedDesk, Waiting, lock};
use crate::testing::memory::Memory;
use crate::testing::ready::block_on;

/// What can be next. Processes, calls and writes are numbered as they stand in their lists.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A call takes effect, and its process goes on.
    Effect { process: usize, call: usize },
    /// A write takes effect whose process is dead.
    Late(usize),
    /// A process dies. Of the writes that it waits for, those in this set of bits are on their way.
    Death { process: usize, on_their_way: u32, then: Then },
    /// The queue hands a task out while a worker has it.
    HandedOutTwice(usize),
}

/// What makes good what has died.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// The queue hands the task out again; the sender sends again; the device says hello again on the same socket.
    Again,
    /// The device opens a new socket. The old one still takes posts, into the void, or the gateway knows that it is gone.
    NewSocket { old_is_gone: bool },
}

/// The hash of an answer.
type Told = [u8; 32];

struct Process {
    actor: Actor,
    desk: SharedDesk<Memory>,
    playing: Playing,
    /// All answers that it was given, by the numbers of their calls.
    told: BTreeMap<usize, Told>,
    /// The calls that were writes, in the order in which they were answered.
    written: Vec<usize>,
}

/// Bob's device, on the socket that it opened last.
struct Device {
    number: u8,
    socket: Connection,
    /// What the last hello on this socket told; nothing before that or if it was displaced.
    head: Option<Position>,
}

pub(super) struct World {
    mutation: Option<Mutation>,
    memory: Memory,
    processes: Vec<Process>,
    late: Vec<Waiting<Memory>>,
    device: Device,
    faults_left: u32,
    /// Whether the steps go into the script.
    records: bool,
    script: Vec<String>,
}

impl World {
    pub(super) fn new(scene: Scene, faults: u32, mutation: Option<Mutation>) -> Self {
        let memory = Memory::new();
        let [alice, bob] = users();
        let created = block_on(memory.create(&creation(&conversation(), &alice, &bob)));
        assert!(matches!(created, Ok(Created::New)), "an empty backend");
        block_on(memory.raise_head(&conversation(), head(1))).expect("the conversation exists");

        let device = Device { number: 1, socket: socket(1), head: None };
        let mut world =
            Self { mutation, memory, processes: vec![], late: vec![], device, faults_left: faults, records: true, script: vec![] };
        match scene {
            Scene::AMessageIsSent => world.begin(Actor::Writer),
            Scene::TwoTasksAreQueued => (2..=3).for_each(|number| world.queue(number)),
            Scene::TheDeviceMoves => {
                block_on(world.memory.register(&bob, &socket(0), start())).expect("the memory backend never fails");
                world.queue(2);
            }
        }
        world.receive();
        world.connect();
        world
    }

    /// What happened, a line a step, and what is missing.
    pub(super) fn take_script(&mut self) -> Vec<String> {
        let mut script = mem::take(&mut self.script);
        let Device { socket, head, .. } = &self.device;
        let told = head.map_or_else(|| "nothing".to_owned(), |head| format!("up to {head}"));
        let missing: Vec<String> = self.missing().iter().map(ToString::to_string).collect();
        script.push(format!("the end: hello on {} told {told}; missing: {}", socket.connection, missing.join(", ")));
        script
    }

    /// Stores an entry of alice and queues its task.
    fn queue(&self, number: u64) {
        let put = block_on(self.memory.put(&entry(&conversation(), number, "alice")));
        assert!(matches!(put, Ok(Put::Stored)), "a free slot");
        block_on(self.memory.enqueue(&task(number), 0)).expect("the memory backend never fails");
    }

    /// The device begins to open the socket that it is to be on: until the gateway has accepted it, posts to it find nothing.
    fn connect(&mut self) {
        let socket = self.device.socket.clone();
        self.memory.state().gone.insert(socket.connection.clone());
        self.begin(Actor::Device { socket, connects: true });
    }

    fn begin(&mut self, actor: Actor) {
        let desk = SharedDesk::default();
        let playing = play(actor.clone(), Ports::new(desk.clone(), self.mutation), self.mutation);
        self.processes.push(Process { actor, desk, playing, told: BTreeMap::new(), written: vec![] });
        self.go_on(self.processes.len() - 1);
    }

    /// The process runs up to its next calls or to its end.
    fn go_on(&mut self, process: usize) {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(ended) = self.processes[process].playing.as_mut().poll(&mut context) else { return };
        let Process { actor, .. } = self.processes.remove(process);
        self.record(format_args!("{actor} ends"));
        if let Ended::Greeted(Greeting::Welcome(answer)) = ended {
            // A conversation that is left out stands as the device knows it.
            let row = answer.conversations.into_iter().find(|row| row.conversation.conversation == conversation());
            self.device.head = Some(row.map_or_else(had, |row| row.conversation.head));
        }
    }

    /// Each queued task is with a worker at once: that it takes its time is that its first calls do.
    fn receive(&mut self) {
        let queued = mem::take(&mut self.memory.state().queue);
        for (task, _) in queued {
            self.begin(Actor::Worker { task, times: 1 });
        }
    }

    /// `known`: what the process is told, where that is known.
    fn effect(&mut self, process: usize, call: usize, known: Option<&Told>) -> Told {
        let at = &mut self.processes[process];
        let call = lock(&at.desk).calls.remove(call);
        let number = call.number;
        if call.leaves_a_trace() {
            at.written.push(number);
        }
        let told = if let Some(told) = known {
            call.answer(call.take_effect(&self.memory));
            *told
        } else {
            let line = format!("{}: {}", at.actor, Said(&call));
            let outcome = call.take_effect(&self.memory);
            let answer = format!("{outcome:?}");
            call.answer(outcome);
            // An answer of one word says something to a reader ("Gone"); rows and entries are too long.
            let shown = if answer.chars().all(char::is_alphabetic) { format!(": {answer}") } else { String::new() };
            self.script.push(line + &shown);
            Sha256::digest(answer).into()
        };
        at.told.insert(number, told);
        self.go_on(process);
        told
    }

    fn record(&mut self, line: fmt::Arguments<'_>) {
        if self.records {
            self.script.push(line.to_string());
        }
    }

    fn late(&mut self, call: usize) {
        let call = self.late.remove(call);
        self.record(format_args!("late, of the dead: {}", Said(&call)));
        let _nobody_is_answered = call.take_effect(&self.memory);
    }

    fn death(&mut self, process: usize, on_their_way: u32, then: Then) {
        self.faults_left -= 1;
        let Process { actor, desk, .. } = self.processes.remove(process);
        let calls = mem::take(&mut lock(&desk).calls);
        let (mut lost, mut late) = (vec![], vec![]);
        let writes = calls.into_iter().filter(Waiting::leaves_a_trace);
        for (bit, call) in writes.enumerate() {
            if on_their_way >> bit & 1 == 1 { late.push(call) } else { lost.push(call) }
        }
        let said = |calls: &[Waiting<Memory>]| calls.iter().map(|call| Said(call).to_string()).collect::<Vec<_>>().join(", ");
        self.record(format_args!("{actor} DIES; lost: [{}]; on their way: [{}]", said(&lost), said(&late)));
        self.late.extend(late);
        match (actor, then) {
            (Actor::Device { socket, .. }, Then::Again) => {
                self.record(format_args!("the device says hello again on the same socket"));
                self.begin(Actor::Device { socket, connects: false });
            }
            (Actor::Device { socket: left, .. }, Then::NewSocket { old_is_gone }) => {
                let old = if old_is_gone { "gone" } else { "half-open" };
                self.record(format_args!("the device opens a new socket; the old one is {old}"));
                if old_is_gone {
                    self.memory.state().gone.insert(left.connection);
                }
                let number = self.device.number + 1;
                self.device = Device { number, socket: socket(number), head: None };
                self.connect();
            }
            (Actor::Worker { task, times }, _) => self.begin(Actor::Worker { task, times: times + 1 }),
            (Actor::Writer, _) => self.begin(Actor::Writer),
        }
    }

    /// `known`: what the process is told, where that is known. Answers what it was.
    fn step(&mut self, step: Step, known: Option<&Told>) -> Option<Told> {
        let told = match step {
            Step::Effect { process, call } => Some(self.effect(process, call, known)),
            Step::Late(call) => {
                self.late(call);
                None
            }
            Step::Death { process, on_their_way, then } => {
                self.death(process, on_their_way, then);
                None
            }
            Step::HandedOutTwice(process) => {
                self.hand_out_twice(process);
                None
            }
        };
        self.receive();
        told
    }

    fn hand_out_twice(&mut self, process: usize) {
        if let Actor::Worker { task, times } = self.processes[process].actor.clone() {
            self.faults_left -= 1;
            self.record(format_args!("the queue hands {} out TWICE", task.last));
            self.begin(Actor::Worker { task, times: times + 1 });
        }
    }

    /// In which ways a process can die.
    fn deaths(&self, process: usize, steps: &mut Vec<Step>) {
        let Process { actor, desk, .. } = &self.processes[process];
        let writes = lock(desk).calls.iter().filter(|call| call.leaves_a_trace()).count();
        let accepted = |socket: &Connection| !self.memory.state().gone.contains(&socket.connection);
        let then: &[Then] = match actor {
            Actor::Device { socket, .. } if accepted(socket) => {
                &[Then::Again, Then::NewSocket { old_is_gone: false }, Then::NewSocket { old_is_gone: true }]
            }
            Actor::Device { .. } => &[Then::NewSocket { old_is_gone: true }],
            Actor::Writer | Actor::Worker { .. } => &[Then::Again],
        };
        for on_their_way in 0..1 << writes {
            steps.extend(then.iter().map(|then| Step::Death { process, on_their_way, then: *then }));
        }
    }

    /// Entries that the device neither has, nor was told of, nor was posted on the socket that it is on.
    fn missing(&self) -> Vec<Position> {
        let state = self.memory.state();
        let mut posted = BTreeSet::new();
        for (_, frame) in state.posts.iter().filter(|(connection, _)| *connection == self.device.socket.connection) {
            if let Ok(ServerFrame::Entries(entries)) = serde_json::from_str(frame) {
                posted.extend(entries.entries.iter().map(|entry| entry.position));
            }
        }
        let synced = self.device.head.max(Some(had()));
        let stored = state.log[&conversation()].values().map(|entry| entry.position);
        stored.filter(|position| Some(*position) > synced && !posted.contains(position)).collect()
    }
}

/// A call for the script: a posted frame by what it holds.
struct Said<'a>(&'a Waiting<Memory>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.argument::<String>().map(|frame| serde_json::from_str(frame)) {
            Some(Ok(ServerFrame::Entries(entries))) => {
                let positions: Vec<String> = entries.entries.iter().map(|entry| entry.position.to_string()).collect();
                write!(f, "post {} to {:?}", positions.join(", "), self.0.argument::<chatlane_protocol::ConnectionId>())
            }
            _ => self.0.fmt(f),
        }
    }
}

impl Run for World {
    type Step = Step;
    /// What a process was told.
    type Trace = Option<Told>;

    fn possible(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..self.late.len()).map(Step::Late).collect();
        for (process, at) in self.processes.iter().enumerate() {
            let calls = lock(&at.desk).calls.len();
            steps.extend((0..calls).map(|call| Step::Effect { process, call }));
            if self.faults_left > 0 {
                self.deaths(process, &mut steps);
                if matches!(at.actor, Actor::Worker { .. }) {
                    steps.push(Step::HandedOutTwice(process));
                }
            }
        }
        steps
    }

    fn take(&mut self, step: Step) -> Option<Told> {
        self.step(step, None)
    }

    fn take_again(&mut self, step: Step, told: &Option<Told>) {
        self.records = false;
        self.step(step, told.as_ref());
        self.records = true;
    }

    fn identity(&self) -> Identity {
        let mut identity = String::with_capacity(8 * 1024);
        let mut add = |part: fmt::Arguments<'_>| identity.write_fmt(part).expect("a string takes everything");
        add(format_args!("{} {} {:?}\n", self.faults_left, self.device.socket.connection, self.device.head));
        for Process { actor, told, written, .. } in &self.processes {
            // What a process does next is fixed by what it was told. It waits for reads in joins, which cannot tell their order; the
            // outcomes of posts it collects as they come.
            add(format_args!("{actor:?} {told:x?} {written:?}\n"));
        }
        for call in &self.late {
            add(format_args!("late {call}\n"));
        }
        add(format_args!("{:?}", self.memory.state()));
        Sha256::digest(identity).into()
    }

    fn is_broken(&self) -> bool {
        self.device.head.is_none() || !self.missing().is_empty()
    }
}
