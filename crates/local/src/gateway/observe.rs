//! What the gateway saw, for the story that `-v` prints and for tests.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One event of one connection. Texts are whole messages: print them, never log them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayEvent {
    /// `$connect` was accepted; the client is about to see the upgrade.
    Opened {
        /// Connection id.
        connection: String,
        /// The authorizer's `principalId`.
        user: String,
        /// The authorizer's context value `device`, else the query parameter of that name.
        device: Option<String>,
    },
    /// A text message arrived.
    FrameIn {
        /// Connection id.
        connection: String,
        /// The authorizer's `principalId`.
        user: String,
        /// The selected route key; none if no route takes it.
        route: Option<String>,
        /// Its length in bytes.
        text_bytes: usize,
        /// The message.
        text: String,
    },
    /// A text message was written to the client's socket.
    FrameOut {
        /// Connection id.
        connection: String,
        /// The authorizer's `principalId`.
        user: String,
        /// The message.
        text: String,
        /// Who sent it.
        source: FrameSource,
    },
    /// The socket is closed; `$disconnect` comes after this, if at all.
    Closed {
        /// Connection id.
        connection: String,
        /// The authorizer's `principalId`.
        user: String,
        /// Close code; 1005 if the client's close frame had none, 1006 if there was no close frame.
        code: u16,
        /// The client's or the gateway's reason.
        reason: String,
    },
}

/// Where a message to the client came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSource {
    /// The route's answer, or the gateway's own error frame in its place.
    Answer,
    /// `POST @connections`.
    Post,
}

#[derive(Debug, Default)]
pub(super) struct Observers(Mutex<Vec<UnboundedSender<GatewayEvent>>>);

impl Observers {
    pub(super) fn add(&self) -> UnboundedReceiver<GatewayEvent> {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Builds the event only if somebody listens: it copies whole messages.
    pub(super) fn emit(&self, event: impl FnOnce() -> GatewayEvent) {
        let mut observers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !observers.is_empty() {
            let event = event();
            observers.retain(|observer| observer.send(event.clone()).is_ok());
        }
    }
}
