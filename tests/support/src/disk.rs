//! A device's local store, in memory.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Seq, UserId};
use chatlane_session::{Change, ConversationRow, HeldRow, NewGroup, OutboxRow, Restored, fold, target};

/// What survives the app. Batches are applied whole and in their order, as `Output::Commit` asks.
#[derive(Clone, Debug)]
pub struct Disk {
    user: UserId,
    /// One row each.
    pub conversations: BTreeMap<ConversationId, ConversationRow>,
    /// Of each conversation.
    pub entries: BTreeMap<ConversationId, BTreeMap<Seq, Entry>>,
    outbox: BTreeMap<(ConversationId, ClientMessageId), OutboxRow>,
    held: BTreeMap<u64, HeldRow>,
    groups: BTreeMap<u64, NewGroup>,
}

impl Disk {
    /// An empty one, of this user.
    pub fn new(user: UserId) -> Self {
        let (conversations, entries) = (BTreeMap::new(), BTreeMap::new());
        Self { user, conversations, entries, outbox: BTreeMap::new(), held: BTreeMap::new(), groups: BTreeMap::new() }
    }

    /// Applies one batch.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Conversation(row) => {
                    self.conversations.insert(row.conversation.clone(), row);
                }
                Change::Entries { conversation, entries } => {
                    let kept = self.entries.entry(conversation).or_default();
                    let touched: BTreeSet<Seq> =
                        entries.iter().flat_map(|entry| [Some(entry.position.seq), target(entry)]).flatten().collect();
                    kept.extend(entries.into_iter().map(|entry| (entry.position.seq, entry)));
                    for seq in touched {
                        let mut about: Vec<Entry> = kept.values().filter(|entry| target(entry) == Some(seq)).cloned().collect();
                        fold(kept.get_mut(&seq), &mut about, &self.user);
                        kept.extend(about.into_iter().map(|entry| (entry.position.seq, entry)));
                    }
                }
                Change::DropBeyond { conversation, position } => {
                    self.entries.entry(conversation).or_default().retain(|seq, _| *seq <= position.seq);
                }
                Change::DropAll(conversation) => {
                    self.entries.remove(&conversation);
                }
                Change::Outbox(row) => {
                    self.outbox.insert((row.conversation.clone(), row.client_message_id.clone()), row);
                }
                Change::OutboxDone { conversation, client_message_id } => {
                    self.outbox.remove(&(conversation, client_message_id));
                }
                Change::Held(row) => {
                    self.held.insert(row.order, row);
                }
                Change::HeldDone(id) => self.held.retain(|_, row| row.client_message_id != id),
                Change::Group(row) => {
                    self.groups.insert(row.order, row);
                }
                Change::GroupDone(id) => self.groups.retain(|_, row| row.client_message_id != id),
            }
        }
    }

    /// A row of the outbox.
    pub fn waiting(&self, conversation: &ConversationId, id: &ClientMessageId) -> Option<&OutboxRow> {
        self.outbox.get(&(conversation.clone(), id.clone()))
    }

    /// The outbox, in the order of writing.
    pub fn outbox(&self) -> Vec<OutboxRow> {
        let mut rows: Vec<OutboxRow> = self.outbox.values().cloned().collect();
        rows.sort_by_key(|row| row.order);
        rows
    }

    /// What waits for its conversation, in the order of writing.
    pub fn held(&self) -> impl Iterator<Item = &HeldRow> {
        self.held.values()
    }

    /// What a new life of the app finds.
    pub fn restored(&self) -> Restored {
        Restored {
            conversations: self.conversations.values().cloned().collect(),
            outbox: self.outbox(),
            held: self.held().cloned().collect(),
            groups: self.groups.values().cloned().collect(),
        }
    }
}
