//! Everything between the real code at both ends, and a clock that jumps from event to event. Nothing here reads a real clock, starts a
//! thread or iterates over a map without an order: one script always makes the same run.

mod amend;
mod checks;
mod dump;
mod gateway;
mod lambda;
mod later;
mod manage;
mod notes;
mod perform;
mod phone;
mod port;
mod queue;
mod raw;
mod rest;
mod restore;
mod small;
mod sweeper;
mod transaction;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use chatlane_chat::deployment::EPOCH_FIRST;
use chatlane_chat::limit::Budget;
use chatlane_chat::ports::Gate;
use chatlane_chat::settings::{AnchorBound, Deployed, Limits};
use chatlane_chat::testing::builders;
use chatlane_chat::testing::desk::lock;
use chatlane_chat::testing::memory::Memory;
use chatlane_functions::limit::UserLimit;
use chatlane_protocol::{ConversationId, DeviceId, Position, Token, UserId};
use chatlane_session::Session;
use chatlane_session::{Input, OpenFailure};
use chatlane_tests_support::Dice;
use serde_json::{Value, json};

use self::gateway::{Socket, Stage};
use self::lambda::{Invocation, Waiting};
use self::later::{GUEST, Guest};
use self::manage::Asked;
use self::phone::Phone;
use self::queue::Queue;
use self::raw::Raw;
use self::sweeper::{LogStream, Swept};
use self::transaction::{Half, Undo};
use self::watch::{Ever, is_there};
use crate::fault::Faults;
use crate::issuer;
use crate::met::Met;
use crate::script::{Performed, Script, USERS, devices};

/// Whose sockets they are: of somebody who is in no conversation, of a member, of somebody who asks too much, and of a guest. Behind them
/// each user has one more, for groups.
pub(crate) const RAW: [&str; 4] = ["mallory", USERS[0], "trudy", GUEST];

/// The true time at the start of a run.
pub(crate) const START_MS: u64 = 1_795_000_000_000;

/// What users may spend here: honest ones never meet it.
const BUDGET: Budget = Budget { units_per_s: 400, burst: 12_000, charged_min: 100 };

/// Events of a run: a bound that only a loop exceeds.
const EVENTS_MAX: u64 = 3_000_000;

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// The user starts the app, if it does not run.
    Start { phone: usize },
    /// A handshake arrives at the gateway.
    Handshake { socket: u64, device: DeviceId, token: Token },
    /// … and its answer at the device.
    Opened { socket: u64, failure: Option<OpenFailure> },
    /// A frame arrives at the gateway.
    ToGateway { socket: u64, text: String },
    /// A frame arrives at the device.
    ToDevice { socket: u64, text: String },
    /// The gateway tells that a function has failed.
    GatewayFails { socket: u64, message: &'static str },
    /// The device notices the end of a socket.
    Closed { socket: u64 },
    /// The gateway notices the end of a socket.
    GatewayLearns { socket: u64 },
    /// The gateway ends a socket.
    LifeEnds { socket: u64 },
    /// `$disconnect` runs.
    Disconnect { socket: u64 },
    /// The store has made the write that is first in line.
    Written { phone: usize, life: u32 },
    /// The identity provider has answered.
    Token { phone: usize, life: u32, token: Token },
    /// A call takes effect.
    Effect { call: u64 },
    /// A call is answered.
    Answer { call: u64, comes: bool },
    /// A function dies.
    Dies { invocation: u64 },
    /// An item of a transaction can be seen.
    Reveal { transaction: u64 },
    /// Somebody repeats a change of a group, if it has no answer.
    AskAgain { name: String },
    /// Somebody writes a word, if they know the conversation.
    Says { device: usize, conversation: ConversationId },
    /// A flood is over.
    Flooded { socket: u64, epoch: u32, before: Gate },
    /// A worker looks for messages.
    Poll,
    /// What was stored is given to the sweeper.
    WindowEnds,
    /// … again.
    Sweep { swept: Swept },
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The guarantee, or the part of the world that found it.
    pub guarantee: String,
    /// In words.
    pub what: String,
}

