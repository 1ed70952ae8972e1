//! A scenario: a session that gets its inputs one by one, and the record of it that becomes a vector.

use std::collections::BTreeMap;

use chatlane_protocol::{Body, ClientMessageId, ConversationId, DeviceId, Entry, EntryKind, Position, Seq, Token, UnixMillis, UserId};
use chatlane_session::{
    Act, BatchId, ConversationRow, Input, Moment, OutboxRow, OutboxState, Output, Restored, Session, Settings, Shown, SocketId, Text,
};
use serde_json::{Value, json};

use super::dice::Dice;
use super::json;

pub const DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";

/// The server's clock when the device's is 0.
const SERVER_MS: u64 = 1_795_000_000_000;

/// One scenario, as far as it has come.
pub struct Scenario {
    pub name: &'static str,
    story: &'static str,
    settings: Settings,
    restored: Restored,
    session: Session,
    now_ms: u64,
    socket: u64,
    steps: Vec<Value>,
    /// Batches that the store has not confirmed.
    unwritten: Vec<BatchId>,
    /// The `id` of the newest request of each action, on each socket.
    asked: BTreeMap<(u64, String), String>,
    /// What the last input led to.
    pub last: Vec<Output>,
}

impl Scenario {
    /// A device that starts with `restored`.
    pub fn new(name: &'static str, story: &'static str, restored: Restored) -> Self {
        let settings = Settings::new(user("alice"), DeviceId::new(DEVICE).unwrap());
        let session = Session::new(settings.clone(), restored.clone());
        Self {
            name,
            story,
            settings,
            restored,
            session,
            now_ms: 0,
            socket: 1,
            steps: vec![],
            unwritten: vec![],
            asked: BTreeMap::new(),
            last: vec![],
        }
    }

    /// A device that has the first two entries of a conversation with bob and is live.
    pub fn live(name: &'static str, story: &'static str) -> Self {
        Self::greeted(name, story, Restored { conversations: vec![row("dbob", "bob", 2)], outbox: vec![] })
    }

    /// A device whose first `hello` is answered: nothing has changed.
    pub fn greeted(name: &'static str, story: &'static str, restored: Restored) -> Self {
        let mut scenario = Self::new(name, story, restored);
        scenario.input(Input::Do(Act::ConnectNow)).open();
        scenario.answer("hello", hello(&[], 1)).commit();
        scenario
    }

