//! SQS in one `SQLite` file: standard queues with visibility, delay and dead-letter queues, and the event source mapping that feeds a
//! function.
//!
//! [`Queue`] is all queues of the machine. [`Queue::router`] is the endpoint for the AWS SDK, [`EventSource`] the part of AWS Lambda that
//! polls a queue and invokes a function. Messages survive a restart and `kill -9`: `SQLite` in WAL mode has a committed change in the
//! file's log before its request is answered. Only a loss of power can lose the last ones.
//!
//! Not promised: order, exactly-once delivery (neither does SQS), retention, FIFO queues, signatures, policies.

mod api;
mod api_error;
mod event_source;
mod message;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use store::Store;

pub use event_source::{EventSource, EventSourceSettings};

/// The account that owns the local queues, as it appears in their URLs and ARNs.
pub(crate) const ACCOUNT: &str = "000000000000";

/// The region that the local queues are in.
pub(crate) const REGION: &str = "us-east-1";

/// One queue.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// How long a received message stays hidden. AWS: 0 s … 12 h in whole seconds; here any duration, kept in milliseconds.
    pub visibility_timeout: Duration,
    /// How often a message may be received; the next receive moves it to the dead-letter queue. Without such a queue it has no effect.
    pub max_receive_count: u32,
    /// The queue, also in the list, that takes messages received too often.
    pub dead_letter_queue: Option<String>,
}

/// Why the queues could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another `Queue` of this one) has the file.
    #[error("the queue's file is in use by another process")]
    InUse,
    /// The file cannot be opened or is not a queue's file.
    #[error("the queue's file could not be opened")]
    File(#[source] rusqlite::Error),
}

/// Why a queue could not be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No queue has this name.
    #[error("there is no queue `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The file could not be read or written.
    #[error("the queue's file could not be used")]
    File(#[from] rusqlite::Error),
}

/// How many messages a queue holds. Exact, where SQS answers approximations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Can be received now.
    pub visible: u64,
    /// Received and hidden until deleted or until the visibility timeout ends.
    pub in_flight: u64,
    /// Not yet received, hidden until their delay ends.
    pub delayed: u64,
}

impl Depth {
    /// No message in any state.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Milliseconds since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// All queues of this machine. Clones share them.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    queues: BTreeMap<String, NamedQueue>,
}

/// One queue's settings and the signal that something in it changed.
struct NamedQueue {
    settings: QueueSettings,
    changed: watch::Sender<()>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("queues", &self.inner.queues.keys()).finish_non_exhaustive()
    }
}

impl Queue {
    /// Opens the file, creating it if there is none, with exactly these queues. Messages of queues that are not named stay in the file.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Panics
    /// A dead-letter queue is not in the list of queues.
    pub fn open(path: &Path, queues: impl IntoIterator<Item = QueueSettings>) -> Result<Self, OpenError> {
        Self::open_with_clock(path, queues, Arc::new(wall_clock_ms))
    }

    fn open_with_clock(path: &Path, queues: impl IntoIterator<Item = QueueSettings>, clock: Clock) -> Result<Self, OpenError> {
        let named = |settings: QueueSettings| (settings.name.clone(), NamedQueue { settings, changed: watch::Sender::new(()) });
        let queues: BTreeMap<String, NamedQueue> = queues.into_iter().map(named).collect();
        let mut dead_letter_queues = queues.values().filter_map(|queue| queue.settings.dead_letter_queue.as_ref());
        assert!(dead_letter_queues.all(|name| queues.contains_key(name)), "a dead-letter queue is in the list too");
        Ok(Self { inner: Arc::new(Inner { store: Store::open(path)?, clock, queues }) })
    }

    /// The SQS endpoint (AWS JSON 1.0), to be served at any path.
    pub fn router(&self) -> axum::Router {
        api::router(self.clone())
    }

    /// The URL of a queue at an endpoint such as `http://127.0.0.1:7071`.
    pub fn url(endpoint: &str, name: &str) -> String {
        format!("{endpoint}/{ACCOUNT}/{name}")
    }

    /// What a queue holds now.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn depth(&self, name: &str) -> Result<Depth, QueueError> {
        self.named(name)?;
        Ok(self.inner.store.depth(name, self.now_ms())?)
    }

    /// Waits until the queue holds no message in any state: everything sent to it was handled or moved to its dead-letter queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn wait_until_empty(&self, name: &str) -> Result<(), QueueError> {
        let mut changed = self.named(name)?.changed.subscribe();
        while !self.depth(name)?.is_empty() {
            // Cannot fail: the sender lives as long as `self`.
            let _alive = changed.changed().await;
        }
        Ok(())
    }

    /// Adds a message, as a service of AWS does that has this queue for its destination.
    pub(crate) fn send(&self, name: &str, body: String) -> Result<(), QueueError> {
        self.named(name)?;
        let message = message::NewMessage { id: uuid::Uuid::new_v4().to_string(), body, sender: "lambda".to_owned(), delay_ms: 0 };
        self.inner.store.send(name, self.now_ms(), &message)?;
        self.announce(name);
        Ok(())
    }

    /// The bodies of what can be received, which is received by that.
    #[cfg(test)]
    pub(crate) fn bodies(&self, name: &str) -> Vec<String> {
        let received = self.receive(name, message::BATCH_MAX).expect("the queue is there");
        received.into_iter().map(|message| message.body).collect()
    }

    fn named(&self, name: &str) -> Result<&NamedQueue, QueueError> {
        self.inner.queues.get(name).ok_or_else(|| QueueError::Unknown { name: name.to_owned() })
    }

    fn now_ms(&self) -> i64 {
        (self.inner.clock)()
    }

    /// Receives up to `max` messages, moving those that were received too often to the dead-letter queue first.
    fn receive(&self, name: &str, max: i64) -> Result<Vec<message::Received>, QueueError> {
        let settings = &self.named(name)?.settings;
        let (received, moved) = self.inner.store.receive(settings, self.now_ms(), max)?;
        if moved {
            self.announce(name);
            self.announce(settings.dead_letter_queue.as_deref().unwrap_or_default());
        }
        Ok(received)
    }

    /// Deletes the messages whose latest receipts these are.
    fn delete<'r>(&self, name: &str, receipts: impl IntoIterator<Item = &'r str>) -> Result<(), QueueError> {
        self.inner.store.delete(name, receipts)?;
        self.announce(name);
        Ok(())
    }

    /// Notifies those who wait that the queue's content or a deadline in it has changed.
    fn announce(&self, name: &str) {
        if let Some(queue) = self.inner.queues.get(name) {
            queue.changed.send_replace(());
        }
    }

    /// Waits until a message of the queue may have become visible: until something has changed since `changed` was last looked at, or until
    /// the first message becomes visible, at once if one is.
    async fn wait_for_message(&self, name: &str, changed: &mut watch::Receiver<()>) -> Result<(), QueueError> {
        let next_ms = self.inner.store.next_visible_at(name)?;
        let wait = next_ms.map(|at_ms| Duration::from_millis((at_ms - self.now_ms()).try_into().unwrap_or(0)));
        tokio::select! {
            _alive = changed.changed() => (),
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => (),
        }
        Ok(())
    }
}

/// The ARN of a local queue.
fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The clock of every queue outside tests. All times in the file come from it.
fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Longer than 292 million years does not occur.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
