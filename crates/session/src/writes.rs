//! What goes to the local store, and what becomes true when the store has it.

use std::collections::VecDeque;

use super::conversations::Conversations;
use super::step::{Step, Then};
use super::{BatchId, Change, Output, Shown};

/// The writes that the store has not confirmed.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    /// In their order, each with what becomes true with it.
    batches: VecDeque<(BatchId, Vec<Then>)>,
    last: BatchId,
}

impl Default for Writes {
    fn default() -> Self {
        Self { batches: VecDeque::new(), last: BatchId(0) }
    }
}

impl Writes {
    /// Whether the store has confirmed all that it was given.
    pub(super) fn are_confirmed(&self) -> bool {
        self.batches.is_empty()
    }

    /// Gives the store what this step has changed, as one batch.
    pub(super) fn write(&mut self, conversations: &mut Conversations, step: &mut Step) {
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
            self.last = BatchId(self.last.0 + 1);
            self.batches.push_back((self.last, then));
            step.outputs.push(Output::Commit { batch: self.last, changes: std::mem::take(&mut step.changes) });
        } else if let Some((_, behind)) = self.batches.back_mut() {
            behind.extend(then); // nothing to write, but not to be shown before what was written
        } else {
            became_true(then, conversations, step);
        }
    }

    /// The store has made this write.
    pub(super) fn committed(&mut self, batch: BatchId, conversations: &mut Conversations, step: &mut Step) {
        // Batches come back in their order; one that does not was never ours.
        if let Some((_, then)) = self.batches.pop_front_if(|(oldest, _)| *oldest == batch) {
            became_true(then, conversations, step);
        }
    }
}

fn became_true(then: Vec<Then>, conversations: &mut Conversations, step: &mut Step) {
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
            Then::Written { conversation, order } => {
                if let Some(local) = conversations.get_mut(&conversation) {
                    local.outbox.written(order);
                }
            }
        }
    }
}