    /// Lets time pass.
    pub const fn pass(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    pub fn input(&mut self, input: Input) -> &mut Self {
        let random = Dice::new(u64::try_from(self.steps.len()).unwrap()).next() >> 11; // an integer that every JSON reader has
        let recorded = json::input(&input);
        self.last = self.session.handle(Moment(self.now_ms), random, input);
        for output in &self.last {
            match output {
                Output::Commit { batch, .. } => self.unwritten.push(*batch),
                Output::Send { socket, text } => {
                    let frame: Value = serde_json::from_str(&text.0).unwrap();
                    let field = |name: &str| frame[name].as_str().unwrap().to_owned();
                    self.asked.insert((socket.0, field("action")), field("id"));
                }
                Output::Connect(socket) => self.socket = socket.0,
                Output::Close(_) | Output::NeedToken | Output::Show(_) => {}
            }
        }
        let expect: Vec<_> = self.last.iter().map(json::output).collect();
        let wake = self.session.wake_at().map(|wake| wake.0);
        self.steps.push(json!({"at_ms": self.now_ms, "random": random, "input": recorded, "expect": expect, "wake_at_ms": wake}));
        self
    }

    /// Goes to the next timer.
    pub fn tick(&mut self) -> &mut Self {
        self.now_ms = self.session.wake_at().expect("a timer runs").0.max(self.now_ms);
        self.input(Input::Tick)
    }

    /// Goes from timer to timer until this request is asked.
    pub fn tick_until(&mut self, action: &str) -> &mut Self {
        for _ in 0..20 {
            if self.tick().sent(action).is_some() {
                return self;
            }
        }
        panic!("{}: no `{action}` comes", self.name);
    }

    /// The newest socket is open.
    pub fn open(&mut self) -> &mut Self {
        self.input(Input::Opened(SocketId(self.socket)))
    }

    /// A frame comes on the newest socket.
    pub fn frame(&mut self, frame: &Value) -> &mut Self {
        self.frame_on(self.socket, frame)
    }

    pub fn frame_on(&mut self, socket: u64, frame: &Value) -> &mut Self {
        self.input(Input::Received { socket: SocketId(socket), text: Text(frame.to_string()) })
    }

    /// The newest request of this action is answered: with these fields, and its `type` and `id`.
    pub fn answer(&mut self, action: &str, answer: Value) -> &mut Self {
        self.answer_on(self.socket, action, answer)
    }

    pub fn answer_on(&mut self, socket: u64, action: &str, mut answer: Value) -> &mut Self {
        let id = self.asked.get(&(socket, action.to_owned())).unwrap_or_else(|| panic!("{}: `{action}` was not asked", self.name));
        answer["id"] = json!(id);
        if answer.get("type").is_none() {
            answer["type"] = json!(action);
        }
        let answer = answer.clone();
        self.frame_on(socket, &answer)
    }

    /// The store confirms what it was given, one batch after the other.
    pub fn commit(&mut self) -> &mut Self {
        while !self.unwritten.is_empty() {
            let batch = self.unwritten.remove(0);
            self.input(Input::Committed(batch));
        }
        self
    }

    pub fn compose(&mut self, id: &str, text: &str) -> &mut Self {
        self.input(Input::Do(Act::Compose {
            conversation: conversation("dbob"),
            client_message_id: message_id(id),
            body: Body::text(text).unwrap(),
        }))
    }

    pub fn close(&mut self) -> &mut Self {
        self.input(Input::Closed { socket: SocketId(self.socket) })
    }

    pub fn token(&mut self, token: &str) -> &mut Self {
        self.input(Input::NewToken(Token::new(token).unwrap()))
    }

    /// Requests of this action so far.
    pub fn asked_so_far(&self, action: &str) -> usize {
        let expected = self.steps.iter().flat_map(|step| step["expect"].as_array().into_iter().flatten());
        expected.filter(|output| output["type"] == "send" && output["frame"]["action"] == action).count()
    }

    /// The first request of this action that the last input led to.
    pub fn sent(&self, action: &str) -> Option<Value> {
        self.last.iter().find_map(|output| match output {
            Output::Send { text, .. } => serde_json::from_str(&text.0).ok().filter(|frame: &Value| frame["action"] == action),
            _ => None,
        })
    }

    /// What the last input let the user see, without rows of conversations.
    pub fn shown(&self) -> Vec<&Shown> {
        let shown = self.last.iter().filter_map(|output| if let Output::Show(shown) = output { Some(shown) } else { None });
        shown.filter(|shown| !matches!(shown, Shown::Conversation { .. })).collect()
    }

    /// The seqs of the entries that the last input let the user see.
    pub fn entries_shown(&self) -> Vec<u64> {
        let seqs = self.shown().into_iter().filter_map(|shown| match shown {
            Shown::Entry { entry, .. } => Some(entry.position.seq.get()),
            _ => None,
        });
        seqs.collect()
    }

    /// Looks whether the scenario shows what it says.
    pub fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{}: {what}; the last step led to {:#?}", self.name, self.last);
    }

    pub fn state(&self) -> chatlane_session::ConnectionState {
        self.session.connection()
    }

    pub fn vector(self) -> Value {
        json!({
            "name": self.name, "story": self.story, "settings": json::settings(&self.settings),
            "restored": json::restored(&self.restored), "steps": self.steps,
        })
    }
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn conversation(id: &str) -> ConversationId {
    ConversationId::new(id).unwrap()
}

pub fn message_id(id: &str) -> ClientMessageId {
    ClientMessageId::new(id).unwrap()
}

pub fn position(epoch: u32, seq: u64) -> Position {
    Position::new(epoch, Seq::try_from(seq).unwrap())
}

/// A conversation of which the device has the first `seq` entries, all messages but the first.
pub fn row(id: &str, with: &str, seq: u64) -> ConversationRow {
    let (have, count) = (position(1, seq), seq - 1);
    ConversationRow {
        with: Some(user(with)),
        have,
        have_count: count,
        head: have,
        head_count: count,
        acked: have,
        ..ConversationRow::empty(conversation(id))
    }
}

/// A row of the outbox whose message was written after entry `anchor`.
pub fn waiting(order: u64, id: &str, anchor: u64) -> OutboxRow {
    OutboxRow {
        conversation: conversation("dbob"),
        order,
        client_message_id: message_id(id),
        anchor: position(1, anchor),
        body: Body::text(format!("text of {id}")).unwrap(),
        state: OutboxState::Waiting,
    }
}

/// Entry `seq`: a message of bob's.
pub fn entry(epoch: u32, seq: u64) -> Value {
    json!(Entry {
        position: position(epoch, seq),
        sender: user("bob"),
        client_message_id: message_id(&format!("b-{epoch}-{seq}")),
        time_ms: UnixMillis::try_from(SERVER_MS + seq).unwrap(),
        count: seq - 1,
        kind: EntryKind::Message { body: Body::text(format!("entry {seq}")).unwrap() },
    })
}

pub fn entries(seqs: impl IntoIterator<Item = u64>) -> Vec<Value> {
    seqs.into_iter().map(|seq| entry(1, seq)).collect()
}

/// A push of entries of the conversation with bob.
pub fn push(seqs: impl IntoIterator<Item = u64>) -> Value {
    json!({"type": "entries", "conversation": "dbob", "entries": entries(seqs)})
}

/// The answer to `hello`, with these rows.
pub fn hello(rows: &[Value], epoch: u32) -> Value {
    json!({
        "versions": {"min": 1, "max": 1}, "user": "alice", "device": DEVICE, "server_time_ms": SERVER_MS, "epoch": epoch,
        "reconnect_in_ms": 6_300_000, "expires_ms": SERVER_MS + 3_600_000,
        "limits": {
            "entry_bytes_max": 30_720, "request_bytes_max": 32_768, "messages_per_send_max": 25, "anchor_entries_max": 200,
            "anchor_bytes_max": 131_072, "gap_wait_ms": 500, "ping_after_idle_ms": 240_000, "cursors_every_ms": 1_000,
        },
        "conversations": rows,
    })
}

/// A row of `hello`, whose head is entry `seq`.
pub fn hello_row(id: &str, with: &str, seq: u64) -> Value {
    json!({
        "conversation": id, "with": with, "head": position(1, seq), "count": seq - 1, "time_ms": SERVER_MS + seq,
        "read": position(0, 0), "read_count": 0,
    })
}

/// A page of `sync` about the conversation with bob.
pub fn page(seqs: impl IntoIterator<Item = u64>, done: bool) -> Value {
    json!({"pages": [{"conversation": "dbob", "status": "ok", "entries": entries(seqs), "done": done}], "done": done})
}

/// The results of a `send` into the conversation with bob.
pub fn results(results: &[Value]) -> Value {
    json!({"conversation": "dbob", "results": results})
}

/// `ok` or `duplicate`, at entry `seq`.
pub fn stored(id: &str, status: &str, seq: u64) -> Value {
    json!({"client_message_id": id, "status": status, "position": position(1, seq), "time_ms": SERVER_MS + seq, "count": seq - 1})
}

/// `refused`, with what the code needs.
pub fn refused(id: &str, mut refusal: Value) -> Value {
    refusal["client_message_id"] = json!(id);
    refusal["status"] = json!("refused");
    refusal
}

/// API Gateway's own frame.
pub fn gateway() -> Value {
    json!({"message": "Internal server error", "connectionId": "L0SM9cOFvHcCIhw=", "requestId": "R0SM9cOFvHcCIhw="})
}
