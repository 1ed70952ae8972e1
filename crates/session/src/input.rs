//! What can happen to a session.

use chatlane_protocol::{Body, ClientMessageId, ConversationId, Position, Seq, UserId};

use super::{BatchId, SocketId, Text};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Connect, if there is no connection: at the start, when the network is back, or because the user acted after a displacement.
    ConnectNow,
    /// The user wrote a message into a conversation that the session knows. The id is new.
    Compose {
        /// Which.
        conversation: ConversationId,
        /// Made for this message.
        client_message_id: ClientMessageId,
        /// What it says.
        body: Body,
    },
    /// The user wants to talk to somebody.
    OpenWith {
        /// To whom.
        user: UserId,
        /// Made for this; kept until it is answered.
        client_message_id: ClientMessageId,
    },
    /// The user has seen the entries up to here. A position that the device has, else it is ignored.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// How far.
        position: Position,
    },
    /// The user looks at these conversations, at most 20, instead of those before: their heads and the others' cursors are asked for.
    Look {
        /// Which.
        conversations: Vec<ConversationId>,
    },
    /// The user scrolls up.
    LoadHistory {
        /// Where.
        conversation: ConversationId,
        /// Entries below this one.
        before: Option<Seq>,
    },
    /// The user gives up a failed message: its row goes. Ignored while its outcome is open.
    Discard {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
    },
    /// A new token is there: it is used for the next socket and, by `refresh`, for this one.
    NewToken(chatlane_protocol::Token),
    /// The local store has made this write, durably. Comes in the order of the batches.
    Committed(BatchId),
    /// A socket is open.
    Opened(SocketId),
    /// A socket could not be opened.
    OpenFailed {
        /// Which.
        socket: SocketId,
        /// Why.
        failure: OpenFailure,
    },
    /// An open socket has ended, whoever ended it.
    Closed {
        /// Which.
        socket: SocketId,
    },
    /// One text frame, as it came.
    Received {
        /// On which.
        socket: SocketId,
        /// The text.
        text: Text,
    },
    /// Nothing but time has passed: at [`super::Session::wake_at`] or later.
    Tick,
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// The handshake was answered with 401 or 403: not again with the same token.
    Denied,
    /// Anything else: back off and try again.
    Unreachable,
}
