//! A device's local store: what survives the app. Batches are applied whole and in their order, as `Output::Commit` asks.

use std::collections::BTreeMap;

use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, Seq};
use chatlane_session::{Change, ConversationRow, OutboxRow, Restored};

use super::server::Server;

/// The tables.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub conversations: BTreeMap<ConversationId, ConversationRow>,
    pub entries: BTreeMap<ConversationId, BTreeMap<Seq, Entry>>,
    pub outbox: BTreeMap<(ConversationId, ClientMessageId), OutboxRow>,
}

impl Disk {
    pub fn restored(&self) -> Restored {
        let mut outbox: Vec<OutboxRow> = self.outbox.values().cloned().collect();
        outbox.sort_by_key(|row| row.order);
        Restored { conversations: self.conversations.values().cloned().collect(), outbox }
    }

    pub fn has(&self, conversation: &ConversationId, position: Position) -> bool {
        self.entries.get(conversation).and_then(|kept| kept.get(&position.seq)).is_some_and(|entry| entry.position == position)
    }

    /// Applies one batch and looks whether the store may say what it says now. `discarded`: the user gave these up.
    pub fn apply(&mut self, changes: Vec<Change>, server: &Server, discarded: &[ClientMessageId]) {
        let mut touched = vec![];
        for change in changes {
            match change {
                Change::Conversation(row) => {
                    touched.push(row.conversation.clone());
                    self.conversations.insert(row.conversation.clone(), row);
                }
                Change::Entries { conversation, entries } => {
                    let kept = self.entries.entry(conversation.clone()).or_default();
                    for entry in entries {
                        let before = kept.insert(entry.position.seq, entry.clone());
                        assert!(before.is_none_or(|before| before == entry), "D1: {conversation} {} was another entry", entry.position);
                    }
                    touched.push(conversation);
                }
                Change::DropBeyond { conversation, position } => {
                    self.entries.entry(conversation.clone()).or_default().retain(|seq, _| *seq <= position.seq);
                    touched.push(conversation);
                }
                Change::DropAll(conversation) => {
                    self.entries.remove(&conversation);
                    touched.push(conversation);
                }
                Change::Outbox(row) => {
                    self.outbox.insert((row.conversation.clone(), row.client_message_id.clone()), row);
                }
                Change::OutboxDone { conversation, client_message_id } => {
                    let stored = server
                        .ever
                        .iter()
                        .any(|((lane, _), logged)| *lane == conversation && logged.entry.client_message_id == client_message_id);
                    let known = stored || discarded.contains(&client_message_id);
                    assert!(known, "the outbox lost {client_message_id}, which was neither stored nor given up");
                    self.outbox.remove(&(conversation, client_message_id));
                }
            }
        }
        for conversation in touched {
            self.check(&conversation, server);
        }
    }

    /// D1: the entries of the run are there, each is the log's, each follows the one before it.
    fn check(&self, conversation: &ConversationId, server: &Server) {
        let Some(row) = self.conversations.get(conversation) else {
            assert!(!self.entries.contains_key(conversation), "entries of {conversation} without a row");
            return;
        };
        let none = BTreeMap::new();
        let entries = self.entries.get(conversation).unwrap_or(&none);
        let run: Vec<&Entry> = entries.range(row.from.seq.next()..).map(|(_, entry)| entry).collect();
        assert_eq!(run.len(), entries.len(), "{conversation} has entries before its run: {row:?}");
        let length = row.have.seq.get().checked_sub(row.from.seq.get());
        assert_eq!(u64::try_from(run.len()).ok(), length, "the run of {conversation} is not what its row says: {row:?}");
        for entry in &run {
            let logged = server.ever.get(&(conversation.clone(), entry.position));
            assert_eq!(logged.map(|logged| &logged.entry), Some(*entry), "{conversation} {} is not the log's", entry.position);
        }
        for pair in run.windows(2) {
            let parent = server.ever[&(conversation.clone(), pair[1].position)].parent;
            assert_eq!(parent, pair[0].position, "D1: {conversation} {} does not follow on {}", pair[1].position, pair[0].position);
        }
        if let Some(last) = run.last() {
            assert_eq!(last.position, row.have, "{conversation} does not have the entry that it says to have");
        }
        assert!(row.head >= row.have, "{conversation} is beyond its head: {row:?}");
    }
}
