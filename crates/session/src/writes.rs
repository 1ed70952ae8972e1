//! What goes to the local store, and what becomes true when the store has it.

use std::collections::VecDeque;

use chatlane_protocol::Position;

use super::conversations::Conversations;
use super::creating::NewGroups;
use super::retry::Retry;
use super::step::{Step, Then, unshow_beyond};
use super::{BatchId, Change, Output, Shown};

/// The writes that the store has not confirmed.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    /// In their order.
    batches: VecDeque<Batch>,
    last: BatchId,
    /// The store has failed, and has taken nothing since.
    failing: bool,
    retry: Retry,
}

/// One write.
#[derive(Clone, Debug)]
struct Batch {
    /// Under which number the store has been given it; absent: it is to be given again.
    number: Option<BatchId>,
    changes: Vec<Change>,
    /// What becomes true with it.
    then: Vec<Then>,
}

impl Batch {
    /// Makes these changes too. What they drop will not have been there.
    fn extend(&mut self, changes: Vec<Change>, then: Vec<Then>) {
        for change in &changes {
            match change {
                Change::DropBeyond { conversation, position } => unshow_beyond(&mut self.then, conversation, *position),
                Change::DropAll(conversation) => unshow_beyond(&mut self.then, conversation, Position::ZERO),
                _ => {}
            }
        }
        self.changes.extend(changes);
        self.then.extend(then);
    }
}

impl Default for Writes {
    fn default() -> Self {
        Self { batches: VecDeque::new(), last: BatchId(0), failing: false, retry: Retry::NEW }
    }
}

impl Writes {
    /// Whether the store has confirmed all that it was given.
    pub(super) fn are_confirmed(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether the store takes nothing: then nothing is taken from the server either, which has it.
    pub(super) const fn are_failing(&self) -> bool {
        self.failing
    }

    /// Gives the store what this step has changed, as one batch.
    pub(super) fn write(&mut self, conversations: &mut Conversations, groups: &mut NewGroups, step: &mut Step) {
        for conversation in std::mem::take(&mut step.touched) {
            if let Some(local) = conversations.get_mut(&conversation) {
                local.stale_in_store = false;
                step.changes.push(Change::Conversation(local.row.clone()));
                step.show_committed(Shown::Conversation { unread: local.row.unread(), row: local.row.clone() });
            }
        }
        let then = std::mem::take(&mut step.then);
        if !step.changes.is_empty() {
            for local in conversations.values_mut().filter(|local| local.stale_in_store) {
                local.stale_in_store = false;
                step.changes.push(Change::Conversation(local.row.clone()));
            }
            let changes = std::mem::take(&mut step.changes);
            if let Some(batch) = self.batches.back_mut().filter(|batch| batch.number.is_none()) {
                batch.extend(changes, then);
            } else {
                let number = self.next_number();
                self.batches.push_back(Batch { number: Some(number), changes: changes.clone(), then });
                step.outputs.push(Output::Commit { batch: number, changes });
            }
        } else if let Some(Batch { then: behind, .. }) = self.batches.back_mut() {
            behind.extend(then); // nothing to write, but not to be shown before what was written
        } else {
            became_true(then, conversations, groups, step);
        }
        if self.batches.front().is_some_and(|batch| batch.number.is_none()) && step.reached(self.retry.not_before()) {
            let number = self.next_number();
            if let Some(batch) = self.batches.front_mut() {
                batch.number = Some(number);
                step.outputs.push(Output::Commit { batch: number, changes: batch.changes.clone() });
            }
        }
    }

    const fn next_number(&mut self) -> BatchId {
        self.last = BatchId(self.last.0 + 1);
        self.last
    }

    /// The store has made this write.
    pub(super) fn committed(&mut self, batch: BatchId, conversations: &mut Conversations, groups: &mut NewGroups, step: &mut Step) {
        // Batches come back in their order; one that does not was never ours.
        if let Some(Batch { then, .. }) = self.batches.pop_front_if(|oldest| oldest.number == Some(batch)) {
            if std::mem::take(&mut self.failing) {
                self.retry.succeed();
                step.show(Shown::Storing(true));
            }
            became_true(then, conversations, groups, step);
        }
    }

    /// The store could not make this write, nor those behind it.
    pub(super) fn not_stored(&mut self, batch: BatchId, step: &mut Step) {
        if self.batches.front().is_none_or(|oldest| oldest.number != Some(batch)) {
            return;
        }
        let mut all = Batch { number: None, changes: vec![], then: vec![] };
        for Batch { changes, then, .. } in self.batches.drain(..) {
            all.extend(changes, then);
        }
        self.batches.push_back(all);
        self.retry.fail(step, None);
        if !std::mem::replace(&mut self.failing, true) {
            step.show(Shown::Storing(false));
        }
    }
}

fn became_true(then: Vec<Then>, conversations: &mut Conversations, groups: &mut NewGroups, step: &mut Step) {
    for then in then {
        match then {
            Then::Show(shown) => step.show(shown),
            Then::Has { conversation, generation, position } => {
                if let Some(local) = conversations.get_mut(&conversation)
                    && local.generation == generation
                {
                    local.committed = position;
                }
            }
            Then::Kept(client_message_id) => groups.kept(&client_message_id),
            Then::Written { conversation, order } => {
                if let Some(local) = conversations.get_mut(&conversation) {
                    local.outbox.written(order);
                }
            }
        }
    }
}
