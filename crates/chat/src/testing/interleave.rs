//! A seeded interleaver: runs the real [`crate::requests::send::send`] and [`crate::requests::change::change`], and with them the append,
//! of many writers on one thread, and decides between any two awaits who goes on, what is lost and who dies.
//!
//! Every call of a port is two steps of the schedule: it takes effect, and it is answered. Between them, and before the first, anything
//! else may run. A seed fixes the whole schedule: who sends what from which anchor, the order of all steps and all faults. Tasks go to
//! the real [`crate::workers::fan_out::fan_out`], one step each. After each answer and at the end a judge compares log, answers and
//! posted frames with L1 to L5, with M1 where alice is removed, and with R1 where a stranger sends too.
//!
//! There are three scenes. In a group ([`Scene::Group`]) users also add, remove, leave, give roles, lock and close, transactions are seen
//! half, and the judge folds the log itself: who was permitted what (M1), and what facts, rows and refusals have to be. In the third
//! ([`Scene::Message`]) most of what two users do is about one message of such a group.
//!
//! The scenario of the direct conversation is that of the models that the design was checked with (attempts of one message that overlap, stale writers, zombies
//! with a put in flight, SDK re-sends, batches, a restore), on the real code instead of a sketch of it. The same scenario run with one
//! [`Mutation`] in the ports must break; that is how the schedules show that they reach the places that matter.
//!
//! Not promised: that all interleavings are visited; nothing about liveness under faults; nothing about what happens between the calls of
//! one fan-out worker, whose raise of the head is always answered here (`tests/fan_out.rs` has the cases).

mod device;
mod frame;
mod group;
mod half;
mod judge;
mod mutations;
mod races;
mod rng;
mod script;
mod steps;
mod tally;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chatlane_protocol::request::Open;
use chatlane_protocol::{ClientMessageId, ConnectionId, ConversationId, DeviceId, RequestId, Seq, UnixMillis, UserId};
use futures_util::FutureExt as _;

use self::device::{Anchors, Device, Wish};
use self::frame::{Answer, Request, Wanted};
use self::half::Half;
use self::judge::Judge;
pub use self::judge::{Guarantee, Violation};
pub use self::mutations::Mutation;
use self::rng::Rng;
pub use self::tally::{Fault, Race, Tally};
use crate::log::recheck::Recheck;
use crate::ports::{Connection, Connections as _, Failure};
use crate::requests::caller::Caller;
use crate::requests::open::open;
use crate::settings::Settings;
use crate::testing::builders;
use crate::testing::desk::{AtDesk, SharedDesk, Waiting};
use crate::testing::memory::Memory;
use crate::workers::task::Task;

/// A recheck that so few entries and so little time outrun, in schedules that store a dozen: a step takes 10 ms and stores one entry at
/// most.
const SOON: Recheck = Recheck { entries: 3, apart_ms: 30 };

/// No schedule comes near it; one that does will not end.
const STEPS_MAX: u32 = 100_000;

/// When the schedules happen.
const START_MS: u64 = 1_800_000_000_000;

/// Where the schedules happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Alice and bob write to each other; alice may be removed, the log restored.
    Direct,
    /// Five users, four of them members, write and change the group.
    Group,
    /// Two users, each with several devices, edit, delete and react to one message of a group.
    Message,
}

impl Scene {
    const fn users(self) -> &'static [&'static str] {
        match self {
            Self::Direct | Self::Message => &["alice", "bob"],
            Self::Group => &["alice", "bob", "carol", "dave", "erin"],
        }
    }

    /// Devices take turns: the first is alice's, the next bob's.
    fn caller(self, index: usize) -> Caller {
        let users = self.users();
        Caller {
            user: UserId::new(users[index % users.len()]).expect("this is a user id"),
            device: DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf00{index}")).expect("this is a UUID"),
            connection: Some(ConnectionId::new(format!("connection-{index}")).expect("this is a connection id")),
        }
    }
}

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

/// Runs the schedules of these seeds, of the real append (`None`) or with a mutation, up to the first that breaks a guarantee.
pub fn explore(scene: Scene, seeds: Range<u64>, mutation: Option<Mutation>) -> Explored {
    let mut tally = Tally::default();
    for seed in seeds {
        let schedule = Run::new(scene, seed, mutation, None).finish();
        tally.add(&schedule.tally);
        if schedule.violation.is_some() {
            return Explored { tally, broken: Some(repeat(scene, seed, mutation)) };
        }
    }
    Explored { tally, broken: None }
}

/// Runs one schedule and records its script.
pub fn repeat(scene: Scene, seed: u64, mutation: Option<Mutation>) -> Schedule {
    Run::new(scene, seed, mutation, Some(Vec::new())).finish()
}

type Serving = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

