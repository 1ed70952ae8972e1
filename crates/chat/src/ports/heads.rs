//! How far the delivery of each conversation has *begun*.

use chatlane_protocol::{ConversationId, Position};

use super::{Failure, port};
use crate::log::entry::Head;

port! {
    /// How far the delivery of each conversation has *begun*. A hint that only grows; the log decides.
    pub trait Heads {
        /// Raises the head to `to` if its position is lower; answers the position that it had before. What a group is stays as it was
        /// where `to` does not tell. Tried once: a backend that repeats it by itself would answer what its own first try has made of it.
        writes fn raise_head(conversation: &ConversationId; to: Head) -> Result<Position, Failure>;

        /// The heads of these conversations, none named twice, in their order; at [`Position::ZERO`] where there is none, or none
        /// that can be read: a head is a hint.
        reads fn heads(conversations: &[ConversationId];) -> Result<Vec<Head>, Failure>;
    }
}
