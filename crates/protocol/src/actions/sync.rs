//! `sync`: what a device has missed, of many conversations.

use serde::{Deserialize, Serialize};

use super::cursors::PositionIn;
use crate::entry::Entry;
use crate::error::Refusal;
use crate::ids::{ConversationId, RequestId};
use crate::position::Position;
use crate::reading::{Bounded, are_bounded, object, objects, objects_or_null};

/// `sync`: the entries after a position, of 1 to 100 conversations, a page an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// Echoed.
    pub id: RequestId,
    /// None twice. Answered in this order, as far as a page goes.
    #[serde(deserialize_with = "objects")]
    pub conversations: Vec<SyncFrom>,
    /// What the pages before have brought and the device has stored: the same as an `ack` beside this request. At most 100.
    #[serde(default, deserialize_with = "objects_or_null", skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<PositionIn>,
}

impl Bounded for Sync {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = are_bounded(1, self.conversations.iter().map(|from| &from.conversation))
            && are_bounded(0, self.ack.iter().map(|position| &position.conversation));
        (!good).then_some("`conversations` must hold 1 to 100 conversations, `ack` at most 100, none twice")
    }
}

/// Where to go on in one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncFrom {
    /// Which.
    pub conversation: ConversationId,
    /// The last position that the device has; [`Position::ZERO`] for none.
    #[serde(deserialize_with = "object")]
    pub after: Position,
}

/// The answer to `sync`: one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the conversations that the page has come to, in the order of the request.
    pub pages: Vec<SyncPage>,
    /// Whether every conversation of the request is in `pages` and done or refused. If not: ask again, for what is not done.
    pub done: bool,
    /// Whether the request had an `ack` and all its cursors have moved there. If not, the device acknowledges again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acked: bool,
}

/// What a page has of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPage {
    /// Which.
    pub conversation: ConversationId,
    /// Its entries, or why there are none.
    #[serde(flatten)]
    pub outcome: SyncOutcome,
}

/// What a page has of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum SyncOutcome {
    /// The next entries.
    Ok(Missed),
    /// `not_found`, `anchor_unknown`, `anchor_too_old` or `epoch_changed`: about this conversation only.
    Refused(Refusal),
}

/// The next entries of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The entries before these are not for this user: the device goes on as if it had those up to `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    /// Ascending, consecutive, from the one after `after` or after `skip`.
    pub entries: Vec<Entry>,
    /// Whether that is all there was when it was read.
    pub done: bool,
    /// The caller is no member any more: the entry that says so, the last that is for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Position>,
}

/// Entries that are not for this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The last of them.
    pub to: Position,
}
