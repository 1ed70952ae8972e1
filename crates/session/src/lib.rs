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
mod tokens;
mod values;
mod wire;
mod writes;

use std::sync::Arc;

use chatlane_protocol::frames::{Limits, MemberCursors};
use chatlane_protocol::request::{PositionIn, exchange};
use chatlane_protocol::{Body, ClientMessageId, ConversationId, Entry, Position, Seq, UserId};

pub use input::{Input, OpenFailure};
pub use output::{Change, ConnectionState, Failure, OutgoingState, Output, TokenNeed};
pub use row::{ConversationRow, HeldRow, OutboxRow, OutboxState, Restored};
pub use settings::Settings;
pub use values::{BatchId, Draw, Moment, SocketId, Text};

use catching_up::CatchingUp;
use conversation::Asked;
use conversations::Conversations;
use cursors::Cursors;
use history::Histories;
use looking::Looking;
use opening::Openings;
use sockets::Sockets;
use step::Step;
use tokens::Tokens;
use wire::Answer;
use writes::Writes;

/// What the user can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Connect, if there is no connection: at the start, when the network is back, or because the user acted after a displacement.
    ConnectNow,
    /// The machine has slept, or its network has changed: whether the connection has survived that is asked at once, and a pause before the
    /// next attempt is over, unless the server has named it. It takes no place back and tries no refused token again, as [`Act::ConnectNow`] does.
    Woke,
    /// Write a message into a conversation that the session knows. The id is new.
    Compose {
        /// Which.
        conversation: ConversationId,
        /// Made for this message.
        client_message_id: ClientMessageId,
        /// What it says.
        body: Body,
    },
    /// Write a message to somebody, whether or not there is a conversation with them.
    ComposeTo {
        /// To whom.
        user: UserId,
        /// Made for this message.
        client_message_id: ClientMessageId,
        /// Made for the opening of the conversation, if that takes one.
        opening: ClientMessageId,
        /// What it says.
        body: Body,
    },
    /// The user wants to talk to somebody.
    OpenWith {
        /// To whom.
        user: UserId,
        /// Made for this; kept until it is answered.
        client_message_id: ClientMessageId,
    },
    /// The user has seen the entries up to here. A position that the device has, else it is ignored.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// How far.
        position: Position,
    },
    /// The user looks at these conversations, at most 20, instead of those before: their heads and the others' cursors are asked for.
    Look {
        /// Which.
        conversations: Vec<ConversationId>,
    },
    /// The user scrolls up.
    LoadHistory {
        /// Where.
        conversation: ConversationId,
        /// Entries below this one.
        before: Option<Seq>,
    },
    /// The user gives up a failed message: its row goes. Ignored while its outcome is open.
    Discard {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
    },
}

/// Something for the user. Entries are shown once each, in order, and only after they were committed (D1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The connection is in another state.
    Connection(ConnectionState),
    /// The next entry of a conversation, the user's own too.
    Entry {
        /// Where.
        conversation: ConversationId,
        /// Which.
        entry: Entry,
    },
    /// Older entries that were asked for; they come before what is shown.
    History {
        /// Where.
        conversation: ConversationId,
        /// Ascending.
        entries: Vec<Entry>,
        /// Whether these are the first.
        done: bool,
    },
    /// The conversation goes on here: what was shown beyond this position is not in the log any more (after a restore).
    RolledBack {
        /// Where.
        conversation: ConversationId,
        /// The last entry that still holds.
        position: Position,
    },
    /// So much was missed that the conversation goes on behind this position; history fetches what is before.
    Skipped {
        /// Where.
        conversation: ConversationId,
        /// The next entry shown is the one after it.
        position: Position,
    },
    /// The row of a conversation has changed: head, unread, read mark.
    Conversation {
        /// The row.
        row: ConversationRow,
        /// Messages that the user has not read.
        unread: u64,
    },
    /// A message of the user's own is in another state.
    Outgoing {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
        /// Its new state.
        state: OutgoingState,
    },
    /// A message to somebody is kept on this device until there is a conversation with them: then it is [`Shown::Outgoing`].
    Held {
        /// To whom.
        user: UserId,
        /// Which.
        client_message_id: ClientMessageId,
    },
    /// How far another member is. Only forward.
    Cursors {
        /// Where.
        conversation: ConversationId,
        /// Who, how far.
        cursors: MemberCursors,
    },
    /// The conversation with this user is there.
    Opened {
        /// With whom.
        user: UserId,
        /// Which.
        conversation: ConversationId,
    },
    /// Whether the local store takes what it is given. While it does not, nothing new is shown, acknowledged or sent.
    Storing(bool),
    /// Something asked for cannot be had.
    Failed(Failure),
}

/// What a request is for: all that its answer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Hello {
        after: Option<ConversationId>,
        /// Where `known` ended because the request was full.
        known_to: Option<ConversationId>,
    },
    Sync {
        asked: Vec<Asked>,
        /// What it acknowledges.
        ack: Vec<PositionIn>,
    },
    Send {
        conversation: ConversationId,
        generation: u64,
        ids: Vec<ClientMessageId>,
    },
    Probe {
        conversation: ConversationId,
        generation: u64,
        ids: Vec<ClientMessageId>,
    },
    Ack(Vec<PositionIn>),
    History {
        conversation: ConversationId,
        before: Seq,
        generation: u64,
    },
    Open {
        client_message_id: ClientMessageId,
    },
    Refresh,
    Ping,
}

