//! What the user wants to have written into a conversation, before it is in the log: a message, a change of one, a change of the group.

use chatlane_protocol::request::{Add, Close, Delete, Edit, Leave, React, Remove, SendMessages, SetRole, SetSettings};
use chatlane_protocol::{
    Body, ClientMessageId, ConversationId, EntryKind, GroupSettings, Message, NewMessage, Position, Reacting, ReactionChange, ReactionKey,
    Request, RequestId, Role, Seq, UserId,
};
use serde::{Deserialize, Serialize};

/// What becomes one entry. As JSON it is what a local store keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Draft {
    /// A message. Up to 25 go in one request.
    Message {
        /// What it says.
        body: Body,
        /// The entry that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Seq>,
        /// Whom it mentions: at most 20, none twice.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mentions: Vec<UserId>,
    },
    /// An own message says something else.
    Edit {
        /// Which.
        target: Seq,
        /// What.
        body: Body,
    },
    /// A message is there no more, for anybody.
    Delete {
        /// Which.
        target: Seq,
    },
    /// Something comes beside a message, or goes.
    React(Reacting),
    /// 1 to 40 members more, none twice.
    Add {
        /// Who.
        users: Vec<UserId>,
    },
    /// 1 to 20 members less, none twice.
    Remove {
        /// Who.
        users: Vec<UserId>,
    },
    /// The user is a member no more.
    Leave {
        /// Who becomes an owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<UserId>,
    },
    /// A member gets another role.
    Role {
        /// Who.
        user: UserId,
        /// Which.
        role: Role,
    },
    /// Some settings become others.
    Settings {
        /// Those.
        settings: GroupSettings,
    },
    /// Nothing is written into the group any more.
    Close,
}

impl From<Body> for Draft {
    fn from(body: Body) -> Self {
        Self::Message { body, reply_to: None, mentions: vec![] }
    }
}

impl Draft {
    /// Something comes beside a message, or goes.
    pub const fn react(target: Seq, key: ReactionKey, change: ReactionChange) -> Self {
        Self::React(Reacting { target, key, change })
    }

    /// The message as `send` has it; `None`: it is none.
    pub(super) fn message(&self, client_message_id: &ClientMessageId, anchor: Position) -> Option<NewMessage> {
        let Self::Message { body, reply_to, mentions } = self else { return None };
        let (body, mentions, client_message_id) = (body.clone(), mentions.clone(), client_message_id.clone());
        Some(NewMessage { client_message_id, anchor, body, reply_to: *reply_to, mentions })
    }

    /// The request that attempts this alone.
    pub(super) fn request(
        &self,
        id: RequestId,
        conversation: ConversationId,
        client_message_id: ClientMessageId,
        anchor: Position,
    ) -> Request {
        macro_rules! change {
            ($Request:ident, $Type:ident $(, $field:ident: $value:expr)*) => {
                Request::$Request($Type { id, conversation, client_message_id, anchor $(, $field: $value)* })
            };
        }
        match self.clone() {
            Self::Message { body, reply_to, mentions } => {
                let message = NewMessage { client_message_id, anchor, body, reply_to, mentions };
                Request::Send(SendMessages { id, conversation, messages: vec![message] })
            }
            Self::Edit { target, body } => change!(Edit, Edit, target: target, body: body),
            Self::Delete { target } => change!(Delete, Delete, target: target),
            Self::React(Reacting { target, key, change }) => change!(React, React, target: target, key: key, change: change),
            Self::Add { users } => change!(Add, Add, users: users),
            Self::Remove { users } => change!(Remove, Remove, users: users),
            Self::Leave { successor } => change!(Leave, Leave, successor: successor),
            Self::Role { user, role } => change!(Role, SetRole, user: user, role: role),
            Self::Settings { settings } => change!(Settings, SetSettings, settings: settings),
            Self::Close => change!(Close, Close),
        }
    }

    /// What the log has of it where it says no more than this; `None`: only the log knows what came of it.
    pub(super) fn entry(self) -> Option<EntryKind> {
        let Self::Message { body, reply_to, mentions } = self else { return None };
        Some(EntryKind::Message(Message { reply_to, mentions, ..body.into() }))
    }

    /// Whether an entry under this draft's name is it, and not another that was given the same name. Of a message that was edited or
    /// deleted since, the words are others; a change may have found a part of itself done.
    pub(super) fn is(&self, kind: &EntryKind) -> bool {
        match (self, kind) {
            (Self::Message { body, .. }, EntryKind::Message(message)) => message.edited.is_some() || message.body == *body,
            (Self::Edit { target, body }, EntryKind::Edit { target: of, body: says }) => {
                target == of && says.as_ref().is_none_or(|says| says == body)
            }
            (Self::Delete { target }, EntryKind::Deletion { target: of }) => target == of,
            (Self::React(reacting), EntryKind::Reaction(of)) => reacting == of,
            (Self::Role { user, role }, EntryKind::Role { user: of, role: gets }) => (user, role) == (of, gets),
            (Self::Message { .. }, EntryKind::Deleted)
            | (Self::Message { .. } | Self::Edit { .. } | Self::Delete { .. } | Self::React(_), EntryKind::Hidden)
            | (Self::Add { .. }, EntryKind::Added { .. })
            | (Self::Remove { .. }, EntryKind::Removed { .. })
            | (Self::Leave { .. }, EntryKind::Left { .. })
            | (Self::Settings { .. }, EntryKind::Settings { .. })
            | (Self::Close, EntryKind::Closed) => true,
            _ => false,
        }
    }
}
