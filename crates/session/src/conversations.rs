//! All conversations of the device.

use std::collections::BTreeMap;
use std::ops::Bound;

use chatlane_protocol::ConversationId;

use super::Restored;
use super::conversation::Conversation;

/// The conversations that the device has heard of, in the order of their ids.
#[derive(Clone, Debug)]
pub(super) struct Conversations {
    by_id: BTreeMap<ConversationId, Conversation>,
    /// The `order` of the newest row of any outbox.
    last_order: u64,
}

impl Conversations {
    /// As the local store has them.
    pub(super) fn new(restored: Restored) -> Self {
        let known = restored.conversations.into_iter().map(|row| (row.conversation.clone(), Conversation::new(row)));
        let mut conversations =
            Self { by_id: known.collect(), last_order: restored.held.iter().map(|row| row.order).max().unwrap_or_default() };
        for row in restored.outbox {
            conversations.last_order = conversations.last_order.max(row.order);
            conversations.entry(&row.conversation).outbox.restore(row);
        }
        conversations
    }

    /// The conversation, also if it has not been heard of before.
    pub(super) fn entry(&mut self, id: &ConversationId) -> &mut Conversation {
        self.by_id.entry(id.clone()).or_insert_with(|| Conversation::empty(id.clone()))
    }

    pub(super) fn get(&self, id: &ConversationId) -> Option<&Conversation> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &ConversationId) -> Option<&mut Conversation> {
        self.by_id.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ConversationId, &Conversation)> {
        self.by_id.iter()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Conversation> {
        self.by_id.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Conversation> {
        self.by_id.values_mut()
    }

    /// Those whose ids are above this one; without one, all.
    pub(super) fn after(&self, id: Option<&ConversationId>) -> impl Iterator<Item = &Conversation> {
        let first = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range::<ConversationId, _>((first, Bound::Unbounded)).map(|(_, conversation)| conversation)
    }

    /// The `order` of a new row of an outbox.
    pub(super) const fn next_order(&mut self) -> u64 {
        self.last_order += 1;
        self.last_order
    }
}
