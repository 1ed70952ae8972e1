//! What is said: what the server says to a phone and the user does with it, and what the phone asks.

use std::iter;

use chatlane_protocol::frames::{
    ChangeAnswer, ChangeOutcome, ConversationRow, ConversationStatus, CursorOutcome, CursorResult, CursorsAnswer, Entries, ErrorFrame,
    Found, Goaway, GoawayReason, HelloAnswer, HistoryAnswer, MessageResult, Missed, PingAnswer, PrefsAnswer, PrefsChanged, ProbeAnswer,
    SendAnswer, Skip, SyncAnswer, SyncOutcome, SyncPage, encode,
};
use chatlane_protocol::request::{
    Create, Hello, History, Info, Members, Open, Ping, Positions, Probe, Refresh, SendMessages, SetPrefs, Sync,
};
use chatlane_protocol::{
    ClientMessageId, ConversationId, Entry, ErrorCode, Outcome, Position, Prefs, PrefsChange, Refusal, Request, RequestId, ServerFrame,
    UnixMillis,
};
use chatlane_session::{Act, ConnectionState, Draft, Input, SocketId, Text};

use crate::phone::*;

impl Phone {
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

    /// An error that names no request.
    pub fn error(&mut self, code: ErrorCode) {
        self.receive(&ServerFrame::Error(ErrorFrame { id: None, refusal: refusal(code) }));
    }

    pub fn goaway(&mut self, socket: SocketId, reason: GoawayReason, retry_after_ms: Option<u64>) {
        self.receive_on(socket, &ServerFrame::Goaway(Goaway { reason, retry_after_ms }));
    }

    pub fn does(&mut self, act: Act) {
        self.input(Input::Do(act));
    }

    pub fn connect_now(&mut self) {
        self.does(Act::ConnectNow);
    }

    /// Connects, says hello, which is answered with `rows` on one page.
    pub fn go_live(&mut self, rows: impl IntoIterator<Item = ConversationRow>) {
        self.connect_now();
        self.opened();
        self.welcome(rows);
    }

    /// Answers the `hello` that was sent.
    pub fn welcome(&mut self, rows: impl IntoIterator<Item = ConversationRow>) {
        let hello = self.hello();
        self.hello_answered(hello, rows, None);
    }

    pub fn hello_answered(&mut self, hello: Hello, rows: impl IntoIterator<Item = ConversationRow>, next: Option<ConversationId>) {
        self.receive(&ServerFrame::Hello(Box::new(hello_answer(hello.id, rows.into_iter().collect(), next))));
    }

    /// The socket breaks, and the next one opens.
    pub fn breaks(&mut self) {
        self.closed(self.socket());
        self.pass(500);
        self.opened();
    }

    /// The same, and its `hello` is answered.
    pub fn reconnects(&mut self, rows: impl IntoIterator<Item = ConversationRow>) {
        self.breaks();
        self.welcome(rows);
    }

    /// Bob's entries come.
    pub fn push(&mut self, seqs: impl IntoIterator<Item = u64>) {
        self.push_in(1, seqs);
    }

    pub fn push_in(&mut self, epoch: u32, seqs: impl IntoIterator<Item = u64>) {
        self.entries_come(entries(epoch, seqs));
    }

    pub fn entries_come(&mut self, entries: Vec<Entry>) {
        self.receive(&ServerFrame::Entries(Entries { conversation: d1(), entries }));
    }

    /// An entry comes behind one that does not: what is missing is asked for.
    pub fn gap_before(&mut self, seq: u64) -> Sync {
        self.push([seq]);
        self.pass(1_000);
        self.sync()
    }

    /// The next request that was sent.
    pub fn next(&mut self) -> Request {
        self.sent.pop_front().expect("a request").1
    }

    pub fn ack(&mut self) -> Positions {
        self.cursors.pop_front().expect("an ack")
    }

    /// The next `ack`, which has a read mark.
    pub fn read(&mut self) -> Positions {
        let ack = self.ack();
        assert_ne!(ack.positions[0].read, None);
        ack
    }

    pub fn compose(&mut self, id: &str) {
        self.write(id, body(id));
    }

    pub fn write(&mut self, id: &str, draft: impl Into<Draft>) {
        self.does(Act::Compose { conversation: d1(), client_message_id: message_id(id), draft: draft.into() });
    }

    /// Composes a message that is sent at once.
    pub fn attempt(&mut self, id: &str) -> SendMessages {
        self.compose(id);
        self.send()
    }

