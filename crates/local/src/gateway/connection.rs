//! Open connections: which ones can be posted to, and when the last message passed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::authorizer::Authorized;
use super::closing::Closing;
use super::event::Client;
use super::observe::FrameSource;
use super::settings::Limits;

/// A message on its way to the client.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) text: String,
    pub(super) source: FrameSource,
}

/// Why a post was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Gone,
    BufferFull,
}

/// One connection after `$connect` has accepted it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) authorized: Authorized,
    /// How many connections were opened before it. Seeded choices depend on it, since ids are random.
    pub(super) ordinal: u64,
    activity: Activity,
    outgoing: mpsc::Sender<Outgoing>,
    closings: mpsc::UnboundedSender<Closing>,
}

impl Connection {
    pub(super) fn id(&self) -> &str {
        &self.client.connection
    }

    /// Accepts a message for delivery, which is not a promise that it arrives.
    pub(super) fn post(&self, text: String) -> Result<(), Refused> {
        self.outgoing.try_send(Outgoing { text, source: FrameSource::Post }).map_err(|error| match error {
            TrySendError::Full(_) => Refused::BufferFull,
            TrySendError::Closed(_) => Refused::Gone,
        })
    }

    /// Sends a route's answer, waiting for room in the buffer. An answer to a connection that is gone is dropped.
    pub(super) async fn answer(&self, text: String) {
        let _gone = self.outgoing.send(Outgoing { text, source: FrameSource::Answer }).await;
    }

    pub(super) fn close(&self, closing: Closing) -> bool {
        self.closings.send(closing).is_ok()
    }

    /// A message went in or out.
    pub(super) fn touch(&self) {
        self.activity.touch(Instant::now());
    }

    pub(super) fn closes_at(&self, limits: &Limits) -> Instant {
        self.activity.closes_at(limits)
    }

    /// Milliseconds since 1970 of the last message in or out, or of the connect if there was none.
    pub(super) fn last_active_at_ms(&self) -> u64 {
        self.client.connected_at_ms + self.activity.touched_ms.load(Ordering::Relaxed)
    }
}

/// When a connection was opened and when the last message passed.
#[derive(Debug)]
struct Activity {
    opened: Instant,
    /// Milliseconds after `opened`.
    touched_ms: AtomicU64,
}

impl Activity {
    fn new(opened: Instant) -> Self {
        Self { opened, touched_ms: AtomicU64::new(0) }
    }

    fn touch(&self, now: Instant) {
        let touched_ms = u64::try_from(now.duration_since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.touched_ms.fetch_max(touched_ms, Ordering::Relaxed);
    }

    /// When the idle limit or the life limit ends it, whichever is first.
    fn closes_at(&self, limits: &Limits) -> Instant {
        let idle_end = Duration::from_millis(self.touched_ms.load(Ordering::Relaxed)) + limits.idle;
        self.opened + idle_end.min(limits.life)
    }
}

/// A session's ends of its connection's channels, and its place in the count that [`Connections::close_all`] waits for.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) closings: mpsc::UnboundedReceiver<Closing>,
    pub(super) presence: Presence,
}

/// Counts a session for as long as it lives.
#[derive(Debug)]
pub(super) struct Presence(Arc<Connections>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.sessions.send_modify(|sessions| *sessions -= 1);
    }
}

/// The connections that can be posted to, by id.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
    sessions: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<String, Arc<Connection>>,
    /// How many connections were ever opened.
    opened: u64,
    stopping: bool,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection: from now on it can be posted to. `None` once the gateway is stopping.
    pub(super) fn admit(self: &Arc<Self>, client: Client, authorized: Authorized, limits: &Limits) -> Option<Admitted> {
        let mut open = self.open();
        if open.stopping {
            return None;
        }
        let (outgoing_sender, outgoing) = mpsc::channel(limits.outgoing_messages_max);
        let (closing_sender, closings) = mpsc::unbounded_channel();
        let connection = Arc::new(Connection {
            client,
            authorized,
            ordinal: open.opened,
            activity: Activity::new(Instant::now()),
            outgoing: outgoing_sender,
            closings: closing_sender,
        });
        open.opened += 1;
        open.connections.insert(connection.id().to_owned(), connection.clone());
        self.sessions.send_modify(|sessions| *sessions += 1);
        Some(Admitted { connection, outgoing, closings, presence: Presence(self.clone()) })
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Connection>> {
        self.open().connections.get(id).cloned()
    }

    /// Takes a connection out: posts to it get 410 from now on.
    pub(super) fn remove(&self, id: &str) -> Option<Arc<Connection>> {
        self.open().connections.remove(id)
    }

    /// Refuses new connections, closes the open ones and waits until their sessions have ended.
    pub(super) async fn close_all(&self, closing: &Closing) {
        let open = {
            let mut open = self.open();
            open.stopping = true;
            std::mem::take(&mut open.connections)
        };
        for connection in open.into_values() {
            connection.close(closing.clone());
        }
        // The sender is `self`, so waiting cannot fail.
        let mut sessions = self.sessions.subscribe();
        let _ended = sessions.wait_for(|sessions| *sessions == 0).await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_moves_the_idle_limit_but_not_the_life_limit() {
        let minutes = Duration::from_mins;
        let limits = Limits { idle: minutes(10), life: minutes(120), ..Limits::default() };
        let opened = Instant::now();
        let activity = Activity::new(opened);
        assert_eq!(activity.closes_at(&limits), opened + minutes(10));
        activity.touch(opened + minutes(9));
        assert_eq!(activity.closes_at(&limits), opened + minutes(19));
        activity.touch(opened + minutes(115));
        assert_eq!(activity.closes_at(&limits), opened + minutes(120));
    }
}
