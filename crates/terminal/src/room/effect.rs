//! What the chat wants to have done.

use chatlane_protocol::{Body, ConversationId, ReactionKey, Seq, Title, UserId};
use chatlane_session::{Act, Draft};

/// Something to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// A line on the screen.
    Say(String),
    /// The device's part.
    Do(Act),
    /// Put this many of the last entries of the store onto the screen: `Room::turned`.
    Turn {
        conversation: ConversationId,
        entries: usize,
    },
    /// Put a page of the store onto the screen, or ask for one: `Room::older`.
    Older {
        conversation: ConversationId,
        before: Seq,
    },
    /// A message or a change; the room has to learn its id.
    Compose {
        conversation: ConversationId,
        draft: Draft,
        line: String,
    },
    /// A reaction comes, or goes if the user has it there; the room has to learn its id.
    React {
        conversation: ConversationId,
        target: Seq,
        key: ReactionKey,
    },
    /// A group; the room has to learn its id.
    Create {
        users: Vec<UserId>,
        title: Title,
    },
    /// A message to somebody with whom there is no conversation yet; the room has to learn its id.
    ComposeTo {
        user: UserId,
        body: Body,
        line: String,
    },
    /// A conversation with this user; the device makes the request's id.
    Open(UserId),
    /// This is whom the next run begins with.
    Remember(UserId),
    Quit,
}