    pub fn mark_read(&mut self, position: Position) {
        self.does(Act::MarkRead { conversation: d1(), position, private: false });
    }

    pub fn mark_read_in_private(&mut self, position: Position) {
        self.does(Act::MarkRead { conversation: d1(), position, private: true });
    }

    pub fn prefer(&mut self, prefs: PrefsChange) {
        self.does(Act::Prefer { conversation: d1(), prefs });
    }

    /// The answer to a `prefs`.
    pub fn prefers(&mut self, asked: &SetPrefs, prefs: Prefs) {
        self.receive(&ServerFrame::Prefs(PrefsAnswer { id: asked.id.clone(), conversation: d1(), prefs }));
    }

    /// Another device has set them.
    pub fn prefs_changed(&mut self, prefs: Prefs) {
        self.receive(&ServerFrame::PrefsChanged(PrefsChanged { conversation: d1(), prefs }));
    }

    pub fn look(&mut self) -> Ping {
        self.does(Act::Look { conversations: vec![d1()] });
        self.ping()
    }

    pub fn results(&mut self, send: &SendMessages, outcomes: impl IntoIterator<Item = Outcome>) {
        self.receive(&send_answer(send, outcomes));
    }

    pub fn page(&mut self, sync: &Sync, entries: Vec<Entry>, done: bool) {
        let outcome = SyncOutcome::Ok(Missed { skip: None, entries, done, ended: None });
        self.pages(sync, [outcome], done);
    }

    /// The page of `d1` skips what is up to `to`.
    pub fn skips(&mut self, sync: &Sync, to: u64, entries: Vec<Entry>, done: bool) {
        let outcome = SyncOutcome::Ok(Missed { skip: Some(Skip { to: at(to) }), entries, done, ended: None });
        self.pages(sync, [outcome], done);
    }

    /// The page of `d1` says that the membership ended here.
    pub fn ends(&mut self, sync: &Sync, entries: Vec<Entry>, at: Position) {
        let outcome = SyncOutcome::Ok(Missed { skip: None, entries, done: true, ended: Some(at) });
        self.pages(sync, [outcome], true);
    }

    /// The `hello` that was sent is answered without rows, and with `d1` among what is gone.
    pub fn welcome_without(&mut self, gone: Vec<ConversationId>) {
        let answer = hello_answer(self.hello().id, vec![], None);
        self.receive(&ServerFrame::Hello(Box::new(HelloAnswer { gone, ..answer })));
    }

    /// The socket breaks, and the next one's `hello` is answered so.
    pub fn reconnects_without(&mut self, gone: Vec<ConversationId>) {
        self.breaks();
        self.welcome_without(gone);
    }

    /// The answer to a change.
    pub fn changed(&mut self, request: &Request, outcome: ChangeOutcome) {
        let answer = ChangeAnswer { id: request.id().clone(), conversation: d1(), outcome };
        self.receive(&match request {
            Request::Edit(_) => ServerFrame::Edit(answer),
            Request::Delete(_) => ServerFrame::Delete(answer),
            Request::React(_) => ServerFrame::React(answer),
            Request::Create(_) => ServerFrame::Create(answer),
            Request::Add(_) => ServerFrame::Add(answer),
            Request::Remove(_) => ServerFrame::Remove(answer),
            Request::Leave(_) => ServerFrame::Leave(answer),
            Request::Role(_) => ServerFrame::Role(answer),
            Request::Settings(_) => ServerFrame::Settings(answer),
            Request::Close(_) => ServerFrame::Close(answer),
            other => panic!("{other:?} changes nothing"),
        });
    }

    pub fn refuse_page(&mut self, sync: &Sync, refusal: Refusal) {
        self.pages(sync, [SyncOutcome::Refused(refusal)], true);
    }

    /// Who refuses a page for good refuses the acknowledgement as well.
    pub fn pages(&mut self, sync: &Sync, outcomes: impl IntoIterator<Item = SyncOutcome>, done: bool) {
        let conversations = sync.conversations.iter().map(|from| from.conversation.clone());
        let pages: Vec<_> = conversations.zip(outcomes).map(|(conversation, outcome)| SyncPage { conversation, outcome }).collect();
        let acked = !sync.ack.is_empty() && pages.iter().all(|page| matches!(page.outcome, SyncOutcome::Ok(_)));
        self.receive(&ServerFrame::Sync(SyncAnswer { id: sync.id.clone(), pages, done, acked }));
    }