/// One device's side of Chatlane.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Arc<Settings>,
    /// As the server sent them last; before its first `hello`, as the protocol has them.
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
    draws: Vec<Draw>,
}

impl Session {
    /// A session that goes on with what the local store holds. It has no connection until [`Act::ConnectNow`]; until then
    /// [`Self::connection`] is `Waiting` without end.
    pub fn new(settings: Settings, restored: Restored) -> Self {
        Self {
            settings: Arc::new(settings),
            limits: Limits::DEFAULT,
            openings: Openings::new(restored.held.clone()),
            conversations: Conversations::new(restored),
            sockets: Sockets::default(),
            catching_up: CatchingUp::default(),
            cursors: Cursors::default(),
            tokens: Tokens::default(),
            looking: Looking::default(),
            histories: Histories::default(),
            writes: Writes::default(),
            shown: ConnectionState::Waiting { until: Moment(u64::MAX) },
            wake: None,
            draws: vec![],
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
        self.draws = step.dice.draws;
        step.outputs
    }

    /// When to call [`Self::handle`] with [`Input::Tick`] if nothing happens before; absent while only an input can change anything. Always
    /// later than the call before.
    pub const fn wake_at(&self) -> Option<Moment> {
        self.wake
    }

    /// The random numbers that the last call of [`Self::handle`] drew, in their order.
    pub fn draws(&self) -> &[Draw] {
        &self.draws
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
            Input::Do(act) => self.act(act, step),
            Input::NewToken(token) => self.token_came(token, step),
            Input::Committed(batch) => self.writes.committed(batch, &mut self.conversations, step),
            Input::NotStored(batch) => self.writes.not_stored(batch, step),
            Input::Opened(socket) => self.opened(socket),
            Input::OpenFailed { socket, failure } => self.open_failed(socket, failure, step),
            Input::Closed { socket } => self.died(socket, None, step),
            Input::Received { socket, text } => self.received(socket, &text.0, step),
            Input::Tick => {}
        }
    }

    fn act(&mut self, act: Act, step: &mut Step) {
        match act {
            Act::ConnectNow => self.connect_now(step),
            Act::Woke => self.woke(step),
            Act::Compose { conversation, client_message_id, body } => self.compose(conversation, client_message_id, body, step),
            Act::ComposeTo { user, client_message_id, opening, body } => self.compose_to(user, client_message_id, opening, body, step),
            Act::OpenWith { user, client_message_id } => self.open_with(user, client_message_id, step),
            Act::MarkRead { conversation, position } => self.mark_read(&conversation, position, step),
            Act::Look { conversations } => self.look(conversations),
            Act::LoadHistory { conversation, before } => self.load_history(conversation, before, step),
            Act::Discard { conversation, client_message_id } => self.discard(&conversation, &client_message_id, step),
        }
    }

    /// A socket is new to the server: what failed on the one before may go well on this one.
    fn forgive(&mut self) {
        self.catching_up.syncs.forgive();
        self.cursors.forgive();
        self.tokens.retry.forgive();
        self.openings.forgive();
        self.histories.forgive();
        self.conversations.values_mut().for_each(|local| local.outbox.retry.forgive());
    }

    /// A request is settled, or its outcome is unknown for good.
    fn answered(&mut self, socket: SocketId, purpose: Purpose, answer: Answer, step: &mut Step) {
        if let Answer::Refused(refusal) = &answer
            && self.refused_for_all(socket, refusal, step)
        {
            // What was asked is asked again when the connection is as it should be.
            self.answered(socket, purpose, Answer::Lost(wire::Loss::Answer), step);
            return;
        }
        match purpose {
            Purpose::Hello { after, known_to } => {
                self.hello_answered(socket, after.as_ref(), known_to, answer.to::<exchange::Hello>(), step);
            }
            Purpose::Sync { asked, ack } => self.sync_answered(&asked, &ack, answer.to::<exchange::Sync>(), step),
            Purpose::Send { conversation, generation, ids } => {
                self.send_answered(&conversation, generation, &ids, answer.to::<exchange::Send>(), step);
            }
            Purpose::Probe { conversation, generation, ids } => {
                self.probe_answered(&conversation, generation, &ids, answer.to::<exchange::Probe>(), step);
            }
            Purpose::Ack(told) => self.cursors_answered(&told, answer.to::<exchange::Ack>(), step),
            Purpose::History { conversation, before, generation } => {
                self.history_answered(&conversation, before, generation, answer.to::<exchange::History>(), step);
            }
            Purpose::Open { client_message_id } => self.open_answered(&client_message_id, answer.to::<exchange::Open>(), step),
            Purpose::Refresh => self.tokens.answered(answer.to::<exchange::Refresh>(), step),
            Purpose::Ping => self.ping_answered(socket, answer.to::<exchange::Ping>(), step),
        }
    }
}
