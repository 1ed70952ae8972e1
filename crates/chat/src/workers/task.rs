//! What the queue carries from the functions that append, and from the sweeper, to those that deliver.

use chatlane_protocol::{ConnectionId, ConversationId, GroupMarks, Position, Seq, UnixMillis, UserId};
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
    /// The hash of the user whose request queued it ([`UserKey::sender`](crate::log::hash::UserKey::sender)): the queue is fair between
    /// senders. Tasks of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<u32>,
    /// What a group is up to the highest ([`Head::group`]). Tasks of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupMarks>,
    /// Set when this is what an earlier worker could not post.
    #[serde(rename = "remainder", default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Undelivered>,
    /// Set where the sweeper asks whether this is to be delivered at all (see [`super::sweep`]). In all else a check is the very task that
    /// it may become: a worker of before, which does not know the field, delivers it, at worst once more than needed (K1, D1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check: bool,
}

/// What an earlier worker could not post: it has raised the head already, so this writes none and is never skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The connections that are left.
    pub targets: Vec<(UserId, ConnectionId)>,
    /// How often the outcome of posting to them was unknown.
    pub attempt: u32,
    /// How often they were throttled. Remainders of before have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub throttled: u32,
    /// When the first of them failed.
    pub since: UnixMillis,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Task {
    /// What the head is raised to.
    pub const fn head(&self) -> Head {
        Head { position: self.last, count: self.count, time: self.time, group: self.group }
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

    // holds: K1
    #[test]
    fn a_check_is_a_task_to_whoever_does_not_know_of_checks_and_a_task_of_before_is_no_check() {
        let of_before =
            r#"{"conversation":"d1","first":2,"last":{"epoch":1,"seq":3},"count":2,"time":7,"own":[],"queued":8,"origin":null}"#;
        let task: Task = serde_json::from_str(of_before).unwrap();
        assert!(!task.check);
        assert_eq!(serde_json::to_string(&task).unwrap(), of_before, "as they read it");
        let check = serde_json::to_value(Task { check: true, ..task.clone() }).unwrap();
        let mut read_before = check.clone();
        assert_eq!(read_before.as_object_mut().unwrap().remove("check"), Some(true.into()));
        assert_eq!(serde_json::from_value::<Task>(read_before).unwrap(), task);
        assert!(serde_json::from_value::<Task>(check).unwrap().check);
    }

    /// A function of before reads both fields as ones that it does not know.
    #[test]
    fn the_sender_and_how_often_it_was_throttled_are_written_where_there_are_any() {
        let task = r#"{"conversation":"d1","first":2,"last":{"epoch":1,"seq":3},"count":2,"time":7,"own":[],"queued":8,"origin":null"#;
        let rest = |more: &str| format!(r#""remainder":{{"targets":[],"attempt":1{more},"since":9}}}}"#);
        let texts = [format!("{task},{}", rest("")), format!(r#"{task},"sender":4294967295,{}"#, rest(r#","throttled":2"#))];
        let [without, with] = texts.each_ref().map(|text| serde_json::from_str::<Task>(text).unwrap());
        assert_eq!((without.sender, without.undelivered.as_ref().unwrap().throttled), (None, 0));
        assert_eq!((with.sender, with.undelivered.as_ref().unwrap().throttled), (Some(u32::MAX), 2));
        assert_eq!([without, with].map(|task| serde_json::to_string(&task).unwrap()), texts);
    }
}
