//! Who belongs to a conversation.

use chatlane_protocol::{ConversationId, Seq, UserId};

use super::{Failure, port};
use crate::log::Role;

port! {
    /// Who belongs to a conversation.
    pub trait Memberships {
        /// The user's row, by one read: may show a transaction half.
        reads fn member(conversation: &ConversationId, user: &UserId;) -> Result<Option<Member>, Failure>;

        /// The user's row, read so that no transaction is seen half; waits out those in the way.
        reads fn member_consistent(conversation: &ConversationId, user: &UserId;) -> Result<Option<Member>, Failure>;

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