/// Everything.
pub(crate) struct World {
    pub(crate) strict: bool,
    pub(crate) small: bool,
    pub(crate) limits: Limits,
    /// The one that the data says.
    pub(crate) epoch: u32,
    /// What the functions know of their deployment: one process serves all.
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) limit: Arc<UserLimit>,
    pub(crate) memory: Memory,
    /// What the log has held, for the checks.
    pub(crate) ever: Ever,
    /// The wishes to archive a conversation that are, or were, in the store of a device.
    pub(crate) archived: BTreeSet<(ConversationId, UserId)>,
    /// Transactions that can be seen in part.
    pub(crate) half: BTreeMap<u64, Half>,
    /// What changes of groups have written over, in their order.
    pub(crate) undo: Vec<Undo>,
    /// Changes of groups that somebody has asked for, by their client message ids.
    pub(crate) asked: BTreeMap<String, Asked>,
    pub(crate) queue: Queue,
    pub(crate) stream: LogStream,
    pub(crate) guest: Option<Guest>,
    /// When the flooder's account was last forgotten, by a machine whose clock is far ahead.
    pub(crate) forgotten_ms: Option<u64>,
    /// Where a later version has written.
    pub(crate) later: BTreeSet<ConversationId>,
    pub(crate) sockets: BTreeMap<u64, Socket>,
    pub(crate) invocations: BTreeMap<u64, Invocation>,
    pub(crate) calls: BTreeMap<u64, Waiting>,
    pub(crate) phones: Vec<Phone>,
    pub(crate) raws: Vec<Raw>,
    /// By time, then by the order of making.
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    pub(crate) now_ms: u64,
    /// The same since 1970, for the machines' clocks.
    pub(crate) clock: Arc<Mutex<u64>>,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    pub(crate) history: String,
    pub(crate) performed: Performed,
    pub(crate) met: Met,
    pub(crate) violation: Option<Violation>,
    /// Positions up to which an answer has promised the delivery.
    pub(crate) promised: BTreeMap<ConversationId, Position>,
    /// Deliveries that a restore had cut off, and that were begun only by the next message.
    pub(crate) never_begun: u64,
    made: u64,
    happened: u64,
    trace: u64,
    /// Whether what happens is printed.
    prints: bool,
    line: String,
}

impl World {
    pub(crate) fn new(script: &Script, prints: bool) -> Self {
        let user = |name: &str| UserId::new(name).expect("a user");
        let device = |number: usize| DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf0{number:02x}")).expect("a UUID");
        let phone = |(number, of): (usize, &usize)| {
            let user = user(USERS[*of]);
            let token = issuer::token(&user, START_MS / 1000 + 3_600);
            Phone::new(user, device(number + 1), token, number % 2 == 1)
        };
        let phones = devices(script.crowd).iter().enumerate().map(phone).collect();
        let raws = RAW.iter().chain(&USERS).enumerate().map(|(number, name)| Raw::new(name, device(0xa0 + number))).collect();
        // So small that short scripts meet it.
        let anchor = AnchorBound { entries_max: 20, bytes_max: 16 * 1024 };
        let mut limits = Limits { anchor, ..Limits::DEFAULT };
        if script.small {
            small::shrink(&mut limits);
        }
        Self {
            strict: script.strict,
            small: script.small,
            limits,
            epoch: EPOCH_FIRST,
            deployed: started(limits),
            limit: Arc::new(UserLimit::new(Some(BUDGET))),
            memory: Memory::new(),
            ever: Ever::default(),
            archived: BTreeSet::new(),
            half: BTreeMap::new(),
            undo: vec![],
            asked: BTreeMap::new(),
            queue: Queue::default(),
            stream: LogStream::default(),
            guest: None,
            forgotten_ms: None,
            later: BTreeSet::new(),
            sockets: BTreeMap::new(),
            invocations: BTreeMap::new(),
            calls: BTreeMap::new(),
            phones,
            raws,
            events: BTreeMap::new(),
            now_ms: 0,
            clock: Arc::new(Mutex::new(START_MS)),
            dice: Dice::new(script.seed),
            faults: Faults::new(script.seed, script.faults.clone(), script.strict),
            history: String::new(),
            performed: Performed::new(),
            met: Met::default(),
            violation: None,
            promised: BTreeMap::new(),
            never_begun: 0,
            made: 0,
            happened: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            prints,
            line: String::new(),
        }
    }

    /// The next number for something new.
    pub(crate) const fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(crate) fn at(&mut self, in_ms: u64, event: Event) {
        let number = self.number();
        self.events.insert((self.now_ms + in_ms, number), event);
    }

