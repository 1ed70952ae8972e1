//! Who belongs to a conversation.

use chatlane_protocol::{ConversationId, Metadata, Position, Seq, Title, UserId};

use super::{Failure, port};
use crate::log::Role;

port! {
    /// Who belongs to a conversation.
    pub trait Memberships {
        /// The user's row, by one read: may show a transaction half.
        reads fn member(conversation: &ConversationId, user: &UserId;) -> Result<Option<Member>, Failure>;

        /// The user's row, read so that no transaction is seen half; waits out those in the way.
        reads fn member_consistent(conversation: &ConversationId, user: &UserId;) -> Result<Option<Member>, Failure>;

        /// What these users are, none named twice, in their order: read as one whole with no transaction seen half, waiting out those in the
        /// way. At most 50.
        reads fn memberships(conversation: &ConversationId, users: &[UserId];) -> Result<Vec<Membership>, Failure>;

        /// Title and metadata of these conversations, none named twice, in their order: read as one whole, as that; `None`: there is no
        /// such conversation. At most 100.
        reads fn descriptions(conversations: &[ConversationId];) -> Result<Vec<Option<Description>>, Failure>;

        /// All members, in the order of their ids.
        reads fn members(conversation: &ConversationId;) -> Result<Vec<Member>, Failure>;
    }
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// The first entry that they may see; fixed at joining.
    pub visible_from: Seq,
    /// The seq of the entry that wrote this row.
    pub version: Seq,
}

/// What a user is, and was, in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Who.
    pub user: UserId,
    /// Their row, if they are a member.
    pub member: Option<Member>,
    /// The spans in which they were, the oldest first; the last 20.
    pub spans: Vec<Span>,
}

/// What a user could see while they were a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first entry.
    pub from: Seq,
    /// The last: the entry that removed them.
    pub end: Position,
}

/// What a group is called, and what the app keeps with it; empty where there is none, as in direct conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub title: Title,
    /// What the app keeps with it.
    pub metadata: Metadata,
}
