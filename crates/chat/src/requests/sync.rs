//! `sync`: what a device has missed in many conversations, a page an answer.
//!
//! The log is read first and the caller's rows after it, so that nothing is shown that was written after the caller's removal (M1). The
//! reads depend on what is missing, never on how long the history is.

use chatlane_protocol::frames::{CursorOutcome, Missed, Skip, SyncAnswer, SyncOutcome, SyncPage, encode};
use chatlane_protocol::request::{Sync, SyncFrom};
use chatlane_protocol::{ConversationId, Entry as WireEntry, Seq, UserId};
use futures_util::future::{join_all, try_join};

use super::caller::Caller;
use super::cursors::{self, Cursor};
use crate::done::{Did, Done};
use crate::log::anchor::judge;
use crate::log::{Entry, Head};
use crate::page::Page;
use crate::ports::{Clock, Connections, Failure, FanOutQueue, Heads, InboxRow, Inboxes, MessageLog, Outbound, ReadBound, Run, read_run};
use crate::refusal::Refused;
use crate::settings::Settings;
use crate::workers::dispatch;

/// Entries of the first read of a conversation; further ones go by their size.
const FIRST_READ: usize = 25;

/// Entries of one read.
const READ_MAX: usize = 100;

/// What an answer has beside its entries: type, id, names.
const REST_OF_THE_ANSWER: usize = 256;
const REST_OF_A_PAGE: usize = 160;

/// Answers one page. `ack` is carried out beside it, as [`cursors::advance`] does; the answer says whether all of it was. `Err`: nothing
/// is answered; the same request is safe to repeat.
pub async fn sync<P>(ports: &P, settings: &Settings, caller: &Caller, request: &Sync) -> Result<Done<SyncAnswer>, Failure>
where
    P: MessageLog + Inboxes + Heads + Connections + FanOutQueue + Outbound + Clock,
{
    let acknowledge = async {
        if request.ack.is_empty() {
            return Ok((false, Did::default()));
        }
        match cursors::advance(ports, settings, caller, &request.ack, Cursor::Delivered).await {
            Ok(done) => Ok((done.answer.iter().all(|result| result.outcome == CursorOutcome::Ok), done.did)),
            Err(failure) => {
                failure.log("positions of a sync not acknowledged");
                Ok((false, Did::default()))
            }
        }
    };
    let (pages, (acked, mut did)) = try_join(pages(ports, settings, caller, &request.conversations), acknowledge).await?;
    let own = pages.iter().map(|page| (page.conversation.clone(), own(page, &caller.user))).collect();
    did.tasks = dispatch::queue_not_dispatched(ports, settings.keys.users.sender(&caller.user), own).await?;
    let is_done = |page: &SyncPage| !matches!(&page.outcome, SyncOutcome::Ok(missed) if !missed.done);
    let done = pages.len() == request.conversations.len() && pages.iter().all(is_done);
    Ok(Done { answer: SyncAnswer { id: request.id.clone(), pages, done, acked }, did })
}

/// The caller's own entries, of which this page says that they are stored.
fn own(page: &SyncPage, caller: &UserId) -> Vec<Head> {
    let SyncOutcome::Ok(missed) = &page.outcome else { return vec![] };
    let own = missed.entries.iter().filter(|entry| entry.sender == *caller);
    own.map(|entry| Head { position: entry.position, count: entry.count, time: entry.time_ms }).collect()
}

/// Reads the first conversation alone, and twice as many at once with every round that leaves room: little is read in vain where much is
/// missing, and a hundred conversations with one new entry each take seven rounds.
async fn pages<P: MessageLog + Inboxes>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    wanted: &[SyncFrom],
) -> Result<Vec<SyncPage>, Failure> {
    let mut pages: Vec<SyncPage> = vec![];
    let mut page = Page::new(REST_OF_THE_ANSWER);
    let (mut wave, mut left) = (1, wanted);
    while !left.is_empty() {
        let (now, later) = left.split_at(wave.min(left.len()));
        let room = page.room();
        let runs = join_all(now.iter().map(|from| read_after(ports, &from.conversation, from.after.seq, room))).await;
        let conversations: Vec<ConversationId> = now.iter().map(|from| from.conversation.clone()).collect();
        let rows = match ports.inbox_rows(&caller.user, &conversations).await {
            Ok(rows) => rows,
            Err(_) if !pages.is_empty() => return Ok(pages), // what was read is good; the client asks for the rest
            Err(failure) => return Err(failure),
        };
        for ((from, run), row) in now.iter().zip(runs).zip(rows) {
            let found = match run {
                Ok(run) => found(ports, settings, caller, from, run, row, room).await,
                Err(failure) => Err(failure.into()),
            };
            // One conversation that cannot be read does not keep the others back.
            let found = found.inspect_err(|refused| refused.log(&format!("conversation {} is not synced", from.conversation)));
            page.reserve(REST_OF_A_PAGE + from.conversation.as_str().len());
            let Some(outcome) = cut(found, &mut page) else { return Ok(pages) };
            let whole = !matches!(&outcome, SyncOutcome::Ok(missed) if !missed.done);
            pages.push(SyncPage { conversation: from.conversation.clone(), outcome });
            page.is_begun();
            if !whole || page.room() == 0 {
                return Ok(pages);
            }
        }
        (left, wave) = (later, wave * 2);
    }
    Ok(pages)
}

