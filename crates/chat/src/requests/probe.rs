//! `probe`: which messages of the caller are in the log after an anchor, for a client whose anchor is too far behind to send and that
//! has not fetched what lies between.

use chatlane_protocol::frames::{Found, ProbeAnswer, Stored};
use chatlane_protocol::limits::{PROBE_BYTES_MAX, PROBE_ENTRIES_MAX};
use chatlane_protocol::request::Probe;
use chatlane_protocol::{Position, Refusal, Seq};

use crate::log::anchor::{BadPosition, judge};
use crate::log::entry::Entry;
use crate::ports::{Clock, Cursors, FanOutQueue, Head, Heads, MessageLog, ReadBound, Run, Unavailable};
use crate::requests::caller::Caller;
use crate::requests::sync::not_found;
use crate::settings::Settings;
use crate::workers::dispatch;

/// Why nothing was looked through.
#[derive(Debug, thiserror::Error)]
pub enum NotProbed {
    /// No such conversation, or not for this user.
    #[error("no such conversation")]
    NotFound,
    /// The anchor.
    #[error(transparent)]
    Anchor(#[from] BadPosition),
}

impl From<Unavailable> for NotProbed {
    fn from(unavailable: Unavailable) -> Self {
        Self::Anchor(unavailable.into())
    }
}

impl NotProbed {
    /// The one place where refusals of `probe` become codes.
    pub fn to_wire(&self) -> Refusal {
        match self {
            Self::NotFound => not_found(),
            Self::Anchor(bad) => bad.to_wire(),
        }
    }
}

/// Looks through the entries after the anchor, at most a thousand or 1 MB of them. What it reaches may become the anchor of the messages
/// that it has not found: every entry up to there was looked at, and slots never change hands (L2).
pub async fn probe<S, Q, C>(
    store: &S,
    queue: &Q,
    clock: &C,
    settings: &Settings,
    caller: &Caller,
    request: &Probe,
) -> Result<ProbeAnswer, NotProbed>
where
    S: MessageLog + Cursors + Heads,
    Q: FanOutQueue,
    C: Clock,
{
    let Probe { id, conversation, anchor, ids } = request;
    let anchored = anchor.seq > Seq::ZERO;
    let entries_max = PROBE_ENTRIES_MAX + usize::from(anchored);
    let bound = ReadBound { entries_max, bytes_max: PROBE_BYTES_MAX };
    let run = store.read_run(conversation, anchor.seq.max(Seq::FIRST), bound).await?;
    // The row after the log (M1).
    let rows = store.inbox_rows(&caller.user, std::slice::from_ref(conversation)).await?;
    if !rows.iter().any(Option::is_some) {
        return Err(NotProbed::NotFound);
    }
    let Run::Whole(entries) = run else { return Err(BadPosition::TooOld.into()) };
    if anchored {
        judge(store, settings.epoch, conversation, *anchor, entries.first().map(|entry| entry.position)).await?;
    }
    let bytes: usize = entries.iter().map(Entry::stored_bytes).sum();
    let done = entries.len() < entries_max && bytes <= PROBE_BYTES_MAX;
    let reached = entries.last().map_or(Position::ZERO, |last| last.position);
    let is_found = |entry: &Entry| entry.sender == caller.user && ids.contains(&entry.client_message_id);
    let own: Vec<Entry> = entries.into_iter().filter(is_found).collect();
    let heads = own.iter().map(|entry| Head { position: entry.position, count: entry.facts.count, time: entry.time }).collect();
    dispatch::queue_not_begun(store, queue, clock.now(), vec![(conversation.clone(), heads)]).await?;
    let found = own.into_iter().map(|entry| Found {
        stored: Stored { position: entry.position, time_ms: entry.time, count: entry.facts.count },
        client_message_id: entry.client_message_id,
    });
    Ok(ProbeAnswer { id: id.clone(), conversation: conversation.clone(), found: found.collect(), reached, done })
}
