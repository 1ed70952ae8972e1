//! `ack` and `read`: how far a device has the entries and how far its user has read them.
//!
//! The caller's rows are read first: who is no member costs the same whether the conversation exists or not (R1), and what is there already
//! is not read or written again. C1: a cursor never passes an entry that exists, because the entries named are read before it moves
//! (strongly), and only moves forward, because the write is conditional. Moving one never makes a row.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, MemberCursors, ReadMark, Receipt, ServerFrame, encode};
use chatlane_protocol::limits::RECEIPT_TTL_MS;
use chatlane_protocol::request::{PositionIn, Positions};
use chatlane_protocol::{ConversationId, DeviceId, Position, Seq, UserId};
use futures_util::stream::{self, StreamExt as _};

use super::caller::Caller;
use super::rows;
use crate::allowance::{Allowance, Allowances};
use crate::done::{Did, Done};
use crate::log::Entry;
use crate::log::anchor::judge;
use crate::ports::{
    Advance, Advanced, Clock, Connections, Failure, InboxRow, Inboxes, Memberships, MessageLog, Outbound, PostOutcome, ReadCursor, Shown,
};
use crate::refusal::Refused;
use crate::settings::Settings;

/// Rows written at once.
const WRITES_AT_ONCE: usize = 16;

/// Receipts that one request posts, shared by those whom they are for; the others' next `ping` brings the rest.
const RECEIPTS_MAX: usize = 32;

/// Connections of another user that one request tells: it is the caller who pays, and not whoever has sixteen.
const RECEIPTS_OF_ANOTHER_MAX: usize = 4;

/// Which cursor a request moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The delivered position of the caller's device.
    Delivered,
    /// That, and the user's read position: what is read has been delivered.
    Read,
}

/// Who is told how far the user has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The other members.
    Others,
    /// The user's own devices only.
    Nobody,
}

/// Answers one `ack` or `read`: [`advance`] for its positions. `None`: all went well, and the client wants no answer then.
pub async fn answer<P>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    request: &Positions,
    cursor: Cursor,
) -> Result<Done<Option<CursorsAnswer>>, Failure>
where
    P: MessageLog + Inboxes + Memberships + Connections + Outbound + Clock,
{
    let told = if request.private { Told::Nobody } else { Told::Others };
    let Done { answer: results, did } = advance(ports, settings, caller, &request.positions, (cursor, told), &Allowances::new()).await?;
    let is_silent = request.quiet && results.iter().all(|result| result.outcome == CursorOutcome::Ok);
    Ok(Done { answer: (!is_silent).then(|| CursorsAnswer { id: request.id.clone(), results }), did })
}

/// Moves the cursors, and posts receipts: to the other user of a direct conversation where what they see of this one has moved, and to
/// the caller's other devices. `Err`: nothing was moved. A position whose write failed is refused with `unavailable`; the others are not harmed. What is
/// there already costs the reading of its row and nothing else.
pub async fn advance<P>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    positions: &[PositionIn],
    (cursor, told): (Cursor, Told),
    allowances: &Allowances,
) -> Result<Done<Vec<CursorResult>>, Failure>
where
    P: MessageLog + Inboxes + Memberships + Connections + Outbound + Clock,
{
    let conversations: Vec<ConversationId> = positions.iter().map(|named| named.conversation.clone()).collect();
    let rows = rows::read(ports, &caller.user, &conversations, &allowances.settled).await?;
    let wishes: Vec<Result<Move, Refused>> =
        positions.iter().zip(rows).map(|(named, standing)| Ok(Move::of(standing?.row, caller.device, named, (cursor, told)))).collect();
    let slots: BTreeSet<(ConversationId, Seq)> = wishes.iter().flatten().flat_map(Move::slots).collect();
    let slots: Vec<(ConversationId, Seq)> = slots.into_iter().collect();
    let entries = if slots.is_empty() { vec![] } else { ports.at(&slots).await? };
    let entries: Entries = slots.into_iter().zip(entries).filter_map(|(slot, entry)| Some((slot, entry?))).collect();

    let outcomes: Vec<Result<Option<Advanced>, Refused>> = stream::iter(wishes)
        .map(|one| async {
            let one = one?;
            let moved = one.carry_out(ports, settings, caller, &entries, &allowances.searches).await;
            moved.inspect_err(|refused| refused.log(&format!("a cursor in conversation {} may not have moved", one.row.conversation)))
        })
        .buffered(WRITES_AT_ONCE)
        .collect()
        .await;
    let advanced: Vec<&Advanced> = outcomes.iter().flatten().flatten().collect();
    let moved = advanced.iter().filter(|row| row.before != row.after).count();
    let did = Did { moved, posted: post_receipts(ports, caller, &advanced).await, ..Did::default() };
    let result = |(named, outcome): (&PositionIn, Result<Option<Advanced>, Refused>)| CursorResult {
        conversation: named.conversation.clone(),
        outcome: outcome.map_or_else(|refused| CursorOutcome::Refused(refused.to_wire()), |_| CursorOutcome::Ok),
    };
    Ok(Done { answer: positions.iter().zip(outcomes).map(result).collect(), did })
}

type Entries = BTreeMap<(ConversationId, Seq), Entry>;

/// What one position asks for.
struct Move {
    row: InboxRow,
    /// Where the device and the user are to be.
    delivered: Position,
    read: Option<Position>,
    told: Told,
    /// What has to be looked up before anything moves.
    doubtful: Vec<Position>,
}

