//! The world between sessions and server: sockets, latencies, faults, stores, and a clock that jumps from event to event.
//!
//! Frames of one socket have no order, as behind API Gateway (PLATFORM §2.6, §2.7): each has its own latency. Nothing here reads a real
//! clock; one seed and one script always make the same run.

use std::cell::Cell;
use std::collections::BTreeMap;

use chatlane_client::session::{BatchId, ConnectionState, Input, Moment, OpenFailure, Output, SocketId};
use chatlane_protocol::frames::encode;
use chatlane_protocol::{ConversationId, Entry, ErrorCode, Refusal, Request, ServerFrame, UnixMillis, UserId};

use super::delivery::Task;
use super::device::Device;
use super::dice::Dice;
use super::harm::Armed;
use super::server::{Effect, Note, Server, Wire, error};
use super::tally::Tally;
use super::token;

/// The server's clock at the start.
const EPOCH_MS: u64 = 1_795_000_000_000;

/// Calls of one session at one moment: a bound that only a loop exceeds.
const CALLS_PER_MOMENT_MAX: u32 = 500;

thread_local! {
    /// Whether what happens is printed.
    pub static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// What becomes of the function that a request starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It answers.
    Answers,
    /// The gateway does not start it: throttled.
    Throttled,
    /// It dies before it has done anything.
    DiesFirst,
    /// It dies after its writes, before the delivery is queued.
    DiesBeforeEnqueue,
    /// It dies when everything is done but the answer.
    DiesBeforeAnswer,
    /// It answers `unavailable`, and has done nothing.
    FailsFirst,
    /// It answers `unavailable`, and has done everything.
    FailsAfter,
}

/// Something that is to happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// The person starts the app, if it does not run.
    Start { device: usize },
    /// A handshake arrives at the server.
    Handshake { wire: Wire, token: String },
    /// … and its answer at the device.
    Opened { wire: Wire, failure: Option<OpenFailure> },
    /// A request arrives at the gateway.
    ToServer { wire: Wire, text: String, fate: Fate },
    /// A frame arrives at the device.
    ToClient { wire: Wire, text: String, push: bool, note: Option<Note> },
    /// The device notices the end of a socket.
    Closed { wire: Wire },
    /// The server ends a socket.
    Hangup { wire: Wire },
    /// `$disconnect` runs.
    Disconnected { wire: Wire },
    /// The store has made the write that is first in line.
    Written { device: usize, life: u32, batch: BatchId },
    /// The identity provider has answered.
    Token { device: usize, life: u32, good: bool },
    /// A worker takes a delivery.
    FanOut { task: Task, again: bool },
}

/// One socket, between the device that asked for it and the gateway.
#[derive(Clone, Debug)]
pub struct Link {
    pub device: usize,
    pub life: u32,
    pub socket: SocketId,
    pub stage: Stage,
    greeted: bool,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Opening,
    Open,
    /// Frames vanish in both directions, and nobody is told.
    HalfOpen,
    Ended,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    pub server: Server,
    pub devices: Vec<Device>,
    pub links: BTreeMap<Wire, Link>,
    /// By time, then by the order of making.
    pub events: BTreeMap<(u64, u64), Event>,
    pub now_ms: u64,
    pub dice: Dice,
    pub tally: Tally,
    /// Harm that waits for its frame.
    pub armed: Vec<Armed>,
    /// So many handshakes will not get through.
    pub unreachable: u32,
    /// So many tokens come late, and so many are bad.
    pub late_tokens: u32,
    pub bad_tokens: u32,
    /// Until then stores are slow.
    pub slow_until_ms: u64,
    made: u64,
    wires: u64,
    calls: BTreeMap<usize, (u64, u32)>,
}

