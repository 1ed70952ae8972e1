//! What edits, deletions and reactions have made of messages, folded from their log, entry by entry; and who may do that.

use std::collections::{BTreeMap, BTreeSet};

use crate::dump::{Entry, Kind};
use crate::policy::Deed;
use crate::standing::Standing;
use crate::words::{Body, Name};

/// Edits of one message, and how long it can be edited.
const EDITS_MAX: usize = 20;
const EDITED_WITHIN_MS: u64 = 24 * 60 * 60 * 1000;

/// Different reactions to one message.
const KEYS_MAX: usize = 20;

/// What has been done to the messages of a log, up to some entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fold(BTreeMap<u64, Done>);

/// What has been done to a message.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    sender: Name,
    time: u64,
    /// The seqs of its edits, with what they say; those of a message that was deleted say nothing.
    pub edits: Vec<(u64, Option<Body>)>,
    /// By the entry in this slot.
    pub deleted: Option<u64>,
    /// What stands beside it, and whose it is.
    pub reactions: BTreeSet<(Name, Name)>,
    /// The last entry that has changed that.
    pub reacted: Option<u64>,
}

impl Fold {
    /// Of a log that has its entries from the first one on.
    pub(crate) fn of(log: &[Entry]) -> Self {
        let mut fold = Self::default();
        for entry in log {
            fold.follow(entry);
        }
        fold
    }

    /// The messages, by slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&u64, &Done)> {
        self.0.iter()
    }

    /// What has been done to the message in this slot.
    pub(crate) fn done(&self, seq: u64) -> Option<&Done> {
        self.0.get(&seq)
    }

    /// Why nobody, or not its sender, may do this to that message here. The sender is a member.
    pub(crate) fn forbids(&self, standing: &Standing, entry: &Entry) -> Option<&'static str> {
        let sender = entry.message.sender;
        let target = entry.kind.target()?;
        let Some(done) = self.0.get(&target) else { return Some("it is about no message") };
        let may = |deed| standing.members.get(&sender).is_some_and(|member| standing.policy.permits(member.role, deed));
        if !standing.is_before(sender, target, entry) {
            return Some("it is about a message that its sender may not see");
        }
        if done.deleted.is_some() {
            return Some("it is about a message that was deleted");
        }
        match &entry.kind {
            Kind::Edit(..) if !may(Deed::Send) => Some("its sender has no right to"),
            Kind::Edit(..) if done.sender != sender => Some("it edits another's message"),
            Kind::Edit(..) if entry.time.saturating_sub(done.time) > EDITED_WITHIN_MS => Some("it edits an old message"),
            Kind::Edit(..) if done.edits.len() >= EDITS_MAX => Some("the message was edited too often"),
            Kind::Edit(_, Some(body)) if done.edits.last().is_some_and(|(_, says)| *says == Some(*body)) => {
                Some("the message says that already")
            }
            Kind::Deletion(_) if !may(if done.sender == sender { Deed::React } else { Deed::Moderate }) => {
                Some("its sender has no right to")
            }
            Kind::Reaction(..) if !may(Deed::React) => Some("its sender has no right to"),
            Kind::Reaction(_, key, adds) if done.reactions.contains(&(*key, sender)) == *adds => Some("the reaction is so already"),
            Kind::Reaction(_, key, true) if done.keys().chain([*key]).collect::<BTreeSet<Name>>().len() > KEYS_MAX => {
                Some("there are too many reactions")
            }
            _ => None,
        }
    }

    /// Behind this entry.
    pub(crate) fn follow(&mut self, entry: &Entry) {
        let (seq, sender) = (entry.position.seq, entry.message.sender);
        if matches!(entry.kind, Kind::Message(_) | Kind::Deleted) {
            let (edits, reactions) = (vec![], BTreeSet::new());
            self.0.insert(seq, Done { sender, time: entry.time, edits, deleted: None, reactions, reacted: None });
        }
        let Some(done) = entry.kind.target().and_then(|target| self.0.get_mut(&target)) else { return };
        match &entry.kind {
            Kind::Edit(_, body) => done.edits.push((seq, *body)),
            Kind::Deletion(_) => {
                (done.deleted, done.reacted) = (Some(seq), Some(seq));
                done.reactions.clear();
            }
            Kind::Reaction(_, key, adds) => {
                if *adds {
                    done.reactions.insert((*key, sender));
                } else {
                    done.reactions.remove(&(*key, sender));
                }
                done.reacted = Some(seq);
            }
            _ => {}
        }
    }
}

impl Done {
    fn keys(&self) -> impl Iterator<Item = Name> {
        self.reactions.iter().map(|(key, _)| *key)
    }

    /// How many have put each thing there.
    pub(crate) fn counts(&self) -> BTreeMap<Name, u64> {
        let mut counts = BTreeMap::new();
        self.keys().for_each(|key| *counts.entry(key).or_default() += 1);
        counts
    }

    /// The edit by which it says what it says.
    pub(crate) fn edited(&self) -> Option<u64> {
        self.edits.last().map(|(seq, _)| *seq)
    }

    /// What it says by this edit, if that is known.
    pub(crate) fn says(&self, by: u64) -> Option<Body> {
        self.edits.iter().find(|(seq, _)| *seq == by).and_then(|(_, body)| *body)
    }
}
