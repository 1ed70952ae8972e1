//! `history`: older entries of one conversation.

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::ids::{ConversationId, RequestId};
use crate::integer::small_or_null;
use crate::position::Seq;
use crate::reading::Bounded;

/// Entries of one `history` answer. Ours.
pub const HISTORY_ENTRIES_MAX: usize = 100;

/// `history`: the entries before a seq, the newest first to be asked for, answered ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Echoed.
    pub id: RequestId,
    /// Which.
    pub conversation: ConversationId,
    /// Only entries below this seq; absent: from the end of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Seq>,
    /// At most so many entries, 1 to 100; absent: as many as a page holds, up to 100.
    #[serde(default, deserialize_with = "small_or_null", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Bounded for History {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let limit = self.limit.map_or(1, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        (!(1..=HISTORY_ENTRIES_MAX).contains(&limit)).then_some("`limit` must be 1 to 100")
    }
}

/// The answer to `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// Ascending, consecutive; the last one is the one before `before`.
    pub entries: Vec<Entry>,
    /// Whether there is nothing before these for this user.
    pub done: bool,
}
