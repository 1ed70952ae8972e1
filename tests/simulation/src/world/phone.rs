//! A device: the real session, its store, and what its user sees, told as lines of the history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chatlane_protocol::{ClientMessageId, ConversationId, DeviceId, Position, Token, UserId};
use chatlane_session::{Act, BatchId, Change, ConnectionState, Input, Moment, OpenFailure, OutboxState, Output, Session, Settings};
use chatlane_tests_support::Disk;
use serde_json::{Value, json};

use super::gateway::{Owner, Socket};
use super::watch::Watch;
use super::{Event, START_MS, World};
use crate::fault::Fault;
use crate::issuer;

/// A token's time, without the leeway.
const TOKEN_MS: u64 = 3_600_000;
/// The leeway of the authorizer.
const LEEWAY_MS: u64 = 60_000;

/// Calls of one session at one moment: a bound that only a loop exceeds.
const CALLS_PER_MOMENT_MAX: u32 = 500;

/// One device.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) user: UserId,
    pub(crate) id: DeviceId,
    /// Absent: the app does not run.
    pub(crate) session: Option<Session>,
    /// Rises with each start of the app; what was under way for an earlier one is void.
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    pub(crate) state: ConnectionState,
    pub(crate) token: Token,
    /// Shown as failed, and not given up.
    pub(crate) failed: BTreeSet<(ConversationId, ClientMessageId)>,
    /// Writes that the store has not finished.
    pub(crate) writing: VecDeque<(BatchId, Vec<Change>)>,
    written_ms: u64,
    pub(crate) made: u64,
    pub(crate) composed: BTreeSet<ClientMessageId>,
    /// Given up by its user.
    pub(crate) discarded: BTreeSet<ClientMessageId>,
    /// It is not told why a socket could not be opened, as pages in browsers are not.
    pub(crate) blind: bool,
    /// Another client has said hello in its name, at some time.
    pub(crate) doubled: bool,
    pub(crate) watch: Watch,
    calls: (u64, u32),
}

impl Phone {
    pub(crate) fn new(user: UserId, id: DeviceId, token: Token, blind: bool) -> Self {
        let disk = Disk::new(user.clone());
        Self {
            user,
            id,
            session: None,
            life: 0,
            disk,
            state: ConnectionState::Connecting,
            token,
            failed: BTreeSet::new(),
            writing: VecDeque::new(),
            written_ms: 0,
            made: 0,
            composed: BTreeSet::new(),
            discarded: BTreeSet::new(),
            blind,
            doubled: false,
            watch: Watch::default(),
            calls: (0, 0),
        }
    }

    /// Bounds so small that short scripts meet them.
    fn settings(&self, small: bool) -> Settings {
        let patience = Settings::new(self.user.clone(), self.id);
        let (catch_up_entries_max, new_entries_max, ahead_entries_max) = if small { (12, 8, 5) } else { (60, 25, 8) };
        Settings { catch_up_entries_max, new_entries_max, ahead_entries_max, ..patience }
    }

    pub(crate) fn next_id(&mut self, kind: &str) -> ClientMessageId {
        self.made += 1;
        let device = self.id.to_string();
        ClientMessageId::new(format!("{}{kind}{}", &device[device.len() - 2..], self.made)).expect("short enough")
    }
}

impl World {
    /// A new token, as the identity provider gives it.
    pub(crate) fn issue(&mut self, user: &UserId) -> Token {
        let life_ms = self.faults.strike(Fault::TokenExpiry).map_or(TOKEN_MS + LEEWAY_MS, |mut dice| dice.between(2_000, 90_000));
        issuer::token(user, (START_MS + self.now_ms + life_ms - LEEWAY_MS) / 1000)
    }

    /// The user starts the app, with what its store holds.
    pub(crate) fn start(&mut self, number: usize) {
        let phone = &mut self.phones[number];
        if phone.session.is_some() {
            return;
        }
        phone.life += 1;
        phone.watch = Watch::default();
        let outbox = phone.disk.outbox();
        let failed = outbox.iter().filter(|row| matches!(row.state, OutboxState::Failed(_)));
        phone.failed = failed.map(|row| (row.conversation.clone(), row.client_message_id.clone())).collect();
        if phone.life > 1 {
            let has = phone.disk.conversations.values();
            let has: Vec<Value> =
                has.map(|row| json!({"conversation": row.conversation, "from": row.from, "position": row.have})).collect();
            let rows: Vec<Value> =
                outbox.iter().map(|row| json!({"conversation": row.conversation, "id": row.client_message_id})).collect();
            self.note(number, json!({"what": "restart", "has": has, "outbox": rows}));
            // They are shown as failed from the beginning. The process may have died before it could show them the first time.
            for (conversation, id) in self.phones[number].failed.clone() {
                self.note(number, json!({"what": "given_up", "conversation": conversation, "id": id}));
            }
        }
        let phone = &mut self.phones[number];
        let session = Session::new(phone.settings(self.small), phone.disk.restored());
        phone.state = session.connection();
        phone.session = Some(session);
        self.input(number, Input::Do(Act::ConnectNow));
    }

