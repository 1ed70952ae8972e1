//! What an edit, a deletion or a reaction does: judged at the tail of the log and by the message that it names, it becomes an entry and what is
//! written with it in one transaction. The transaction takes the slot behind the tail, and the message is read behind the tail and as a whole,
//! so it is that of the tail. Where nothing is written, `draft.rs` looks at the slot.

use std::collections::BTreeSet;

use chatlane_protocol::limits::{EDITED_WITHIN_MS, EDITS_BYTES_MAX, EDITS_MAX, REACTION_KEYS_MAX};
use chatlane_protocol::{Body, Reacting, ReactionChange, ReactionKey, Seq, UnixMillis, UserId};

use super::entry::Entry;
use super::facts::Deed;
use super::hash::UserKey;
use super::kinds::{Kind, MessageEntry};
use super::reactions::{Reacted, Reactions};
use crate::ports::Member;
use crate::refusal::Refused;

/// What an amendment is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The last entry.
    pub tail: &'a Entry,
    /// The sender's row.
    pub member: &'a Member,
    /// The seq of the entry that is to be.
    pub seq: Seq,
}

impl Sight<'_> {
    fn permit(&self, deed: Deed) -> Result<(), Refused> {
        if self.tail.facts.policy.permits(self.member.role, deed) { Ok(()) } else { Err(Refused::Forbidden) }
    }

    /// Makes sure that the sender may see a message there, or may have seen one, as far as that is known without reading it.
    pub fn may_be_seen(&self, target: Seq) -> Result<(), Refused> {
        let is_there = target >= self.member.visible_from && target <= self.tail.position.seq;
        if is_there { Ok(()) } else { Err(Refused::NoMessage) }
    }

    /// The message as it says something else. `None`: it says that already.
    pub fn edit(&self, target: &Entry, body: &Body, now: UnixMillis) -> Result<Option<MessageEntry>, Refused> {
        self.permit(Deed::Send)?;
        let Kind::Message(message) = &target.kind else { return Err(Refused::NoMessage) };
        if target.sender != self.member.user {
            return Err(Refused::Forbidden);
        }
        let is_old = now.since_ms(target.time) > EDITED_WITHIN_MS;
        if is_old || message.edits.len() >= EDITS_MAX || message.edits_bytes_with(body) > EDITS_BYTES_MAX {
            return Err(Refused::NotEditable);
        }
        Ok((message.body != *body).then(|| message.edited(body.clone(), self.seq)))
    }

    /// The entries that have edited the message that is deleted. `None`: it is deleted already.
    pub fn delete(&self, target: &Entry) -> Result<Option<Vec<Seq>>, Refused> {
        let is_own = target.sender == self.member.user;
        self.permit(if is_own { Deed::React } else { Deed::Moderate })?;
        match &target.kind {
            Kind::Message(message) => Ok(Some(message.edits.clone())),
            Kind::Deleted => Ok(None),
            _ => Err(Refused::NoMessage),
        }
    }

    /// The reactions behind this one: all, and the sender's own. `None`: it is so already. `target`: the message, where nobody has reacted
    /// to it yet.
    pub fn react(
        &self,
        reacting: &Reacting,
        reacted: &Reacted,
        target: Option<&Entry>,
        key: &UserKey,
    ) -> Result<Option<(Reactions, BTreeSet<ReactionKey>)>, Refused> {
        self.permit(Deed::React)?;
        let is_message = target.is_some_and(|target| matches!(target.kind, Kind::Message(_)));
        let all = match &reacted.all {
            Some(all) if !all.closed => all.clone(),
            None if is_message => Reactions::default(),
            _ => return Err(Refused::NoMessage),
        };
        let mut own = reacted.own.clone();
        let changes = match reacting.change {
            ReactionChange::Add => own.insert(reacting.key.clone()),
            ReactionChange::Remove => own.remove(&reacting.key),
        };
        if !changes {
            return Ok(None);
        }
        let user: &UserId = &self.member.user;
        let all = all.behind(reacting, key.sum(std::slice::from_ref(user)), self.seq);
        let is_new = reacted.all.as_ref().is_none_or(|was| all.counts.len() > was.counts.len());
        if is_new && all.counts.len() > REACTION_KEYS_MAX {
            return Err(Refused::ReactionsFull);
        }
        Ok(Some((all, own)))
    }
}
