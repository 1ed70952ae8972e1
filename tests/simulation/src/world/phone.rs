//! A device: the real session, its store, and what its person sees, told as lines of the history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chatlane_protocol::frames::{CursorOutcome, HelloAnswer, Outcome, SyncOutcome};
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{ClientMessageId, ConversationId, DeviceId, Entry, EntryKind, Position, Request, ServerFrame, Token, UserId};
use chatlane_session::{
    Act, BatchId, Change, ConnectionState, Input, Moment, OpenFailure, OutboxState, OutgoingState, Output, Session, Settings, Shown,
};
use chatlane_tests_support::Disk;
use serde_json::{Value, json};

use super::gateway::{Owner, Socket};
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
    writing: VecDeque<(BatchId, Vec<Change>)>,
    written_ms: u64,
    pub(crate) made: u64,
    composed: BTreeSet<ClientMessageId>,
    /// What requests under way have told of cursors.
    told: BTreeMap<String, (&'static str, Vec<PositionIn>)>,
    calls: (u64, u32),
}

impl Phone {
    pub(crate) fn new(user: UserId, id: DeviceId, token: Token) -> Self {
        Self {
            user,
            id,
            session: None,
            life: 0,
            disk: Disk::default(),
            state: ConnectionState::Connecting,
            token,
            failed: BTreeSet::new(),
            writing: VecDeque::new(),
            written_ms: 0,
            made: 0,
            composed: BTreeSet::new(),
            told: BTreeMap::new(),
            calls: (0, 0),
        }
    }

