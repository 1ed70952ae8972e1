//! A transaction that is seen half: it has taken effect, its writer is not answered yet, and a plain read may still miss any of its items.
//! What is read as a whole waits for its end, and so does whoever wants to write what it has in hand.

use std::any::Any;
use std::collections::BTreeMap;

use chatlane_protocol::{Seq, UserId};

use crate::log::Entry;
use crate::ports::{Change, Failure, Member, Put, RowChange};
use crate::testing::desk::{Outcome as Answered, Waiting};
use crate::testing::memory::{Memory, State};

/// One of them.
pub(super) struct Half {
    /// The attempt whose transaction it is.
    pub(super) attempt: usize,
    call: Waiting<Memory>,
    answer: Box<dyn Answered>,
    slot: Seq,
    entry_is_hidden: bool,
    /// Members' rows that plain reads miss: as they were.
    rows: BTreeMap<UserId, Option<Member>>,
}

/// What becomes of a call that meets it.
pub(super) enum Meeting {
    /// Nothing special.
    Passes,
    /// It waits.
    Waits,
    /// It is refused for conflict.
    Contended,
}

/// The rows of members that this is about to change, as they are.
pub(super) fn rows_before(change: &Change, state: &State) -> BTreeMap<UserId, Option<Member>> {
    let before = |row: &RowChange| {
        let (RowChange::Join(crate::ports::Joining { member, .. }) | RowChange::Role { member, .. } | RowChange::Leave { member, .. }) =
            row;
        let key = (change.entry.conversation.clone(), member.user.clone());
        (member.user.clone(), state.members.get(&key).cloned())
    };
    change.rows.iter().map(before).collect()
}

impl Half {
    /// This change has just taken effect; `Err`: it has not, and the caller is to be answered.
    pub(super) fn of(
        attempt: usize,
        call: Waiting<Memory>,
        answer: Box<dyn Answered>,
        rows: BTreeMap<UserId, Option<Member>>,
    ) -> Result<Self, (Waiting<Memory>, Box<dyn Answered>)> {
        let slot = call.argument::<Change>().map(|change| change.entry.position.seq);
        match ((&*answer as &dyn Any).downcast_ref::<Result<Put, Failure>>(), slot) {
            (Some(Ok(Put::Stored)), Some(slot)) => Ok(Self { attempt, call, answer, slot, entry_is_hidden: true, rows }),
            _ => Err((call, answer)),
        }
    }

    /// The last entry that everybody sees.
    pub(super) fn seen(&self) -> Seq {
        self.slot.minus(1)
    }

    /// What becomes of this call.
    pub(super) fn meets(&self, call: &Waiting<Memory>) -> Meeting {
        match call.method {
            "member_consistent" | "memberships" | "descriptions" => Meeting::Waits,
            "change" => Meeting::Contended,
            "put" if call.argument::<Entry>().is_some_and(|entry| entry.position.seq == self.slot) => Meeting::Contended,
            _ => Meeting::Passes,
        }
    }

    /// The answer of a plain read, without what is hidden.
    pub(super) fn seen_through(&self, call: &Waiting<Memory>, answer: Box<dyn Answered>) -> Box<dyn Answered> {
        let any: &dyn Any = &*answer;
        match call.method {
            "member" => match call.argument::<UserId>().and_then(|user| self.rows.get(user)) {
                Some(before) => Box::new(Ok::<_, Failure>(before.clone())),
                None => answer,
            },
            "read" | "read_back" if self.entry_is_hidden => match any.downcast_ref::<Result<Vec<Entry>, Failure>>() {
                Some(Ok(entries)) if entries.iter().any(|entry| entry.position.seq == self.slot) => {
                    let seen: Vec<Entry> = entries.iter().filter(|entry| entry.position.seq != self.slot).cloned().collect();
                    Box::new(Ok::<_, Failure>(seen))
                }
                _ => answer,
            },
            _ => answer,
        }
    }

    /// One more of its items is seen, any of them; false: all were, and the writer is answered.
    pub(super) fn goes_on(&mut self, any: impl FnOnce(usize) -> usize) -> bool {
        let hidden = self.rows.len() + usize::from(self.entry_is_hidden);
        if hidden == 0 {
            return false;
        }
        match self.rows.keys().nth(any(hidden)).cloned() {
            Some(user) => _ = self.rows.remove(&user),
            None => self.entry_is_hidden = false,
        }
        true
    }

    /// The writer is answered.
    pub(super) fn end(self) {
        self.call.answer(self.answer);
    }
}