    /// Runs what happens within the next `ms`.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.violation.is_none() {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let wakes = self.phones.iter().enumerate().filter_map(|(number, phone)| {
                let wake = phone.session.as_ref().and_then(Session::wake_at)?;
                Some((wake.0.max(self.now_ms), number))
            });
            let wake = wakes.min();
            let first = event.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(at) = first.filter(|at| *at <= end) else { break };
            self.set_time(at);
            self.happened += 1;
            if self.happened > EVENTS_MAX {
                self.violated("live", "the run does not end".to_owned());
            }
            if event == Some(at) {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event);
                }
            } else if let Some((_, phone)) = wake {
                self.input(phone, Input::Tick);
            }
        }
        self.set_time(end);
    }

    fn set_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        *lock(&self.clock) = START_MS + now_ms;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start { phone } => self.start(phone),
            Event::Handshake { socket, device, token } => {
                let failure = self.handshake(socket, device, token.as_str()).err().map(|failure| self.as_seen_by(socket, failure));
                let latency = self.network_ms();
                if self.sockets[&socket].stage == Stage::Ended {
                    // Given up meanwhile.
                    self.at(latency, Event::GatewayLearns { socket });
                }
                self.at(latency, Event::Opened { socket, failure });
            }
            Event::Opened { socket, failure } => self.opened(socket, failure),
            Event::ToGateway { socket, text } => self.request(socket, &text),
            Event::ToDevice { socket, text } => self.arrives(socket, text),
            Event::GatewayFails { socket, message } => self.gateway_fails(socket, message),
            Event::Closed { socket } => self.closed(socket),
            Event::GatewayLearns { socket } => self.gateway_learns(socket),
            Event::LifeEnds { socket } => self.life_ends(socket),
            Event::Disconnect { socket } => self.disconnect(socket),
            Event::Written { phone, life } => self.written(phone, life),
            Event::Token { phone, life, token } => self.token_came(phone, life, token),
            Event::Effect { call } => self.effect(call),
            Event::Answer { call, comes } => self.answer(call, comes),
            Event::Dies { invocation } => self.dies(invocation),
            Event::Reveal { transaction } => self.reveal(transaction),
            Event::AskAgain { name } => self.attempt_again(&name),
            Event::Says { device, conversation } => {
                if self.known(device).contains(&conversation) {
                    self.say(device, &conversation, 1, 0);
                }
            }
            Event::Flooded { socket, epoch, before } => self.flooded(socket, epoch, before),
            Event::Poll => self.poll_queue(),
            Event::WindowEnds => self.window_ends(),
            Event::Sweep { swept } => self.sweep(swept),
        }
    }

    /// Something must not be. The first one counts.
    pub(crate) fn violated(&mut self, guarantee: &str, what: String) {
        self.violation.get_or_insert(Violation { guarantee: guarantee.to_owned(), what });
    }

    /// What happens goes into the trace.
    pub(crate) fn log(&mut self, what: fmt::Arguments<'_>) {
        self.line.clear();
        let _infallible = write!(self.line, "{:>9} {what}", self.now_ms);
        self.trace = hashed(self.trace, self.line.as_bytes());
        if self.prints {
            println!("{}", self.line);
        }
    }

    /// A line of a device goes into the history, and so into the trace.
    pub(crate) fn note(&mut self, phone: usize, line: Value) {
        let Phone { id, user, .. } = &self.phones[phone];
        let (id, user) = (*id, user.clone());
        self.write(id, &user, line);
    }

    pub(crate) fn note_raw(&mut self, raw: usize, line: Value) {
        let Raw { id, user, .. } = &self.raws[raw];
        let (id, user) = (*id, user.clone());
        self.write(id, &user, line);
    }

    fn write(&mut self, device: DeviceId, user: &UserId, mut line: Value) {
        line["device"] = json!(device);
        line["user"] = json!(user);
        line["at_ms"] = json!(self.now_ms);
        self.write_line(&line.to_string());
    }

    pub(crate) fn write_line(&mut self, line: &str) {
        self.trace = hashed(self.trace, line.as_bytes());
        self.history.push_str(line);
        self.history.push('\n');
    }

    /// An answer has reached a device that promises the delivery up to here; unless it is of a log that a restore has cut since. The task
    /// is queued by then, or a worker has begun: the sweeper would hide that it was not (L4).
    pub(crate) fn promise(&mut self, conversation: &ConversationId, position: Position) {
        if !is_there(&self.memory.state(), conversation, position) {
            return;
        }
        let head = self.memory.state().heads.get(conversation).map_or(Position::ZERO, |head| head.position);
        if position.epoch == self.epoch && head < position && !self.queue.has(conversation, position) {
            self.violated("L4", format!("its sender was told of {conversation} {position}, whose delivery nobody has begun or queued"));
        }
        let promised = self.promised.entry(conversation.clone()).or_insert(position);
        *promised = position.max(*promised);
    }

    pub(crate) const fn trace(&self) -> u64 {
        self.trace
    }
}

/// FNV-1a over words of eight bytes: any difference shows.
fn hashed(hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.chunks(8).fold(hash, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME).rotate_left(23)
    })
}

/// Functions that have just started.
pub(crate) fn started(limits: Limits) -> Arc<Deployed> {
    Arc::new(Deployed::founding(limits, builders::SECRET))
}
