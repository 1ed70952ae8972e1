//! What the gateway saw, for the story that `-v` prints and for tests.

/// One event of one connection. Texts are whole messages: print them, never log them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayEvent {
    /// Connection id.
    pub connection: String,
    /// The authorizer's `principalId`; empty where nobody was let in.
    pub user: String,
    /// What happened.
    pub what: What,
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A handshake was refused: there is no connection.
    Refused {
        /// The answer's.
        status: u16,
        /// Why, as far as the gateway knows.
        why: String,
    },
    /// `$connect` was accepted; the client is about to see the upgrade.
    Opened {
        /// The authorizer's context value `device`.
        device: Option<String>,
    },
    /// A text message arrived.
    FrameIn {
        /// The selected route key; none if no route takes it.
        route: Option<String>,
        /// The message.
        text: String,
    },
    /// The function of a message's route has failed, or there was none for it: the client gets the gateway's own frame.
    NotServed {
        /// Why.
        why: String,
    },
    /// A text message was written to the client's socket.
    FrameOut {
        /// The message.
        text: String,
        /// Who sent it.
        source: FrameSource,
    },
    /// The socket is closed; `$disconnect` comes after this, if at all.
    Closed {
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
