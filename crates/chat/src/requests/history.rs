//! `history`: older entries of one conversation, for somebody who scrolls up. Moves no cursor.

use chatlane_protocol::frames::{HistoryAnswer, encode};
use chatlane_protocol::limits::{HISTORY_ENTRIES_MAX, PAGE_BYTES_MAX};
use chatlane_protocol::request::History;
use chatlane_protocol::{Entry as WireEntry, ErrorCode, Refusal, Seq};

use crate::log::append::BUSY_RETRY_AFTER_MS;
use crate::log::entry::Entry;
use crate::ports::{Cursors, MessageLog, ReadBound, Unavailable};
use crate::requests::caller::Caller;

/// Entries of the first read; further ones go by their size.
const FIRST_READ: usize = 25;

/// What an answer has beside its entries: up to 262 bytes, with the longest conversation id and a request id of 64 quotes.
const REST_OF_THE_ANSWER: usize = 288;

/// Why there is no history to answer.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// No such conversation, or not for this user.
    #[error("no such conversation")]
    NotFound,
    /// The backend.
    #[error("nothing was read; retry")]
    Unavailable(#[from] Unavailable),
}

impl NotRead {
    /// The one place where refusals of `history` become codes.
    pub fn to_wire(&self) -> Refusal {
        match self {
            Self::NotFound => Refusal::new(ErrorCode::NotFound, self.to_string()),
            Self::Unavailable(_) => Refusal::new(ErrorCode::Unavailable, self.to_string()).after_ms(BUSY_RETRY_AFTER_MS),
        }
    }
}

/// Answers the entries just below `before`, as many as were asked for and fit one page, at least one.
pub async fn history<S: MessageLog + Cursors>(store: &S, caller: &Caller, request: &History) -> Result<HistoryAnswer, NotRead> {
    let conversation = &request.conversation;
    let limit = request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(HISTORY_ENTRIES_MAX).min(HISTORY_ENTRIES_MAX);
    let room = PAGE_BYTES_MAX - REST_OF_THE_ANSWER;

    let mut all: Vec<Entry> = vec![];
    let mut entries_max = FIRST_READ.min(limit);
    let ended = loop {
        let before = all.last().map_or(request.before, |lowest| Some(lowest.position.seq));
        let entries = store.read_back(conversation, before, ReadBound { entries_max, bytes_max: usize::MAX }).await?;
        let ended = entries.len() < entries_max;
        all.extend(entries);
        let bytes: usize = all.iter().map(Entry::stored_bytes).sum();
        if ended || all.len() >= limit || bytes >= room {
            break ended;
        }
        entries_max = ((room - bytes) / (bytes / all.len()).max(1)).clamp(1, limit - all.len());
    };
    // The row after the log (M1).
    let rows = store.inbox_rows(&caller.user, std::slice::from_ref(conversation)).await?;
    let Some(row) = rows.into_iter().flatten().next() else { return Err(NotRead::NotFound) };

    // Up to the first that is not this user's, or is not there any more.
    let highest = all.first().map_or(Seq::ZERO, |entry| entry.position.seq);
    let shown = |(index, entry): &(u64, Entry)| entry.position.seq >= row.visible_from && entry.position.seq == highest.minus(*index);
    let read = all.len();
    let visible: Vec<Entry> = (0..).zip(all).take_while(shown).map(|(_, entry)| entry).collect();
    let mut done = ended || visible.len() < read;
    let (mut entries, mut bytes): (Vec<WireEntry>, usize) = (vec![], 0);
    let count = visible.len();
    for entry in visible {
        let entry = entry.to_wire();
        let size = encode(&entry).len() + 1;
        if bytes + size > room && !entries.is_empty() {
            break;
        }
        bytes += size;
        entries.push(entry);
    }
    done &= entries.len() == count;
    done |= entries.last().is_some_and(|lowest| lowest.position.seq <= row.visible_from);
    entries.reverse();
    Ok(HistoryAnswer { id: request.id.clone(), conversation: conversation.clone(), entries, done })
}
