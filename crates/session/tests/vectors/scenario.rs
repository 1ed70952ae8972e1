//! A scenario: a session that gets its inputs one by one, and the record of it that becomes a vector.

use std::collections::BTreeMap;

use chatlane_protocol::{Body, Entry, EntryKind, Token, UnixMillis};
use chatlane_session::{
    Act, BatchId, ConnectionState, ConversationRow, Input, Moment, OutboxRow, OutboxState, Output, Restored, Session, Settings, Shown,
    SocketId, Text,
};
use serde_json::{Value, json};

use super::dice::Dice;
use super::json;
use super::made::{DEVICE, settings};
pub use super::made::{at, at_epoch as position, conversation, known, message_id, user};

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
    /// A device that starts with this in its store.
    pub fn new(name: &'static str, story: &'static str, conversations: Vec<ConversationRow>, outbox: Vec<OutboxRow>) -> Self {
        let (settings, restored) = (settings(), Restored { conversations, outbox });
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

    /// The same, and its first socket is open.
    pub fn open(name: &'static str, story: &'static str, conversations: Vec<ConversationRow>, outbox: Vec<OutboxRow>) -> Self {
        let mut scenario = Self::new(name, story, conversations, outbox);
        scenario.does(Act::ConnectNow).opened();
        scenario
    }

    /// A device that has the first two entries of a conversation with bob and is live.
    pub fn live(name: &'static str, story: &'static str) -> Self {
        Self::greeted(name, story, vec![])
    }

    /// The same, with messages that were written before; its first `hello` is answered: nothing has changed.
    pub fn greeted(name: &'static str, story: &'static str, outbox: Vec<OutboxRow>) -> Self {
        let mut scenario = Self::open(name, story, vec![known("dbob", "bob", 2)], outbox);
        scenario.answer("hello", hello(&[])).commit();
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

    /// Goes from timer to timer until this request is asked. Answers it.
    pub fn tick_until(&mut self, action: &str) -> Value {
        for _ in 0..20 {
            if let Some(request) = self.tick().sent(action) {
                return request;
            }
        }
        panic!("{}: no `{action}` comes", self.name);
    }

    /// The same, unless the last input led to it.
    pub fn until(&mut self, action: &str) -> Value {
        self.sent(action).unwrap_or_else(|| self.tick_until(action))
    }

    pub fn does(&mut self, act: Act) -> &mut Self {
        self.input(Input::Do(act))
    }

    /// The newest socket is open.
    pub fn opened(&mut self) -> &mut Self {
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
        let body = Body::text(text).unwrap();
        self.does(Act::Compose { conversation: conversation("dbob"), client_message_id: message_id(id), body })
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

    /// The messages of the `send` that the last input led to.
    pub fn messages(&self) -> Value {
        self.sent("send").unwrap_or_default()["messages"].clone()
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

    pub fn state(&self) -> ConnectionState {
        self.session.connection()
    }

    pub fn vector(self) -> Value {
        json!({
            "name": self.name, "story": self.story, "settings": json::settings(&self.settings),
            "restored": json::restored(&self.restored), "steps": self.steps,
        })
    }
}

/// A row of the outbox whose message was written after entry `anchor`.
pub fn waiting(order: u64, id: &str, anchor: u64) -> OutboxRow {
    OutboxRow {
        conversation: conversation("dbob"),
        order,
        client_message_id: message_id(id),
        anchor: at(anchor),
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
pub fn hello(rows: &[Value]) -> Value {
    json!({
        "versions": {"min": 1, "max": 1}, "user": "alice", "device": DEVICE, "server_time_ms": SERVER_MS, "epoch": 1,
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
        "conversation": id, "with": with, "head": at(seq), "count": seq - 1, "time_ms": SERVER_MS + seq,
        "read": position(0, 0), "read_count": 0,
    })
}

/// A page of `sync` about the conversation with bob.
pub fn page(seqs: impl IntoIterator<Item = u64>, done: bool) -> Value {
    page_of("dbob", &entries(seqs), done)
}

pub fn page_of(conversation: &str, entries: &[Value], done: bool) -> Value {
    json!({"pages": [{"conversation": conversation, "status": "ok", "entries": entries, "done": done}], "done": done})
}

/// The results of a `send` into the conversation with bob.
pub fn results(results: &[Value]) -> Value {
    json!({"conversation": "dbob", "results": results})
}

/// `ok` or `duplicate`, at entry `seq`.
pub fn stored(id: &str, status: &str, seq: u64) -> Value {
    json!({"client_message_id": id, "status": status, "position": at(seq), "time_ms": SERVER_MS + seq, "count": seq - 1})
}

/// `refused`, with what the code needs.
pub fn refused(id: &str, mut refusal: Value) -> Value {
    refusal["client_message_id"] = json!(id);
    refusal["status"] = json!("refused");
    refusal
}

/// A refusal for good.
pub fn code(code: &str) -> Value {
    json!({"code": code, "retryable": false})
}

/// The anchor is too far behind the end of the log.
pub fn stale(tail: u64) -> Value {
    json!({"code": "anchor_stale", "retryable": false, "tail": at(tail)})
}

/// An error in answer to a request.
pub fn error(code: &str) -> Value {
    json!({"type": "error", "code": code, "retryable": false})
}

/// The answer to `probe`: message `m-1`, if it is at one of these places.
pub fn probed(found: Option<u64>, reached: u64, done: bool) -> Value {
    let found = found.map(|seq| json!({"client_message_id": "m-1", "position": at(seq), "time_ms": SERVER_MS + seq, "count": seq - 1}));
    json!({"conversation": "dbob", "found": found.into_iter().collect::<Vec<_>>(), "reached": at(reached), "done": done})
}

/// API Gateway's own frame.
pub fn gateway() -> Value {
    json!({"message": "Internal server error", "connectionId": "L0SM9cOFvHcCIhw=", "requestId": "R0SM9cOFvHcCIhw="})
}
