//! What the user is shown.

use chatlane_protocol::frames::{GroupInfo, MemberCursors, MemberInfo, Stored};
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, Prefs, Refusal, UserId};

use super::{ConversationRow, Moment};

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
    /// Older entries that were asked for; they come before what is shown. As the server has them, with what was taken here since.
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
    /// A message to somebody is kept on this device until there is a conversation with them: then it is [`Shown::Outgoing`].
    Held {
        /// To whom.
        user: UserId,
        /// Which.
        client_message_id: ClientMessageId,
    },
    /// How far another member is. Only forward.
    Cursors {
        /// Where.
        conversation: ConversationId,
        /// Who, how far.
        cursors: MemberCursors,
    },
    /// What the user prefers about a conversation has become something else, by them here or on another device.
    Prefs {
        /// Which.
        conversation: ConversationId,
        /// All of it, with what the server has yet to confirm.
        prefs: Prefs,
    },
    /// The conversation with this user is there.
    Opened {
        /// With whom.
        user: UserId,
        /// Which.
        conversation: ConversationId,
    },
    /// Whether the user is a member of a conversation has turned out to be otherwise than it was believed.
    Membership {
        /// Which.
        conversation: ConversationId,
        /// Whether they are. If not, it has ended for them: its entries stay, and nothing is written into it any more.
        member: bool,
    },
    /// A group of the user's is made.
    Created {
        /// Its name.
        client_message_id: ClientMessageId,
        /// Which.
        conversation: ConversationId,
    },
    /// What a group is, at one of its entries.
    Info {
        /// Which.
        conversation: ConversationId,
        /// What it is.
        info: GroupInfo,
    },
    /// All members of a group, ascending by user.
    Members {
        /// Of which.
        conversation: ConversationId,
        /// Who they are.
        members: Vec<MemberInfo>,
    },
    /// Whether the local store takes what it is given. While it does not, nothing new is shown, acknowledged or sent.
    Storing(bool),
    /// Something asked for cannot be had.
    Failed(Failure),
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
    /// What a group is, or who belongs to it.
    Group {
        /// Which.
        conversation: ConversationId,
        /// Why.
        refusal: Refusal,
    },
    /// A group that was to be made.
    Create {
        /// Its name.
        client_message_id: ClientMessageId,
        /// Why.
        refusal: Refusal,
    },
    /// What the user wished to prefer about a conversation: it is as it was before.
    Prefs {
        /// Which.
        conversation: ConversationId,
        /// Why.
        refusal: Refusal,
    },
    /// A message, or a wish, for a conversation that the session does not know.
    NoConversation(ConversationId),
}

/// The state of a message, or a change, of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// In the outbox, durably; it will be sent.
    Waiting,
    /// In the log, at this place.
    Stored(Stored),
    /// A change: all is as it wants it, without an entry of it.
    Unchanged,
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
