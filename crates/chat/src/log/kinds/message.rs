//! `message`: what a member says. Whoever the policy lets send may write one; it counts, and admission takes tokens for it.

use chatlane_protocol::frames::encode;
use chatlane_protocol::{Body, Content, EntryKind, Message, Seq, UserId};

use crate::log::facts::Facts;
use crate::log::hash::{BodyHash, BodyKey};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEntry {
    /// As the sender gave it, or as the last edit did.
    pub body: Body,
    /// Of the first body; tells a retry from a second message under the same id. Outlives edits.
    pub hash: BodyHash,
    /// The entry that it answers.
    pub reply_to: Option<Seq>,
    /// Whom it mentions.
    pub mentions: Vec<UserId>,
    /// The entries that have edited it, ascending.
    pub edits: Vec<Seq>,
    /// Bytes of their bodies, as JSON.
    pub edits_bytes: usize,
}

impl MessageEntry {
    /// With this body, hashed under the deployment's key.
    pub fn new(body: Body, key: &BodyKey) -> Self {
        Self { hash: BodyHash::of(&body, key), body, reply_to: None, mentions: vec![], edits: vec![], edits_bytes: 0 }
    }

    /// Whether there is nothing to tell of it but the body.
    pub const fn is_plain(&self) -> bool {
        self.reply_to.is_none() && self.mentions.is_empty() && self.edits.is_empty()
    }

    /// Whether an attempt to append this is the one that wrote `stored`, whatever edits have made of it.
    pub fn may_have_become(&self, stored: &Self) -> bool {
        let same = (&self.reply_to, &self.mentions) == (&stored.reply_to, &stored.mentions);
        same && self.hash.may_be_of_the_same_body_as(&stored.hash)
    }

    /// The same behind one more edit.
    #[must_use]
    pub fn edited(&self, body: Body, by: Seq) -> Self {
        let edits = self.edits.iter().copied().chain([by]).collect();
        Self { edits, edits_bytes: self.edits_bytes_with(&body), body, ..self.clone() }
    }

    /// Bytes of the bodies of its edits, and of one more.
    pub fn edits_bytes_with(&self, body: &Body) -> usize {
        self.edits_bytes.saturating_add(encode(body).len())
    }

    /// The facts behind it: one more countable message.
    pub fn facts_after(tail: &Facts, after_own: bool) -> Facts {
        let facts = tail.behind(after_own);
        Facts { count: tail.count + 1, unanswered: facts.unanswered.map(|before| before.saturating_add(1)), ..facts }
    }

    /// Bytes beside what every entry has.
    pub fn stored_bytes(&self) -> usize {
        let more = if self.is_plain() { 0 } else { encode(&self.mentions).len() + 8 * self.edits.len() };
        let content = match self.body.content() {
            Content::Text(text) => text.len(),
            Content::Data(data) => data.len(),
        };
        self.body.content_type().len() + content + more + BodyHash::KEY_ID_BYTES + BodyHash::BYTES
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        EntryKind::Message(Message {
            body: self.body.clone(),
            reply_to: self.reply_to,
            mentions: self.mentions.clone(),
            edited: self.edits.last().copied(),
            reactions: vec![],
            reactions_to: None,
        })
    }
}
