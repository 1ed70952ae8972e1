//! A phone: a session, a store and a clock that moves only when a test moves it. Whatever a fact is about, these always hold here:
//! an entry is shown only when the store has it, a message is attempted and a preference asked for only as the store has it, a position is
//! acknowledged only when the store has the entry, what was read in private goes in no public frame, nothing is sent on a socket that is not open, and no timer is in the past.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chatlane_protocol::frames;
use chatlane_protocol::request::{Hello, PositionIn, Positions, SendMessages, Sync};
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, ErrorCode, Position, Request, Role, Seq};
use chatlane_session::{
    BatchId, Change, ConnectionState, ConversationRow, Draft, HeldRow, Input, Moment, NewGroup, OpenFailure, OutboxRow, OutgoingState,
    Output, Restored, Session, Settings, Shown, SocketId, Text, TokenNeed, fold, target,
};

pub use crate::made::*;
pub use crate::talk::*;

/// What a store keeps.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub rows: BTreeMap<ConversationId, ConversationRow>,
    pub entries: BTreeMap<(ConversationId, Seq), Entry>,
    pub outbox: BTreeMap<(ConversationId, ClientMessageId), OutboxRow>,
    pub held: Vec<HeldRow>,
    pub groups: Vec<NewGroup>,
}

impl Shelf {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Conversation(row) => drop(self.rows.insert(row.conversation.clone(), row)),
            Change::Entries { conversation, entries } => {
                let touched: BTreeSet<_> = entries.iter().flat_map(|entry| [Some(entry.position.seq), target(entry)]).flatten().collect();
                for entry in entries {
                    self.entries.insert((conversation.clone(), entry.position.seq), entry);
                }
                for seq in touched {
                    self.fold(&conversation, seq);
                }
            }
            Change::DropBeyond { conversation, position } => {
                self.entries.retain(|(of, seq), _| *of != conversation || *seq <= position.seq);
            }
            Change::DropAll(conversation) => self.entries.retain(|(of, _), _| *of != conversation),
            Change::Outbox(row) => drop(self.outbox.insert((row.conversation.clone(), row.client_message_id.clone()), row)),
            Change::OutboxDone { conversation, client_message_id } => drop(self.outbox.remove(&(conversation, client_message_id))),
            Change::Held(row) => self.held.push(row),
            Change::HeldDone(id) => self.held.retain(|row| row.client_message_id != id),
            Change::Group(group) => self.groups.push(group),
            Change::GroupDone(id) => self.groups.retain(|group| group.client_message_id != id),
        }
    }

    /// Folds the entry at this place with what is about it.
    fn fold(&mut self, conversation: &ConversationId, seq: Seq) {
        let here = |(of, _): &(ConversationId, Seq)| of == conversation;
        let mut about: Vec<_> =
            self.entries.iter().filter(|(at, entry)| here(at) && target(entry) == Some(seq)).map(|(_, entry)| entry.clone()).collect();
        fold(self.entries.get_mut(&(conversation.clone(), seq)), &mut about, &user("alice"));
        self.entries.extend(about.into_iter().map(|entry| ((conversation.clone(), entry.position.seq), entry)));
    }

    pub fn restored(&self) -> Restored {
        let mut outbox: Vec<_> = self.outbox.values().cloned().collect();
        outbox.sort_by_key(|row| row.order);
        Restored { conversations: self.rows.values().cloned().collect(), outbox, held: self.held.clone(), groups: self.groups.clone() }
    }
}

/// A store that has conversation `d1` with bob up to this entry.
pub fn knows(seq: u64) -> Shelf {
    knows_also(seq, [])
}

/// The same, and as much of these conversations.
pub fn knows_also(seq: u64, others: impl IntoIterator<Item = ConversationId>) -> Shelf {
    let mut store = Shelf::default();
    let (have, count) = (if seq == 0 { Position::ZERO } else { at(seq) }, seq.saturating_sub(1));
    for conversation in others.into_iter().chain([d1()]) {
        let row = ConversationRow {
            with: Some(user("bob")),
            have,
            have_count: count,
            head: have,
            head_count: count,
            acked: have,
            ..ConversationRow::empty(conversation.clone())
        };
        store.entries.extend((1..=seq).map(|seq| ((conversation.clone(), at(seq).seq), entry(1, seq))));
        store.rows.insert(conversation, row);
    }
    store
}

/// The same, but `d1` is a group.
pub fn knows_group(seq: u64) -> Shelf {
    let mut store = knows(seq);
    let row = store.rows.get_mut(&d1()).expect("d1");
    (row.with, row.told, row.role) = (None, true, Some(Role::Member));
    store
}

