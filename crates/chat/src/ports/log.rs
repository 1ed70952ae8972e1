//! The log of every conversation: the only truth.

use chatlane_protocol::{ConversationId, Seq};

use super::{Failure, port};
use crate::log::entry::Entry;

port! {
    /// The log of every conversation: the only truth.
    pub trait MessageLog {
        /// The stored entries from `from` upward, ascending, at most `bound.entries_max`; reading also stops after the entry with which
        /// the sum of [`Entry::stored_bytes`] exceeds `bound.bytes_max`. Never passes over a stored entry.
        reads fn read(conversation: &ConversationId; from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Failure>;

        /// The stored entries below `before` (`None`: from the end of the log), descending, bounded as [`MessageLog::read`].
        reads fn read_back(conversation: &ConversationId; before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Failure>;

        /// The entries in these slots, none named twice, in their order.
        reads fn at(slots: &[(ConversationId, Seq)];) -> Result<Vec<Option<Entry>>, Failure>;

        /// Stores the entry if its slot is free, in one atomic step (L1, L2, L3).
        writes fn put(entry: &Entry;) -> Result<Put, Failure>;
    }
}

/// [`MessageLog::read`] as a run without a gap: `from`, `from` + 1, …. Where a read shows a gap with an entry behind it, it is read again
/// once; a slot below an entry that was seen is never claimed (L1).
pub async fn read_run(log: &impl MessageLog, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Run, Failure> {
    for _ in 0..2 {
        let entries = log.read(conversation, from, bound).await?;
        let consecutive = (from.get()..).zip(&entries).all(|(seq, entry)| entry.position.seq.get() == seq);
        if consecutive {
            return Ok(Run::Whole(entries));
        }
    }
    Ok(Run::Broken)
}

/// The entry with the highest seq.
pub async fn last(log: &impl MessageLog, conversation: &ConversationId) -> Result<Option<Entry>, Failure> {
    Ok(log.read_back(conversation, None, ReadBound::ONE).await?.pop())
}

/// What a read without gaps brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// The entries from the asked seq on, consecutive; empty if that one and all after it do not exist.
    Whole(Vec<Entry>),
    /// An entry is missing below one that exists.
    Broken,
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBound {
    /// Entries.
    pub entries_max: usize,
    /// Bytes, as [`Entry::stored_bytes`] counts them.
    pub bytes_max: usize,
}

impl ReadBound {
    /// One entry, whatever its size.
    pub const ONE: Self = Self::entries(1);

    /// So many entries, whatever their size.
    pub const fn entries(entries_max: usize) -> Self {
        Self { entries_max, bytes_max: usize::MAX }
    }
}

/// What became of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Stored; durable.
    Stored,
    /// The slot holds this entry. It may be the caller's own, written by an attempt whose answer was lost.
    Taken(Box<Entry>),
    /// A transaction had the slot in hand; nothing was stored.
    Contended,
}
