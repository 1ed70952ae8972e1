//! `sync`: what a device has missed in many conversations, a page an answer.
//!
//! The caller's rows are read first, so that a stranger's conversations cost the same whether they exist or not (R1), and again where the
//! log may be newer (M1). The reads depend on what is missing, never on how long the history is.

use chatlane_protocol::frames::{CursorOutcome, Missed, Skip, SyncAnswer, SyncOutcome, SyncPage, encode};
use chatlane_protocol::request::{Sync, SyncFrom};
use chatlane_protocol::{ConversationId, Entry as WireEntry, Seq, UserId};
use futures_util::future::{join_all, try_join};

use super::caller::Caller;
use super::cursors::{self, Cursor, Told};
use super::rows::{self, Reader, Standing};
use crate::allowance::Allowances;
use crate::done::{Did, Done};
use crate::log::anchor::judge;
use crate::log::{Entry, Head};
use crate::page::Page;
use crate::ports::{Clock, Connections, Failure, FanOutQueue, Heads, Inboxes, Memberships, MessageLog, Outbound, ReadBound, read_run};
use crate::refusal::Refused;
use crate::settings::Settings;
use crate::workers::dispatch;

/// What an answer has beside its entries: type, id, names.
const REST_OF_THE_ANSWER: usize = 256;
const REST_OF_A_PAGE: usize = 160;

/// Answers one page. `ack` is carried out beside it, as [`cursors::advance`] does; the answer says whether all of it was. `Err`: nothing
/// is answered; the same request is safe to repeat.
pub async fn sync<P>(ports: &P, settings: &Settings, caller: &Caller, request: &Sync) -> Result<Done<SyncAnswer>, Failure>
where
    P: MessageLog + Inboxes + Memberships + Heads + Connections + FanOutQueue + Outbound + Clock,
{
    let allowances = Allowances::new();
    let acknowledge = async {
        if request.ack.is_empty() {
            return Ok((false, Did::default()));
        }
        match cursors::advance(ports, settings, caller, &request.ack, (Cursor::Delivered, Told::Others), &allowances).await {
            Ok(done) => Ok((done.answer.iter().all(|result| result.outcome == CursorOutcome::Ok), done.did)),
            Err(failure) => {
                failure.log("positions of a sync not acknowledged");
                Ok((false, Did::default()))
            }
        }
    };
    let (pages, (acked, mut did)) = try_join(pages(ports, settings, caller, &request.conversations, &allowances), acknowledge).await?;
    let (pages, own): (Vec<SyncPage>, Vec<Vec<Head>>) = pages.into_iter().unzip();
    // The caller's own entries, of which a page says that they are stored.
    let own = pages.iter().map(|page| page.conversation.clone()).zip(own).collect();
    did.tasks = dispatch::queue_not_dispatched(ports, settings.keys.users.sender(&caller.user), own).await?;
    let is_done = |page: &SyncPage| !matches!(&page.outcome, SyncOutcome::Ok(missed) if !missed.done);
    let done = pages.len() == request.conversations.len() && pages.iter().all(is_done);
    Ok(Done { answer: SyncAnswer { id: request.id.clone(), pages, done, acked }, did })
}

/// Conversations that are read at once.
const WAVE_MAX: usize = 16;

/// Bytes of each of them where they are several: a few short messages. Of what has more, the rest is read when its turn comes, as far as the
/// page goes.
const GLANCE_BYTES: usize = 1024;

/// Reads the first conversation alone, and twice as many at once with every round that leaves room, up to [`WAVE_MAX`]: little is read in
/// vain where much is missing, and a hundred conversations with one new entry each take ten rounds.
async fn pages<P: MessageLog + Inboxes + Memberships + Clock>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    wanted: &[SyncFrom],
    allowances: &Allowances,
) -> Result<Vec<(SyncPage, Vec<Head>)>, Failure> {
    let mut pages = vec![];
    let mut page = Page::of(caller, REST_OF_THE_ANSWER);
    let (mut wave, mut left) = (1, wanted);
    while !left.is_empty() {
        let (now, later) = left.split_at(wave.min(left.len()));
        let each = if now.len() == 1 { page.room() } else { GLANCE_BYTES };
        let conversations: Vec<ConversationId> = now.iter().map(|from| from.conversation.clone()).collect();
        let rows = match rows::read(ports, &caller.user, &conversations, &allowances.settled).await {
            Ok(rows) => rows,
            Err(failure) if !pages.is_empty() => {
                failure.log("a sync ends with what was read so far");
                return Ok(pages); // that is good; the client asks for the rest
            }
            Err(failure) => return Err(failure),
        };
        let all = now.iter().zip(rows).map(|(from, standing)| missed(ports, settings, caller, from, standing, each, allowances));
        for (from, found) in now.iter().zip(join_all(all).await) {
            page.reserve(REST_OF_A_PAGE + from.conversation.as_str().len());
            let found = match found {
                Ok(found) if now.len() > 1 => found.with_the_rest(ports, caller, page.room(), allowances).await,
                found => found,
            };
            // One conversation that cannot be read does not keep the others back.
            let found = found.inspect_err(|refused| refused.log(&format!("conversation {} is not synced", from.conversation)));
            let Some((outcome, own)) = cut(found, &mut page, &caller.user) else { return Ok(pages) };
            let whole = !matches!(&outcome, SyncOutcome::Ok(missed) if !missed.done);
            pages.push((SyncPage { conversation: from.conversation.clone(), outcome }, own));
            page.is_begun();
            if !whole || page.room() == 0 {
                return Ok(pages);
            }
        }
        if allowances.has_read_enough() {
            return Ok(pages);
        }
        (left, wave) = (later, WAVE_MAX.min(wave * 2));
    }
    Ok(pages)
}

