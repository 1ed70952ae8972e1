//! `sync`: what a device has missed in many conversations, a page an answer.
//!
//! The log is read first and the caller's rows after it, so that nothing is shown that was written after the caller's removal (M1). The
//! reads depend on what is missing, never on how long the history is.

use chatlane_protocol::frames::{CursorOutcome, Missed, Skip, SyncAnswer, SyncOutcome, SyncPage, encode};
use chatlane_protocol::limits::PAGE_BYTES_MAX;
use chatlane_protocol::request::{Sync, SyncFrom};
use chatlane_protocol::{ConversationId, Entry as WireEntry, ErrorCode, Position, Refusal, Seq, UserId};
use futures_util::future::{join_all, try_join};

use crate::log::anchor::judge;
use crate::log::entry::Entry;
use crate::ports::{Clock, Cursors, FanOutQueue, Head, Heads, InboxRow, MessageLog, Outbound, ReadBound, Run, Sessions, Unavailable};
use crate::requests::caller::Caller;
use crate::requests::cursors::{self, Cursor};
use crate::settings::Settings;
use crate::workers::dispatch;

/// Entries of the first read of a conversation; further ones go by their size.
const FIRST_READ: usize = 25;

/// Entries of one read.
const READ_MAX: usize = 100;

/// What an answer has beside its entries: type, id, names.
const REST_OF_THE_ANSWER: usize = 256;
const REST_OF_A_PAGE: usize = 160;

/// Answers one page. `ack` is carried out beside it, as [`cursors::advance`] does; the answer tells whether all of it was. `Err`: nothing
/// is told; the same request is safe to repeat.
pub async fn sync<S, Q, O, C>(
    store: &S,
    queue: &Q,
    outbound: &O,
    clock: &C,
    settings: &Settings,
    caller: &Caller,
    request: &Sync,
) -> Result<SyncAnswer, Unavailable>
where
    S: MessageLog + Cursors + Heads + Sessions,
    Q: FanOutQueue,
    O: Outbound,
    C: Clock,
{
    let acknowledge = async {
        if request.ack.is_empty() {
            return Ok(false);
        }
        match cursors::advance(store, outbound, clock, settings, caller, &request.ack, Cursor::Delivered).await {
            Ok(results) => Ok(results.iter().all(|result| result.outcome == CursorOutcome::Ok)),
            Err(unavailable) => {
                tracing::warn!("positions of a sync not acknowledged: {unavailable}");
                Ok(false)
            }
        }
    };
    let (pages, acked) = try_join(pages(store, settings, caller, &request.conversations), acknowledge).await?;
    let own = pages.iter().map(|page| (page.conversation.clone(), own(page, &caller.user))).collect();
    dispatch::queue_not_begun(store, queue, clock.now(), own).await?;
    let is_done = |page: &SyncPage| !matches!(&page.outcome, SyncOutcome::Ok(missed) if !missed.done);
    let done = pages.len() == request.conversations.len() && pages.iter().all(is_done);
    Ok(SyncAnswer { id: request.id.clone(), pages, done, acked })
}

/// The caller's own entries, which this page tells them are stored.
fn own(page: &SyncPage, caller: &UserId) -> Vec<Head> {
    let SyncOutcome::Ok(missed) = &page.outcome else { return vec![] };
    let own = missed.entries.iter().filter(|entry| entry.sender == *caller);
    own.map(|entry| Head { position: entry.position, count: entry.count, time: entry.time_ms }).collect()
}

/// Reads the first conversation alone, and twice as many at once with every round that leaves room: little is read in vain where much is
/// missing, and a hundred conversations with one new entry each take seven rounds.
async fn pages<S: MessageLog + Cursors>(
    store: &S,
    settings: &Settings,
    caller: &Caller,
    wanted: &[SyncFrom],
) -> Result<Vec<SyncPage>, Unavailable> {
    let mut pages: Vec<SyncPage> = vec![];
    let (mut bytes, mut wave, mut left) = (REST_OF_THE_ANSWER, 1, wanted);
    while !left.is_empty() {
        let (now, later) = left.split_at(wave.min(left.len()));
        let room = PAGE_BYTES_MAX.saturating_sub(bytes);
        let runs = join_all(now.iter().map(|from| read_after(store, &from.conversation, from.after.seq, room))).await;
        let conversations: Vec<ConversationId> = now.iter().map(|from| from.conversation.clone()).collect();
        let rows = match store.inbox_rows(&caller.user, &conversations).await {
            Ok(rows) => rows,
            Err(_) if !pages.is_empty() => return Ok(pages), // what was read is good; the client asks for the rest
            Err(unavailable) => return Err(unavailable),
        };
        for ((from, run), row) in now.iter().zip(runs).zip(rows) {
            let found = match run {
                Ok(run) => outcome(store, settings, caller, from, run, row, room).await,
                Err(unavailable) => Err(unavailable),
            };
            // One conversation that cannot be read does not keep the others back.
            let found = found.unwrap_or_else(|unavailable| {
                tracing::warn!(conversation = %from.conversation, "not synced: {unavailable}");
                Found::Refused(crate::log::anchor::BadPosition::Unavailable(unavailable).to_wire())
            });
            bytes += REST_OF_A_PAGE + from.conversation.as_str().len();
            let (outcome, size) = cut(found, PAGE_BYTES_MAX.saturating_sub(bytes), pages.is_empty());
            let Some(outcome) = outcome else { return Ok(pages) };
            let whole = !matches!(&outcome, SyncOutcome::Ok(missed) if !missed.done);
            bytes += size;
            pages.push(SyncPage { conversation: from.conversation.clone(), outcome });
            if !whole || bytes >= PAGE_BYTES_MAX {
                return Ok(pages);
            }
        }
        (left, wave) = (later, wave * 2);
    }
    Ok(pages)
}

