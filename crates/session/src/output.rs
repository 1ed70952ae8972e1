//! What a session wants to be done.

use chatlane_protocol::frames::Stored;
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, Refusal, UserId};

use super::{BatchId, ConversationRow, HeldRow, Moment, OutboxRow, Shown, SocketId, Text};

/// Something to do, in the order of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a socket with the newest token; answered by `Opened` or `OpenFailed`.
    Connect(SocketId),
    /// Write one text frame to a socket. One that has ended swallows it: its `Closed` is on the way.
    Send {
        /// To which.
        socket: SocketId,
        /// The request.
        text: Text,
    },
    /// Close a socket, or give up opening it. No `Closed` need come for it.
    Close(SocketId),
    /// Write all of this to the local store, durably and at once; answered by `Committed` or `NotStored`.
    Commit {
        /// Its number.
        batch: BatchId,
        /// In this order.
        changes: Vec<Change>,
    },
    /// Get a new token; answered by `NewToken`, whenever there is one.
    NeedToken(TokenNeed),
    /// Show this to the user.
    Show(Shown),
}

/// Why a new token is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenNeed {
    /// The one before ends soon, or has ended.
    Ends,
    /// The server has not accepted the one before.
    Refused,
    /// Two sockets or more in a row could not be opened. Where nobody is told why, as in browsers, it may be the token.
    Suspect,
}

/// One change of the local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write the conversation's row, in place of the one before.
    Conversation(ConversationRow),
    /// Store entries; those that are there are the same.
    Entries {
        /// Where.
        conversation: ConversationId,
        /// Ascending.
        entries: Vec<Entry>,
    },
    /// Forget the entries beyond this position: the log was restored from a backup.
    DropBeyond {
        /// Where.
        conversation: ConversationId,
        /// The last one that stays.
        position: Position,
    },
    /// Forget all entries of a conversation. Never touches the outbox.
    DropAll(ConversationId),
    /// Write a row of the outbox, in place of the one before with the same conversation and id.
    Outbox(OutboxRow),
    /// Keep a message that has no conversation yet.
    Held(HeldRow),
    /// It has one, or never will: remove it.
    HeldDone(ClientMessageId),
    /// Remove a row of the outbox.
    OutboxDone {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
    },
}

/// What cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A connection, with this token: it is this user's, not the device's.
    OtherUser(UserId),
    /// The conversation with this user, nor what was written to them.
    Open {
        /// With whom.
        user: UserId,
        /// Why.
        refusal: Refusal,
    },
    /// Older entries.
    History {
        /// Where.
        conversation: ConversationId,
        /// Why.
        refusal: Refusal,
    },
    /// A message for a conversation that the session does not know.
    NoConversation(ConversationId),
}

/// The state of a message of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// In the outbox, durably; it will be sent.
    Waiting,
    /// In the log, at this place.
    Stored(Stored),
    /// Not in the log and not to be: a sync has passed since the refusal. It stays in the outbox until it is discarded.
    Failed(Refusal),
}

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Opening a socket or saying hello.
    Connecting,
    /// Reachable; fetching what was missed.
    CatchingUp,
    /// Reachable and up to date.
    Live,
    /// None; the next attempt is at this moment.
    Waiting {
        /// When.
        until: Moment,
    },
    /// None; a new token is needed.
    NoToken,
    /// None; another connection took this device's place. Only `ConnectNow` ends this.
    Displaced,
    /// None; the server does not speak this client's version.
    UpgradeRequired,
}
