//! The reactions to a message, counted. They stand beside the message and not in it, so that one to a long message costs no more than one to a
//! short one; and a reaction, its count and the row of whoever reacts are one transaction, so that each is counted once.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::{Reacting, ReactionChange, ReactionCount, ReactionKey, Seq};

/// Users of one reaction that are known by their hash: what a reader is told of their own costs no read while there are no more.
const USERS_MAX: usize = 20;

/// All reactions to one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reactions {
    /// The seq of the last one that is counted.
    pub to: Seq,
    /// The message was deleted: there are none, and none are taken.
    pub closed: bool,
    /// Each has been put there by somebody.
    pub counts: BTreeMap<ReactionKey, Reactors>,
}

/// Who have put one thing beside a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reactors {
    /// How many.
    pub count: u32,
    /// The [hashes](super::hash::UserKey::sum) of some: of the first 20 that are there still.
    pub users: Vec<u64>,
}

impl Reactions {
    /// The same behind one more, of this user, stored at `seq`.
    #[must_use]
    pub fn behind(&self, reacting: &Reacting, user: u64, seq: Seq) -> Self {
        let mut all = Self { to: seq, ..self.clone() };
        let reactors = all.counts.entry(reacting.key.clone()).or_default();
        match reacting.change {
            ReactionChange::Add => {
                reactors.count += 1;
                if reactors.users.len() < USERS_MAX {
                    reactors.users.push(user);
                }
            }
            ReactionChange::Remove => {
                reactors.count = reactors.count.saturating_sub(1);
                reactors.users.retain(|one| *one != user);
            }
        }
        all.counts.retain(|_, reactors| reactors.count > 0);
        all
    }

    /// As this user is told them, in the order of their keys.
    pub fn told_to(&self, user: u64) -> Vec<ReactionCount> {
        let told = |(key, Reactors { count, users }): (&ReactionKey, &Reactors)| {
            let are_all = usize::try_from(*count).is_ok_and(|count| count == users.len());
            let is_there = users.contains(&user);
            ReactionCount { key: key.clone(), count: *count, mine: (is_there || are_all).then_some(is_there) }
        };
        self.counts.iter().map(told).collect()
    }
}

/// What a reaction is judged by: all that are there, and the user's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reacted {
    /// `None`: nobody has reacted yet.
    pub all: Option<Reactions>,
    /// What the user has put there.
    pub own: BTreeSet<ReactionKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_whether_a_reaction_is_theirs_while_that_is_known() {
        let thumb = ReactionKey::new("👍").unwrap();
        let react = |all: &Reactions, change, user: u64, seq| {
            let reacting = Reacting { target: Seq::FIRST, key: thumb.clone(), change };
            all.behind(&reacting, user, Seq::try_from(seq).unwrap())
        };
        let mine = |all: &Reactions, user| all.told_to(user).first().map(|told| (told.count, told.mine));
        let mut all = Reactions::default();
        for user in 1..=20 {
            all = react(&all, ReactionChange::Add, user, user + 1);
        }
        assert_eq!([mine(&all, 20), mine(&all, 21)], [Some((20, Some(true))), Some((20, Some(false)))]);
        all = react(&all, ReactionChange::Add, 21, 22);
        assert_eq!([mine(&all, 20), mine(&all, 21)], [Some((21, Some(true))), Some((21, None))]);
        all = react(&all, ReactionChange::Remove, 1, 23);
        assert_eq!([mine(&all, 1), mine(&all, 20)], [Some((20, None)), Some((20, Some(true)))]);
        for user in 2..=21 {
            all = react(&all, ReactionChange::Remove, user, user + 30);
        }
        assert_eq!(all, Reactions { to: Seq::try_from(51).unwrap(), ..Reactions::default() });
    }
}
