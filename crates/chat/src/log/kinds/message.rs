//! `message`: what a member says. Whoever the policy lets send may write one; it counts, and admission takes tokens for it.

use chatlane_protocol::{Body, Content, EntryKind};

use crate::log::facts::Facts;
use crate::log::hash::{BodyHash, BodyKey};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEntry {
    /// As the sender gave it.
    pub body: Body,
    /// Of the first body; tells a retry from a second message under the same id. Outlives edits.
    pub hash: BodyHash,
}

impl MessageEntry {
    /// With this body, hashed under the deployment's key.
    pub fn new(body: Body, key: &BodyKey) -> Self {
        Self { hash: BodyHash::of(&body, key), body }
    }

    /// The facts behind it: one more countable message. While a direct conversation is unanswered,
    /// all its entries are of whoever opened it, so whether the tail is (`after_own`) tells who answers.
    pub fn facts_after(tail: &Facts, after_own: bool) -> Facts {
        let unanswered = tail.unanswered.filter(|_| after_own).map(|before| before.saturating_add(1));
        Facts { count: tail.count + 1, unanswered, ..tail.clone() }
    }

    /// Bytes beside what every entry has.
    pub fn stored_bytes(&self) -> usize {
        let content = match self.body.content() {
            Content::Text(text) => text.len(),
            Content::Data(data) => data.len(),
        };
        self.body.content_type().len() + content + BodyHash::KEY_ID_BYTES + BodyHash::BYTES
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        EntryKind::Message { body: self.body.clone() }
    }
}
