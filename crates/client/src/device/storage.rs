//! The store of a running device: one job after the other, on a thread that may wait for the disk.

use chatlane_protocol::{ConversationId, Entry, Seq};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::store::{Store, StoreError};
use chatlane_session::{BatchId, Change};

/// A store and what it is to do, in order.
pub(super) struct Storage {
    /// Absent while a thread has it.
    store: Option<Store>,
    waiting: Jobs,
    working: Option<JoinHandle<(Store, Committed)>>,
}

type Committed = Result<Vec<BatchId>, StoreError>;

#[derive(Default)]
struct Jobs {
    batches: Vec<BatchId>,
    changes: Vec<Change>,
    reads: Vec<Read>,
}

struct Read {
    conversation: ConversationId,
    before: Option<Seq>,
    limit: usize,
    answer: oneshot::Sender<Vec<Entry>>,
}

impl Storage {
    pub(super) fn new(store: Store) -> Self {
        Self { store: Some(store), waiting: Jobs::default(), working: None }
    }

    pub(super) fn commit(&mut self, batch: BatchId, changes: Vec<Change>) {
        self.waiting.batches.push(batch);
        self.waiting.changes.extend(changes);
        self.work();
    }

    /// Reads behind all commits that were asked for before.
    pub(super) fn read(&mut self, conversation: ConversationId, before: Option<Seq>, limit: usize, answer: oneshot::Sender<Vec<Entry>>) {
        self.waiting.reads.push(Read { conversation, before, limit, answer });
        self.work();
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.working.is_some()
    }

    /// Waits for the jobs that are being done; answers the batches that are committed now. May be dropped and called again. Only while
    /// [`Self::is_busy`].
    pub(super) async fn done(&mut self) -> Committed {
        let Some(working) = &mut self.working else { return Ok(vec![]) };
        let (store, batches) = working.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        self.working = None;
        self.store = Some(store);
        let batches = batches?;
        self.work();
        Ok(batches)
    }

    /// The store, when nothing is left to do.
    pub(super) fn into_store(self) -> Store {
        self.store.expect("no thread has it: nothing is being done")
    }

    /// Hands all that waits to a thread, unless one is at work: what was asked for meanwhile then shares one commit, and one sync of the
    /// disk.
    fn work(&mut self) {
        if self.waiting.batches.is_empty() && self.waiting.reads.is_empty() {
            return;
        }
        let Some(mut store) = self.store.take() else { return };
        let jobs = std::mem::take(&mut self.waiting);
        self.working = Some(spawn_blocking(move || {
            let done = jobs.carry_out(&mut store);
            (store, done)
        }));
    }
}

impl Jobs {
    /// The commits first: a read that was asked for before one of them may see it.
    fn carry_out(self, store: &mut Store) -> Committed {
        if !self.batches.is_empty() {
            store.apply(&self.changes)?;
        }
        for Read { conversation, before, limit, answer } in self.reads {
            // Who asked may have gone.
            let _gone = answer.send(store.entries(&conversation, before, limit)?);
        }
        Ok(self.batches)
    }
}
