//! `ack` and `read`: how far a device has the entries and how far its user has read them.
//!
//! C1: a cursor never passes an entry that exists, because the entries named are read first (strongly), and only moves forward, because
//! the write is conditional. Moving one never makes a row: who is no member has none.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::frames::{CursorOutcome, CursorResult, MemberCursors, Receipt, ServerFrame, encode};
use chatlane_protocol::limits::RECEIPT_TTL_MS;
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{ConversationId, Refusal, Seq, UserId};
use futures_util::stream::{self, StreamExt as _};

use crate::log::anchor::{BadPosition, judge};
use crate::log::entry::Entry;
use crate::ports::{Advance, Advanced, Clock, Cursors, MessageLog, Outbound, ReadCursor, Sessions, Unavailable};
use crate::requests::caller::Caller;
use crate::requests::sync::{is_zero, not_found};
use crate::settings::Settings;

/// Rows written at once.
const WRITES_AT_ONCE: usize = 16;

/// Which cursor a request moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The delivered position of the caller's device.
    Delivered,
    /// That, and the user's read position: what is read has been delivered.
    Read,
}

/// Moves the cursors, and tells the other users of direct conversations, as far as theirs moved for them. `Err`: nothing was moved.
/// A position whose write failed is refused with `unavailable`; the others are not harmed.
pub async fn advance<S, O, C>(
    store: &S,
    outbound: &O,
    clock: &C,
    settings: &Settings,
    caller: &Caller,
    positions: &[PositionIn],
    cursor: Cursor,
) -> Result<Vec<CursorResult>, Unavailable>
where
    S: MessageLog + Cursors + Sessions,
    O: Outbound,
    C: Clock,
{
    let named: Vec<&PositionIn> = positions.iter().filter(|named| !is_zero(named.position)).collect();
    let slots: Vec<(ConversationId, Seq)> = named.iter().map(|named| (named.conversation.clone(), named.position.seq)).collect();
    let entries: BTreeMap<ConversationId, Entry> =
        store.at(&slots).await?.into_iter().flatten().map(|entry| (entry.conversation.clone(), entry)).collect();

    let moved: Vec<(CursorOutcome, Option<Advanced>)> = stream::iter(positions)
        .map(|named| move_one(store, settings, caller, named, entries.get(&named.conversation), cursor))
        .buffered(WRITES_AT_ONCE)
        .collect()
        .await;
    let told: Vec<&Advanced> = moved.iter().filter_map(|(_, advanced)| advanced.as_ref()).collect();
    tell(store, outbound, clock, caller, &told).await;
    let results = positions.iter().zip(moved);
    Ok(results.map(|(named, (outcome, _))| CursorResult { conversation: named.conversation.clone(), outcome }).collect())
}

async fn move_one<S: MessageLog + Cursors>(
    store: &S,
    settings: &Settings,
    caller: &Caller,
    named: &PositionIn,
    entry: Option<&Entry>,
    cursor: Cursor,
) -> (CursorOutcome, Option<Advanced>) {
    let (user, conversation) = (&caller.user, &named.conversation);
    let unavailable = |unavailable: Unavailable| {
        tracing::warn!(%conversation, "a cursor may not have moved: {unavailable}");
        (CursorOutcome::Refused(BadPosition::Unavailable(unavailable).to_wire()), None)
    };
    let refused = |refusal: Refusal| (CursorOutcome::Refused(refusal), None);
    let Some(entry) = entry.filter(|entry| entry.position == named.position) else {
        // Only a member learns what the log has and has not (R1).
        return match store.inbox_rows(user, std::slice::from_ref(conversation)).await {
            Err(error) => unavailable(error),
            Ok(rows) if rows.iter().all(Option::is_none) => refused(not_found()),
            Ok(_) if is_zero(named.position) => refused(BadPosition::Unknown.to_wire()),
            Ok(_) => match judge(store, settings.epoch, conversation, named.position, entry.map(|entry| entry.position)).await {
                Err(bad) => refused(bad.to_wire()),
                Ok(()) => refused(BadPosition::Unknown.to_wire()),
            },
        };
    };
    let read = ReadCursor { position: entry.position, count: entry.facts.count };
    let to = Advance { delivered: entry.position, read: (cursor == Cursor::Read).then_some(read) };
    match store.advance(user, conversation, caller.device, to).await {
        Err(error) => unavailable(error),
        Ok(None) => refused(not_found()),
        Ok(Some(advanced)) => (CursorOutcome::Ok, Some(advanced)),
    }
}

/// Posts receipts: hints, never queued, never repeated. What is lost is found by the other's next `ping`.
async fn tell<S: Sessions, O: Outbound, C: Clock>(store: &S, outbound: &O, clock: &C, caller: &Caller, moved: &[&Advanced]) {
    let mut frames: BTreeMap<&UserId, Vec<String>> = BTreeMap::new();
    for Advanced { before, after } in moved {
        let Some(with) = &after.with else { continue };
        let (delivered, read) = (after.delivered_furthest(), after.read.position);
        if delivered == before.delivered_furthest() && read == before.read.position {
            continue;
        }
        let cursors = MemberCursors { user: caller.user.clone(), delivered: delivered.max(read), read };
        let receipt = Receipt { conversation: after.conversation.clone(), cursors, ttl_ms: RECEIPT_TTL_MS };
        frames.entry(with).or_default().push(encode(&ServerFrame::Receipt(receipt)));
    }
    if frames.is_empty() {
        return;
    }
    let users: BTreeSet<UserId> = frames.keys().map(|user| (*user).clone()).collect();
    let sessions = match store.of_users(&users.into_iter().collect::<Vec<_>>()).await {
        Ok(sessions) => sessions,
        Err(unavailable) => return tracing::info!("receipts not posted: {unavailable}"),
    };
    let now = clock.now();
    let live = sessions.iter().filter(|(_, session)| session.expires > now);
    let posts = live.flat_map(|(user, session)| frames.get(user).into_iter().flatten().map(|frame| (&session.connection, frame)));
    let posts: Vec<_> = posts.collect();
    stream::iter(posts).for_each_concurrent(WRITES_AT_ONCE, async |(connection, frame)| _ = outbound.post(connection, frame).await).await;
}
