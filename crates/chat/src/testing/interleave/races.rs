//! Which users met: what one wanted while an entry of another got in between.

use chatlane_protocol::{ClientMessageId, Role, Seq, UserId};

use super::device::Log;
use super::frame::Wanted;
use super::judge::Fold;
use super::tally::{Race, Tally};
use crate::log::AmendmentEntry::{Deletion, Edit, Reaction};
use crate::log::{ChangeEntry, Entry, Kind};

/// An attempt that was answered.
pub(super) struct Met<'a> {
    /// Whose.
    pub(super) user: &'a UserId,
    /// What they wanted.
    pub(super) wanted: &'a Wanted,
    /// Their anchor was a guess.
    pub(super) guessed: bool,
    /// The names of what it wanted.
    pub(super) ids: Vec<&'a ClientMessageId>,
    /// The last entry when it began.
    pub(super) from: Seq,
    /// The group at that entry.
    pub(super) began: &'a Fold,
}

impl Met<'_> {
    /// Counts the races that it took part in, each once.
    pub(super) fn count(&self, log: &Log, tally: &mut Tally) {
        let between: Vec<&Entry> = log
            .range(self.from.next()..)
            .map(|(_, entry)| entry)
            .filter(|entry| !self.ids.contains(&&entry.client_message_id) || entry.sender != *self.user)
            .collect();
        for race in Race::ALL {
            if self.is_in(race, &between) {
                tally.met(race);
            }
        }
    }

    fn is_in(&self, race: Race, between: &[&Entry]) -> bool {
        if let Wanted::Amendment(own) = self.wanted {
            // Also of the same user, by another device.
            let mut others = between.iter().filter_map(|entry| match &entry.kind {
                Kind::Amendment(other) if other.target() == own.target() => Some(other),
                _ => None,
            });
            return match (race, own) {
                (Race::EditAgainstDeletion, Edit { .. }) => others.any(|other| matches!(other, Deletion { .. })),
                (Race::EditAgainstDeletion, Deletion { .. }) => others.any(|other| matches!(other, Edit { .. })),
                (Race::EditedTwice, Edit { .. }) => others.any(|other| matches!(other, Edit { .. })),
                (Race::ReactedTwice, Reaction(_)) => others.any(|other| matches!(other, Reaction(_))),
                (Race::ReactionAgainstDeletion, Reaction(_)) => others.any(|other| matches!(other, Deletion { .. })),
                (Race::ReactionAgainstDeletion, Deletion { .. }) => others.any(|other| matches!(other, Reaction(_))),
                _ => false,
            };
        }
        let between: Vec<&Entry> = between.iter().copied().filter(|entry| entry.sender != *self.user).collect();
        let mut changes = between.iter().filter_map(|entry| match &entry.kind {
            Kind::Change(change) => Some((&entry.sender, change)),
            _ => None,
        });
        let role = self.began.role(self.user);
        let acts_on = |change: &ChangeEntry, user: &UserId| match change {
            ChangeEntry::Removed(users) => users.contains(user),
            ChangeEntry::Role { user: target, .. } => target == user,
            _ => false,
        };
        match (race, self.wanted) {
            (Race::EachOther, Wanted::Change(own)) => {
                role >= Some(Role::Admin) && changes.any(|(other, change)| acts_on(change, self.user) && acts_on(own, other))
            }
            (Race::RightsTaken, Wanted::Change(_)) => role >= Some(Role::Admin) && changes.any(|(_, change)| acts_on(change, self.user)),
            (Race::OwnersLeave, Wanted::Change(ChangeEntry::Left { .. })) => {
                let leaves = |other, change: &_| matches!(change, ChangeEntry::Left { .. }) && self.began.role(other) == Some(Role::Owner);
                role == Some(Role::Owner) && changes.any(|(other, change)| leaves(other, change))
            }
            (Race::LockAgainstSend, Wanted::Message) => {
                let locks = |change: &_| matches!(change, ChangeEntry::Settings(settings) if settings.locked == Some(true));
                role.is_some() && role < Some(Role::Admin) && changes.any(|(_, change)| locks(change))
            }
            (Race::RemovalAgainstGuess, Wanted::Message) => self.guessed && changes.any(|(_, change)| removes(change, self.user)),
            (Race::RemovedAndAddedAgainstSend, Wanted::Message) => {
                changes.any(|(_, change)| removes(change, self.user)) && changes.any(|(_, change)| adds(change, self.user))
            }
            (Race::AddedTwice, Wanted::Change(ChangeEntry::Added(users))) => {
                changes.any(|(_, change)| users.iter().any(|user| adds(change, user)))
            }
            (Race::RoleAgainstRemove, Wanted::Change(ChangeEntry::Role { user, .. })) => changes.any(|(_, change)| removes(change, user)),
            (Race::RoleAgainstRemove, Wanted::Change(ChangeEntry::Removed(users))) => {
                changes.any(|(_, change)| matches!(change, ChangeEntry::Role { user, .. } if users.contains(user)))
            }
            _ => false,
        }
    }
}

fn removes(change: &ChangeEntry, user: &UserId) -> bool {
    matches!(change, ChangeEntry::Removed(users) if users.contains(user))
}

fn adds(change: &ChangeEntry, user: &UserId) -> bool {
    matches!(change, ChangeEntry::Added(users) if users.contains(user))
}