impl World {
    /// Two devices of one user and one each of two others; all apps run, and two conversations are open.
    pub fn new(seed: u64) -> Self {
        let now = UnixMillis::try_from(EPOCH_MS).unwrap();
        let names = ["a1", "a2", "b1", "c1"];
        let devices = names.into_iter().zip(1..).map(|(name, number)| Device::new(name, number, now)).collect();
        let mut world = Self {
            server: Server::new(now),
            devices,
            links: BTreeMap::new(),
            events: BTreeMap::new(),
            now_ms: 0,
            dice: Dice::new(seed),
            tally: Tally::default(),
            armed: vec![],
            unreachable: 0,
            late_tokens: 0,
            bad_tokens: 0,
            slow_until_ms: 0,
            made: 0,
            wires: 0,
            calls: BTreeMap::new(),
        };
        for device in 0..names.len() {
            world.at(0, Event::Start { device });
        }
        world.run_for(2_000);
        world.open_with(0, "b");
        world.open_with(2, "c");
        world.run_for(3_000);
        world
    }

    pub fn open_with(&mut self, device: usize, user: &str) {
        let client_message_id = self.devices[device].next_open();
        self.tell(device, Input::OpenWith { user: UserId::new(user).unwrap(), client_message_id });
    }

    /// Conversations that a device knows.
    pub fn known(&self, device: usize) -> Vec<ConversationId> {
        let session = self.devices[device].session.as_ref();
        session.map_or(vec![], |session| session.conversations().map(|row| row.conversation.clone()).collect())
    }

    /// Something is to happen, unless it comes to harm before.
    pub fn at(&mut self, in_ms: u64, event: Event) {
        for (in_ms, event) in self.meet_harm(in_ms, event) {
            self.made += 1;
            self.events.insert((self.now_ms + in_ms, self.made), event);
        }
    }

    fn latency(&mut self) -> u64 {
        self.dice.between(5, 150)
    }

