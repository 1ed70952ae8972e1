//! What the user at a device sees: each entry once, in order, only after the device has stored it (D1); marks that never go back.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, Seq, UserId};
use chatlane_session::{OutgoingState, Shown};

use super::disk::Disk;
use super::server::{Note, Server};

/// One conversation as the user sees it.
#[derive(Clone, Debug, Default)]
struct Screen {
    /// What was shown since the app started or the conversation went on somewhere else.
    shown: Vec<Position>,
    /// Where that begins.
    base: Base,
}

/// What the first entry shown must follow on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Base {
    /// Nothing was shown of it, ever.
    #[default]
    Start,
    /// This entry, which the app has shown before it was restarted.
    Entry(Position),
    /// A place whose entry is not known.
    After(Seq),
}

/// The user at one device, since the app started.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    screens: BTreeMap<ConversationId, Screen>,
    cursors: BTreeMap<(ConversationId, UserId), (Position, Position)>,
    /// The last page of history: whether it was the first of the log.
    pub history_done: BTreeMap<ConversationId, bool>,
    /// What the answers that have reached the device say of its messages.
    pub notes: Vec<Note>,
    /// Failed and not yet given up.
    pub failed: BTreeSet<(ConversationId, ClientMessageId)>,
}

impl User {
    /// The app starts: what is stored is shown.
    pub fn before(id: UserId, disk: &Disk) -> Self {
        let screens = disk.conversations.iter().map(|(conversation, row)| {
            let base = match (row.have == row.from, row.have.seq) {
                (_, Seq::ZERO) => Base::Start,
                (true, seq) => Base::After(seq),
                (false, _) => Base::Entry(row.have),
            };
            (conversation.clone(), Screen { shown: vec![], base })
        });
        let screens = screens.collect();
        Self { id, screens, cursors: BTreeMap::new(), history_done: BTreeMap::new(), notes: vec![], failed: BTreeSet::new() }
    }

    /// Entries that the user can point at.
    pub fn seen(&self, conversation: &ConversationId) -> &[Position] {
        self.screens.get(conversation).map_or(&[], |screen| &screen.shown)
    }

    pub fn see(&mut self, shown: Shown, disk: &Disk, server: &Server) {
        match shown {
            Shown::Entry { conversation, entry } => self.see_entry(&conversation, &entry, disk, server),
            Shown::Skipped { conversation, position } => {
                self.screens.insert(conversation, Screen { shown: vec![], base: Base::After(position.seq) });
            }
            Shown::RolledBack { conversation, position } => {
                self.cursors.retain(|(rolled, _), _| *rolled != conversation);
                let screen = self.screens.entry(conversation).or_default();
                screen.shown.retain(|shown| shown.seq <= position.seq);
                if screen.shown.is_empty() {
                    screen.base = if position.seq == Seq::ZERO { Base::Start } else { Base::After(position.seq) };
                }
            }
            Shown::History { conversation, entries, done } => {
                for entry in &entries {
                    let logged = server.ever.get(&(conversation.clone(), entry.position));
                    assert_eq!(logged.map(|logged| &logged.entry), Some(entry), "history of {conversation} is not the log's");
                }
                let consecutive = entries.is_sorted_by(|one, next| one.position.seq.next() == next.position.seq);
                assert!(consecutive, "history of {conversation} is not in order");
                self.history_done.insert(conversation, done);
            }
            Shown::Conversation { row, unread } => {
                assert_eq!(unread, row.head_count.saturating_sub(row.read_count), "unread of {}", row.conversation);
            }
            Shown::Outgoing { conversation, client_message_id, state } => {
                self.see_outgoing(conversation, client_message_id, &state, disk, server);
            }
            Shown::Cursors { conversation, cursors } => {
                assert_ne!(cursors.user, self.id, "a receipt of one's own");
                let now = (cursors.delivered, cursors.read);
                let before = self.cursors.insert((conversation.clone(), cursors.user.clone()), now).unwrap_or_default();
                let forward = now.0 >= before.0 && now.1 >= before.1 && now != before;
                assert!(forward, "the marks of {} in {conversation} went from {before:?} to {now:?}", cursors.user);
            }
            Shown::Connection(_) | Shown::Opened { .. } | Shown::Failed(_) => {}
        }
    }

    fn see_entry(&mut self, conversation: &ConversationId, entry: &Entry, disk: &Disk, server: &Server) {
        let position = entry.position;
        assert!(disk.has(conversation, position), "D1: {conversation} {position} was shown, and is not stored");
        let logged = &server.ever[&(conversation.clone(), position)];
        assert_eq!(logged.entry, *entry, "{conversation} {position} is shown otherwise than it is in the log");
        let parent = logged.parent;
        let screen = self.screens.entry(conversation.clone()).or_default();
        let follows = match (screen.shown.last(), screen.base) {
            (Some(last), _) => *last == parent,
            (None, Base::Start) => parent == Position::ZERO,
            (None, Base::Entry(base)) => base == parent,
            (None, Base::After(seq)) => seq == parent.seq,
        };
        assert!(follows, "D1: {conversation} {position} was shown after {:?} ({:?})", screen.shown.last(), screen.base);
        screen.shown.push(position);
    }

    fn see_outgoing(&mut self, conversation: ConversationId, id: ClientMessageId, state: &OutgoingState, disk: &Disk, server: &Server) {
        let key = (conversation, id);
        match state {
            OutgoingState::Waiting => assert!(disk.outbox.contains_key(&key), "{} is shown as waiting, and not in the outbox", key.1),
            OutgoingState::Stored(stored) => {
                let logged = server.ever.get(&(key.0.clone(), stored.position)).map(|logged| &logged.entry);
                let own = logged.is_some_and(|entry| entry.sender == self.id && entry.client_message_id == key.1);
                assert!(own, "L3: {} is shown as stored at {}, where it never was", key.1, stored.position);
                self.failed.remove(&key);
            }
            OutgoingState::Failed(refusal) => {
                let looked = self.notes.iter().filter(|note| note.scanned.contains(&key.0)).map(|note| note.request).max();
                let refused = self.notes.iter().filter(|note| note.refused.contains(&key.1)).map(|note| note.request).min();
                assert!(refused <= looked, "{} failed before the log was looked through: {:?}", key.1, refusal.code);
                let entries = server.lanes.get(&key.0).into_iter().flat_map(|lane| &lane.entries);
                for entry in entries.filter(|entry| entry.sender == self.id && entry.client_message_id == key.1) {
                    // An earlier attempt that is still under way may come behind the look; its entry will settle the message.
                    let logged = &server.ever[&(key.0.clone(), entry.position)];
                    assert!(Some(logged.request) > looked, "{} is in the log, and shown as failed: {:?}", key.1, refusal.code);
                }
                self.failed.insert(key);
            }
        }
    }
}
