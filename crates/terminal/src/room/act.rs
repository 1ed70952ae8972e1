//! What the chat wants to have done.

use chatlane_protocol::{Body, ClientMessageId, ConversationId, Position, Seq, UserId};

/// Something to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    Say(String),
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
    /// Ask the server for the entries before the device's.
    Fetch {
        conversation: ConversationId,
        before: Option<Seq>,
    },
    Compose {
        conversation: ConversationId,
        body: Body,
        line: String,
    },
    Open(UserId),
    Read {
        conversation: ConversationId,
        position: Position,
    },
    Discard {
        conversation: ConversationId,
        id: ClientMessageId,
    },
    Connect,
    Quit,
}
