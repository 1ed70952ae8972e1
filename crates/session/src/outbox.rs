//! What the user wrote into one conversation and what is not known to be in its log: which of it goes into the next frame, and which
//! anchors may move.
//!
//! A row is in the local store before it is first attempted, and every attempt repeats it as it is there: same id, same body, same
//! anchor (L2). An anchor moves only over entries that were looked through for the row's id, and the moved one is stored before it is used.

use std::collections::BTreeMap;

use chatlane_protocol::frames::encode;
use chatlane_protocol::limits::PROBED_IDS_MAX;
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, ErrorCode, NewMessage, Position, Refusal, Request, RequestId, Seq};

use super::retry::Retry;
use super::wire::request_id;
use super::{Draft, OutboxRow, OutboxState};

/// The rows of one conversation.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    rows: BTreeMap<u64, Outgoing>,
    /// Whether a `send`, a change or a `probe` is in flight: one at a time, so that they keep their order (L5).
    pub(super) busy: bool,
    pub(super) retry: Retry,
    /// A whole frame was refused without saying for which message: find out.
    pub(super) one_by_one: bool,
    /// The log is to be looked through for the rows' ids before anything is sent.
    pub(super) probe: Option<Probing>,
}

/// Where a look-through of the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probing {
    /// At the lowest anchor of the rows.
    Anchors,
    /// At the first entry: an anchor turned out to be none.
    First,
}

#[derive(Clone, Debug)]
struct Outgoing {
    row: OutboxRow,
    /// Versions of the row that the store has not confirmed.
    unwritten: u32,
}

/// What is to be asked next for the rows of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextRequest {
    /// Attempt these.
    Send(Vec<NewMessage>),
    /// Attempt this one, which is no message.
    Change(Box<OutboxRow>),
    /// Look through the log from here for these.
    Probe { anchor: Position, ids: Vec<ClientMessageId> },
    /// This one fits into no request.
    TooLarge(ClientMessageId),
}

impl Default for Outbox {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), busy: false, retry: Retry::NEW, one_by_one: false, probe: None }
    }
}

impl Outbox {
    pub(super) fn rows(&self) -> impl Iterator<Item = &OutboxRow> {
        self.rows.values().map(|outgoing| &outgoing.row)
    }

    /// Whether there is anything to be done.
    pub(super) fn is_open(&self) -> bool {
        self.rows().any(is_open)
    }

    pub(super) fn get(&self, id: &ClientMessageId) -> Option<&OutboxRow> {
        self.rows().find(|row| row.client_message_id == *id)
    }

    /// A row that the store has.
    pub(super) fn restore(&mut self, row: OutboxRow) {
        self.rows.insert(row.order, Outgoing { row, unwritten: 0 });
    }

    /// A new row; the store is about to get it.
    pub(super) fn add(&mut self, row: OutboxRow) {
        self.rows.insert(row.order, Outgoing { row, unwritten: 1 });
    }

    /// The store has confirmed one version of a row.
    pub(super) fn written(&mut self, order: u64) {
        if let Some(outgoing) = self.rows.get_mut(&order) {
            outgoing.unwritten = outgoing.unwritten.saturating_sub(1);
        }
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, id: &ClientMessageId) -> Option<OutboxRow> {
        let order = self.get(id)?.order;
        let removed = self.rows.remove(&order).map(|outgoing| outgoing.row);
        if !self.is_open() {
            (self.probe, self.one_by_one) = (None, false);
        }
        removed
    }

    /// Takes out the row that this own entry is.
    pub(super) fn remove_stored(&mut self, entry: &Entry) -> Option<OutboxRow> {
        // Something else under the same id is another entry (`conflict`): this one is not in the log.
        self.get(&entry.client_message_id).filter(|row| row.draft.is(&entry.kind))?;
        self.remove(&entry.client_message_id)
    }

    /// Sets a row's state. Answers the row to be written.
    pub(super) fn set_state(&mut self, id: &ClientMessageId, state: &OutboxState) -> Option<OutboxRow> {
        self.change(|row| row.client_message_id == *id, |row| row.state = state.clone()).pop()
    }

    /// The first of these rows, which the log has been looked through for up to `reached`, get it as their anchor. Lower than before is
    /// right too: no attempt can be at or below it. Answers the rows to be written.
    pub(super) fn anchor_at(&mut self, ids: &[ClientMessageId], reached: Position) -> Vec<OutboxRow> {
        self.change(|row| ids.contains(&row.client_message_id) && row.anchor != reached, |row| row.anchor = reached)
    }

    /// Every entry of (`looked_from`, `have`] was looked through as it was taken: anchors in it move to its end. Answers the rows to be
    /// written.
    pub(super) fn advance_anchors(&mut self, looked_from: Position, have: Position) -> Vec<OutboxRow> {
        let inside = |anchor: Position| looked_from.seq <= anchor.seq && anchor.seq < have.seq && anchor.epoch <= have.epoch;
        self.change(|row| is_open(row) && inside(row.anchor), |row| row.anchor = have)
    }

