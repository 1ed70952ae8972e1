//! A transaction that is seen half: it has taken effect, its writer is not answered yet, and a plain read may still miss any of its items.
//! What is read as a whole waits for its end, and so does whoever wants to write what it has in hand.

use std::any::Any;
use std::collections::BTreeMap;

use chatlane_protocol::{Seq, UserId};

use crate::log::Entry;
use crate::ports::{Amendment, Amends, Change, Failure, Joining, Member, Put, RowChange};
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
    /// What plain reads still see as it was.
    before: Before,
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

/// What a transaction is about to change, as it is: what plain reads may still see.
#[derive(Default)]
pub(super) struct Before {
    /// Rows of members.
    rows: BTreeMap<UserId, Option<Member>>,
    /// Entries.
    entries: BTreeMap<Seq, Entry>,
}

impl Before {
    /// Of this call.
    pub(super) fn of(call: &Waiting<Memory>, state: &State) -> Self {
        if let Some(change) = call.argument::<Change>() {
            let before = |row: &RowChange| {
                let (RowChange::Join(Joining { member, .. }) | RowChange::Role { member, .. } | RowChange::Leave { member, .. }) = row;
                let key = (change.entry.conversation.clone(), member.user.clone());
                (member.user.clone(), state.members.get(&key).cloned())
            };
            return Self { rows: change.rows.iter().map(before).collect(), ..Self::default() };
        }
        let Some(Amendment { entry, amends }) = call.argument::<Amendment>() else { return Self::default() };
        let changed: Vec<Seq> = match amends {
            Amends::Edit { was, .. } => vec![was.position.seq],
            Amends::Deletion { was, edits } => edits.iter().copied().chain([was.position.seq]).collect(),
            Amends::Reaction { .. } => vec![],
        };
        let log = &state.log[&entry.conversation];
        Self { entries: changed.into_iter().filter_map(|seq| Some((seq, log.get(&seq)?.clone()))).collect(), ..Self::default() }
    }
}

impl Half {
    /// This change has just taken effect; `Err`: it has not, and the caller is to be answered.
    pub(super) fn of(
        attempt: usize,
        call: Waiting<Memory>,
        answer: Box<dyn Answered>,
        before: Before,
    ) -> Result<Self, (Waiting<Memory>, Box<dyn Answered>)> {
        let slot = call.argument::<Change>().map(|change| change.entry.position.seq);
        let slot = slot.or_else(|| call.argument::<Amendment>().map(|amendment| amendment.entry.position.seq));
        match ((&*answer as &dyn Any).downcast_ref::<Result<Put, Failure>>(), slot) {
            (Some(Ok(Put::Stored)), Some(slot)) => Ok(Self { attempt, call, answer, slot, entry_is_hidden: true, before }),
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
            "member_consistent" | "memberships" | "descriptions" | "entry_consistent" | "reacted" => Meeting::Waits,
            "change" | "amend" => Meeting::Contended,
            "put" if call.argument::<Entry>().is_some_and(|entry| entry.position.seq == self.slot) => Meeting::Contended,
            _ => Meeting::Passes,
        }
    }

    /// The answer of a plain read, without what is hidden.
    pub(super) fn seen_through(&self, call: &Waiting<Memory>, answer: Box<dyn Answered>) -> Box<dyn Answered> {
        let any: &dyn Any = &*answer;
        match call.method {
            "member" => match call.argument::<UserId>().and_then(|user| self.before.rows.get(user)) {
                Some(before) => Box::new(Ok::<_, Failure>(before.clone())),
                None => answer,
            },
            "read" | "read_back" => match any.downcast_ref::<Result<Vec<Entry>, Failure>>() {
                Some(Ok(entries)) => {
                    let is_seen = |entry: &&Entry| !self.entry_is_hidden || entry.position.seq != self.slot;
                    let as_before = |entry: &Entry| self.before.entries.get(&entry.position.seq).unwrap_or(entry).clone();
                    let seen: Vec<Entry> = entries.iter().filter(is_seen).map(as_before).collect();
                    Box::new(Ok::<_, Failure>(seen))
                }
                _ => answer,
            },
            _ => answer,
        }
    }

    /// One more of its items is seen, any of them; false: all were, and the writer is answered.
    pub(super) fn goes_on(&mut self, any: impl FnOnce(usize) -> usize) -> bool {
        let Before { rows, entries } = &mut self.before;
        let hidden = rows.len() + entries.len() + usize::from(self.entry_is_hidden);
        if hidden == 0 {
            return false;
        }
        let next = any(hidden);
        if let Some(user) = rows.keys().nth(next).cloned() {
            rows.remove(&user);
        } else if let Some(seq) = entries.keys().nth(next - rows.len()).copied() {
            entries.remove(&seq);
        } else {
            self.entry_is_hidden = false;
        }
        true
    }

    /// The writer is answered.
    pub(super) fn end(self) {
        self.call.answer(self.answer);
    }
}
