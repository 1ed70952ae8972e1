//! One device's side of Chatlane, without input or output: what happened goes in, what is to be done comes out.
//!
//! [`Session::handle`] takes the time, a random number and one [`Input`]; it answers [`Output`]s, which the caller carries out in their
//! order. It reads no clock, draws no randomness and knows no socket, so that the same code runs under tokio, in a simulator and in the
//! tests that produce the conformance vectors.
//!
//! [README.md](../README.md) says what it does in which state, and which invariants it keeps by what.

mod catching_up;
mod connecting;
mod conversation;
mod conversations;
mod cursors;
mod greeting;
mod history;
mod input;
mod link;
mod looking;
mod opening;
mod outbox;
mod output;
mod retry;
mod row;
mod sending;
mod settings;
mod sockets;
mod step;
mod text;
mod tokens;
mod wire;
mod writes;

use std::sync::Arc;

use chatlane_protocol::frames::Limits;

pub use input::{Input, OpenFailure};
pub use output::{Change, ConnectionState, Failure, OutgoingState, Output, Shown};
pub use row::{ConversationRow, OutboxRow, OutboxState, Restored};
pub use settings::Settings;
pub use text::Text;

use catching_up::CatchingUp;
use conversations::Conversations;
use cursors::Cursors;
use greeting::LIMITS_BEFORE_HELLO;
use history::Histories;
use link::Purpose;
use looking::Looking;
use opening::Openings;
use sockets::Sockets;
use step::Step;
use tokens::Tokens;
use wire::Answer;
use writes::Writes;

/// Milliseconds on a clock of the caller's that never goes back; only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// One socket that the session has asked for; numbered from 1, never reused by a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// One atomic write to the local store; numbered from 1, in the order in which they are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

impl Moment {
    /// So much later; saturates.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since an earlier moment; 0 if it is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One device's side of Chatlane.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Arc<Settings>,
    /// As the server sent them last.
    limits: Limits,
    conversations: Conversations,
    sockets: Sockets,
    catching_up: CatchingUp,
    cursors: Cursors,
    tokens: Tokens,
    looking: Looking,
    openings: Openings,
    histories: Histories,
    writes: Writes,
    shown: ConnectionState,
    wake: Option<Moment>,
}

impl Session {
    /// A session that goes on with what the local store holds. It has no connection until [`Input::ConnectNow`]; until then
    /// [`Self::connection`] is `Waiting` without end.
    pub fn new(settings: Settings, restored: Restored) -> Self {
        Self {
            settings: Arc::new(settings),
            limits: LIMITS_BEFORE_HELLO,
            conversations: Conversations::new(restored),
            sockets: Sockets::default(),
            catching_up: CatchingUp::default(),
            cursors: Cursors::default(),
            tokens: Tokens::default(),
            looking: Looking::default(),
            openings: Openings::default(),
            histories: Histories::default(),
            writes: Writes::default(),
            shown: ConnectionState::Waiting { until: Moment(u64::MAX) },
            wake: None,
        }
    }

    /// Takes what happened at `now`, with a fresh random number; answers what is to be done, in this order.
    pub fn handle(&mut self, now: Moment, random: u64, input: Input) -> Vec<Output> {
        let mut step = Step::new(now, random, Arc::clone(&self.settings));
        self.happened(input, &mut step);
        self.tend_sockets(&mut step);
        self.greet(&mut step);
        self.plan_gaps(&mut step);
        self.tokens.tend(&mut self.sockets, &mut step);
        self.conversations.send(&mut self.sockets, &self.limits, &mut step);
        self.sync(&mut step);
        self.cursors.send(&mut self.sockets, &self.conversations, &self.writes, self.limits.cursors_every_ms, &mut step);
        self.openings.ask(&mut self.sockets, &mut step);
        self.histories.ask(&mut self.sockets, &self.conversations, &mut step);
        self.go_live();
        self.ping(&mut step);
        self.sockets.note_deadlines(&mut step);
        self.writes.write(&mut self.conversations, &mut step);
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            step.show(Shown::Connection(state));
        }
        self.wake = step.wake;
        step.outputs
    }

    /// When to call [`Self::handle`] with [`Input::Tick`] if nothing happens before; absent while only an input can change anything. Always
    /// later than the call before.
    pub const fn wake_at(&self) -> Option<Moment> {
        self.wake
    }

    /// The conversations that the device knows, in the order of their ids.
    pub fn conversations(&self) -> impl Iterator<Item = &ConversationRow> {
        self.conversations.values().map(|local| &local.row)
    }

    /// What the user wrote and what is not known to be in the log: by conversation, in the order of writing.
    pub fn outbox(&self) -> impl Iterator<Item = &OutboxRow> {
        self.conversations.values().flat_map(|local| local.outbox.rows())
    }

    /// The state of the connection.
    pub const fn connection(&self) -> ConnectionState {
        self.shown
    }

    fn happened(&mut self, input: Input, step: &mut Step) {
        match input {
            Input::ConnectNow => self.connect_now(step),
            Input::Compose { conversation, client_message_id, body } => self.compose(conversation, client_message_id, body, step),
            Input::OpenWith { user, client_message_id } => self.open_with(user, client_message_id, step),
            Input::MarkRead { conversation, position } => self.mark_read(&conversation, position, step),
            Input::Look { conversations } => self.look(conversations),
            Input::LoadHistory { conversation, before } => self.load_history(conversation, before, step),
            Input::Discard { conversation, client_message_id } => self.discard(&conversation, &client_message_id, step),
            Input::NewToken(token) => self.token_came(token, step),
            Input::Committed(batch) => self.writes.committed(batch, &mut self.conversations, step),
            Input::Opened(socket) => self.opened(socket),
            Input::OpenFailed { socket, failure } => self.open_failed(socket, failure, step),
            Input::Closed { socket } => self.died(socket, None, step),
            Input::Received { socket, text } => self.received(socket, &text.0, step),
            Input::Tick => {}
        }
    }

    /// A request is settled, or its outcome is unknown for good.
    fn answered(&mut self, socket: SocketId, purpose: Purpose, answer: Answer, step: &mut Step) {
        if let Answer::Refused(refusal) = &answer
            && self.refused_for_all(socket, refusal.code, step)
        {
            // What was asked is asked again when the connection is as it should be.
            self.answered(socket, purpose, Answer::Lost(wire::Loss::Answer), step);
            return;
        }
        match purpose {
            Purpose::Hello { after, known_to } => self.hello_answered(socket, after.as_ref(), known_to, answer.into(), step),
            Purpose::Sync { asked, ack } => self.sync_answered(&asked, &ack, answer.into(), step),
            Purpose::Send { conversation, generation, ids } => self.send_answered(&conversation, generation, &ids, answer.into(), step),
            Purpose::Probe { conversation, generation, ids } => self.probe_answered(&conversation, generation, &ids, answer.into(), step),
            Purpose::Ack(positions) => self.cursors_answered(&positions, false, answer.into(), step),
            Purpose::Read(positions) => self.cursors_answered(&positions, true, answer.into(), step),
            Purpose::History { conversation, before, generation } => {
                self.history_answered(&conversation, before, generation, answer.into(), step);
            }
            Purpose::Open { client_message_id } => self.open_answered(&client_message_id, answer.into(), step),
            Purpose::Refresh => self.tokens.answered(answer.into(), step),
            Purpose::Ping => self.ping_answered(socket, answer.into(), step),
        }
    }
}