    /// Runs what happens within the next `ms`.
    pub fn run_for(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let wakes = self.devices.iter().enumerate().filter_map(|(number, device)| {
                let wake = device.session.as_ref()?.wake_at()?;
                Some((wake.0.max(self.now_ms), number))
            });
            let wake = wakes.min();
            let first = event.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(at) = first.filter(|at| *at <= end) else { break };
            self.tally.virtual_ms += at - self.now_ms;
            self.now_ms = at;
            self.server.now = UnixMillis::try_from(EPOCH_MS + at).unwrap();
            if event == Some(at) {
                let (_, event) = self.events.pop_first().expect("just seen");
                self.happen(event);
            } else if let Some((_, device)) = wake {
                self.tell(device, Input::Tick);
                let next = self.devices[device].session.as_ref().and_then(chatlane_client::Session::wake_at);
                assert!(next.is_none_or(|next| next.0 > at), "a tick at {at} leaves the timer at {next:?}");
            }
        }
        self.tally.virtual_ms += end - self.now_ms;
        self.now_ms = end;
        self.server.now = UnixMillis::try_from(EPOCH_MS + end).unwrap();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start { device } => {
                if self.devices[device].session.is_none() {
                    self.devices[device].start();
                    self.tell(device, Input::ConnectNow);
                }
            }
            Event::Handshake { wire, token } => self.handshake(wire, &token),
            Event::Opened { wire, failure } => self.opened(wire, failure),
            Event::ToServer { wire, text, fate } => self.request(wire, &text, fate),
            Event::ToClient { wire, text, note, .. } => self.frame(wire, text, note),
            Event::Closed { wire } => {
                let Link { device, life, socket, .. } = self.links[&wire];
                self.tell_life(device, life, Input::Closed { socket });
            }
            Event::Hangup { wire } => self.hang_up(wire),
            Event::Disconnected { wire } => self.server.ended(wire),
            Event::Written { device, life, batch } => self.written(device, life, batch),
            Event::Token { device, life, good } => {
                let one = &mut self.devices[device];
                if one.life == life && one.session.is_some() {
                    one.token = if good { token::issue(&one.user, self.server.now) } else { token::forged() };
                    let token = one.token.clone();
                    self.tell(device, Input::NewToken(token));
                }
            }
            Event::FanOut { task, again } => {
                let posts = self.server.fan_out(&task, again);
                self.post_all(posts);
            }
        }
    }

    fn tell_life(&mut self, device: usize, life: u32, input: Input) {
        if self.devices[device].life == life {
            self.tell(device, input);
        }
    }

    /// Hands an input to a session and carries out what it answers. Whether the app runs.
    pub fn tell(&mut self, device: usize, input: Input) -> bool {
        let random = self.dice.next();
        let now_ms = self.now_ms;
        let one = &mut self.devices[device];
        let Some(session) = &mut one.session else { return false };
        let calls = self.calls.entry(device).or_default();
        *calls = if calls.0 == now_ms { (now_ms, calls.1 + 1) } else { (now_ms, 1) };
        assert!(calls.1 < CALLS_PER_MOMENT_MAX, "{} is called without an end at {now_ms}: {input:?}", one.name);
        if TOLD.get() {
            println!("{now_ms:>8} {} <- {input:?}", one.name);
        }
        let outputs = session.handle(Moment(now_ms), random, input);
        let state = session.connection();
        for output in outputs {
            if TOLD.get() {
                println!("{now_ms:>8} {} -> {output:?}", self.devices[device].name);
            }
            self.carry_out(device, output);
        }
        assert_eq!(self.devices[device].state, state, "the person sees another state of the connection");
        true
    }

    fn carry_out(&mut self, device: usize, output: Output) {
        let now_ms = self.now_ms;
        self.devices[device].count_output(now_ms);
        match output {
            Output::Connect(socket) => self.connect(device, socket),
            Output::Send { socket, text } => self.send(device, socket, text),
            Output::Close(socket) => {
                if let Some(wire) = self.wire(device, socket) {
                    let told = self.links[&wire].stage != Stage::HalfOpen;
                    self.end(wire);
                    let in_ms = if told { self.latency() } else { 60_000 };
                    self.at(in_ms, Event::Disconnected { wire });
                }
            }
            Output::Commit { batch, changes } => {
                let slow = self.now_ms < self.slow_until_ms;
                let write_ms = if slow { self.dice.between(200, 2_000) } else { self.dice.between(0, 10) };
                let one = &mut self.devices[device];
                one.writing.push_back((batch, changes));
                one.written_at_ms = one.written_at_ms.max(now_ms + write_ms);
                let (in_ms, life) = (one.written_at_ms - now_ms, one.life);
                self.at(in_ms, Event::Written { device, life, batch });
            }
            Output::NeedToken => {
                let take = |left: &mut u32| left.checked_sub(1).map(|fewer| *left = fewer).is_some();
                let in_ms = if take(&mut self.late_tokens) { 25_000 } else { 200 };
                let good = !take(&mut self.bad_tokens);
                let life = self.devices[device].life;
                self.at(in_ms, Event::Token { device, life, good });
            }
            Output::Show(shown) => {
                use chatlane_client::session::{OutgoingState, Shown};
                match &shown {
                    Shown::Connection(state) => {
                        let alone = !self.devices[device].displaced;
                        assert!(*state != ConnectionState::Displaced || !alone, "{} has displaced itself", self.devices[device].name);
                        self.devices[device].state = *state;
                    }
                    Shown::Skipped { .. } => self.tally.met("shown: skipped"),
                    Shown::RolledBack { .. } => self.tally.met("shown: rolled back"),
                    Shown::History { .. } => self.tally.met("shown: history"),
                    Shown::Cursors { .. } => self.tally.met("shown: another's marks"),
                    Shown::Outgoing { state: OutgoingState::Failed(_), .. } => self.tally.met("shown: failed"),
                    _ => {}
                }
                let one = &mut self.devices[device];
                one.person.see(shown, &one.disk, &self.server);
            }
        }
    }

    fn written(&mut self, device: usize, life: u32, batch: BatchId) {
        let one = &mut self.devices[device];
        if one.life != life || one.session.is_none() {
            return;
        }
        let (first, changes) = one.writing.pop_front().expect("a write is under way");
        assert_eq!(first, batch, "writes are made in their order");
        one.disk.apply(changes, &self.server, &one.discarded);
        self.tell(device, Input::Committed(batch));
    }

    fn wire(&self, device: usize, socket: SocketId) -> Option<Wire> {
        let life = self.devices[device].life;
        let same = |link: &Link| (link.device, link.life, link.socket) == (device, life, socket);
        self.links.iter().find(|(_, link)| same(link)).map(|(wire, _)| *wire)
    }

    pub fn next_wire(&mut self) -> Wire {
        self.wires += 1;
        Wire(self.wires)
    }

    fn connect(&mut self, device: usize, socket: SocketId) {
        let wire = self.next_wire();
        let Device { life, token, .. } = &self.devices[device];
        let token = token.as_str().to_owned();
        self.links.insert(wire, Link { device, life: *life, socket, stage: Stage::Opening, greeted: false });
        let latency = self.latency();
        if self.unreachable > 0 {
            self.unreachable -= 1;
            self.tally.fault("handshake does not get through");
            self.at(latency, Event::Opened { wire, failure: Some(OpenFailure::Unreachable) });
        } else {
            self.at(latency, Event::Handshake { wire, token });
        }
    }

    fn handshake(&mut self, wire: Wire, token: &str) {
        let Link { device, .. } = self.links[&wire];
        let Device { user, id, .. } = &self.devices[device];
        let failure = (!self.server.accept(wire, user, *id, token)).then_some(OpenFailure::Denied);
        if failure.is_some() {
            self.tally.met("handshake: denied");
        }
        let latency = self.latency();
        self.at(latency, Event::Opened { wire, failure });
    }

    fn opened(&mut self, wire: Wire, failure: Option<OpenFailure>) {
        let Some(link) = self.links.get_mut(&wire).filter(|link| link.stage == Stage::Opening) else {
            self.server.ended(wire); // given up meanwhile
            return;
        };
        let (device, life, socket) = (link.device, link.life, link.socket);
        if let Some(failure) = failure {
            link.stage = Stage::Ended;
            self.tell_life(device, life, Input::OpenFailed { socket, failure });
        } else {
            link.stage = Stage::Open;
            self.tell_life(device, life, Input::Opened(socket));
        }
    }

    fn send(&mut self, device: usize, socket: SocketId, text: String) {
        let now_ms = self.now_ms;
        let request = Request::parse(&text).unwrap_or_else(|bad| panic!("a bad request: {:?}: {text}", bad.refusal));
        self.devices[device].check_request(&request, now_ms, &self.server);
        let wire = self.wire(device, socket).expect("frames go to sockets that were asked for");
        let link = self.links.get_mut(&wire).expect("just found");
        let hello = matches!(&request, Request::Hello(hello) if hello.after.is_none());
        assert!(link.greeted || hello, "the first request is `hello`, not {text}");
        link.greeted = true;
        match link.stage {
            Stage::Opening => panic!("a frame for a socket that is not open: {text}"),
            Stage::Open => {
                let latency = self.latency();
                self.at(latency, Event::ToServer { wire, text, fate: Fate::Answers });
            }
            Stage::HalfOpen => self.tally.fault("request vanishes in a half-open socket"),
            Stage::Ended => {}
        }
    }

    fn request(&mut self, wire: Wire, text: &str, fate: Fate) {
        if !self.server.has(wire) {
            return;
        }
        if let Some(fault) = fate.name() {
            self.tally.fault(fault);
        }
        let mut effect = match fate {
            Fate::Throttled | Fate::DiesFirst | Fate::FailsFirst => Effect::default(),
            _ => self.server.handle(wire, text),
        };
        let tasks = std::mem::take(&mut effect.tasks);
        if fate == Fate::DiesBeforeEnqueue {
            effect.posts.clear();
        } else {
            for task in tasks {
                let latency = self.latency();
                self.at(latency, Event::FanOut { task, again: false });
            }
        }
        self.post_all(std::mem::take(&mut effect.posts));
        let gateway = |message| format!(r#"{{"message":"{message}","connectionId":"c{}=","requestId":"r="}}"#, wire.0);
        let answer = match fate {
            Fate::Answers => effect.answer.as_ref().map(|answer| {
                self.tally.answer(answer);
                encode(answer)
            }),
            Fate::Throttled => Some(gateway("Too Many Requests")),
            Fate::DiesFirst | Fate::DiesBeforeEnqueue | Fate::DiesBeforeAnswer => Some(gateway("Internal server error")),
            Fate::FailsFirst | Fate::FailsAfter => {
                let id = Request::parse(text).expect("parsed before").id().clone();
                Some(encode(&error(&id, Refusal::new(ErrorCode::Unavailable, "unknown").after_ms(100))))
            }
        };
        let note = (fate == Fate::Answers).then_some(effect.note);
        if let Some(text) = answer {
            let latency = self.latency();
            self.at(latency, Event::ToClient { wire, text, push: false, note });
        }
        if effect.close {
            self.at(200, Event::Hangup { wire });
        }
    }

    pub fn post_all(&mut self, posts: Vec<(Wire, ServerFrame)>) {
        for (wire, frame) in posts {
            if self.server.has(wire) {
                if let ServerFrame::Error(_) | ServerFrame::Goaway(_) = &frame {
                    self.tally.answer(&frame);
                }
                let latency = self.latency();
                self.at(latency, Event::ToClient { wire, text: encode(&frame), push: true, note: None });
            } else {
                self.server.gone(wire);
            }
        }
    }

    fn frame(&mut self, wire: Wire, text: String, note: Option<Note>) {
        let Some(Link { device, life, socket, stage, .. }) = self.links.get(&wire).cloned() else {
            return; // somebody else's socket, in a displaced device's name
        };
        if stage == Stage::HalfOpen {
            self.tally.fault("frame vanishes in a half-open socket");
        }
        if stage != Stage::Open || self.devices[device].life != life {
            return;
        }
        self.devices[device].person.notes.extend(note);
        self.tell(device, Input::Received { socket, text });
    }

    /// A socket carries nothing any more, from the device's side.
    pub fn end(&mut self, wire: Wire) {
        if let Some(link) = self.links.get_mut(&wire) {
            link.stage = Stage::Ended;
        }
        self.events.retain(|_, event| !matches!(event, Event::ToClient { wire: to, .. } | Event::Closed { wire: to } if *to == wire));
    }

    /// The server ends a socket; the device is told.
    pub fn hang_up(&mut self, wire: Wire) {
        self.server.ended(wire);
        if self.links.get(&wire).is_some_and(|link| matches!(link.stage, Stage::Open | Stage::HalfOpen)) {
            let told = self.links[&wire].stage == Stage::Open;
            self.end(wire);
            if told {
                let latency = self.latency();
                self.at(latency, Event::Closed { wire });
            }
        }
    }

    /// Entries of the logs, for the tally.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.server.lanes.values().flat_map(|lane| &lane.entries)
    }
}

impl Fate {
    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Answers => return None,
            Self::Throttled => "function: throttled",
            Self::DiesFirst => "function: dies before its writes",
            Self::DiesBeforeEnqueue => "function: dies before its enqueue",
            Self::DiesBeforeAnswer => "function: dies before its answer",
            Self::FailsFirst => "function: unavailable, nothing done",
            Self::FailsAfter => "function: unavailable, everything done",
        })
    }
}
