//! A restore: the tables are as a backup of a moment before has them, in a higher epoch, and all functions are started anew.

use std::collections::BTreeMap;

use chatlane_chat::log::{Entry, Head};
use chatlane_chat::ports::ReadCursor;
use chatlane_protocol::{ConversationId, Position, Seq};
use serde_json::json;

use super::watch::is_there;
use super::{World, started};

impl World {
    /// Restores what the logs held `back_ms` ago; of the other tables what fits that. Whether an entry is lost.
    ///
    /// The functions that were at work are gone, and what they wrote has no effect on the new tables. Queue, sessions and sockets stay; but
    /// sometimes the gateway is deployed anew too, and ends all sockets.
    pub(crate) fn restore(&mut self, back_ms: u64) -> bool {
        self.reveal_all(None);
        for number in self.invocations.keys().copied().collect::<Vec<_>>() {
            self.dies(number);
        }
        self.calls.clear();
        self.stream_anew();
        // Before any function sees the restored tables.
        if let Some(deployment) = &mut self.memory.state().deployment {
            deployment.epoch += 1;
            self.epoch = deployment.epoch;
        }
        self.deployed = started(self.limits);
        let backup_ms = self.now_ms.saturating_sub(back_ms);
        let (tails, lost) = self.cut_back(backup_ms);
        // The task that named an entry which is gone delivers nothing of what was before it either.
        self.promised.retain(|conversation, position| is_there(&self.memory.state(), conversation, *position));
        let line = json!({"what": "restored", "epoch": self.epoch, "tails": tails, "at_ms": self.now_ms}).to_string();
        self.write_line(&line);
        if self.dice.one_in(3) {
            for socket in self.sockets.keys().copied().collect::<Vec<_>>() {
                self.life_ends(socket);
            }
        }
        lost
    }

    /// Answers the last seq of each log, and whether entries are lost.
    fn cut_back(&mut self, backup_ms: u64) -> (BTreeMap<ConversationId, Seq>, bool) {
        let state = &mut *self.memory.state();
        let mut lost = false;
        state.log.retain(|conversation, log| {
            let before = log.len();
            let newer = log.keys().find(|seq| self.ever.stored_ms(conversation, log[*seq].position) > backup_ms).copied();
            let _cut = newer.map(|newer| log.split_off(&newer));
            lost |= log.len() < before;
            !log.is_empty()
        });
        let mut undone = std::mem::take(&mut self.undo);
        undone.reverse();
        undone.retain(|undo| !undo.undo(state));
        undone.reverse();
        self.undo = undone;
        let tail = |conversation: &ConversationId| state.log.get(conversation).and_then(|log| log.values().next_back()).map(Entry::head);
        state.heads.retain(|conversation, _| state.log.contains_key(conversation));
        // Rows go with the entry that wrote them.
        let stood = |conversation: &ConversationId, version: Seq| tail(conversation).is_some_and(|tail| tail.position.seq >= version);
        state.members.retain(|(conversation, _), member| stood(conversation, member.version));
        for (conversation, head) in &mut state.heads {
            *head = tail(conversation).filter(|tail| tail.position < head.position).unwrap_or(*head);
        }
        for rows in state.inboxes.values_mut() {
            rows.retain(|conversation, row| stood(conversation, row.version));
            for (conversation, row) in rows {
                let Some(Head { position, count, .. }) = tail(conversation) else { continue };
                let back = |at: &mut Position| *at = position.min(*at);
                if row.read.position > position {
                    row.read = ReadCursor { position, count };
                }
                row.delivered.values_mut().for_each(back);
            }
        }
        (state.log.iter().filter_map(|(lane, log)| Some((lane.clone(), *log.keys().next_back()?))).collect(), lost)
    }
}