/// What was found of one conversation, before it is cut to the page.
struct Found {
    /// The entries follow on this, or on `after`.
    skip: Option<Skip>,
    entries: Vec<Entry>,
    /// Whether the log ended behind them.
    ended: bool,
}

/// The entry at `after` (unless that is 0) and what follows it: about as many as `room` bytes hold, at least one if there is one.
struct After {
    run: Run,
    ended: bool,
}

async fn read_after<P: MessageLog>(ports: &P, conversation: &ConversationId, after: Seq, room: usize) -> Result<After, Failure> {
    let mut all: Vec<Entry> = vec![];
    let mut limit = FIRST_READ + usize::from(after > Seq::ZERO);
    loop {
        let from = all.last().map_or(after.max(Seq::FIRST), |last| last.position.seq.next());
        let Run::Whole(entries) = read_run(ports, conversation, from, ReadBound::entries(limit)).await? else {
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

async fn found<P: MessageLog + Inboxes>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    from: &SyncFrom,
    read: After,
    row: Option<InboxRow>,
    room: usize,
) -> Result<Found, Refused> {
    let SyncFrom { conversation, after } = from;
    let row = row.ok_or(Refused::NotFound)?;
    let first_missed = after.seq.next();
    if row.visible_from <= first_missed {
        return following(ports, settings, from, read).await;
    }
    // What lies between is not for this user. Read again from there, and then the row again: in this order (M1).
    let last_hidden = row.visible_from.minus(1);
    let read = read_after(ports, conversation, last_hidden, room).await?;
    let rows = ports.inbox_rows(&caller.user, std::slice::from_ref(conversation)).await?;
    let again = rows.into_iter().flatten().next().ok_or(Refused::NotFound)?;
    if again.visible_from != row.visible_from {
        // Removed and added again meanwhile: still a member, so not `not_found`.
        return Err(Failure::unavailable("read what was missed", "the membership changed meanwhile").into());
    }
    let Run::Whole(mut entries) = read.run else { return Err(Refused::PositionTooOld) };
    if entries.is_empty() {
        // The member's own joining is in the log, so this is a transaction seen half: the next request sees it whole.
        return Err(Failure::unavailable("read what was missed", "the entry of a membership is not there yet").into());
    }
    let hidden = entries.remove(0);
    Ok(Found { skip: Some(Skip { to: hidden.position }), entries, ended: read.ended })
}

async fn following<P: MessageLog>(ports: &P, settings: &Settings, from: &SyncFrom, read: After) -> Result<Found, Refused> {
    let Run::Whole(mut entries) = read.run else { return Err(Refused::PositionTooOld) };
    if from.after.seq > Seq::ZERO {
        let occupant = entries.first().map(|entry| entry.position);
        judge(ports, settings.epoch, &from.conversation, from.after, occupant).await?;
        entries.remove(0);
    }
    Ok(Found { skip: None, entries, ended: read.ended })
}

/// As much as the page takes; its first conversation takes one entry whatever its size. `None`: nothing of it fits.
fn cut(found: Result<Found, Refused>, page: &mut Page) -> Option<SyncOutcome> {
    let Found { skip, entries, ended } = match found {
        Err(refused) => {
            let refusal = refused.to_wire();
            return page.take(encode(&refusal).len()).then_some(SyncOutcome::Refused(refusal));
        }
        Ok(found) => found,
    };
    let all = entries.len();
    let mut taken: Vec<WireEntry> = vec![];
    for entry in entries {
        let entry = entry.to_wire();
        if !page.take(encode(&entry).len() + 1) {
            break;
        }
        taken.push(entry);
    }
    if taken.is_empty() && all > 0 {
        return None;
    }
    let done = ended && taken.len() == all;
    Some(SyncOutcome::Ok(Missed { skip, entries: taken, done }))
}