pub struct Phone {
    pub session: Session,
    pub now: u64,
    pub store: Shelf,
    /// Requests that were sent and that no test has looked at, without the cursors.
    pub sent: VecDeque<(SocketId, Request)>,
    /// The `ack`s and private `read`s, which come beside what most facts are about.
    pub cursors: VecDeque<Positions>,
    /// What was shown and no test has looked at.
    pub shown: Vec<Shown>,
    pub connects: Vec<SocketId>,
    pub closes: Vec<SocketId>,
    pub tokens_needed: u32,
    /// Why the last time.
    pub needed_because: Option<TokenNeed>,
    /// While true, batches wait for [`Phone::commit`].
    pub slow_store: bool,
    /// Messages that were shown to be in the outbox, and those shown to be in the log.
    pub waiting_shown: u32,
    pub stored: BTreeSet<ClientMessageId>,
    /// Changes that were shown to change nothing.
    pub unchanged: u32,
    batches: VecDeque<(BatchId, Vec<Change>)>,
    open_sockets: BTreeSet<SocketId>,
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
            needed_because: None,
            slow_store: false,
            waiting_shown: 0,
            stored: BTreeSet::new(),
            unchanged: 0,
            batches: VecDeque::new(),
            open_sockets: BTreeSet::new(),
            ended: BTreeSet::new(),
            random: 1,
        }
    }

    pub fn new() -> Self {
        Self::with(&Shelf::default())
    }

    /// A phone whose `hello` was answered with these rows.
    pub fn live(restored: &Shelf, rows: impl IntoIterator<Item = frames::ConversationRow>) -> Self {
        let mut phone = Self::with(restored);
        phone.go_live(rows);
        phone
    }

    /// A phone that knows conversation `d1` with bob up to this entry, and is live.
    pub fn live_at(seq: u64) -> Self {
        Self::live(&knows(seq), [])
    }

    /// A phone that has said hello.
    pub fn greeting(restored: &Shelf) -> (Self, Hello) {
        let mut phone = Self::with(restored);
        phone.connect_now();
        phone.opened();
        let hello = phone.hello();
        (phone, hello)
    }

    /// A phone that is live, knows `d1` up to this entry and has sent message `m`.
    pub fn sending(seq: u64) -> (Self, SendMessages) {
        let mut phone = Self::live_at(seq);
        let send = phone.attempt("m");
        (phone, send)
    }

    /// A phone that knows `d1` up to an entry, was told of this head and asks for what is between.
    pub fn behind(seq: u64, head: u64) -> (Self, Sync) {
        let mut phone = Self::live(&knows(seq), [row(at(head), at(1))]);
        let sync = phone.sync();
        (phone, sync)
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
                assert!(self.open_sockets.contains(&socket), "sent on a socket that is not open: {text}");
                assert!(text.len() <= 32 * 1024);
                let request = Request::parse(&text).unwrap();
                self.check(&request);
                match request {
                    Request::Ack(told) | Request::Read(told) => self.cursors.push_back(told),
                    _ => self.sent.push_back((socket, request)),
                }
            }
            Output::Close(socket) => {
                self.open_sockets.remove(&socket);
                self.closes.push(socket);
            }
            Output::Commit { batch, changes } => self.batches.push_back((batch, changes)),
            Output::NeedToken(why) => {
                self.tokens_needed += 1;
                self.needed_because = Some(why);
            }
            Output::Show(shown) => {
                if let Shown::Entry { conversation, entry } = &shown {
                    let stored = self.store.entries.get(&(conversation.clone(), entry.position.seq)).expect("shown before stored");
                    // What is about it may have come since.
                    assert_eq!((stored.position, &stored.client_message_id), (entry.position, &entry.client_message_id));
                }
                if let Shown::Outgoing { client_message_id, state, .. } = &shown {
                    match state {
                        OutgoingState::Waiting => self.waiting_shown += 1,
                        OutgoingState::Stored(_) => assert!(self.stored.insert(client_message_id.clone()), "stored twice"),
                        OutgoingState::Unchanged => self.unchanged += 1,
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
                    let Draft::Message { body, reply_to, mentions } = &row.draft else { panic!("a change in a send") };
                    assert_eq!((&row.anchor, body), (&message.anchor, &message.body), "attempted otherwise than stored");
                    assert_eq!((reply_to, mentions), (&message.reply_to, &message.mentions), "attempted otherwise than stored");
                }
                return;
            }
            Request::Create(create) => {
                let kept = self.store.groups.iter().find(|group| group.client_message_id == create.client_message_id);
                let kept = kept.expect("stored before it is attempted");
                assert_eq!((&kept.users, &kept.settings), (&create.users, &create.settings), "attempted otherwise than stored");
                return;
            }
            Request::Ack(ack) => &ack.positions,
            Request::Sync(sync) => &sync.ack,
            Request::Read(read) => {
                assert!(read.private && read.positions.iter().all(|told| self.store.rows[&told.conversation].read_private));
                return;
            }
            Request::Prefs(asked) => {
                assert_eq!(asked.prefs, self.store.rows[&asked.conversation].wished, "asked otherwise than stored");
                return;
            }
            other => {
                if let Some((conversation, id, anchor, draft)) = change_of(other) {
                    let row = &self.store.outbox[&(conversation, id)];
                    assert_eq!((row.anchor, &row.draft), (anchor, &draft), "attempted otherwise than stored");
                }
                return;
            }
        };
        for told in acknowledged.iter().filter(|told| told.read.is_some()) {
            assert!(!self.store.rows[&told.conversation].read_private, "others are told what was read in private");
        }
        // A mark that goes alone stands at both places; it may be another device's.
        for PositionIn { conversation, position, .. } in acknowledged.iter().filter(|told| told.read != Some(told.position)) {
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

    /// The store cannot make its oldest write, and makes none behind it.
    pub fn refuse_write(&mut self) {
        let (batch, _) = self.batches.pop_front().expect("a write");
        self.batches.clear();
        self.input(Input::NotStored(batch));
    }

    /// Writes that the store has been given.
    pub fn writes(&self) -> usize {
        self.batches.len()
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
        self.open_sockets.insert(socket);
        self.input(Input::Opened(socket));
        socket
    }

    pub fn open_fails(&mut self, failure: OpenFailure) {
        let socket = *self.connects.last().expect("a socket");
        self.ended.insert(socket);
        self.input(Input::OpenFailed { socket, failure });
    }

    pub fn closed(&mut self, socket: SocketId) {
        self.open_sockets.remove(&socket);
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
        self.open_sockets.last().copied()
    }

    /// Whether the newest socket was asked for and nothing was heard of it.
    pub fn is_opening(&self) -> bool {
        let newest = self.connects.last();
        newest.is_some_and(|socket| !self.open_sockets.contains(socket) && !self.closes.contains(socket) && !self.ended.contains(socket))
    }

    pub fn socket(&self) -> SocketId {
        *self.open_sockets.last().expect("an open socket")
    }

    /// The seqs of the entries that were shown since the last look.
    pub fn entries_shown(&mut self) -> Vec<u64> {
        let entries = self.shown.drain(..).filter_map(|shown| if let Shown::Entry { entry, .. } = shown { Some(entry) } else { None });
        entries.map(|entry| entry.position.seq.get()).collect()
    }

    /// The states of the connection that were shown since the last look.
    pub fn states_shown(&mut self) -> Vec<ConnectionState> {
        self.shown.drain(..).filter_map(|shown| if let Shown::Connection(state) = shown { Some(state) } else { None }).collect()
    }

    /// What was shown of own messages since the last look.
    pub fn outgoing_shown(&mut self) -> Vec<(String, OutgoingState)> {
        let outgoing = |shown| match shown {
            Shown::Outgoing { client_message_id, state, .. } => Some((client_message_id.as_str().to_owned(), state)),
            _ => None,
        };
        self.shown.drain(..).filter_map(outgoing).collect()
    }

    /// What was shown of the user's membership since the last look.
    pub fn memberships_shown(&mut self) -> Vec<bool> {
        self.shown.drain(..).filter_map(|shown| if let Shown::Membership { member, .. } = shown { Some(member) } else { None }).collect()
    }

    /// Whether the last that was shown of own messages is that this one is in the log here.
    pub fn shows_stored(&mut self, id: &str, seq: u64) -> bool {
        self.outgoing_shown().pop() == Some((id.to_owned(), OutgoingState::Stored(stored(seq))))
    }

    /// Why, if the last that was shown of own messages is that one has failed.
    pub fn failure_shown(&mut self) -> Option<ErrorCode> {
        self.outgoing_shown()
            .pop()
            .and_then(|(_, state)| if let OutgoingState::Failed(refusal) = state { Some(refusal.code) } else { None })
    }

    pub fn row(&self) -> &ConversationRow {
        self.session.conversations().find(|row| row.conversation == d1()).expect("d1")
    }

    pub fn anchors(&self) -> Vec<Position> {
        self.session.outbox().map(|row| row.anchor).collect()
    }

    /// The phone is killed, and starts again with what its store has.
    pub fn restart(&mut self) {
        let (waiting_shown, unchanged, stored) = (self.waiting_shown, self.unchanged, std::mem::take(&mut self.stored));
        *self = Self { now: self.now + 10_000, waiting_shown, unchanged, stored, ..Self::with(&self.store) };
    }
}
