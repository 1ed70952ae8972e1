//! One device's side of Chatlane, without input or output: what happened goes in, what is to be done comes out.
//!
//! [`Session::handle`] takes the time, a random number and one [`Input`]; it answers [`Output`]s, which the caller carries out in their
//! order. It reads no clock, draws no randomness and knows no socket, so that the same code runs under tokio, in a simulator and in the
//! tests that produce the conformance vectors.
//!
//! # States and events
//!
//! The state is that of the *current* socket. Beside it there may be a *successor*, which is opened when the time of the current one is
//! nearly over, and one that is *drained*. Every cell says what happens; "–" cannot happen, and is ignored if it does: what comes of a
//! socket that the session has given up says nothing any more.
//!
//! | event | no socket: waiting | no socket: no token | no socket: displaced | no socket: upgrade required | opening | greeting (`hello` not answered) | reachable (catching up or live) |
//! |---|---|---|---|---|---|---|---|
//! | `ConnectNow` | opens a socket | opens a socket: the person may know better | opens a socket: the person has acted | ignored: only another program helps | ignored: it is being done | ignored: it is being done | `ping` at once: does the socket still live? |
//! | `NewToken` | the next socket has it | waiting, until the pause is over | ignored: the next socket has it | ignored | `refresh` when reachable: the socket may have the old one | `refresh` when reachable | `refresh` |
//! | `Opened` | – | – | – | – | `hello`; greeting | ignored | ignored |
//! | `OpenFailed` unreachable | – | – | – | – | waiting, back-off | as `Closed` | as `Closed` |
//! | `OpenFailed` denied | – | – | – | – | `NeedToken`; no token | `NeedToken`; no token | `NeedToken`; no token |
//! | `Closed` | – | – | – | – | waiting, back-off | waiting, back-off | the successor, if there is one, becomes current; else waiting, back-off. In flight: outcome unknown |
//! | first page of `hello` | – | – | – | – | – | reachable: sends; asks for what is missing; further pages | the same: it said hello again |
//! | `hello` of another user or device | – | – | – | – | – | closes; `NeedToken`; no token | the same |
//! | `hello` refused for now, unreadable, gateway's frame | – | – | – | – | – | the same `hello` after back-off | the same page after back-off |
//! | `hello` refused for good | – | – | – | – | – | closes; waiting, back-off | the same |
//! | `goaway` displaced | – | – | – | – | closes; displaced | closes; displaced. After a lost `hello`*: waiting, back-off | ignored if a successor has said hello (our own doing); else closes all; displaced. After a lost `hello`*: closes; as `Closed` |
//! | `goaway` for another reason | – | – | – | – | closes; waiting, not before `retry_after_ms` | the same | the same, or the successor becomes current |
//! | `token_expired` | – | – | – | – | closes; `NeedToken`; no token | the same | the same |
//! | `upgrade_required` | – | – | – | – | closes; upgrade required | the same | the same |
//! | `resync` (an error, or of `ping`) | – | – | – | – | ignored: hello is to come | ignored: hello is on its way | `hello` again on this socket; catching up |
//! | gateway's frame | – | – | – | – | ignored: nothing is in flight | see `hello` | all in flight: outcome unknown, repeated with back-off |
//! | another answer | – | – | – | – | – | – | what it asked for; its request is settled |
//! | an answer to nothing in flight | – | – | – | – | ignored | ignored, but for an error that is about the connection (the three above) | the same, and but for `ok` and `duplicate` of a `send` that a gateway's frame left open, within the time of an answer: its message is settled, whatever became of the repetition |
//! | entries, receipts | – | – | – | – | taken | taken | taken |
//! | not JSON, unknown `type` | – | – | – | – | ignored | ignored | ignored |
//! | an answer is overdue | – | – | – | – | closes; waiting, back-off | closes; waiting, back-off | closes; as `Closed` |
//! | the pause is over | opens a socket | opens a socket with the old token: the server may not have reached the identity provider | none runs | none runs | none runs | none runs | what was put off is asked for |
//! | `reconnect_in_ms` is over | none runs | none runs | none runs | none runs | none runs | none runs | opens a successor |
//! | the token ends soon | none runs | none runs | none runs | none runs | none runs | none runs | `NeedToken` |
//! | nothing was pushed, no `ping` answered for long | none runs | none runs | none runs | none runs | none runs: the answer would be overdue | the same | `ping`, whatever else comes and goes |
//!
//! | event | successor | drained socket |
//! |---|---|---|
//! | `Opened` | `hello` | – |
//! | first page of `hello` | becomes current, the current one is drained | – |
//! | `OpenFailed`, `Closed`, `goaway` for another reason, an answer is overdue | closed; another one after back-off. If the server had displaced the current one for it, that is closed too: waiting, back-off | closed. In flight: outcome unknown |
//! | `goaway` displaced | closes all; displaced. After a lost `hello`*: closed; another one after back-off | ignored: our own doing |
//! | denied, `token_expired` | closed; `NeedToken`; another one after back-off | closed |
//! | answers, entries, receipts | taken | taken |
//! | nothing is in flight on it | – | closed |
//!
//! *A socket of ours has ended before its first page of `hello` was answered, and no newer one is known to the server since: the dead one
//! may be what displaced this one. Somebody else displaces the next one too, and that is final.
//!
//! What the person does (`Compose`, `OpenWith`, `MarkRead`, `Look`, `LoadHistory`, `Discard`) and `Committed` are the same in all states:
//! the person's wishes are kept, those of the outbox and of read marks durably, and go out when the state is reachable. `Tick` is only time.
//!
//! # Invariants
//!
//! Tests without a path are in `tests/session`; the phone of those tests asserts I2, I3, I6 and I13 after every input of every test.
//!
//! | | invariant | enforced by | tested by |
//! |---|---|---|---|
//! | I1 | Entries of a conversation are taken at `have` + 1 only, each once, in order (D1) | `Conversation::receive`, `Conversation::receive_page` | `the_next_entry_is_shown_and_an_old_one_dropped`, `an_early_entry_waits_for_those_before_it` |
//! | I2 | What is shown or acknowledged is in the store | only `committed` shows it, what is dropped again is not shown (`Step::unshow_beyond`), only `Conversation::committed` is acknowledged, of what was skipped nothing (`Conversation::has_run`) | `entries_are_shown_only_when_the_store_has_them`, `a_phone_that_dies_before_the_commit_gets_the_entry_again`, `what_was_taken_and_is_dropped_at_once_is_not_shown`, `where_a_conversation_goes_on_nothing_is_acknowledged_before_an_entry_is_stored` |
//! | I3 | A message is attempted only as the store has it; every attempt repeats it (L2) | `Outbox::next` stops at a row with an unconfirmed version | `a_message_is_attempted_when_the_store_has_it`, `a_restart_repeats_what_waits_as_it_was` |
//! | I4 | One `send` or `probe` of a conversation is in flight (L5) | `Outbox::busy` | `one_send_at_a_time_with_all_that_waits_keeps_the_order` |
//! | I5 | An anchor moves only to an end of what was looked through for the message | `Conversation::looked_from`, `Outbox::advance_anchors` (own run), `anchor_at` (probe), `roll_back` (restore) | `a_stale_anchor_moves_over_the_entries_that_the_device_has_taken`, `a_stale_anchor_before_what_was_skipped_is_probed_and_moves_there`, `an_anchor_never_moves_over_a_skip_in_the_middle_of_the_run` |
//! | I6 | A moved anchor is in the store before it is used | as I3 | `a_moved_anchor_is_used_when_the_store_has_it` |
//! | I7 | A row leaves the outbox only when the message was met in the log, or failed and was discarded | `settle`, also by a late result (`late_results`), `look_through`, `discard` | `an_own_entry_that_comes_settles_its_message_whatever_its_state`, `a_late_result_settles_its_message_whatever_became_of_the_repetition`, `a_failed_message_is_discarded_by_the_person_and_an_open_one_is_not` |
//! | I8 | A refused message fails only when the log was looked through for it, or may not be, or holds another under its id. What has failed counts as refused again when the device goes on behind entries that it has not looked through: an earlier attempt may be among them | `looked_through`, `probe_answered`, `results_came`, `look_again` | `a_refused_message_fails_only_when_the_log_was_looked_through`, `a_failed_message_is_looked_for_again_in_what_is_jumped_over`, `where_not_even_the_log_may_be_looked_through_the_message_fails_and_stays`, `a_conflict_fails_at_once_and_the_other_message_is_not_taken_for_it` |
//! | I9 | A gap leads to one `sync` and never closes a socket | `Conversation::plan`, one `sync` in flight | `a_gap_that_stays_open_is_synced_once_and_never_closes_the_socket` |
//! | I10 | The run of a device is of one log: a rise of the epoch is taken from the log only, what is from before a restore is dropped | `Conversation::release`, `Conversation::receive`, generations of conversations | `the_next_entry_is_not_taken_unchecked_if_its_epoch_is_a_later_one`, `what_was_on_its_way_since_before_a_restore_is_dropped`, `a_second_answer_of_the_same_restore_takes_nothing_back` |
//! | I11 | Resetting a conversation touches no other one and never the outbox | `jump_if_too_far`, `reset` | `a_conversation_too_far_behind_goes_on_at_its_head_and_only_that_one` |
//! | I12 | Cursors only move forward, but for a restore (I18); `ack` and `read` go at most once in `cursors_every_ms` (C1) | `mark_read`, `cursors_moved`, `Pace`, `cursor_told` | `delivered_is_told_once_a_second_at_most`, `what_a_sync_has_told_is_not_told_again`, `reads_are_coalesced_and_only_move_forward`, `the_others_cursors_only_move_forward` |
//! | I13 | No timer is in the past, nothing waits without one | `Step::reached` is the only way to wait | `what_is_not_yet_due_sets_the_earliest_timer` (`session/step.rs`), `a_phone_without_a_network_wakes_rarely` |
//! | I14 | What failed is repeated with full jitter and not before the server allows it | `Retry` | `the_bound_doubles_up_to_half_a_minute_and_jitter_is_full` (`session/retry.rs`), `refusals_inside_answers_make_the_pauses_grow_until_an_answer_brings_something` |
//! | I15 | The same inputs give the same outputs | no clock, no entropy, ordered maps | `the_same_inputs_give_the_same_outputs` |
//! | I16 | Nothing of another user or device gets in | `hello_answered` | `another_accounts_token_brings_nothing_into_this_store` |
//! | I17 | Debug output holds no body and no token (R1) | `Body`, `Token`, `Text` | `neither_a_token_nor_a_body_is_in_the_debug_output` |
//! | I18 | Unread is counted as the server counts: a conversation goes on only at a position whose count is known, and no read mark stays on an entry that a restore took back | `Conversation::counted`, `jump_if_too_far`, `Conversation::read_back` | `a_head_told_by_ping_is_told_with_its_count`, `an_end_of_the_log_that_is_told_without_its_count_is_not_gone_on_at`, `a_read_that_meets_a_restore_moves_back_to_the_common_entry`, `a_mark_where_the_log_goes_on_otherwise_moves_back_to_where_it_parts` |

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
    /// As the server told them last.
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
        self.cursors.tell(&mut self.sockets, &self.conversations, &self.writes, self.limits.cursors_every_ms, &mut step);
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

    /// What the person wrote and what is not known to be in the log: by conversation, in the order of writing.
    pub fn outbox(&self) -> impl Iterator<Item = &OutboxRow> {
        self.conversations.values().flat_map(|local| local.outbox.rows())
    }

    /// How the connection stands.
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
