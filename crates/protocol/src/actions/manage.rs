//! Groups: `create`, and what changes one: `add`, `remove`, `leave`, `role`, `settings`, `close`. One answer for all of them, and for what
//! changes a message ([`super::amend`]).

use serde::{Deserialize, Serialize};

use crate::actions::send::Stored;
use crate::group::{GroupSettings, Role};
use crate::ids::{ClientMessageId, ConversationId, RequestId, UserId};
use crate::position::Position;
use crate::reading::{Bounded, are_distinct, list_or_null, object, object_or_default};
use crate::shared_limits::{REMOVED_PER_ENTRY_MAX, USERS_PER_ENTRY_MAX};

/// `create`: a group, of which the caller is the owner. Idempotent by its client message id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Echoed.
    pub id: RequestId,
    /// Names entry 1, and so the group: the same for every retry.
    pub client_message_id: ClientMessageId,
    /// The members beside the caller: at most 39, none twice.
    #[serde(default, deserialize_with = "list_or_null", skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
    /// What is not set is as in every new group.
    #[serde(default, deserialize_with = "object_or_default", skip_serializing_if = "GroupSettings::is_empty")]
    pub settings: GroupSettings,
}

impl Bounded for Create {
    fn out_of_bounds(&self) -> Option<&'static str> {
        if !self.settings.are_known() {
            return Some(UNKNOWN_WORD);
        }
        let good = self.users.len() < USERS_PER_ENTRY_MAX && are_distinct(&self.users);
        (!good).then_some("`users` must hold at most 39 users, none twice")
    }
}

const UNKNOWN_WORD: &str = "a role must be `member`, `moderator`, `admin` or `owner`; `history` must be `joined` or `all`";

/// The form of the requests that append one entry: what names it, and what it says.
macro_rules! change {
    ($(#[$doc:meta])* $Name:ident { $($(#[$field_meta:meta])* $field:ident: $Type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $Name {
            /// Echoed.
            pub id: RequestId,
            /// Where.
            pub conversation: ConversationId,
            /// Names the entry: made and stored before the first attempt; the same for every retry.
            pub client_message_id: ClientMessageId,
            /// The highest position of the conversation that the client knew when it made the request; the same for every retry.
            #[serde(deserialize_with = "object")]
            pub anchor: Position,
            $($(#[$field_meta])* pub $field: $Type,)*
        }
    };
}

pub(crate) use change;

change!(
    /// `add`: 1 to 40 members more.
    Add {
        /// None twice. Those who are members already are left out.
        users: Vec<UserId>,
    }
);

impl Bounded for Add {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = (1..=USERS_PER_ENTRY_MAX).contains(&self.users.len()) && are_distinct(&self.users);
        (!good).then_some("`users` must hold 1 to 40 users, none twice")
    }
}

change!(
    /// `remove`: 1 to 20 members less.
    Remove {
        /// None twice. Those who are no members are left out.
        users: Vec<UserId>,
    }
);

impl Bounded for Remove {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = (1..=REMOVED_PER_ENTRY_MAX).contains(&self.users.len()) && are_distinct(&self.users);
        (!good).then_some("`users` must hold 1 to 20 users, none twice")
    }
}

change!(
    /// `leave`: the caller is a member no more.
    Leave {
        /// Who becomes an owner: the last owner needs one, unless nobody else is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<UserId>,
    }
);

impl Bounded for Leave {}

change!(
    /// `role`: a member gets another role.
    SetRole {
        /// Who.
        user: UserId,
        /// Which.
        role: Role,
    }
);

impl Bounded for SetRole {
    fn out_of_bounds(&self) -> Option<&'static str> {
        (self.role == Role::Later).then_some(UNKNOWN_WORD)
    }
}

change!(
    /// `settings`: some of them become others.
    SetSettings {
        /// What is not set stays as it is; at least one.
        #[serde(deserialize_with = "object")]
        settings: GroupSettings,
    }
);

impl Bounded for SetSettings {
    fn out_of_bounds(&self) -> Option<&'static str> {
        match &self.settings {
            settings if settings.is_empty() => Some("`settings` must set something"),
            settings => (!settings.are_known()).then_some(UNKNOWN_WORD),
        }
    }
}

change!(
    /// `close`: nothing is appended any more, but that members leave.
    Close {}
);

impl Bounded for Close {}

/// The answer to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Of the request.
    pub id: RequestId,
    /// The group; of a `create` the new one.
    pub conversation: ConversationId,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ChangeOutcome,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// Its entry is stored, durable, its delivery begun.
    Ok(Stored),
    /// It was stored by an earlier attempt: here.
    Duplicate(Stored),
    /// The caller used this client message id for something else.
    Conflict(Stored),
    /// All is so already: nothing was stored.
    Unchanged,
}
