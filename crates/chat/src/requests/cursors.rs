//! `ack` and `read`: how far a device has the entries and how far its user has read them.
//!
//! C1: a cursor never passes an entry that exists, because the entries named are read first (strongly), and only moves forward, because
//! the write is conditional. Moving one never makes a row: who is no member has none.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, MemberCursors, Receipt, ServerFrame, encode};
use chatlane_protocol::limits::RECEIPT_TTL_MS;
use chatlane_protocol::request::{PositionIn, Positions};
use chatlane_protocol::{ConversationId, Seq, UserId};
use futures_util::stream::{self, StreamExt as _};

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::log::Entry;
use crate::log::anchor::judge;
use crate::ports::{Advance, Advanced, Clock, Connections, Failure, Inboxes, MessageLog, Outbound, PostOutcome, ReadCursor};
use crate::refusal::Refused;
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

/// Answers one `ack` or `read`: [`advance`] for its positions.
pub async fn answer<P>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    request: &Positions,
    cursor: Cursor,
) -> Result<Done<CursorsAnswer>, Failure>
where
    P: MessageLog + Inboxes + Connections + Outbound + Clock,
{
    let Done { answer: results, did } = advance(ports, settings, caller, &request.positions, cursor).await?;
    Ok(Done { answer: CursorsAnswer { id: request.id.clone(), results }, did })
}

/// Moves the cursors, and posts receipts to the other users of direct conversations, as far as theirs moved for them. `Err`: nothing was
/// moved. A position whose write failed is refused with `unavailable`; the others are not harmed.
pub async fn advance<P>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    positions: &[PositionIn],
    cursor: Cursor,
) -> Result<Done<Vec<CursorResult>>, Failure>
where
    P: MessageLog + Inboxes + Connections + Outbound + Clock,
{
    let named: Vec<&PositionIn> = positions.iter().filter(|named| !named.position.is_zero()).collect();
    let slots: Vec<(ConversationId, Seq)> = named.iter().map(|named| (named.conversation.clone(), named.position.seq)).collect();
    let entries: BTreeMap<ConversationId, Entry> =
        ports.at(&slots).await?.into_iter().flatten().map(|entry| (entry.conversation.clone(), entry)).collect();

    let outcomes: Vec<Result<Advanced, Refused>> = stream::iter(positions)
        .map(|named| move_one(ports, settings, caller, named, entries.get(&named.conversation), cursor))
        .buffered(WRITES_AT_ONCE)
        .collect()
        .await;
    let advanced: Vec<&Advanced> = outcomes.iter().flatten().collect();
    let moved = advanced.iter().filter(|row| row.before != row.after).count();
    let did = Did { moved, posted: post_receipts(ports, caller, &advanced).await, ..Did::default() };
    let result = |(named, outcome): (&PositionIn, Result<Advanced, Refused>)| CursorResult {
        conversation: named.conversation.clone(),
        outcome: outcome.map_or_else(|refused| CursorOutcome::Refused(refused.to_wire()), |_| CursorOutcome::Ok),
    };
    Ok(Done { answer: positions.iter().zip(outcomes).map(result).collect(), did })
}

async fn move_one<P: MessageLog + Inboxes>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    named: &PositionIn,
    entry: Option<&Entry>,
    cursor: Cursor,
) -> Result<Advanced, Refused> {
    let (user, conversation) = (&caller.user, &named.conversation);
    let moved = async {
        let Some(entry) = entry.filter(|entry| entry.position == named.position) else {
            // Only a member learns what the log has and has not (R1).
            let rows = ports.inbox_rows(user, std::slice::from_ref(conversation)).await?;
            if rows.iter().all(Option::is_none) {
                return Err(Refused::NotFound);
            }
            if !named.position.is_zero() {
                judge(ports, settings.epoch, conversation, named.position, entry.map(|entry| entry.position)).await?;
            }
            return Err(Refused::PositionUnknown);
        };
        let read = ReadCursor { position: entry.position, count: entry.facts.count };
        let to = Advance { delivered: entry.position, read: (cursor == Cursor::Read).then_some(read) };
        ports.advance(user, conversation, caller.device, to).await?.ok_or(Refused::NotFound)
    };
    moved.await.inspect_err(|refused| refused.log(&format!("a cursor in conversation {conversation} may not have moved")))
}

/// Posts receipts: hints, never queued, never repeated. What is lost is found by the other's next `ping`. Answers how many the gateway
/// took.
async fn post_receipts<P: Connections + Outbound + Clock>(ports: &P, caller: &Caller, moved: &[&Advanced]) -> usize {
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
        return 0;
    }
    let users: BTreeSet<UserId> = frames.keys().map(|user| (*user).clone()).collect();
    let sessions = match ports.of_users(&users.into_iter().collect::<Vec<_>>()).await {
        Ok(sessions) => sessions,
        Err(failure) => {
            failure.log("receipts not posted");
            return 0;
        }
    };
    let now = ports.now();
    let live = sessions.iter().filter(|(_, session)| session.expires > now);
    let all = live.flat_map(|(user, session)| frames.get(user).into_iter().flatten().map(|frame| (&session.connection, frame)));
    let all: Vec<_> = all.collect();
    stream::iter(all)
        .map(|(connection, frame)| ports.post(connection, frame))
        .buffer_unordered(WRITES_AT_ONCE)
        .filter(|delivery| std::future::ready(*delivery == PostOutcome::Posted))
        .count()
        .await
}
