//! A member's row is read before the log, so that a stranger costs the same whether the conversation exists or not (R1). What the log then
//! shows may be newer than the row, and the member may have been removed between the two: then the row is read again behind it (M1).

use chatlane_protocol::Seq;

use super::entry::Entry;

/// When a row that was read before the log is read again behind it, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recheck {
    /// Where the last entry that was read tells of a change of membership among so many entries up to itself, and the row is older.
    pub entries: u64,
    /// Where more milliseconds lie between the two reads. A lane takes about 230 entries a second (one put after the other, each 4.5 ms),
    /// so in less time fewer than [`Recheck::entries`] have come, and a change in that time is among them.
    pub apart_ms: u64,
}

impl Recheck {
    /// The documented one.
    pub const DEFAULT: Self = Self { entries: 200, apart_ms: 500 };

    /// Whether the row of this version is read again. `last` is the highest entry that was read, `apart_ms` the time from before the row was
    /// asked for until after the log was answered.
    pub fn is_due(self, version: Seq, last: Option<&Entry>, apart_ms: u64) -> bool {
        let may_have_changed = last.is_some_and(|last| {
            let changed = last.facts.membership_changed;
            version < changed && last.position.seq.get().saturating_sub(changed.get()) < self.entries
        });
        may_have_changed || apart_ms > self.apart_ms
    }
}