    pub fn probed(&mut self, probe: &Probe, found: &[(&str, u64)], reached: Position, done: bool) {
        let found = found.iter().map(|(id, seq)| Found { client_message_id: message_id(id), stored: stored(*seq) }).collect();
        self.receive(&ServerFrame::Probe(ProbeAnswer { id: probe.id.clone(), conversation: d1(), found, reached, done }));
    }

    /// The answer to an `ack`: for each of its conversations an outcome.
    pub fn cursors_answered(&mut self, ack: &Positions, outcomes: impl IntoIterator<Item = CursorOutcome>) {
        let conversations = ack.positions.iter().map(|told| told.conversation.clone());
        let results = conversations.zip(outcomes).map(|(conversation, outcome)| CursorResult { conversation, outcome }).collect();
        let answer = CursorsAnswer { id: ack.id.clone(), results };
        self.receive(&if ack.private { ServerFrame::Read(answer) } else { ServerFrame::Ack(answer) });
    }

    pub fn cursors_ok(&mut self, ack: &Positions) {
        self.cursors_answered(ack, iter::repeat(CursorOutcome::Ok));
    }

    pub fn refuse_cursor(&mut self, ack: &Positions, refusal: Refusal) {
        self.cursors_answered(ack, [CursorOutcome::Refused(refusal)]);
    }

    pub fn pong(&mut self, ping: &Ping, resync: bool, conversations: Vec<ConversationStatus>) {
        let server_time_ms = UnixMillis::ZERO;
        self.receive(&ServerFrame::Ping(PingAnswer { id: ping.id.clone(), server_time_ms, resync, conversations }));
    }

    pub fn older(&mut self, asked: &History, entries: Vec<Entry>, done: bool) {
        self.receive(&ServerFrame::History(HistoryAnswer { id: asked.id.clone(), conversation: d1(), entries, done }));
    }

    pub fn connection(&self) -> ConnectionState {
        self.session.connection()
    }

    pub fn waits(&self) -> bool {
        matches!(self.connection(), ConnectionState::Waiting { .. })
    }
}

/// The next request that was sent, which is of this kind.
macro_rules! next_is {
    ($($name:ident: $kind:ident($request:ty)),*) => {
        impl Phone {
            $(pub fn $name(&mut self) -> $request {
                match self.next() {
                    Request::$kind(request) => request,
                    other => panic!("{other:?}"),
                }
            })*
        }
    };
}

next_is!(hello: Hello(Hello), send: Send(SendMessages), sync: Sync(Sync), probe: Probe(Probe), ping: Ping(Ping));
next_is!(history: History(History), open: Open(Open), refresh: Refresh(Refresh));
next_is!(asks_prefs: Prefs(SetPrefs));
next_is!(create: Create(Create), info: Info(Info), asks_members: Members(Members));

pub fn send_answer(send: &SendMessages, outcomes: impl IntoIterator<Item = Outcome>) -> ServerFrame {
    let ids = send.messages.iter().map(|message| message.client_message_id.clone());
    let results = ids.zip(outcomes).map(|(client_message_id, outcome)| MessageResult { client_message_id, outcome }).collect();
    ServerFrame::Send(SendAnswer { id: send.id.clone(), conversation: d1(), results })
}

pub fn ids(send: &SendMessages) -> Vec<&str> {
    send.messages.iter().map(|message| message.client_message_id.as_str()).collect()
}

/// What a request changes, and under which name; `None`: it is no change.
pub fn change_of(request: &Request) -> Option<(ConversationId, ClientMessageId, Position, Draft)> {
    macro_rules! change {
        ($asked:ident, $draft:expr) => {
            ($asked.conversation.clone(), $asked.client_message_id.clone(), $asked.anchor, $draft)
        };
    }
    Some(match request {
        Request::Edit(asked) => change!(asked, Draft::Edit { target: asked.target, body: asked.body.clone() }),
        Request::Delete(asked) => change!(asked, Draft::Delete { target: asked.target }),
        Request::React(asked) => change!(asked, Draft::react(asked.target, asked.key.clone(), asked.change)),
        Request::Add(asked) => change!(asked, Draft::Add { users: asked.users.clone() }),
        Request::Remove(asked) => change!(asked, Draft::Remove { users: asked.users.clone() }),
        Request::Leave(asked) => change!(asked, Draft::Leave { successor: asked.successor.clone() }),
        Request::Role(asked) => change!(asked, Draft::Role { user: asked.user.clone(), role: asked.role }),
        Request::Settings(asked) => change!(asked, Draft::Settings { settings: asked.settings.clone() }),
        Request::Close(asked) => change!(asked, Draft::Close),
        _ => return None,
    })
}
