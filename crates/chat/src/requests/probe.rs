//! `probe`: which messages of the caller are in the log after an anchor, for a client whose anchor is too far behind to send and that
//! has not fetched what lies between.

use chatlane_protocol::Position;
use chatlane_protocol::Seq;
use chatlane_protocol::frames::{Found, ProbeAnswer};
use chatlane_protocol::limits::PROBE_BYTES_MAX;
use chatlane_protocol::request::Probe;

use super::caller::Caller;
use super::rows::{self, Reader};
use crate::allowance::Allowance;
use crate::done::{Did, Done};
use crate::log::Entry;
use crate::log::anchor::judge;
use crate::ports::{Clock, FanOutQueue, Heads, Inboxes, Memberships, MessageLog, ReadBound, read_run};
use crate::refusal::Refused;
use crate::settings::Settings;
use crate::workers::dispatch;

/// Looks through the entries after the anchor, about 256 KB of them. What it reaches may become the anchor of the messages
/// that it has not found: every entry up to there was looked at, and slots never change hands (L2).
pub async fn probe<P>(ports: &P, settings: &Settings, caller: &Caller, request: &Probe) -> Result<Done<ProbeAnswer>, Refused>
where
    P: MessageLog + Inboxes + Memberships + Heads + FanOutQueue + Clock,
{
    let Probe { id, conversation, anchor, ids } = request;
    let mut reader = Reader::of(conversation, rows::read_one(ports, &caller.user, conversation).await)?;
    if reader.ended().is_some_and(|end| anchor.seq > end.seq) {
        return Err(Refused::NotFound); // nothing there was for them
    }
    let anchored = anchor.seq > Seq::ZERO;
    let bound = ReadBound::bytes(PROBE_BYTES_MAX).behind(anchored);
    let run = read_run(ports, conversation, anchor.seq.max(Seq::FIRST), bound).await?;
    let (entries, done) = reader.may_see(ports, &caller.user, run, bound).await?;
    if anchored {
        judge(ports, settings.epoch, conversation, *anchor, entries.first().map(|entry| entry.position), &Allowance::of(1)).await?;
    }
    let reached = entries.last().map_or(Position::ZERO, |last| last.position);
    let is_found = |entry: &Entry| entry.sender == caller.user && ids.contains(&entry.client_message_id);
    let own: Vec<Entry> = entries.into_iter().filter(is_found).collect();
    let heads = own.iter().map(Entry::head).collect();
    let tasks =
        dispatch::queue_not_dispatched(ports, settings.keys.users.sender(&caller.user), vec![(conversation.clone(), heads)]).await?;
    let found = own.into_iter().map(|entry| Found { stored: entry.stored(), client_message_id: entry.client_message_id });
    let answer = ProbeAnswer { id: id.clone(), conversation: conversation.clone(), found: found.collect(), reached, done };
    Ok(Done { answer, did: Did { tasks, ..Did::default() } })
}
