//! The floor of a run: what no design can go below that stores first and delivers then. One conditional put and one enqueue on the same
//! embedded endpoints, by the same SDK clients, from the process that measures.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chatlane_aws::{Backend, Queue, Resource, Store, sdk_config_at};
use chatlane_chat::ports::{FanOutQueue as _, MessageLog as _, Put};
use chatlane_chat::testing::builders;
use chatlane_chat::workers::task::Task;
use chatlane_local::stack::DEAD_LETTER_QUEUE;
use chatlane_protocol::{ConversationId, UnixMillis};

use crate::{Running, part_on};

/// The plain client.
pub struct Floor {
    store: Store,
    queue: Backend<(), (), (), (), Queue>,
    conversation: ConversationId,
}

impl Floor {
    /// On the endpoints of this stack, in a conversation of its own.
    pub async fn of(stack: &Running) -> Self {
        let sqs = &stack.endpoint_urls().sqs;
        Self {
            store: stack.store().await,
            // The same kind of queue, but nobody takes the tasks: their delivery is not part of the floor.
            queue: part_on(
                &sdk_config_at(sqs, "tool").await,
                [(Resource::Queue, chatlane_local::queue::Queue::url(sqs, DEAD_LETTER_QUEUE))],
            ),
            conversation: builders::conversation("floor"),
        }
    }

    /// One put and one enqueue, one after the other. Each `turn` is used once.
    ///
    /// # Errors
    /// One of the two failed.
    pub async fn step(&self, turn: u64) -> anyhow::Result<Duration> {
        let entry = builders::entry(&self.conversation, turn + 1, "alice");
        let task =
            Task { own: vec![entry.position.seq], queued: UnixMillis::ZERO, ..builders::task(&self.conversation, turn + 1, turn + 1) };
        let began = Instant::now();
        let put = self.store.put(&entry).await?;
        self.queue.enqueue(&task, 0).await?;
        let took = began.elapsed();
        ensure!(put == Put::Stored, "the floor's slots are free");
        Ok(took)
    }
}
