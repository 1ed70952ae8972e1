//! What a session wants to be done.

use chatlane_protocol::frames::{MemberCursors, Stored};
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, Refusal, UserId};

use super::{BatchId, ConversationRow, Moment, OutboxRow, SocketId, Text};

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
    /// Write all of this to the local store, durably and at once; answered by `Committed`.
    Commit {
        /// Its number.
        batch: BatchId,
        /// In this order.
        changes: Vec<Change>,
    },
    /// Get a new token; answered by `NewToken`, whenever there is one.
    NeedToken,
    /// Show this to the user.
    Show(Shown),
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
    /// Remove a row of the outbox.
    OutboxDone {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
    },
}

/// Something for the user. Entries are shown once each, in order, and only after they were committed (D1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The connection is in another state.
    Connection(ConnectionState),
    /// The next entry of a conversation, the user's own too.
    Entry {
        /// Where.
        conversation: ConversationId,
        /// Which.
        entry: Entry,
    },
    /// Older entries that were asked for; they come before what is shown.
    History {
        /// Where.
        conversation: ConversationId,
        /// Ascending.
        entries: Vec<Entry>,
        /// Whether these are the first.
        done: bool,
    },
    /// The conversation goes on here: what was shown beyond this position is not in the log any more (after a restore).
    RolledBack {
        /// Where.
        conversation: ConversationId,
        /// The last entry that still holds.
        position: Position,
    },
    /// So much was missed that the conversation goes on behind this position; history fetches what is before.
    Skipped {
        /// Where.
        conversation: ConversationId,
        /// The next entry shown is the one after it.
        position: Position,
    },
    /// The row of a conversation has changed: head, unread, read mark.
    Conversation {
        /// The row.
        row: ConversationRow,
        /// Messages that the user has not read.
        unread: u64,
    },
    /// A message of the user's own is in another state.
    Outgoing {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
        /// Its new state.
        state: OutgoingState,
    },
    /// How far another member is. Only forward.
    Cursors {
        /// Where.
        conversation: ConversationId,
        /// Who, how far.
        cursors: MemberCursors,
    },
    /// The conversation with this user is there.
    Opened {
        /// With whom.
        user: UserId,
        /// Which.
        conversation: ConversationId,
    },
    /// Something asked for cannot be had.
    Failed(Failure),
}

/// What cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The conversation with this user.
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
