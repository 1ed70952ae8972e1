//! What was taken lately about entries that may not be here yet, and up to where a restore would take such back.

use chatlane_protocol::{Entry, UserId};

use super::super::fold;
use super::Conversation;

/// So many amendments are remembered: more than come while a page is on its way.
const AMENDMENTS_MAX: usize = 64;

impl Conversation {
    /// An entry comes into the run: what it tells of others, and others of it.
    pub(in super::super) fn note_amended(&mut self, entry: &Entry) {
        self.row.amended = self.row.amended.max(fold::told_up_to(entry));
        if fold::target(entry).is_some() {
            self.amendments.push_back(entry.clone());
            if self.amendments.len() > AMENDMENTS_MAX {
                self.amendments.pop_front();
            }
        }
    }

    /// Entries of a page that may have been read before what was taken lately.
    pub(in super::super) fn catch_up(&self, entries: &mut [Entry], me: &UserId) {
        for entry in entries {
            let seq = entry.position.seq;
            for by in self.amendments.iter().filter(|by| fold::target(by) == Some(seq)) {
                fold::apply(entry, by, me);
            }
        }
    }
}
