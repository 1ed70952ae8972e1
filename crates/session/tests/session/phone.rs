//! A phone: a session, a store and a clock that moves only when a test moves it. Whatever a fact is about, these always hold here:
//! an entry is shown only when the store has it, a message is attempted only as the store has it, a position is acknowledged only when the
//! store has the entry, nothing is sent on a socket that is not open, and no timer is in the past.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chatlane_protocol::frames::{
    self, ConversationStatus, CursorOutcome, CursorResult, CursorsAnswer, Entries, ErrorFrame, Found, Goaway, GoawayReason, MessageResult,
    Missed, PingAnswer, ProbeAnswer, SendAnswer, SyncAnswer, SyncOutcome, SyncPage, encode,
};
use chatlane_protocol::request::{Hello, Ping, PositionIn, Positions, Probe, SendMessages, Sync};
use chatlane_protocol::{
    ClientMessageId, ConversationId, Entry, Outcome, Position, Refusal, Request, RequestId, Seq, ServerFrame, UnixMillis,
};
use chatlane_session::{
    Act, BatchId, Change, ConversationRow, Input, Moment, OpenFailure, OutboxRow, OutgoingState, Output, Restored, Session, Settings,
    Shown, SocketId, Text,
};

pub use crate::made::*;

/// What a store keeps.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub rows: BTreeMap<ConversationId, ConversationRow>,
    pub entries: BTreeMap<(ConversationId, Seq), Entry>,
    pub outbox: BTreeMap<(ConversationId, ClientMessageId), OutboxRow>,
}

impl Shelf {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Conversation(row) => drop(self.rows.insert(row.conversation.clone(), row)),
            Change::Entries { conversation, entries } => {
                for entry in entries {
                    self.entries.insert((conversation.clone(), entry.position.seq), entry);
                }
            }
            Change::DropBeyond { conversation, position } => {
                self.entries.retain(|(of, seq), _| *of != conversation || *seq <= position.seq);
            }
            Change::DropAll(conversation) => self.entries.retain(|(of, _), _| *of != conversation),
            Change::Outbox(row) => drop(self.outbox.insert((row.conversation.clone(), row.client_message_id.clone()), row)),
            Change::OutboxDone { conversation, client_message_id } => drop(self.outbox.remove(&(conversation, client_message_id))),
        }
    }

    pub fn restored(&self) -> Restored {
        let mut outbox: Vec<_> = self.outbox.values().cloned().collect();
        outbox.sort_by_key(|row| row.order);
        Restored { conversations: self.rows.values().cloned().collect(), outbox }
    }
}

pub struct Phone {
    pub session: Session,
    pub now: u64,
    pub store: Shelf,
    /// Requests that were sent and that no test has looked at, without the cursors.
    pub sent: VecDeque<(SocketId, Request)>,
    /// The same of `ack` and `read`, which come beside what most facts are about.
    pub cursors: VecDeque<Request>,
    /// What was shown and no test has looked at.
    pub shown: Vec<Shown>,
    pub connects: Vec<SocketId>,
    pub closes: Vec<SocketId>,
    pub tokens_needed: u32,
    /// While true, batches wait for [`Phone::commit`].
    pub slow_store: bool,
    /// Messages that were shown to be in the outbox, and those shown to be in the log.
    pub waiting_shown: u32,
    pub stored: BTreeSet<ClientMessageId>,
    batches: VecDeque<(BatchId, Vec<Change>)>,
    open: BTreeSet<SocketId>,
    ended: BTreeSet<SocketId>,
    random: u64,
}

impl Phone {
    pub fn with(restored: &Shelf) -> Self {
        Self::set(settings(), restored)
    }

    pub fn set(settings: Settings, restored: &Shelf) -> Self {
        Self {
            session: Session::new(settings, restored.restored()),
            now: 1_000,
            store: restored.clone(),
            sent: VecDeque::new(),
            cursors: VecDeque::new(),
            shown: vec![],
            connects: vec![],
            closes: vec![],
            tokens_needed: 0,
            slow_store: false,
            waiting_shown: 0,
            stored: BTreeSet::new(),
            batches: VecDeque::new(),
            open: BTreeSet::new(),
            ended: BTreeSet::new(),
            random: 1,
        }
    }

