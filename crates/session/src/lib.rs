//! One device's side of Chatlane, without input or output: what happened goes in, what is to be done comes out.
//!
//! [`Session::handle`] takes the time, a random number and one [`Input`]; it answers [`Output`]s, which the caller carries out in their
//! order. It reads no clock, draws no randomness and knows no socket, so that the same code runs under tokio, in a simulator and in the
//! tests that produce the conformance vectors.
//!
//! [README.md](../README.md) says what it does in which state, and which invariants it keeps by what.

mod act;
mod catching_up;
mod connecting;
mod conversation;
mod conversations;
mod creating;
mod cursors;
mod draft;
mod fold;
mod greeting;
mod group_info;
mod history;
mod input;
mod link;
mod looking;
mod membership;
mod opening;
mod outbox;
mod output;
mod prefs;
mod retry;
mod row;
mod sending;
mod settings;
mod shown;
mod sockets;
mod step;
mod tokens;
mod values;
mod wire;
mod writes;

use std::sync::Arc;

use chatlane_protocol::frames::Limits;
use chatlane_protocol::request::{PositionIn, exchange};
use chatlane_protocol::{ClientMessageId, ConversationId, PrefsChange, Seq, UserId};

pub use act::Act;
pub use draft::Draft;
pub use fold::{fold, target};
pub use input::{Input, OpenFailure};
pub use output::{Change, Output, TokenNeed};
pub use row::{ConversationRow, HeldRow, NewGroup, OutboxRow, OutboxState, Restored};
pub use settings::Settings;
pub use shown::{ConnectionState, Failure, OutgoingState, Shown};
pub use values::{BatchId, Draw, Moment, SocketId, Text};

use catching_up::CatchingUp;
use conversation::Asked;
use conversations::Conversations;
use creating::NewGroups;
use cursors::{CursorFrame, Cursors};
use group_info::Inquiries;
use history::Histories;
use looking::Looking;
use opening::Openings;
use sockets::Sockets;
use step::Step;
use tokens::Tokens;
use wire::Answer;
use writes::Writes;

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
    Change {
        conversation: ConversationId,
        generation: u64,
        client_message_id: ClientMessageId,
    },
    Probe {
        conversation: ConversationId,
        generation: u64,
        ids: Vec<ClientMessageId>,
    },
    Ack(Vec<PositionIn>),
    /// Marks that others are not told of.
    PrivateRead(Vec<PositionIn>),
    Prefs {
        conversation: ConversationId,
        asked: PrefsChange,
    },
    History {
        conversation: ConversationId,
        before: Seq,
        generation: u64,
    },
    Open {
        client_message_id: ClientMessageId,
    },
    Create {
        client_message_id: ClientMessageId,
    },
    Info {
        conversations: Vec<ConversationId>,
    },
    Members {
        conversation: ConversationId,
        after: Option<UserId>,
    },
    Refresh,
    Ping {
        open: Vec<ConversationId>,
    },
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
    groups: NewGroups,
    inquiries: Inquiries,
    writes: Writes,
    /// Rows of conversations are in doubt, and `hello` is to tell them.
    row_wanted: bool,
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
            groups: NewGroups::new(restored.groups.clone()),
            inquiries: Inquiries::default(),
            conversations: Conversations::new(restored),
            sockets: Sockets::default(),
            catching_up: CatchingUp::default(),
            cursors: Cursors::default(),
            tokens: Tokens::default(),
            looking: Looking::default(),
            histories: Histories::default(),
            writes: Writes::default(),
            row_wanted: false,
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
        self.ask_doubted();
        self.greet(&mut step);
        self.plan_gaps(&mut step);
        self.tokens.tend(&mut self.sockets, &mut step);
        self.conversations.send(&mut self.sockets, &self.limits, &mut step);
        self.sync(&mut step);
        self.cursors.send(&mut self.sockets, &self.conversations, &self.writes, self.limits.cursors_every_ms, &mut step);
        self.ask_prefs(&mut step);
        self.openings.ask(&mut self.sockets, &mut step);
        self.groups.ask(&mut self.sockets, &mut step);
        self.inquiries.ask(&mut self.sockets, &mut step);
        self.histories.ask(&mut self.sockets, &self.conversations, &mut step);
        self.go_live();
        self.ping(&mut step);
        self.sockets.note_deadlines(&mut step);
        self.writes.write(&mut self.conversations, &mut self.groups, &mut step);
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
            Input::Committed(batch) => self.writes.committed(batch, &mut self.conversations, &mut self.groups, step),
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
            Act::Compose { conversation, client_message_id, draft } => self.compose(conversation, client_message_id, draft, step),
            Act::Create { client_message_id, users, settings } => self.create(client_message_id, users, settings, step),
            Act::AskInfo { conversations } => self.ask_info(conversations, step),
            Act::AskMembers { conversation } => self.ask_members(conversation, step),
            Act::ComposeTo { user, client_message_id, opening, body } => self.compose_to(user, client_message_id, opening, body, step),
            Act::OpenWith { user, client_message_id } => self.open_with(user, client_message_id, step),
            Act::MarkRead { conversation, position, private } => self.mark_read(&conversation, position, private, step),
            Act::Prefer { conversation, prefs } => self.prefer(conversation, prefs, step),
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
        self.groups.forgive();
        self.inquiries.forgive();
        self.histories.forgive();
        for local in self.conversations.values_mut() {
            local.outbox.retry.forgive();
            local.preferring.retry.forgive();
        }
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
            Purpose::Ack(told) => self.cursors_answered(CursorFrame::Ack, &told, answer.to::<exchange::Ack>(), step),
            Purpose::PrivateRead(told) => self.cursors_answered(CursorFrame::PrivateRead, &told, answer.to::<exchange::Read>(), step),
            Purpose::Prefs { conversation, asked } => self.prefs_answered(&conversation, asked, answer.to::<exchange::Prefs>(), step),
            Purpose::History { conversation, before, generation } => {
                self.history_answered(&conversation, before, generation, answer.to::<exchange::History>(), step);
            }
            Purpose::Open { client_message_id } => self.open_answered(&client_message_id, answer.to::<exchange::Open>(), step),
            Purpose::Change { conversation, generation, client_message_id } => {
                self.change_answered(&conversation, generation, &client_message_id, answer.into_change(), step);
            }
            Purpose::Create { client_message_id } => self.create_answered(&client_message_id, answer.to::<exchange::Create>(), step),
            Purpose::Info { conversations } => self.info_answered(&conversations, answer.to::<exchange::Info>(), step),
            Purpose::Members { conversation, after } => {
                self.members_answered(&conversation, after.as_ref(), answer.to::<exchange::Members>(), step);
            }
            Purpose::Refresh => self.tokens.answered(answer.to::<exchange::Refresh>(), step),
            Purpose::Ping { open } => self.ping_answered(socket, &open, answer.to::<exchange::Ping>(), step),
        }
    }
}