/// One attempt of a frame.
struct Attempt {
    number: usize,
    device: usize,
    /// The frame whose client waits for the answer.
    frame: Option<u32>,
    /// Most of the times when it could go on, it does not.
    slow: bool,
    desk: SharedDesk<Memory>,
    /// Whether its last call was answered and it has not gone on since.
    answered: bool,
    wanted: Wanted,
    /// The last entry when it began to run.
    from: Seq,
    stage: Stage,
}

enum Stage {
    /// On its way to a function: what a restore does not stop.
    Travelling(Request),
    /// A function runs.
    Running(Serving),
}

/// A step that can be next.
#[derive(Clone, Copy)]
enum Step {
    Client(usize),
    Attempt(usize),
    InFlight(usize),
    Worker,
    Settle,
}

struct Run {
    scene: Scene,
    seed: u64,
    rng: Rng,
    mutation: Option<Mutation>,
    memory: Memory,
    conversation: ConversationId,
    settings: Settings,
    devices: Vec<Device>,
    users: Vec<UserId>,
    /// Whom most changes of a group are about.
    focus: Option<UserId>,
    /// What each of the users made so far: ids are unique per user, not across users.
    numbers: Vec<u32>,
    attempts: Vec<Attempt>,
    /// A transaction that is seen half.
    half: Option<Half>,
    /// Writes whose writer is dead or was answered "unavailable".
    in_flight: Vec<Waiting<Memory>>,
    /// Tasks that a worker had and did not delete, and how often they will have been received.
    visible_again: Vec<(Task, u32)>,
    /// A fault hits one call in so many; 0: none.
    fault_one_in: usize,
    /// The step before which the log is restored.
    restore_at: Option<u32>,
    /// The step before which alice is removed.
    removal_at: Option<u32>,
    steps: u32,
    /// The same, for the clocks of the writers.
    time: Arc<AtomicU32>,
    judge: Judge,
    tally: Tally,
    script: Option<Vec<String>>,
}

impl Run {
    fn new(scene: Scene, seed: u64, mutation: Option<Mutation>, script: Option<Vec<String>>) -> Self {
        let mut rng = Rng::new(seed);
        let mut settings = builders::settings();
        if rng.one_in(8) {
            settings.limits.anchor.entries_max = 4;
        }
        if rng.one_in(2) {
            settings.limits.recheck = SOON;
        }
        settings.limits.recheck = match mutation {
            Some(Mutation::RowNotReadAgain) => Recheck { entries: 0, apart_ms: u64::MAX },
            Some(Mutation::RowReadAgainForRecentChangesOnly) => Recheck { apart_ms: u64::MAX, ..SOON },
            _ => settings.limits.recheck,
        };
        let restored = scene == Scene::Direct && rng.one_in(4);
        let restore_at = restored.then(|| 60 + count(rng.below(300)));
        let removal_at = (scene == Scene::Direct && !restored && rng.one_in(3)).then(|| 10 + count(rng.below(120)));
        let devices = devices(scene, mutation, restored, &mut rng);
        let memory = Memory::at(now(0));
        let users: Vec<UserId> = (0..scene.users().len()).map(|index| scene.caller(index).user).collect();
        let conversation = match scene {
            Scene::Direct => created(&memory, &settings, &devices[0].caller, &users[1]),
            Scene::Group | Scene::Message => group::created(&memory, &settings, &mut rng, scene),
        };
        match scene {
            Scene::Direct => watch(&memory, &devices[1].caller),
            Scene::Group | Scene::Message => (0..users.len()).for_each(|index| watch(&memory, &scene.caller(index))),
        }
        let judge = Judge::new(scene, mutation.is_none(), settings.keys.users.clone(), &memory.state().log[&conversation]);
        Self {
            scene,
            seed,
            mutation,
            memory,
            conversation,
            settings,
            devices,
            numbers: vec![0; users.len()],
            focus: match scene {
                Scene::Direct => None,
                Scene::Group => Some(group::focus(&mut rng, &users)),
                Scene::Message => Some(users[1].clone()),
            },
            users,
            attempts: Vec::new(),
            half: None,
            in_flight: Vec::new(),
            visible_again: Vec::new(),
            fault_one_in: [0, 40, 15, 6][rng.below(4)],
            restore_at,
            removal_at,
            steps: 0,
            time: Arc::default(),
            judge,
            tally: Tally { schedules: 1, ..Tally::default() },
            script,
            rng,
        }
    }

