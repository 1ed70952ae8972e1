//! The log of every conversation: the only truth.

use chatlane_protocol::{ConversationId, Seq};

use super::{Failure, port};
use crate::log::entry::Entry;

port! {
    /// The log of every conversation: the only truth.
    pub trait MessageLog {
        /// The stored entries from `from` upward, ascending, until there are no more or the bound is [reached](ReadBound::is_reached_by).
        /// Never passes over a stored entry. Reads little more than it answers: small steps until the size of entries is known.
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
    let read = async || {
        let entries = log.read(conversation, from, bound).await?;
        let consecutive = (from.get()..).zip(&entries).all(|(seq, entry)| entry.position.seq.get() == seq);
        Ok(if consecutive { Run::Whole(entries) } else { Run::Broken(entries) })
    };
    match read().await? {
        Run::Broken(_) => read().await,
        whole @ Run::Whole(_) => Ok(whole),
    }
}

/// The entry with the highest seq.
pub async fn last(log: &impl MessageLog, conversation: &ConversationId) -> Result<Option<Entry>, Failure> {
    Ok(log.read_back(conversation, None, ReadBound::ONE).await?.pop())
}

/// The last entry of which these tell something.
pub fn tells_up_to(entries: &[Entry]) -> Seq {
    entries.iter().map(Entry::tells_up_to).max().unwrap_or(Seq::ZERO)
}

/// What a read without gaps brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// The entries from the asked seq on, consecutive; empty if that one and all after it do not exist.
    Whole(Vec<Entry>),
    /// An entry is missing below one that exists: what was read.
    Broken(Vec<Entry>),
}

impl Run {
    fn entries(&self) -> &[Entry] {
        let (Self::Whole(entries) | Self::Broken(entries)) = self;
        entries
    }

    /// The highest entry that was read.
    pub fn last(&self) -> Option<&Entry> {
        self.entries().last()
    }

    /// The last entry of which what was read tells something.
    pub fn tells_up_to(&self) -> Seq {
        tells_up_to(self.entries())
    }

    /// What was read, in bytes.
    pub fn stored_bytes(&self) -> usize {
        self.entries().iter().map(Entry::stored_bytes).sum()
    }
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBound {
    /// Entries.
    pub entries_max: usize,
    /// Bytes, as [`Entry::stored_bytes`] counts them. The entry with which their sum exceeds it is the last.
    pub bytes_max: usize,
    /// So many entries at the beginning count for neither: the reader has them, and only wants to see that they are there.
    pub had: usize,
}

impl ReadBound {
    /// One entry, whatever its size.
    pub const ONE: Self = Self::entries(1);

    /// So many entries, whatever their size.
    pub const fn entries(entries_max: usize) -> Self {
        Self { entries_max, bytes_max: usize::MAX, had: 0 }
    }

    /// Entries until there are more than so many bytes of them.
    pub const fn bytes(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::entries(usize::MAX) }
    }

    /// Behind an entry that the reader has, if it has one.
    #[must_use]
    pub const fn behind(self, one: bool) -> Self {
        Self { had: one as usize, ..self }
    }

    /// Whether no more than these are read. If not, and these are all that came, nothing lies behind them.
    pub fn is_reached_by(&self, entries: &[Entry]) -> bool {
        let counted = entries.get(self.had..).unwrap_or_default();
        counted.len() >= self.entries_max || counted.iter().map(Entry::stored_bytes).sum::<usize>() > self.bytes_max
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