    /// The app dies. Of the writes under way the first `kept` are in the store; the app was not told.
    pub(crate) fn kill(&mut self, number: usize, kept: usize) {
        let phone = &mut self.phones[number];
        if phone.session.take().is_none() {
            return;
        }
        let writing: Vec<_> = phone.writing.drain(..).take(kept).collect();
        let life = phone.life;
        for (_, changes) in writing {
            self.store(number, changes);
        }
        let mine = |socket: &Socket| matches!(socket.owner, Owner::Phone { phone, life: of, .. } if phone == number && of == life);
        let sockets: Vec<u64> = self.sockets.iter().filter(|(_, socket)| mine(socket)).map(|(socket, _)| *socket).collect();
        for socket in sockets {
            let learns_ms = self.dice.between(0, 60_000);
            self.let_go(socket, learns_ms);
        }
        self.note(number, json!({"what": "away"}));
    }

    pub(crate) fn input_of_life(&mut self, number: usize, life: u32, input: Input) {
        if self.phones[number].life == life {
            self.input(number, input);
        }
    }

    /// Hands an input to a session and carries out what it answers. Whether the app runs.
    pub(crate) fn input(&mut self, number: usize, input: Input) -> bool {
        let (now_ms, random) = (self.now_ms, self.dice.next());
        let phone = &mut self.phones[number];
        let Some(session) = &mut phone.session else { return false };
        phone.calls = if phone.calls.0 == now_ms { (now_ms, phone.calls.1 + 1) } else { (now_ms, 1) };
        if phone.calls.1 > CALLS_PER_MOMENT_MAX {
            self.violated("session", format!("device {number} is called without an end at {now_ms}"));
            return true;
        }
        let (said, before, wanted) = (said(&input), phone.state, matches!(input, Input::Do(Act::ConnectNow)));
        let outputs = session.handle(Moment(now_ms), random, input);
        self.log(format_args!("device {number} <- {said}"));
        self.check_outputs(number, before, wanted, &outputs);
        for output in outputs {
            self.carry_out(number, output);
        }
        true
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        let phone = &mut self.phones[number];
        match output {
            Output::Connect(socket) => {
                let (life, device, token) = (phone.life, phone.id, phone.token.clone());
                let owner = Owner::Phone { phone: number, life, socket };
                let socket = self.number();
                self.sockets.insert(socket, Socket::new(owner));
                let latency = self.network_ms();
                if self.faults.strike(Fault::Unreachable).is_some() {
                    self.at(latency, Event::Opened { socket, failure: Some(OpenFailure::Unreachable) });
                } else {
                    self.at(latency, Event::Handshake { socket, device, token });
                }
            }
            Output::Send { socket, text } => {
                let life = phone.life;
                let on = self.socket_of(Owner::Phone { phone: number, life, socket });
                self.note_request(number, socket, on.map(|on| self.sockets[&on].stage), &text.0);
                if let Some(on) = on {
                    self.leaves(on, text.0);
                }
            }
            Output::Close(socket) => {
                let life = phone.life;
                if let Some(socket) = self.socket_of(Owner::Phone { phone: number, life, socket }) {
                    let latency = self.network_ms();
                    self.let_go(socket, latency);
                }
            }
            Output::Commit { batch, changes } => {
                let write_ms = if self.dice.one_in(30) { self.dice.between(50, 1_500) } else { self.dice.between(0, 10) };
                let phone = &mut self.phones[number];
                phone.writing.push_back((batch, changes));
                phone.written_ms = phone.written_ms.max(self.now_ms + write_ms);
                let (in_ms, life) = (phone.written_ms - self.now_ms, phone.life);
                self.at(in_ms, Event::Written { phone: number, life });
            }
            Output::NeedToken(_) => {
                let (life, user) = (phone.life, phone.user.clone());
                let token = self.issue(&user);
                let in_ms = if self.faults.over || !self.dice.one_in(8) { 200 } else { 25_000 };
                self.at(in_ms, Event::Token { phone: number, life, token });
            }
            Output::Show(shown) => self.show(number, shown),
        }
    }

    fn socket_of(&self, owner: Owner) -> Option<u64> {
        self.sockets.iter().rev().find(|(_, socket)| socket.owner == owner).map(|(number, _)| *number)
    }

    pub(crate) fn written(&mut self, number: usize, life: u32) {
        let phone = &mut self.phones[number];
        if phone.life != life || phone.session.is_none() {
            return;
        }
        if let Some((batch, changes)) = phone.writing.pop_front() {
            if self.faults.strike(Fault::StoreRefuses).is_some() {
                phone.writing.clear();
                self.input(number, Input::NotStored(batch));
                return;
            }
            self.store(number, changes);
            self.input(number, Input::Committed(batch));
        }
    }

    pub(crate) fn token_came(&mut self, number: usize, life: u32, token: Token) {
        if self.phones[number].life == life && self.phones[number].session.is_some() {
            self.phones[number].token = token.clone();
            self.input(number, Input::NewToken(token));
        }
    }

    /// Entries of a conversation that the user of a device has been shown, ascending.
    pub(crate) fn seen(&self, number: usize, conversation: &ConversationId) -> Vec<Position> {
        let entries = self.phones[number].disk.entries.get(conversation);
        entries.into_iter().flat_map(BTreeMap::values).map(|entry| entry.position).collect()
    }
}

/// An input, for a reader. Never a token.
fn said(input: &Input) -> String {
    match input {
        Input::Received { text, .. } => text.0.clone(),
        Input::NewToken(_) => "a new token".to_owned(),
        Input::OpenFailed { failure: OpenFailure::Denied, .. } => "denied".to_owned(),
        input => format!("{input:?}"),
    }
}