    fn finish(mut self) -> Schedule {
        let mut possible = Vec::new();
        while self.judge.is_satisfied() {
            possible.clear();
            self.possible(&mut possible);
            if possible.is_empty() {
                break;
            }
            self.steps += 1;
            self.time.store(self.steps, Ordering::Relaxed);
            assert!(self.steps < STEPS_MAX, "the schedule of seed {} does not end", self.seed);
            if self.restore_at.is_some_and(|at| at <= self.steps) {
                self.restore();
                continue;
            }
            if self.removal_at.is_some_and(|at| at <= self.steps) {
                self.remove_alice();
                continue;
            }
            match possible[self.rng.below(possible.len())] {
                Step::Client(device) => self.client(device),
                Step::Attempt(index) => self.attempt(index),
                Step::InFlight(index) => self.arrive(index),
                Step::Worker => self.worker(),
                Step::Settle => self.settle(),
            }
        }
        if self.judge.is_satisfied() {
            let state = self.memory.state();
            self.tally.stored = (state.log[&self.conversation].len() as u64).saturating_sub(self.judge.given());
            self.judge.at_the_end(&self.conversation, &state);
        }
        let violation = self.judge.into_violation();
        Schedule { seed: self.seed, tally: self.tally, violation, script: self.script.unwrap_or_default() }
    }

    fn possible(&self, steps: &mut Vec<Step>) {
        if self.half.is_some() {
            steps.extend((0..self.attempts.len()).map(Step::Attempt));
            return steps.push(Step::Settle);
        }
        let clients = self.devices.iter().enumerate().filter(|(_, device)| device.wish() != Wish::Rest);
        steps.extend(clients.map(|(index, _)| Step::Client(index)));
        steps.extend((0..self.attempts.len()).map(Step::Attempt));
        steps.extend((0..self.in_flight.len()).map(Step::InFlight));
        if !self.visible_again.is_empty() || !self.memory.state().queue.is_empty() {
            steps.push(Step::Worker);
        }
    }
}

/// All ports of one writer.
type Ports = AtDesk<Memory, Box<dyn Fn() -> UnixMillis + Send + Sync>>;

fn serving(mutation: Option<Mutation>, ports: Ports, draw: u64, settings: Settings, caller: Caller, request: Request) -> Serving {
    match mutation {
        None => Box::pin(async move { frame::answer(&ports, &settings, &caller, &request).await }),
        Some(mutation) => Box::pin(async move { mutations::answer_through(mutation, ports, draw, &settings, &caller, request).await }),
    }
}

fn devices(scene: Scene, mutation: Option<Mutation>, restored: bool, rng: &mut Rng) -> Vec<Device> {
    // A restore needs traffic before and after it.
    let (frames_max, attempts_min) = if restored { (3, 4) } else { (2, 2) };
    let attempts_max = attempts_min + rng.below(4);
    let (devices, beyond_one_in) = match scene {
        Scene::Direct => (2 + rng.below(3), 12),
        Scene::Group => (4 + rng.below(4), 6),
        Scene::Message => (3 + rng.below(6), 12),
    };
    let mut devices: Vec<Device> = (0..devices)
        .map(|index| {
            let anchors = match mutation {
                Some(Mutation::NewerAnchorOnRetry) => Anchors::Refreshed,
                Some(Mutation::NewerAnchorOnRetryOfAChange) => Anchors::RefreshedForChanges,
                _ if rng.one_in(beyond_one_in) => Anchors::Beyond,
                _ => Anchors::Known,
            };
            let frames = 1 + rng.below(frames_max);
            Device::new(scene.caller(index), anchors, count(frames), count(attempts_max))
        })
        .collect();
    // Other mutations read too much for anybody.
    if scene == Scene::Direct && matches!(mutation, None | Some(Mutation::LogBeforeRow)) && rng.one_in(4) {
        let stranger = Caller { user: UserId::new("mallory").expect("this is a user id"), ..scene.caller(devices.len()) };
        devices.push(Device::new(stranger, Anchors::Known, 1, 2));
    }
    devices
}

/// The direct conversation of the two, with nothing in it.
fn created(memory: &Memory, settings: &Settings, caller: &Caller, with: &UserId) -> ConversationId {
    let request = Open {
        id: RequestId::new("open").expect("this is a request id"),
        with: with.clone(),
        client_message_id: ClientMessageId::new("created").expect("this is a client message id"),
    };
    let opened = open(memory, settings, caller, &request).now_or_never().and_then(Result::ok);
    opened.expect("the memory backend never waits nor refuses a conversation").answer.conversation.conversation
}

/// One who receives everything that is for this user: what the judge sees of the deliveries.
fn watch(memory: &Memory, caller: &Caller) {
    let connection = ConnectionId::new(caller.user.as_str()).expect("this is a connection id");
    let session = Connection { connection, device: caller.device, connected_at: now(0), expires: UnixMillis::MAX };
    let registered = memory.register(&caller.user, &session, now(0)).now_or_never();
    registered.expect("the memory backend never waits").expect("the memory backend never fails");
}

fn now(step: u32) -> UnixMillis {
    UnixMillis::try_from(START_MS + u64::from(step) * 10).unwrap_or_default()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