    /// What has failed counts as refused only, until the log was looked through once more. Answers the rows to be written.
    pub(super) fn look_again(&mut self) -> Vec<OutboxRow> {
        let failed = |row: &OutboxRow| matches!(&row.state, OutboxState::Failed(refusal) if refusal.code != ErrorCode::BadRequest);
        self.change(failed, |row| {
            if let OutboxState::Failed(refusal) = &row.state {
                row.state = OutboxState::Refused(refusal.clone());
            }
        })
    }

    /// Nothing more of the user's is written here: what waits is refused, and so looked for. Answers the rows to be written.
    pub(super) fn end(&mut self, refusal: &Refusal) -> Vec<OutboxRow> {
        self.change(|row| row.state == OutboxState::Waiting, |row| row.state = OutboxState::Refused(refusal.clone()))
    }

    /// The edits of a message.
    pub(super) fn edits(&self, of: Seq) -> Vec<ClientMessageId> {
        let edits = |row: &&OutboxRow| matches!(row.draft, Draft::Edit { target, .. } if target == of);
        self.rows().filter(edits).map(|row| row.client_message_id.clone()).collect()
    }

    /// The log has nothing beyond `common` that an anchor could mean. Answers the rows to be written.
    pub(super) fn roll_back(&mut self, common: Position) -> Vec<OutboxRow> {
        self.change(|row| row.anchor.seq > common.seq, |row| row.anchor = common)
    }

    fn change(&mut self, which: impl Fn(&OutboxRow) -> bool, change: impl Fn(&mut OutboxRow)) -> Vec<OutboxRow> {
        let mut changed = vec![];
        for outgoing in self.rows.values_mut().filter(|outgoing| which(&outgoing.row)) {
            change(&mut outgoing.row);
            outgoing.unwritten += 1;
            changed.push(outgoing.row.clone());
        }
        changed
    }

    /// What the rows need now; `None`: nothing, or the store's confirmation.
    pub(super) fn next(&self, conversation: &ConversationId, messages_max: usize, bytes_max: usize) -> Option<NextRequest> {
        let refused = self.rows().any(|row| matches!(row.state, OutboxState::Refused(_)));
        if refused || self.probe.is_some() {
            let rows: Vec<_> = self.rows().filter(|row| is_open(row)).take(PROBED_IDS_MAX).collect();
            let lowest = rows.iter().map(|row| row.anchor).min()?;
            let anchor = if self.probe == Some(Probing::First) { Position::ZERO } else { lowest };
            return Some(NextRequest::Probe { anchor, ids: rows.into_iter().map(|row| row.client_message_id.clone()).collect() });
        }
        let most = if self.one_by_one { 1 } else { messages_max };
        let mut bytes = encode(&send(conversation, longest_id(), vec![])).len();
        let mut messages = vec![];
        let open = self.rows.values().filter(|outgoing| is_open(&outgoing.row));
        for Outgoing { row, .. } in open.take_while(|outgoing| outgoing.unwritten == 0).take(most) {
            let Some(message) = row.draft.message(&row.client_message_id, row.anchor) else {
                // A change goes alone, after what was written before it.
                return Some(match messages.is_empty() {
                    true if encode(&change(row, longest_id())).len() <= bytes_max => NextRequest::Change(Box::new(row.clone())),
                    true => NextRequest::TooLarge(row.client_message_id.clone()),
                    false => NextRequest::Send(messages),
                });
            };
            bytes += encode(&message).len() + usize::from(!messages.is_empty());
            if bytes > bytes_max {
                return Some(if messages.is_empty() {
                    NextRequest::TooLarge(message.client_message_id)
                } else {
                    NextRequest::Send(messages)
                });
            }
            messages.push(message);
        }
        (!messages.is_empty()).then_some(NextRequest::Send(messages))
    }
}

/// Whether the row's outcome is open.
pub(super) const fn is_open(row: &OutboxRow) -> bool {
    !matches!(row.state, OutboxState::Failed(_))
}

/// What a row says that fails for good: its own refusal, or the one that kept it from being looked for.
pub(super) fn reason(row: &OutboxRow, otherwise: &Refusal) -> Refusal {
    match &row.state {
        OutboxState::Refused(refusal) | OutboxState::Failed(refusal) => refusal.clone(),
        OutboxState::Waiting => otherwise.clone(),
    }
}

/// What is written into, or asked of, a conversation that has ended for the user.
pub(super) fn ended() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "you are no member any more")
}

/// The request that attempts messages.
pub(super) fn send(conversation: &ConversationId, id: RequestId, messages: Vec<NewMessage>) -> Request {
    Request::Send(SendMessages { id, conversation: conversation.clone(), messages })
}

/// The request that attempts a change.
pub(super) fn change(row: &OutboxRow, id: RequestId) -> Request {
    row.draft.request(id, row.conversation.clone(), row.client_message_id.clone(), row.anchor)
}

/// An id as long as any that the session gives a request.
fn longest_id() -> RequestId {
    request_id(u64::MAX)
}