impl Move {
    /// A cursor has passed what is not above it in its epoch: no need to look whether there is such an entry.
    fn of(row: InboxRow, device: DeviceId, named: &PositionIn, (cursor, told): (Cursor, Told)) -> Self {
        let read = match cursor {
            Cursor::Read => Some(named.position),
            Cursor::Delivered => named.read,
        };
        let has = row.delivered.get(&device).copied().unwrap_or_default();
        let is_doubtful = |to: Position, has: Position| to.is_zero() || has.epoch != to.epoch || has.seq < to.seq;
        let mut doubtful: Vec<Position> = Some(named.position).filter(|to| is_doubtful(*to, has)).into_iter().collect();
        let read_too = read.filter(|to| is_doubtful(*to, row.read.position) && !doubtful.contains(to));
        doubtful.extend(read_too);
        Self { delivered: read.map_or(named.position, |read| read.max(named.position)), read, told, doubtful, row }
    }

    /// Where the entries are that must exist.
    fn slots(&self) -> impl Iterator<Item = (ConversationId, Seq)> {
        self.doubtful.iter().filter(|to| !to.is_zero()).map(|to| (self.row.conversation.clone(), to.seq))
    }

    /// `None`: all is there already.
    async fn carry_out<P: MessageLog + Inboxes>(
        &self,
        ports: &P,
        settings: &Settings,
        caller: &Caller,
        entries: &Entries,
        searches: &Allowance,
    ) -> Result<Option<Advanced>, Refused> {
        let conversation = &self.row.conversation;
        let at = |to: Position| entries.get(&(conversation.clone(), to.seq));
        for to in &self.doubtful {
            if to.is_zero() {
                return Err(Refused::PositionUnknown);
            }
            judge(ports, settings.epoch, conversation, *to, at(*to).map(|entry| entry.position), searches).await?;
        }
        let has = self.row.delivered.get(&caller.device).copied().unwrap_or_default();
        let room = Some(self.delivered).filter(|to| *to > has).and_then(|to| self.row.room_for(&caller.user, caller.device, to));
        let read = self.read.filter(|to| *to > self.row.read.position);
        let count = |to| at(to).map(|entry| ReadCursor { position: to, count: entry.facts.count });
        let read_to = read.and_then(count);
        let shown = match (self.told, self.row.shown, self.read) {
            (Told::Nobody, _, _) if read_to.is_some() => Shown::Stays(self.row.read.position),
            (Told::Others, Some(shown), Some(to)) if to > shown => Shown::To(to),
            _ => Shown::Follows,
        };
        let delivered = room.as_ref().map(|_| self.delivered);
        let to = Advance { delivered, read: read_to, shown, dropped: room.unwrap_or_default() };
        if to == Advance::default() {
            return Ok(None);
        }
        Ok(Some(ports.advance(&caller.user, conversation, caller.device, to).await?.ok_or(Refused::NotFound)?))
    }
}

/// Posts receipts: hints, never queued, never repeated. What is lost is found by the next `ping` of whom it was for. Other users are told
/// what has reached this one; this user's other devices what has been read. Answers how many the gateway took.
async fn post_receipts<P: Connections + Outbound + Clock>(ports: &P, caller: &Caller, moved: &[&Advanced]) -> usize {
    let mut frames: BTreeMap<&UserId, Vec<String>> = BTreeMap::new();
    for Advanced { before, after } in moved {
        let mut tell = |user, cursors, own: Option<ReadMark>| {
            let (read_count, read_private) = (own.map(|own| own.read_count), own.is_some_and(|own| own.read_private));
            let receipt = Receipt { conversation: after.conversation.clone(), cursors, read_count, read_private, ttl_ms: RECEIPT_TTL_MS };
            frames.entry(user).or_default().push(encode(&ServerFrame::Receipt(receipt)));
        };
        let read = after.read.position;
        if read != before.read.position {
            let own = MemberCursors { user: caller.user.clone(), delivered: after.delivered_furthest().max(read), read };
            tell(&caller.user, own, Some(after.read_mark()));
        }
        let told = after.told_to_others(caller.user.clone());
        if let Some(with) = after.with.as_ref().filter(|_| told != before.told_to_others(caller.user.clone())) {
            tell(with, told, None);
        }
    }
    if frames.is_empty() {
        return 0;
    }
    let sessions = match ports.of_users(&frames.keys().map(|user| (*user).clone()).collect::<Vec<_>>()).await {
        Ok(sessions) => sessions,
        Err(failure) => {
            failure.log("receipts not posted");
            return 0;
        }
    };
    let now = ports.now();
    let live = sessions.iter().filter(|(_, session)| session.expires > now && Some(&session.connection) != caller.connection.as_ref());
    // One each in turn, whatever they are called and however many devices they have; another one begins each time.
    let users = frames.len();
    let first = usize::try_from(now.get() % users as u64).unwrap_or_default();
    let mut turns: BTreeMap<&UserId, usize> = frames.keys().copied().zip((first..users).chain(0..users)).collect();
    let mut all = vec![];
    for (user, session) in live {
        let Some(turn) = turns.get_mut(user) else { continue };
        let is_told = *turn < users * RECEIPTS_OF_ANOTHER_MAX || *user == caller.user;
        for frame in frames.get(user).into_iter().flatten().filter(|_| is_told) {
            all.push((*turn, &session.connection, frame));
            *turn += users;
        }
    }
    all.sort_by_key(|(turn, ..)| *turn);
    all.truncate(RECEIPTS_MAX);
    stream::iter(all)
        .map(|(_, connection, frame)| ports.post(connection, frame))
        .buffer_unordered(WRITES_AT_ONCE)
        .filter(|delivery| std::future::ready(*delivery == PostOutcome::Posted))
        .count()
        .await
}
