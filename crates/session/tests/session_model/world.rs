//! The world between sessions and server: sockets, latencies, faults, stores, and a clock that jumps from event to event.
//!
//! Nothing here reads a real clock; one seed and one script always make the same run.

use std::cell::Cell;
use std::collections::BTreeMap;

use chatlane_protocol::{ConversationId, Entry, UnixMillis, UserId};
use chatlane_session::{Act, BatchId, ConnectionState, Input, Moment, OpenFailure, Output};

use super::delivery::Task;
use super::device::Device;
use super::dice::Dice;
use super::harm::Armed;
use super::server::{Note, Server, Wire};
use super::sockets::{Fate, Link, Stage};
use super::tally::Tally;
use super::token;

/// The server's clock at the start.
const EPOCH_MS: u64 = 1_795_000_000_000;

/// Calls of one session at one moment: a bound that only a loop exceeds.
const CALLS_PER_MOMENT_MAX: u32 = 500;

thread_local! {
    /// Whether what happens is printed.
    pub static PRINTED: Cell<bool> = const { Cell::new(false) };
}

/// Something that is to happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// The user starts the app, if it does not run.
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
    /// Sockets so far.
    pub wires: u64,
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
        self.input(device, Input::Do(Act::OpenWith { user: UserId::new(user).unwrap(), client_message_id }));
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

    pub fn latency(&mut self) -> u64 {
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
                self.input(device, Input::Tick);
                let next = self.devices[device].session.as_ref().and_then(chatlane_session::Session::wake_at);
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
                    self.input(device, Input::Do(Act::ConnectNow));
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
                    one.token = if good { token::issue(&one.user.id, self.server.now) } else { token::forged() };
                    let token = one.token.clone();
                    self.input(device, Input::NewToken(token));
                }
            }
            Event::FanOut { task, again } => {
                let posts = self.server.fan_out(&task, again);
                self.post_all(posts);
            }
        }
    }

    pub fn tell_life(&mut self, device: usize, life: u32, input: Input) {
        if self.devices[device].life == life {
            self.input(device, input);
        }
    }

    /// Hands an input to a session and carries out what it answers. Whether the app runs.
    pub fn input(&mut self, device: usize, input: Input) -> bool {
        let random = self.dice.next();
        let now_ms = self.now_ms;
        let one = &mut self.devices[device];
        let Some(session) = &mut one.session else { return false };
        let calls = self.calls.entry(device).or_default();
        *calls = if calls.0 == now_ms { (now_ms, calls.1 + 1) } else { (now_ms, 1) };
        assert!(calls.1 < CALLS_PER_MOMENT_MAX, "{} is called without an end at {now_ms}: {input:?}", one.name);
        if PRINTED.get() {
            match &input {
                Input::Received { socket, text } => println!("{now_ms:>8} {} <- {socket:?} {}", one.name, text.0),
                input => println!("{now_ms:>8} {} <- {input:?}", one.name),
            }
        }
        let outputs = session.handle(Moment(now_ms), random, input);
        let state = session.connection();
        for output in outputs {
            if PRINTED.get() {
                let name = self.devices[device].name;
                match &output {
                    Output::Send { socket, text } => println!("{now_ms:>8} {name} -> {socket:?} {}", text.0),
                    output => println!("{now_ms:>8} {name} -> {output:?}"),
                }
            }
            self.carry_out(device, output);
        }
        assert_eq!(self.devices[device].state, state, "the user sees another state of the connection");
        true
    }

    fn carry_out(&mut self, device: usize, output: Output) {
        let now_ms = self.now_ms;
        self.devices[device].count_output(now_ms);
        match output {
            Output::Connect(socket) => self.connect(device, socket),
            Output::Send { socket, text } => self.send(device, socket, text.0),
            Output::Close(socket) => {
                if let Some(wire) = self.wire(device, socket) {
                    let open = self.links[&wire].stage != Stage::HalfOpen;
                    self.end(wire);
                    let in_ms = if open { self.latency() } else { 60_000 };
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
                use chatlane_session::{OutgoingState, Shown};
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
                one.user.see(shown, &one.disk, &self.server);
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
        self.input(device, Input::Committed(batch));
    }

    /// Entries of the logs, for the tally.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.server.lanes.values().flat_map(|lane| &lane.entries)
    }
}
