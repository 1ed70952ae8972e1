//! A device: its session, its store, its user, and what each request that it makes must satisfy.

use std::collections::VecDeque;

use chatlane_protocol::request::{PositionIn, Positions, SendMessages, Sync};
use chatlane_protocol::{ClientMessageId, ConversationId, DeviceId, NewMessage, Request, Token, UnixMillis, UserId};
use chatlane_session::{BatchId, Change, ConnectionState, OutboxRow, OutboxState, Session, Settings};

use super::disk::Disk;
use super::server::{CURSORS_EVERY_MS, Server};
use super::token;
use super::user::User;

/// Outputs of one device in one second: a bound that only a loop exceeds.
const OUTPUTS_PER_S_MAX: u32 = 400;

/// One device.
#[derive(Debug)]
pub struct Device {
    /// Begins the ids of its messages.
    pub name: &'static str,
    pub id: DeviceId,
    /// Absent: the app does not run.
    pub session: Option<Session>,
    /// Rises with each start of the app; what was under way for an earlier one is void.
    pub life: u32,
    pub disk: Disk,
    pub user: User,
    /// Writes that the store has not finished.
    pub writing: VecDeque<(BatchId, Vec<Change>)>,
    /// When the last of them is finished.
    pub written_at_ms: u64,
    pub token: Token,
    pub discarded: Vec<ClientMessageId>,
    pub state: ConnectionState,
    /// Somebody else has said hello in its name, at some time.
    pub displaced: bool,
    messages: u64,
    acked_at_ms: Option<u64>,
    read_at_ms: Option<u64>,
    outputs: (u64, u32),
}

impl Device {
    pub fn new(name: &'static str, number: u8, now: UnixMillis) -> Self {
        let user = UserId::new(&name[..1]).unwrap();
        let id = DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf0{number:02x}")).unwrap();
        let disk = Disk::default();
        Self {
            name,
            session: None,
            life: 0,
            token: token::issue(&user, now),
            user: User::before(user, &disk),
            disk,
            writing: VecDeque::new(),
            written_at_ms: 0,
            discarded: vec![],
            state: ConnectionState::Connecting,
            displaced: false,
            messages: 0,
            acked_at_ms: None,
            read_at_ms: None,
            outputs: (0, 0),
            id,
        }
    }

    /// Bounds so small that short scripts meet them.
    fn settings(&self) -> Settings {
        let patience = Settings::new(self.user.id.clone(), self.id);
        Settings { catch_up_entries_max: 12, new_entries_max: 8, ahead_entries_max: 5, ..patience }
    }

    /// The app starts with what the store holds.
    pub fn start(&mut self) {
        self.life += 1;
        self.user = User::before(self.user.id.clone(), &self.disk);
        let failed = self.disk.outbox.values().filter(|row| matches!(row.state, OutboxState::Failed(_)));
        self.user.failed = failed.map(|row| (row.conversation.clone(), row.client_message_id.clone())).collect();
        let session = Session::new(self.settings(), self.disk.restored());
        self.state = session.connection();
        self.session = Some(session);
        (self.acked_at_ms, self.read_at_ms) = (None, None);
    }

    /// The app dies. Of the writes under way the first `kept` are in the store; the app does not know of them.
    pub fn crash(&mut self, kept: usize, server: &Server) {
        self.session = None;
        for (_, changes) in self.writing.drain(..).take(kept) {
            self.disk.apply(changes, server, &self.discarded);
        }
    }

    /// A name for the next message, as unique as a UUID.
    pub fn next_message(&mut self) -> ClientMessageId {
        self.messages += 1;
        ClientMessageId::new(format!("{}-{:05}", self.name, self.messages)).unwrap()
    }

    pub fn next_open(&mut self) -> ClientMessageId {
        self.messages += 1;
        ClientMessageId::new(format!("{}-open-{}", self.name, self.messages)).unwrap()
    }

    pub fn count_output(&mut self, now_ms: u64) {
        let second = now_ms / 1000;
        self.outputs = if self.outputs.0 == second { (second, self.outputs.1 + 1) } else { (second, 1) };
        assert!(self.outputs.1 <= OUTPUTS_PER_S_MAX, "{} is busy without an end", self.name);
    }

    /// What holds for every request at the time when it is handed to a socket.
    pub fn check_request(&mut self, request: &Request, now_ms: u64, server: &Server) {
        match request {
            Request::Send(SendMessages { conversation, messages, .. }) => {
                for message in messages {
                    self.check_attempt(conversation, message);
                }
            }
            Request::Ack(Positions { positions, .. }) => {
                self.check_delivered(positions);
                coalesced(&mut self.acked_at_ms, now_ms, "ack");
            }
            Request::Sync(Sync { ack, .. }) => self.check_delivered(ack),
            Request::Read(Positions { positions, .. }) => {
                for PositionIn { conversation, position } in positions {
                    let known = server.ever.contains_key(&(conversation.clone(), *position));
                    assert!(known, "read of {conversation} up to {position}, which was never announced");
                }
                coalesced(&mut self.read_at_ms, now_ms, "read");
            }
            _ => {}
        }
    }

    /// I1: the outbox holds the message as it is sent: same body, same anchor, under way to nowhere else.
    fn check_attempt(&self, conversation: &ConversationId, message: &NewMessage) {
        let NewMessage { client_message_id, anchor, body } = message;
        let row = self.disk.outbox.get(&(conversation.clone(), client_message_id.clone()));
        let same = |row: &OutboxRow| row.anchor == *anchor && row.body == *body;
        assert!(row.is_some_and(same), "{client_message_id} was attempted with the anchor {anchor}; stored: {row:?}");
        let failed = row.is_some_and(|row| matches!(row.state, OutboxState::Failed(_)));
        assert!(!failed, "{client_message_id} had failed, and was attempted again");
    }

    /// I2: delivered is what the store has.
    fn check_delivered(&self, positions: &[PositionIn]) {
        for PositionIn { conversation, position } in positions {
            let stored = self.disk.has(conversation, *position);
            assert!(stored, "{conversation} {position} was acknowledged, and is not stored");
        }
    }
}

fn coalesced(last_ms: &mut Option<u64>, now_ms: u64, what: &str) {
    let pause_ms = last_ms.map(|last| now_ms - last);
    assert!(pause_ms.is_none_or(|pause_ms| pause_ms >= CURSORS_EVERY_MS), "{what} twice within {pause_ms:?} ms");
    *last_ms = Some(now_ms);
}
