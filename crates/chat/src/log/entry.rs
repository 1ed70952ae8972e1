//! An entry as it is stored.

use chatlane_protocol::frames::Stored;
use chatlane_protocol::{ClientMessageId, ConversationId, EntryKind, GroupMarks, Message, Position, Seq, UnixMillis, UserId};

use super::facts::Facts;
use super::kinds::Kind;

/// One item of the log. Stored under "no such item" and never moved (L1); what a message says, and the words of an edit, change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose lane.
    pub conversation: ConversationId,
    /// Its place and the epoch it was written in.
    pub position: Position,
    /// Who wrote it.
    pub sender: UserId,
    /// The sender's name for it (L2).
    pub client_message_id: ClientMessageId,
    /// The writer's clock.
    pub time: UnixMillis,
    /// What it is.
    pub kind: Kind,
    /// About the log up to and including this entry.
    pub facts: Facts,
}

impl Entry {
    /// Whether this is the entry that `sender` named `id` (L2).
    pub fn is_from(&self, sender: &UserId, id: &ClientMessageId) -> bool {
        self.sender == *sender && self.client_message_id == *id
    }

    /// About the bytes that the entry takes in the log: what a reader pays for.
    pub fn stored_bytes(&self) -> usize {
        const FACTS_AND_NUMBERS: usize = 220;
        let names = self.conversation.as_str().len() + self.sender.as_str().len() + self.client_message_id.as_str().len();
        FACTS_AND_NUMBERS + names + self.kind.stored_bytes()
    }

    /// Who becomes a member by it, or ceases to be one: it is for them too.
    pub const fn named(&self) -> &[UserId] {
        self.kind.named(&self.sender)
    }

    /// What its sender is answered.
    pub fn stored(&self) -> Stored {
        Stored { position: self.position, time_ms: self.time, count: self.facts.count }
    }

    /// The head of its conversation when its delivery has begun.
    pub fn head(&self) -> Head {
        Head { position: self.position, count: self.facts.count, time: self.time, group: self.facts.group_marks() }
    }

    /// The last entry whose effect can be seen in this one.
    pub fn tells_up_to(&self) -> Seq {
        match &self.kind {
            Kind::Message(message) => message.edits.last().copied().unwrap_or(self.position.seq),
            _ => self.position.seq,
        }
    }

    /// The entry before it that it is about: that it changes, or answers.
    pub const fn target(&self) -> Option<Seq> {
        match &self.kind {
            Kind::Amendment(amendment) => Some(amendment.target()),
            Kind::Message(message) => message.reply_to,
            _ => None,
        }
    }

    /// Whether it is about an entry of before this one: of that who begins there sees the place only (M1).
    pub fn is_about_what_was_before(&self, from: Seq) -> bool {
        self.target().is_some_and(|target| target < from)
    }

    /// As somebody sees it whose part of the log begins at `from` and, if they are no member any more, ends at `end` (M1).
    pub fn told_to(&self, from: Seq, end: Option<Seq>) -> chatlane_protocol::Entry {
        let wire = self.to_wire();
        let is_before = self.is_about_what_was_before(from);
        let is_newer = end.is_some_and(|end| self.tells_up_to() > end);
        let kind = match wire.kind {
            EntryKind::Message(message) if is_before && !is_newer => EntryKind::Message(Message { reply_to: None, ..message }),
            _ if is_before || is_newer => EntryKind::Hidden,
            _ => return wire,
        };
        chatlane_protocol::Entry { kind, ..wire }
    }

    /// As clients see it.
    pub fn to_wire(&self) -> chatlane_protocol::Entry {
        let entry = chatlane_protocol::Entry {
            position: self.position,
            sender: self.sender.clone(),
            client_message_id: self.client_message_id.clone(),
            time_ms: self.time,
            count: self.facts.count,
            kind: self.kind.to_wire(),
            as_it_came: None,
        };
        match &self.kind {
            Kind::Later(later) => entry.saying(later.said().unwrap_or_default()),
            _ => entry,
        }
    }
}

/// How far the delivery of a conversation has begun, with what a list of conversations shows of that entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Of the entry.
    pub position: Position,
    /// Countable messages up to it.
    pub count: u64,
    /// When it was accepted.
    pub time: UnixMillis,
    /// What a group is up to it. `None`: a direct conversation, or not known.
    pub group: Option<GroupMarks>,
}
