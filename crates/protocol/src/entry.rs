//! One entry of a conversation's log, as clients see it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::body::Body;
use crate::group::{GroupSettings, Role};
use crate::ids::{ClientMessageId, UserId};
use crate::position::{Position, Seq, UnixMillis};
use crate::reaction::{Reacting, ReactionCount};

/// One entry. What this version does not know of it is kept: it is written again as it came (K1). A client that does not know its `kind`
/// keeps its place and goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")] // makes the two functions that the implementations below call
pub struct Entry {
    /// Its place: consecutive seqs from 1 (L1).
    pub position: Position,
    /// Who wrote it.
    pub sender: UserId,
    /// The sender's own name for it, unique per sender and conversation for ever (L2).
    pub client_message_id: ClientMessageId,
    /// When the server accepted it. For display: order is the seq.
    pub time_ms: UnixMillis,
    /// How many countable messages the log holds up to here, this one included. Unread = count at head − count at the read cursor.
    pub count: u64,
    /// What it says.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// The whole of it as it came, where that is more than the fields above.
    #[serde(skip)]
    pub as_it_came: Option<Map<String, Value>>,
}

impl Entry {
    /// This entry, but of the kind and with the fields that a writer of a later version gave it. Without a kind it stays as it is.
    ///
    /// # Panics
    /// Never: the fields of an entry have a JSON form.
    #[must_use]
    pub fn saying(self, mut said: Map<String, Value>) -> Self {
        if !said.get("kind").is_some_and(Value::is_string) {
            return self;
        }
        if let Value::Object(own) = Self::serialize(&self, serde_json::value::Serializer).expect("an entry has a JSON form") {
            said.extend(own.into_iter().filter(|(name, _)| name != "kind"));
        }
        Self { as_it_came: Some(said), ..self }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.as_it_came {
            Some(all) => all.serialize(to),
            None => Self::serialize(self, to),
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Value::Object(Map::deserialize(from)?);
        // A kind of this name that says something else is one of a later version: the entry keeps its place, and its page is read.
        let known = Self::deserialize(&all).or_else(|error| {
            let mut later = all.clone();
            later["kind"] = Value::from("");
            Self::deserialize(&later).map_err(|_| D::Error::custom(error))
        })?;
        let written = Self::serialize(&known, serde_json::value::Serializer).map_err(D::Error::custom)?;
        let as_it_came = if written == all { None } else { all.as_object().cloned() };
        Ok(Self { as_it_came, ..known })
    }
}

/// A message: what was sent, and what has become of it up to some moment behind it. An entry about it is applied only above that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it says now.
    pub body: Body,
    /// The entry that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Seq>,
    /// Whom it mentions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// The edit by which it says this; absent: it says what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Seq>,
    /// In the order of their keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<ReactionCount>,
    /// The last reaction that is counted here; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reactions_to: Option<Seq>,
}

impl From<Body> for Message {
    fn from(body: Body) -> Self {
        Self { body, reply_to: None, mentions: vec![], edited: None, reactions: vec![], reactions_to: None }
    }
}

/// The kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryKind {
    /// Entry 1 of a direct conversation: it exists and these are its members.
    Created {
        /// In the order of their ids.
        members: Vec<UserId>,
    },
    /// A message.
    Message(Message),
    /// A message that was deleted: the place is left.
    Deleted,
    /// From here on that message, of the same sender, says something else.
    Edit {
        /// Which.
        target: Seq,
        /// What. Missing: it was deleted since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Body>,
    },
    /// From here on that message is [`EntryKind::Deleted`].
    Deletion {
        /// Which.
        target: Seq,
    },
    /// The sender puts something beside that message, or takes it away.
    Reaction(Reacting),
    /// An entry about one that the reader may not see, or a message that was edited after their end: the place is left.
    Hidden,
    /// Entry 1 of a group: its members, of whom the sender is the owner.
    GroupCreated {
        /// In the order of their ids.
        members: Vec<UserId>,
        /// All of them.
        settings: GroupSettings,
    },
    /// These users are members from here on.
    Added {
        /// In the order of their ids.
        users: Vec<UserId>,
    },
    /// These users are members no more; this entry is the last that is for them.
    Removed {
        /// In the order of their ids.
        users: Vec<UserId>,
    },
    /// The sender is a member no more; this entry is the last that is for them.
    Left {
        /// Who is an owner from here on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<UserId>,
    },
    /// This member has this role from here on.
    Role {
        /// Who.
        user: UserId,
        /// Which.
        role: Role,
    },
    /// These settings hold from here on.
    Settings {
        /// Those that were changed.
        settings: GroupSettings,
    },
    /// Nothing is appended behind it, but that members leave.
    Closed,
    /// A kind of a later version: [`Entry::as_it_came`] has its name and what it says.
    #[serde(other)]
    Unknown,
}
