//! What the queue carries from the functions that append to those that deliver.

use chatlane_protocol::{ConnectionId, ConversationId, Position, Seq, UnixMillis, UserId};
use serde::{Deserialize, Serialize};

use crate::log::Head;

/// One delivery task: entries `first` to `last` of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Whose entries.
    pub conversation: ConversationId,
    /// The lowest.
    pub first: Seq,
    /// The highest, with its epoch: what the head is raised to.
    pub last: Position,
    /// Countable messages up to the highest.
    pub count: u64,
    /// When the highest was accepted.
    pub time: UnixMillis,
    /// Entries that the origin connection sent in the same frame: its ack is their delivery.
    pub own: Vec<Seq>,
    /// When it was queued first, by the writer's clock.
    pub queued: UnixMillis,
    /// The sending connection.
    pub origin: Option<ConnectionId>,
    /// Set when this is what an earlier worker could not post.
    #[serde(rename = "remainder", default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Undelivered>,
}

/// What an earlier worker could not post: it has raised the head already, so this writes none and is never skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The connections that are left.
    pub targets: Vec<(UserId, ConnectionId)>,
    /// Attempts so far.
    pub attempt: u32,
    /// When the first of them was.
    pub since: UnixMillis,
}

impl Task {
    /// What the head is raised to.
    pub const fn head(&self) -> Head {
        Head { position: self.last, count: self.count, time: self.time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // holds: K1
    #[test]
    fn a_task_of_a_later_version_is_read_without_what_that_has_added() {
        let task = r#"{"conversation":"d1","first":2,"last":{"epoch":1,"seq":3},"count":2,"time":7,"own":[],"queued":8,"origin":null"#;
        let rest = r#""remainder":{"targets":[],"attempt":1,"since":9"#;
        let plain: Task = serde_json::from_str(&format!("{task},{rest}}}}}")).unwrap();
        let later = format!(r#"{task},"shard":{{"of":4}},{rest},"why":"late"}}}}"#);
        assert_eq!(serde_json::from_str::<Task>(&later).unwrap(), plain);
    }
}