/// What was found of one conversation, before it is cut to the page.
enum Found {
    Refused(Refusal),
    /// Entries that follow on `skip` or on `after`; whether the log ended behind them.
    Entries(Option<Skip>, Vec<Entry>, bool),
}

/// The entry at `after` (unless that is 0) and what follows it: about as many as `room` bytes hold, at least one if there is one.
struct After {
    run: Run,
    ended: bool,
}

async fn read_after<S: MessageLog>(store: &S, conversation: &ConversationId, after: Seq, room: usize) -> Result<After, Unavailable> {
    let mut all: Vec<Entry> = vec![];
    let mut limit = FIRST_READ + usize::from(after > Seq::ZERO);
    loop {
        let from = all.last().map_or(after.max(Seq::FIRST), |last| last.position.seq.next());
        let Run::Whole(entries) = store.read_run(conversation, from, ReadBound { entries_max: limit, bytes_max: usize::MAX }).await? else {
            return Ok(After { run: Run::Broken, ended: false });
        };
        let ended = entries.len() < limit;
        all.extend(entries);
        let bytes: usize = all.iter().filter(|entry| entry.position.seq > after).map(Entry::stored_bytes).sum();
        if ended || bytes >= room {
            return Ok(After { run: Run::Whole(all), ended });
        }
        limit = ((room - bytes) / (bytes / all.len()).max(1)).clamp(1, READ_MAX);
    }
}

async fn outcome<S: MessageLog + Cursors>(
    store: &S,
    settings: &Settings,
    caller: &Caller,
    from: &SyncFrom,
    read: After,
    row: Option<InboxRow>,
    room: usize,
) -> Result<Found, Unavailable> {
    let SyncFrom { conversation, after } = from;
    let Some(row) = row else { return Ok(Found::Refused(not_found())) };
    let first_missed = after.seq.next();
    if row.visible_from <= first_missed {
        return following(store, settings, from, read).await;
    }
    // What lies between is not for this user. Read again from there, and then the row again: in this order (M1).
    let last_hidden = row.visible_from.minus(1);
    let read = read_after(store, conversation, last_hidden, room).await?;
    let rows = store.inbox_rows(&caller.user, std::slice::from_ref(conversation)).await?;
    match rows.into_iter().flatten().next() {
        None => return Ok(Found::Refused(not_found())),
        // Removed and added again meanwhile: still a member, so not `not_found`.
        Some(again) if again.visible_from != row.visible_from => {
            return Err(Unavailable::new("read what was missed", "the membership changed meanwhile"));
        }
        Some(_) => {}
    }
    let Run::Whole(mut entries) = read.run else { return Ok(Found::Refused(crate::log::anchor::BadPosition::TooOld.to_wire())) };
    if entries.is_empty() {
        // The member's own joining is in the log, so this is a transaction seen half: the next request sees it whole.
        return Err(Unavailable::new("read what was missed", "the entry of a membership is not there yet"));
    }
    let hidden = entries.remove(0);
    Ok(Found::Entries(Some(Skip { to: hidden.position }), entries, read.ended))
}

async fn following<S: MessageLog>(store: &S, settings: &Settings, from: &SyncFrom, read: After) -> Result<Found, Unavailable> {
    let Run::Whole(mut entries) = read.run else { return Ok(Found::Refused(crate::log::anchor::BadPosition::TooOld.to_wire())) };
    if from.after.seq > Seq::ZERO {
        let occupant = entries.first().map(|entry| entry.position);
        match judge(store, settings.epoch, &from.conversation, from.after, occupant).await {
            Ok(()) => {}
            Err(crate::log::anchor::BadPosition::Unavailable(unavailable)) => return Err(unavailable),
            Err(bad) => return Ok(Found::Refused(bad.to_wire())),
        }
        entries.remove(0);
    }
    Ok(Found::Entries(None, entries, read.ended))
}

/// As much as fits into `room`, with its size; `first` takes one entry whatever its size. `None`: nothing of it fits.
fn cut(found: Found, room: usize, first: bool) -> (Option<SyncOutcome>, usize) {
    let (skip, entries, ended) = match found {
        Found::Refused(refusal) => {
            let size = encode(&refusal).len();
            return if first || size <= room { (Some(SyncOutcome::Refused(refusal)), size) } else { (None, 0) };
        }
        Found::Entries(skip, entries, ended) => (skip, entries, ended),
    };
    let all = entries.len();
    let (mut taken, mut bytes): (Vec<WireEntry>, usize) = (vec![], 0);
    for entry in entries {
        let entry = entry.to_wire();
        let size = encode(&entry).len() + 1;
        if bytes + size > room && !(first && taken.is_empty()) {
            break;
        }
        bytes += size;
        taken.push(entry);
    }
    if taken.is_empty() && all > 0 {
        return (None, 0);
    }
    let done = ended && taken.len() == all;
    (Some(SyncOutcome::Ok(Missed { skip, entries: taken, done })), bytes)
}

/// The same for a conversation that does not exist and one of others (R1).
pub(crate) fn not_found() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such conversation")
}

/// A position that nothing follows on.
pub(crate) const fn is_zero(position: Position) -> bool {
    position.seq.get() == 0
}