    pub fn new() -> Self {
        Self::with(&Shelf::default())
    }

    /// A phone that knows conversation `d1` with bob up to this entry, and is live.
    pub fn live_at(seq: u64) -> Self {
        let mut phone = Self::with(&knows(seq));
        phone.go_live(vec![]);
        phone
    }

    pub fn input(&mut self, input: Input) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let outputs = self.session.handle(Moment(self.now), self.random, input);
        assert!(self.session.wake_at().is_none_or(|at| at > Moment(self.now)), "a timer in the past");
        for output in outputs {
            self.carry_out(output);
        }
        while !self.slow_store && !self.batches.is_empty() {
            self.commit();
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect(socket) => self.connects.push(socket),
            Output::Send { socket, text: Text(text) } => {
                assert!(self.open.contains(&socket), "sent on a socket that is not open: {text}");
                assert!(text.len() <= 32 * 1024);
                let request = Request::parse(&text).unwrap();
                self.check(&request);
                match request {
                    Request::Ack(_) | Request::Read(_) => self.cursors.push_back(request),
                    _ => self.sent.push_back((socket, request)),
                }
            }
            Output::Close(socket) => {
                self.open.remove(&socket);
                self.closes.push(socket);
            }
            Output::Commit { batch, changes } => self.batches.push_back((batch, changes)),
            Output::NeedToken => self.tokens_needed += 1,
            Output::Show(shown) => {
                if let Shown::Entry { conversation, entry } = &shown {
                    assert_eq!(self.store.entries.get(&(conversation.clone(), entry.position.seq)), Some(entry), "shown before stored");
                }
                if let Shown::Outgoing { client_message_id, state, .. } = &shown {
                    match state {
                        OutgoingState::Waiting => self.waiting_shown += 1,
                        OutgoingState::Stored(_) => assert!(self.stored.insert(client_message_id.clone()), "stored twice"),
                        OutgoingState::Failed(_) => {}
                    }
                }
                self.shown.push(shown);
            }
        }
    }

    fn check(&self, request: &Request) {
        let acknowledged = match request {
            Request::Send(send) => {
                for message in &send.messages {
                    let row = &self.store.outbox[&(send.conversation.clone(), message.client_message_id.clone())];
                    assert_eq!((&row.anchor, &row.body), (&message.anchor, &message.body), "attempted otherwise than stored");
                }
                return;
            }
            Request::Ack(ack) => &ack.positions,
            Request::Sync(sync) => &sync.ack,
            _ => return,
        };
        for PositionIn { conversation, position } in acknowledged {
            // Of which epoch the entry here is, a rude server can make anybody wrong about.
            let stored = self.store.entries.contains_key(&(conversation.clone(), position.seq));
            assert!(stored, "{position} was acknowledged, and is not stored");
        }
    }

    /// The store makes its oldest write.
    pub fn commit(&mut self) {
        let (batch, changes) = self.batches.pop_front().expect("a write");
        for change in changes {
            self.store.apply(change);
        }
        self.input(Input::Committed(batch));
    }

    /// Time passes; every timer fires when it is due.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.session.wake_at().filter(|at| at.0 <= end) {
            self.now = at.0;
            self.input(Input::Tick);
        }
        self.now = end;
    }

    /// The newest socket is open.
    pub fn opened(&mut self) -> SocketId {
        let socket = *self.connects.last().expect("a socket");
        self.open.insert(socket);
        self.input(Input::Opened(socket));
        socket
    }

    pub fn open_fails(&mut self, failure: OpenFailure) {
        let socket = *self.connects.last().expect("a socket");
        self.ended.insert(socket);
        self.input(Input::OpenFailed { socket, failure });
    }

    pub fn closed(&mut self, socket: SocketId) {
        self.open.remove(&socket);
        self.ended.insert(socket);
        self.input(Input::Closed { socket });
    }

    /// All that was given to the store is there.
    pub fn settle_store(&mut self) {
        self.slow_store = false;
        while !self.batches.is_empty() {
            self.commit();
        }
    }

    pub fn open_socket(&self) -> Option<SocketId> {
        self.open.last().copied()
    }

    /// Whether the newest socket was asked for and nothing was heard of it.
    pub fn is_opening(&self) -> bool {
        let newest = self.connects.last();
        newest.is_some_and(|socket| !self.open.contains(socket) && !self.closes.contains(socket) && !self.ended.contains(socket))
    }

    pub fn socket(&self) -> SocketId {
        *self.open.last().expect("an open socket")
    }

    /// A frame comes on the newest open socket.
    pub fn receive(&mut self, frame: &ServerFrame) {
        self.receive_on(self.socket(), frame);
    }

    pub fn receive_on(&mut self, socket: SocketId, frame: &ServerFrame) {
        self.receive_text(socket, &encode(frame));
    }

    pub fn receive_text(&mut self, socket: SocketId, text: &str) {
        self.input(Input::Received { socket, text: Text(text.to_owned()) });
    }

    pub fn gateway_fails(&mut self) {
        self.receive_text(self.socket(), r#"{"message":"Internal server error","connectionId":"c=","requestId":"r="}"#);
    }

    pub fn refuse(&mut self, id: &RequestId, refusal: Refusal) {
        self.receive(&ServerFrame::Error(ErrorFrame { id: Some(id.clone()), refusal }));
    }

    pub fn goaway(&mut self, socket: SocketId, reason: GoawayReason, retry_after_ms: Option<u64>) {
        self.receive_on(socket, &ServerFrame::Goaway(Goaway { reason, retry_after_ms }));
    }

    /// Connects, says hello, which is answered with `rows` on one page.
    pub fn go_live(&mut self, rows: Vec<frames::ConversationRow>) {
        self.input(Input::Do(Act::ConnectNow));
        self.opened();
        self.welcome(rows);
    }

    /// Answers the `hello` that was sent.
    pub fn welcome(&mut self, rows: Vec<frames::ConversationRow>) {
        let hello = self.hello();
        self.receive(&ServerFrame::Hello(Box::new(hello_answer(hello.id, rows, None))));
    }

    /// Bob's entries come.
    pub fn push(&mut self, seqs: impl IntoIterator<Item = u64>) {
        self.push_in(1, seqs);
    }

    pub fn push_in(&mut self, epoch: u32, seqs: impl IntoIterator<Item = u64>) {
        let entries = seqs.into_iter().map(|seq| entry(epoch, seq)).collect();
        self.receive(&ServerFrame::Entries(Entries { conversation: d1(), entries }));
    }

    /// The next request that was sent.
    pub fn next(&mut self) -> Request {
        self.sent.pop_front().expect("a request").1
    }

    pub fn hello(&mut self) -> Hello {
        let Request::Hello(hello) = self.next() else { panic!("a hello") };
        hello
    }

    pub fn send(&mut self) -> SendMessages {
        let Request::Send(send) = self.next() else { panic!("a send") };
        send
    }

    pub fn sync(&mut self) -> Sync {
        let Request::Sync(sync) = self.next() else { panic!("a sync") };
        sync
    }

    pub fn probe(&mut self) -> Probe {
        let Request::Probe(probe) = self.next() else { panic!("a probe") };
        probe
    }

    pub fn ack(&mut self) -> Positions {
        let Some(Request::Ack(ack)) = self.cursors.pop_front() else { panic!("an ack") };
        ack
    }

    pub fn read(&mut self) -> Positions {
        let Some(Request::Read(read)) = self.cursors.pop_front() else { panic!("a read") };
        read
    }

    pub fn ping(&mut self) -> Ping {
        let Request::Ping(ping) = self.next() else { panic!("a ping") };
        ping
    }

    pub fn compose(&mut self, id: &str) {
        self.input(Input::Do(Act::Compose { conversation: d1(), client_message_id: message_id(id), body: body(id) }));
    }

    pub fn results(&mut self, send: &SendMessages, outcomes: Vec<Outcome>) {
        let ids = send.messages.iter().map(|message| message.client_message_id.clone());
        let results = ids.zip(outcomes).map(|(client_message_id, outcome)| MessageResult { client_message_id, outcome }).collect();
        self.receive(&ServerFrame::Send(SendAnswer { id: send.id.clone(), conversation: d1(), results }));
    }

    pub fn page(&mut self, sync: &Sync, entries: Vec<Entry>, done: bool) {
        let outcome = SyncOutcome::Ok(Missed { skip: None, entries, done });
        self.pages(sync, vec![outcome], done);
    }

    /// Who refuses a page for good refuses the acknowledgement as well.
    pub fn pages(&mut self, sync: &Sync, outcomes: Vec<SyncOutcome>, done: bool) {
        let acked = !sync.ack.is_empty() && outcomes.iter().all(|outcome| matches!(outcome, SyncOutcome::Ok(_)));
        let conversations = sync.conversations.iter().map(|from| from.conversation.clone());
        let pages = conversations.zip(outcomes).map(|(conversation, outcome)| SyncPage { conversation, outcome }).collect();
        self.receive(&ServerFrame::Sync(SyncAnswer { id: sync.id.clone(), pages, done, acked }));
    }

    pub fn probed(&mut self, probe: &Probe, found: Vec<(&str, u64)>, reached: Position, done: bool) {
        let found = found.into_iter().map(|(id, seq)| Found { client_message_id: message_id(id), stored: stored(seq) }).collect();
        self.receive(&ServerFrame::Probe(ProbeAnswer { id: probe.id.clone(), conversation: d1(), found, reached, done }));
    }

    pub fn cursors_ok(&mut self, request: &Positions, answer: fn(CursorsAnswer) -> ServerFrame) {
        let ok = |conversation| CursorResult { conversation, outcome: CursorOutcome::Ok };
        let results = request.positions.iter().map(|sent| ok(sent.conversation.clone())).collect();
        self.receive(&answer(CursorsAnswer { id: request.id.clone(), results }));
    }

    pub fn pong(&mut self, ping: &Ping, resync: bool, conversations: Vec<ConversationStatus>) {
        let server_time_ms = UnixMillis::ZERO;
        self.receive(&ServerFrame::Ping(PingAnswer { id: ping.id.clone(), server_time_ms, resync, conversations }));
    }

    /// The seqs of the entries that were shown since the last look.
    pub fn entries_shown(&mut self) -> Vec<u64> {
        let entries = self.shown.drain(..).filter_map(|shown| if let Shown::Entry { entry, .. } = shown { Some(entry) } else { None });
        entries.map(|entry| entry.position.seq.get()).collect()
    }

    /// What was shown of own messages since the last look.
    pub fn outgoing_shown(&mut self) -> Vec<(String, OutgoingState)> {
        let outgoing = |shown| match shown {
            Shown::Outgoing { client_message_id, state, .. } => Some((client_message_id.as_str().to_owned(), state)),
            _ => None,
        };
        self.shown.drain(..).filter_map(outgoing).collect()
    }

    pub fn row(&self) -> &ConversationRow {
        self.session.conversations().find(|row| row.conversation == d1()).expect("d1")
    }

    pub fn anchors(&self) -> Vec<Position> {
        self.session.outbox().map(|row| row.anchor).collect()
    }

    /// The phone is killed, and starts again with what its store has.
    pub fn restart(&mut self) {
        let (waiting_shown, stored) = (self.waiting_shown, std::mem::take(&mut self.stored));
        *self = Self { now: self.now + 10_000, waiting_shown, stored, ..Self::with(&self.store) };
    }
}