/// What was found of one conversation, before it is cut to the page.
struct Found {
    reader: Reader,
    /// The entries follow on this, or on `after`.
    skip: Option<Skip>,
    entries: Vec<Entry>,
    /// Whether the log ended behind them.
    ended: bool,
}

impl Found {
    /// Reads on, up to so many bytes in all.
    async fn with_the_rest<P: MessageLog + Memberships + Clock>(
        mut self,
        ports: &P,
        caller: &Caller,
        room: usize,
        allowances: &Allowances,
    ) -> Result<Self, Refused> {
        let bytes: usize = self.entries.iter().map(Entry::stored_bytes).sum();
        let Some(last) = self.entries.last().filter(|_| !self.ended && bytes < room) else { return Ok(self) };
        let bound = ReadBound::bytes(room - bytes).behind(true);
        let run = read_run(ports, self.reader.conversation(), last.position.seq, bound).await?;
        allowances.has_read(run.stored_bytes());
        let (more, is_all) = self.reader.may_see(ports, &caller.user, run, bound).await?;
        self.ended = is_all;
        self.entries.extend(more.into_iter().skip(1));
        Ok(self)
    }
}

/// What follows on `after`: about as many entries as `room` bytes hold, at least one if there is one.
async fn missed<P: MessageLog + Memberships + Clock>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    from: &SyncFrom,
    standing: Result<Standing, Refused>,
    room: usize,
    allowances: &Allowances,
) -> Result<Found, Refused> {
    let SyncFrom { conversation, after } = from;
    let mut reader = Reader::of(conversation, standing)?;
    if reader.ended().is_some_and(|end| *after >= end) {
        return Ok(Found { reader, skip: None, entries: vec![], ended: true }); // and nothing is read that is not for them
    }
    // What lies below is not for this user.
    let last_hidden = reader.visible_from().minus(1);
    let has = after.seq.max(last_hidden);
    let bound = ReadBound::bytes(room).behind(has > Seq::ZERO);
    let run = read_run(ports, conversation, has.max(Seq::FIRST), bound).await?;
    allowances.has_read(run.stored_bytes());
    let (mut entries, ended) = reader.may_see(ports, &caller.user, run, bound).await?;
    let mut skip = None;
    if after.seq < last_hidden {
        if entries.is_empty() {
            // The member's own joining is in the log, so this is a transaction seen half: the next request sees it whole.
            return Err(Failure::unavailable("read what was missed", "the entry of a membership is not there yet").into());
        }
        skip = Some(Skip { to: entries.remove(0).position });
    } else if after.seq > Seq::ZERO {
        judge(ports, settings.epoch, conversation, *after, entries.first().map(|entry| entry.position), &allowances.searches).await?;
        entries.remove(0);
    }
    Ok(Found { reader, skip, entries, ended })
}

/// As much as the page takes, and the caller's own of it; its first conversation takes one entry whatever its size. `None`: nothing of it
/// fits.
fn cut(found: Result<Found, Refused>, page: &mut Page, caller: &UserId) -> Option<(SyncOutcome, Vec<Head>)> {
    let Found { reader, skip, entries, ended } = match found {
        Err(refused) => {
            let refusal = refused.to_wire();
            return page.take(encode(&refusal).len()).then_some((SyncOutcome::Refused(refusal), vec![]));
        }
        Ok(found) => found,
    };
    let all = entries.len();
    let (mut taken, mut own): (Vec<WireEntry>, Vec<Head>) = (vec![], vec![]);
    for entry in entries {
        let wire = reader.is_told(&entry);
        if !page.take(encode(&wire).len() + 1) {
            break;
        }
        taken.push(wire);
        own.extend((entry.sender == *caller).then(|| entry.head()));
    }
    if taken.is_empty() && all > 0 {
        return None;
    }
    let done = ended && taken.len() == all;
    Some((SyncOutcome::Ok(Missed { skip, entries: taken, done, ended: reader.ended() }), own))
}
