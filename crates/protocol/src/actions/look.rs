//! What groups are: `info`, and who belongs to one: `members`.

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::group::{GroupSettings, Role};
use crate::ids::{ConversationId, RequestId, UserId};
use crate::integer::small_or_null;
use crate::position::Seq;
use crate::reading::{Bounded, are_bounded};

/// Conversations of one `info`. Ours.
pub const INFO_CONVERSATIONS_MAX: usize = 20;

/// Members of one page of `members`. Ours: a page of the longest ids holds fewer.
pub const MEMBERS_PAGE_MAX: usize = 200;

/// `info`: what 1 to 20 groups are called, and how they are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Echoed.
    pub id: RequestId,
    /// None twice.
    pub conversations: Vec<ConversationId>,
}

impl Bounded for Info {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = self.conversations.len() <= INFO_CONVERSATIONS_MAX && are_bounded(1, self.conversations.iter());
        (!good).then_some("`conversations` must hold 1 to 20 conversations, none twice")
    }
}

/// The answer to `info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoAnswer {
    /// Of the request.
    pub id: RequestId,
    /// As many as a page takes, in the order of the request; what is missing is asked for again.
    pub conversations: Vec<ConversationInfo>,
}

/// What is told of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationInfo {
    /// Which.
    pub conversation: ConversationId,
    /// What is told.
    #[serde(flatten)]
    pub outcome: InfoOutcome,
}

/// What is told of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum InfoOutcome {
    /// What it is at an entry.
    Ok(GroupInfo),
    /// About this conversation only.
    Refused(Refusal),
}

/// What a conversation is at one of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// That entry.
    pub at: Seq,
    /// All of them; of a direct conversation without `add` and `manage`, which nobody may.
    pub settings: GroupSettings,
    /// Nothing is appended any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// How many members there are.
    pub members: u32,
    /// The caller's role.
    pub role: Role,
    /// The last entry that changed who is a member, or a role.
    pub membership_changed: Seq,
    /// The last entry that changed settings; 0: none did.
    pub settings_changed: Seq,
}

/// `members`: who belongs to a conversation, a page an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Echoed.
    pub id: RequestId,
    /// Which.
    pub conversation: ConversationId,
    /// The `next` of the page before; absent in the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<UserId>,
    /// At most so many members, 1 to 200; absent: as many as a page holds.
    #[serde(default, deserialize_with = "small_or_null", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Bounded for Members {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let limit = self.limit.map_or(1, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        (!(1..=MEMBERS_PAGE_MAX).contains(&limit)).then_some("`limit` must be 1 to 200")
    }
}

/// The answer to `members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// Ascending by id, byte by byte.
    pub members: Vec<MemberInfo>,
    /// Ask for the next page with `after` set to this; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UserId>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
}
