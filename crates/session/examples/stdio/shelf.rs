//! The entries that a device's store holds, as far as a vector asks for them: what the session has written, folded in the same write.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::{ConversationId, Entry, Seq, UserId};
use chatlane_session::{BatchId, Change, Output, fold, target};
use serde_json::{Value, json};

pub struct Shelf {
    me: UserId,
    entries: BTreeMap<(ConversationId, Seq), Entry>,
    /// Writes that are not made yet.
    asked: Vec<(BatchId, Vec<Change>)>,
}

impl Shelf {
    pub const fn new(me: UserId) -> Self {
        Self { me, entries: BTreeMap::new(), asked: vec![] }
    }

    /// The session has done this.
    pub fn asked(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Commit { batch, changes } = output {
                self.asked.push((*batch, changes.clone()));
            }
        }
    }

    /// What becomes of a write: this input says that it is made, or that it and those behind it are not.
    pub fn happens(&mut self, input: &Value) {
        let of = input["batch"].as_u64().map(BatchId);
        match input["type"].as_str() {
            Some("committed") => {
                for (_, changes) in self.asked.extract_if(.., |(batch, _)| Some(*batch) == of).collect::<Vec<_>>() {
                    for change in changes {
                        self.apply(change);
                    }
                }
            }
            Some("not_stored") => self.asked.retain(|(batch, _)| Some(*batch) < of),
            _ => {}
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Entries { conversation, entries } => {
                let touched: BTreeSet<_> = entries.iter().flat_map(|entry| [Some(entry.position.seq), target(entry)]).flatten().collect();
                self.entries.extend(entries.into_iter().map(|entry| ((conversation.clone(), entry.position.seq), entry)));
                for seq in touched {
                    let is_about = |(at, entry): &(&(ConversationId, Seq), &Entry)| at.0 == conversation && target(entry) == Some(seq);
                    let mut about: Vec<_> = self.entries.iter().filter(is_about).map(|(_, entry)| entry.clone()).collect();
                    fold(self.entries.get_mut(&(conversation.clone(), seq)), &mut about, &self.me);
                    self.entries.extend(about.into_iter().map(|entry| ((conversation.clone(), entry.position.seq), entry)));
                }
            }
            Change::DropBeyond { conversation, position } => {
                self.entries.retain(|(of, seq), _| *of != conversation || *seq <= position.seq);
            }
            Change::DropAll(conversation) => self.entries.retain(|(of, _), _| *of != conversation),
            _ => {}
        }
    }

    /// What it answers to the input `kept`; nothing to any other.
    pub fn kept(&self, input: &Value) -> Option<Value> {
        let name = input["conversation"].as_str().filter(|_| input["type"] == "kept")?;
        let entries: Vec<_> = self.entries.iter().filter(|((of, _), _)| of.as_str() == name).map(|(_, entry)| entry).collect();
        Some(json!({"type": "show", "what": {"type": "kept", "conversation": name, "entries": entries}}))
    }
}