    /// Bounds so small that short scripts meet them.
    fn settings(&self) -> Settings {
        let patience = Settings::new(self.user.clone(), self.id);
        Settings { catch_up_entries_max: 60, new_entries_max: 25, ahead_entries_max: 8, ..patience }
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

    /// The person starts the app, with what its store holds.
    pub(crate) fn start(&mut self, number: usize) {
        let phone = &mut self.phones[number];
        if phone.session.is_some() {
            return;
        }
        phone.life += 1;
        phone.told.clear();
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
                self.given_up.insert((conversation, id));
            }
        }
        let phone = &mut self.phones[number];
        let session = Session::new(phone.settings(), phone.disk.restored());
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
        for (_, changes) in writing {
            phone.disk.apply(changes);
        }
        let life = phone.life;
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
        let said = said(&input);
        let outputs = session.handle(Moment(now_ms), random, input);
        self.tell(format_args!("device {number} <- {said}"));
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
                self.at(latency, Event::Handshake { socket, device, token });
            }
            Output::Send { socket, text } => {
                self.note_request(number, &text.0);
                let life = self.phones[number].life;
                if let Some(socket) = self.socket_of(Owner::Phone { phone: number, life, socket }) {
                    self.leaves(socket, text.0);
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
            Output::NeedToken => {
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
            phone.disk.apply(changes);
            self.input(number, Input::Committed(batch));
        }
    }

    pub(crate) fn token_came(&mut self, number: usize, life: u32, token: Token) {
        if self.phones[number].life == life && self.phones[number].session.is_some() {
            self.phones[number].token = token.clone();
            self.input(number, Input::NewToken(token));
        }
    }

    /// What the person sees.
    fn show(&mut self, number: usize, shown: Shown) {
        match shown {
            Shown::Connection(state) => {
                let before = std::mem::replace(&mut self.phones[number].state, state);
                let what = match state {
                    ConnectionState::Connecting if matches!(before, ConnectionState::CatchingUp | ConnectionState::Live) => "away",
                    ConnectionState::Connecting => return,
                    ConnectionState::CatchingUp => "hello",
                    ConnectionState::Live => "live",
                    ConnectionState::Waiting { .. } | ConnectionState::NoToken | ConnectionState::UpgradeRequired => "away",
                    ConnectionState::Displaced => {
                        self.violated("displaced", format!("device {number} is displaced, and nobody else uses it"));
                        "away"
                    }
                };
                self.note(number, json!({"what": what}));
            }
            Shown::Entry { conversation, entry } => self.note(number, sight("shown", &conversation, &entry)),
            Shown::History { conversation, entries, .. } => {
                for entry in entries {
                    self.note(number, sight("older", &conversation, &entry));
                }
            }
            Shown::RolledBack { conversation, position } => {
                self.note(number, json!({"what": "rolled_back", "conversation": conversation, "to": position}));
            }
            Shown::Skipped { conversation, position } => {
                self.note(number, json!({"what": "skipped", "conversation": conversation, "to": position}));
            }
            Shown::Outgoing { conversation, client_message_id: id, state } => match state {
                OutgoingState::Waiting => {
                    if self.phones[number].composed.insert(id.clone()) {
                        self.note(number, json!({"what": "composed", "conversation": conversation, "id": id}));
                    }
                }
                OutgoingState::Stored(_) => {
                    self.phones[number].failed.remove(&(conversation, id));
                }
                OutgoingState::Failed(_) => {
                    self.note(number, json!({"what": "given_up", "conversation": conversation, "id": id}));
                    self.given_up.insert((conversation.clone(), id.clone()));
                    self.phones[number].failed.insert((conversation, id));
                }
            },
            Shown::Cursors { conversation, cursors } => {
                let (of, delivered, read) = (cursors.user, cursors.delivered, cursors.read);
                self.note(number, json!({"what": "cursors", "conversation": conversation, "of": of, "delivered": delivered, "read": read}));
            }
            Shown::Conversation { .. } | Shown::Opened { .. } | Shown::Failed(_) => {}
        }
    }

    /// A request leaves the device.
    fn note_request(&mut self, number: usize, text: &str) {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(bad) => return self.violated("session", format!("device {number} sends a bad request: {:?}", bad.refusal)),
        };
        let id = request.id().to_string();
        match request {
            Request::Send(send) => {
                let messages: Vec<Value> = send
                    .messages
                    .iter()
                    .map(|message| json!({"id": message.client_message_id, "anchor": message.anchor, "body": message.body}))
                    .collect();
                self.note(number, json!({"what": "attempt", "request": id, "conversation": send.conversation, "messages": messages}));
            }
            Request::Open(open) => self.note(number, json!({"what": "open", "id": open.client_message_id})),
            Request::Sync(sync) => self.note_told(number, id, "told_ack", sync.ack),
            Request::Ack(positions) => self.note_told(number, id, "told_ack", positions.positions),
            Request::Read(positions) => self.note_told(number, id, "told_read", positions.positions),
            _ => {}
        }
    }

    fn note_told(&mut self, number: usize, id: String, what: &'static str, positions: Vec<PositionIn>) {
        for PositionIn { conversation, position } in &positions {
            self.note(number, json!({"what": what, "conversation": conversation, "position": position}));
        }
        let cursor = if what == "told_read" { "read" } else { "delivered" };
        self.phones[number].told.insert(id, (cursor, positions));
    }

    /// A frame has reached the device.
    pub(crate) fn note_arrival(&mut self, number: usize, text: &str) {
        let Ok(frame) = serde_json::from_str::<ServerFrame>(text) else { return };
        match frame {
            ServerFrame::Hello(answer) => self.note_standings(number, *answer),
            ServerFrame::Ping(answer) => {
                for row in answer.conversations {
                    self.note(number, json!({"what": "standing", "conversation": row.conversation, "head": row.head, "count": row.count}));
                }
            }
            ServerFrame::Open(answer) => {
                let head = answer.conversation;
                self.promise(&head.conversation, head.head);
                self.note(number, json!({"what": "opened", "conversation": head.conversation, "head": head.head}));
            }
            ServerFrame::Send(answer) => {
                for result in answer.results {
                    let mut line = json!({
                        "what": "result", "request": answer.id, "conversation": answer.conversation, "id": result.client_message_id,
                    });
                    let (status, stored) = match result.outcome {
                        Outcome::Ok(stored) => ("ok", Some(stored)),
                        Outcome::Duplicate(stored) => ("duplicate", Some(stored)),
                        Outcome::Conflict(stored) => ("conflict", Some(stored)),
                        Outcome::Refused(refusal) => {
                            line["code"] = json!(refusal.code);
                            ("refused", None)
                        }
                        Outcome::NotAttempted => ("not_attempted", None),
                    };
                    line["status"] = json!(status);
                    if let Some(stored) = stored {
                        if status != "conflict" {
                            self.promise(&answer.conversation, stored.position);
                        }
                        line["position"] = json!(stored.position);
                        line["count"] = json!(stored.count);
                        line["time_ms"] = json!(stored.time_ms);
                    }
                    self.note(number, line);
                }
            }
            ServerFrame::Probe(answer) => {
                for found in answer.found {
                    let stored = found.stored;
                    self.promise(&answer.conversation, stored.position);
                    self.note(
                        number,
                        json!({
                            "what": "result", "request": answer.id, "conversation": answer.conversation, "id": found.client_message_id,
                            "status": "found", "position": stored.position, "count": stored.count, "time_ms": stored.time_ms,
                        }),
                    );
                }
            }
            ServerFrame::Ack(answer) | ServerFrame::Read(answer) => {
                if let Some((cursor, positions)) = self.phones[number].told.remove(answer.id.as_str()) {
                    let taken = positions.into_iter().zip(answer.results).filter(|(_, result)| result.outcome == CursorOutcome::Ok);
                    self.note_taken(number, cursor, taken.map(|(position, _)| position).collect());
                }
            }
            ServerFrame::Sync(answer) => {
                for page in &answer.pages {
                    let SyncOutcome::Ok(missed) = &page.outcome else { continue };
                    // What its sender is shown is not sent again.
                    let own = missed.entries.iter().filter(|entry| entry.sender == self.phones[number].user);
                    if let Some(position) = own.map(|entry| entry.position).max() {
                        self.promise(&page.conversation, position);
                    }
                }
                if let Some((cursor, positions)) = self.phones[number].told.remove(answer.id.as_str()).filter(|_| answer.acked) {
                    self.note_taken(number, cursor, positions);
                }
            }
            _ => {}
        }
    }

    fn note_taken(&mut self, number: usize, cursor: &str, positions: Vec<PositionIn>) {
        for PositionIn { conversation, position } in positions {
            self.note(number, json!({"what": "taken", "cursor": cursor, "conversation": conversation, "position": position}));
        }
    }

    fn note_standings(&mut self, number: usize, answer: HelloAnswer) {
        for row in answer.conversations {
            let head = row.conversation;
            self.note(
                number,
                json!({
                    "what": "standing", "conversation": head.conversation, "head": head.head, "count": row.count,
                    "read": row.read, "read_count": row.read_count,
                }),
            );
        }
    }

    /// The last line of a device.
    pub(crate) fn note_end(&mut self, number: usize) {
        let phone = &self.phones[number];
        let mut transcripts = vec![];
        for row in phone.disk.conversations.values() {
            let entries = phone.disk.entries.get(&row.conversation).into_iter().flat_map(BTreeMap::values);
            let entries: Vec<Value> = entries
                .filter(|entry| entry.position.seq > row.from.seq && entry.position.seq <= row.have.seq)
                .map(|entry| sight("", &row.conversation, entry))
                .collect();
            transcripts.push(json!({
                "conversation": row.conversation, "from": row.from, "have": row.have, "entries": entries, "unread": row.unread(),
            }));
        }
        let outbox: Vec<Value> =
            phone.disk.outbox().iter().map(|row| json!({"conversation": row.conversation, "id": row.client_message_id})).collect();
        self.note(number, json!({"what": "end", "transcripts": transcripts, "outbox": outbox}));
    }

    /// Entries of a conversation that the person of a device has been shown, ascending.
    pub(crate) fn seen(&self, number: usize, conversation: &ConversationId) -> Vec<Position> {
        let entries = self.phones[number].disk.entries.get(conversation);
        entries.into_iter().flat_map(BTreeMap::values).map(|entry| entry.position).collect()
    }
}

fn sight(what: &str, conversation: &ConversationId, entry: &Entry) -> Value {
    let (kind, body) = match &entry.kind {
        EntryKind::Message { body } => ("message", json!(body)),
        EntryKind::Created { .. } => ("created", Value::Null),
        EntryKind::Unknown => ("unknown", Value::Null),
    };
    json!({
        "what": what, "conversation": conversation, "position": entry.position, "sender": entry.sender, "id": entry.client_message_id,
        "kind": kind, "time_ms": entry.time_ms, "count": entry.count, "body": body,
    })
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
