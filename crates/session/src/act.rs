//! What the user can do.

use chatlane_protocol::{Body, ClientMessageId, ConversationId, GroupSettings, Position, PrefsChange, Seq, UserId};

use super::Draft;

/// What the user can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Connect, if there is no connection: at the start, when the network is back, or because the user acted after a displacement.
    ConnectNow,
    /// The machine has slept, or its network has changed: whether the connection has survived that is asked at once, and a pause before the
    /// next attempt is over, unless the server has named it. It takes no place back and tries no refused token again, as [`Act::ConnectNow`] does.
    Woke,
    /// Write something into a conversation that the session knows: a message, or a change. The id is new.
    Compose {
        /// Which.
        conversation: ConversationId,
        /// Made for this message.
        client_message_id: ClientMessageId,
        /// What it says.
        draft: Draft,
    },
    /// Write a message to somebody, whether or not there is a conversation with them.
    ComposeTo {
        /// To whom.
        user: UserId,
        /// Made for this message.
        client_message_id: ClientMessageId,
        /// Made for the opening of the conversation, if that takes one.
        opening: ClientMessageId,
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
    /// Make a group, of which the user is the owner: [`super::Shown::Created`], or [`super::Failure::Create`].
    Create {
        /// Made for this group.
        client_message_id: ClientMessageId,
        /// The members beside the user: at most 39, none twice.
        users: Vec<UserId>,
        /// Those that are to differ from a new group's.
        settings: GroupSettings,
    },
    /// The user wants to know what these groups are, at most 20: [`super::Shown::Info`] for each, or [`super::Failure::Group`].
    AskInfo {
        /// Which.
        conversations: Vec<ConversationId>,
    },
    /// The user wants to know who belongs to a group: [`super::Shown::Members`], or [`super::Failure::Group`].
    AskMembers {
        /// Which.
        conversation: ConversationId,
    },
    /// The user has seen the entries up to here. A position that the device has, else it is ignored.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// How far.
        position: Position,
        /// Whether the other members are not to be told. What they were told stays.
        private: bool,
    },
    /// The user prefers something else about a conversation. It is kept until the server has it: [`super::Shown::Prefs`], or
    /// [`super::Failure::Prefs`].
    Prefer {
        /// Which.
        conversation: ConversationId,
        /// What is to be set; the rest stays.
        prefs: PrefsChange,
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
}
