//! What a session wants to be done.

use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position};

use super::{BatchId, ConversationRow, HeldRow, NewGroup, OutboxRow, Shown, SocketId, Text};

/// Something to do, in the order of the answer.
#[expect(clippy::large_enum_variant, reason = "it lives until it is carried out, at once")]
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
    /// Store entries; those that are there are the same, but for what [`super::fold`] has made of them. In the same write, each message that
    /// one of them is or is about is folded with all that is stored about it.
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
    /// Keep a group that is to be made.
    Group(NewGroup),
    /// It is made, or never will be: remove it.
    GroupDone(ClientMessageId),
    /// Remove a row of the outbox.
    OutboxDone {
        /// Where.
        conversation: ConversationId,
        /// Which.
        client_message_id: ClientMessageId,
    },
}
