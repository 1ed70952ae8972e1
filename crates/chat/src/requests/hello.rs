//! `hello`: makes a connection routable, then tells its client where every conversation stands.
//!
//! D2 rests on the order: the session is written first, the inbox and the heads are read after it; a fan-out worker writes the head
//! first and reads the sessions after it. Whichever comes second sees the other.

use std::collections::BTreeMap;

use chatlane_protocol::frames::{ConversationHead, ConversationRow, Goaway, GoawayReason, HelloAnswer, Limits, Versions, encode};
use chatlane_protocol::request::{Hello, Known};
use chatlane_protocol::{ConnectionId, ConversationId, ErrorCode, Refusal, Seq, ServerFrame, limits};
use futures_util::future::join_all;

use crate::log::append::BUSY_RETRY_AFTER_MS;
use crate::ports::{Clock, Head, Heads, InboxRow, Memberships, MessageLog, Outbound, Session, Sessions, Unavailable};
use crate::requests::caller::Caller;
use crate::settings::Settings;

/// Conversations read at once: their heads are one batch read.
const BATCH_ROWS_MAX: usize = 100;

/// What `hello` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Welcome.
    Welcome(Box<HelloAnswer>),
    /// A newer connection of this device is known, or 16 newer ones of this user: this one stays deaf.
    Displaced,
}

/// Why `hello` was refused.
#[derive(Debug, thiserror::Error)]
pub enum HelloRefused {
    /// The client is too old.
    #[error("this server speaks protocol versions {} to {}", limits::VERSION_MIN, limits::VERSION_MAX)]
    UpgradeRequired,
    /// The backend.
    #[error("the outcome is unknown; retry")]
    Unavailable(#[from] Unavailable),
}

impl HelloRefused {
    /// The one place where refusals of `hello` become codes.
    pub fn to_wire(&self) -> Refusal {
        match self {
            Self::UpgradeRequired => Refusal::new(ErrorCode::UpgradeRequired, self.to_string()),
            Self::Unavailable(_) => Refusal::new(ErrorCode::Unavailable, self.to_string()).after_ms(BUSY_RETRY_AFTER_MS),
        }
    }
}

/// Greets. `spread` is a random number: reconnects of many clients are spread by it.
pub async fn hello<S, O, C>(
    store: &S,
    outbound: &O,
    clock: &C,
    settings: &Settings,
    spread: u64,
    caller: &Caller,
    request: &Hello,
) -> Result<Greeting, HelloRefused>
where
    S: Sessions + Memberships + Heads + MessageLog,
    O: Outbound,
    C: Clock,
{
    if request.v < limits::VERSION_MIN {
        return Err(HelloRefused::UpgradeRequired);
    }
    let mut expires = caller.expires;
    if request.after.is_none() {
        match make_routable(store, outbound, clock, caller).await? {
            Some(session) => expires = session.expires,
            None => return Ok(Greeting::Displaced),
        }
    }
    let now = clock.now();
    // The gateway counts from the handshake, not from this hello.
    let life = limits::RECONNECT_IN_MS - limits::RECONNECT_SPREAD_MS + spread % (2 * limits::RECONNECT_SPREAD_MS);
    let reconnect_in_ms = life.saturating_sub(now.since_ms(caller.connected_at)).max(limits::RECONNECT_IN_MS_MIN);

    let mut answer = HelloAnswer {
        id: request.id.clone(),
        versions: Versions { min: limits::VERSION_MIN, max: limits::VERSION_MAX },
        user: caller.user.clone(),
        device: caller.device,
        server_time_ms: now,
        epoch: settings.epoch,
        expires_ms: expires,
        reconnect_in_ms,
        limits: Limits {
            entry_bytes_max: settings.entry_bytes_max,
            request_bytes_max: limits::WEBSOCKET_FRAME_BYTES_MAX,
            messages_per_send_max: limits::MESSAGES_PER_SEND_MAX,
            anchor_entries_max: settings.anchor.entries_max,
            anchor_bytes_max: settings.anchor.bytes_max,
            gap_wait_ms: limits::GAP_WAIT_MS,
            ping_after_idle_ms: limits::PING_AFTER_IDLE_MS,
            cursors_every_ms: limits::CURSORS_EVERY_MS,
        },
        conversations: vec![],
        next: None,
    };
    fill(store, settings.epoch, caller, request, &mut answer).await?;
    Ok(Greeting::Welcome(Box::new(answer)))
}

/// Puts as many conversations into the answer as its page may have bytes, at least one; and the last entries of the most recent of them,
/// as far as there is room.
async fn fill<S: Memberships + Heads + MessageLog>(
    store: &S,
    epoch: u32,
    caller: &Caller,
    request: &Hello,
    answer: &mut HelloAnswer,
) -> Result<(), Unavailable> {
    const REST_OF_THE_ANSWER: usize = 2 * 1024;
    let known: BTreeMap<&ConversationId, &Known> = request.known.iter().map(|known| (&known.conversation, known)).collect();
    let mut room = limits::PAGE_BYTES_MAX - REST_OF_THE_ANSWER;
    let (mut reached, mut looked_at) = (request.after.clone(), 0);
    let mut visible_from = vec![];
    'page: loop {
        let mut rows = store.inbox(&caller.user, reached.as_ref(), BATCH_ROWS_MAX).await?;
        let mut more = rows.len() == BATCH_ROWS_MAX;
        if let Some(end) = &request.known_to {
            // What the device has of those behind comes with the next request.
            let here = rows.partition_point(|row| row.conversation <= *end);
            if here < rows.len() {
                rows.truncate(here);
                more = false;
                answer.next = Some(end.clone());
            }
        }
        looked_at += rows.len();
        let conversations: Vec<_> = rows.iter().map(|row| row.conversation.clone()).collect();
        let heads = if conversations.is_empty() { vec![] } else { store.heads(&conversations).await? };
        for (row, head) in rows.into_iter().zip(heads) {
            let told = known.get(&row.conversation).is_some_and(|known| is_as_known(known, &row, head, epoch));
            let conversation = row.conversation.clone();
            if !told {
                visible_from.push(row.visible_from);
                let row = told_row(row, head);
                let bytes = encode(&row).len() + 1;
                if bytes > room && !answer.conversations.is_empty() {
                    answer.next = reached;
                    break 'page;
                }
                room = room.saturating_sub(bytes);
                answer.conversations.push(row);
            }
            reached = Some(conversation);
        }
        if !more {
            break;
        }
        if looked_at >= limits::HELLO_ROWS_MAX {
            answer.next = reached;
            break;
        }
    }
    add_last_entries(store, answer, &visible_from, room).await
}

/// Whether the device needs not be told: its read mark is the user's, and it has everything up to the head. It may have more: an entry of
/// its own whose delivery has not begun. But what it has from an older epoch may have been cut by a restore.
fn is_as_known(known: &Known, row: &InboxRow, head: Head, epoch: u32) -> bool {
    let has_all = head.position == known.have || (head.position < known.have && known.have.epoch == epoch);
    known.read == row.read.position && has_all
}

fn told_row(row: InboxRow, head: Head) -> ConversationRow {
    ConversationRow {
        conversation: ConversationHead { conversation: row.conversation, with: row.with, head: head.position },
        count: head.count,
        time_ms: head.time,
        read: row.read.position,
        read_count: row.read.count,
        last: None,
    }
}

async fn add_last_entries<S: MessageLog>(
    store: &S,
    answer: &mut HelloAnswer,
    visible_from: &[Seq],
    mut room: usize,
) -> Result<(), Unavailable> {
    let rows = answer.conversations.iter().zip(visible_from).enumerate();
    let begun = rows.filter(|(_, (row, from))| row.conversation.head.seq >= **from && row.conversation.head.seq > Seq::ZERO);
    let mut recent: Vec<(usize, &ConversationRow)> = begun.map(|(index, (row, _))| (index, row)).collect();
    recent.sort_by_key(|(_, row)| std::cmp::Reverse(row.time_ms));
    recent.truncate(limits::LAST_ENTRIES_MAX);
    if recent.is_empty() {
        return Ok(());
    }
    let slots: Vec<_> = recent.iter().map(|(_, row)| (row.conversation.conversation.clone(), row.conversation.head.seq)).collect();
    let indexes: Vec<usize> = recent.into_iter().map(|(index, _)| index).collect();
    for (index, entry) in indexes.into_iter().zip(store.at(&slots).await?) {
        let Some(entry) = entry.map(|entry| entry.to_wire()) else { continue };
        let bytes = encode(&entry).len() + r#","last":"#.len();
        let row = &mut answer.conversations[index];
        if bytes <= room && entry.position == row.conversation.head {
            room -= bytes;
            row.last = Some(entry);
        }
    }
    Ok(())
}

/// Writes the session and displaces what it replaces; the session as it stands, `None` if this connection is not the one that stays.
async fn make_routable<S: Sessions, O: Outbound, C: Clock>(
    store: &S,
    outbound: &O,
    clock: &C,
    caller: &Caller,
) -> Result<Option<Session>, Unavailable> {
    let mine = Session {
        connection: caller.connection.clone(),
        device: caller.device,
        connected_at: caller.connected_at,
        expires: caller.expires,
    };
    let all = store.register(&caller.user, &mine, clock.now()).await?;
    let standing = all.iter().find(|session| session.connection == mine.connection).cloned();
    let displaced = displaced_by(&mine, all);
    if displaced.is_empty() {
        return Ok(standing);
    }
    store.remove(&caller.user, &displaced).await?;
    if displaced.contains(&mine.connection) {
        return Ok(None);
    }
    let goaway = encode(&ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None }));
    // A courtesy: the session is gone, so nothing else reaches that socket, whatever becomes of this post.
    join_all(displaced.iter().map(|connection| outbound.post(connection, &goaway))).await;
    Ok(standing)
}

/// The connections that must go after `mine` was added: older ones of the same device, and the oldest above 16; `mine` itself, if it is
/// among them. Decided from one returned item, so that of two racing hellos exactly one stays.
fn displaced_by(mine: &Session, mut all: Vec<Session>) -> Vec<ConnectionId> {
    // Newest first; the connection id breaks ties the same way for both sides of a race.
    all.sort_by(|a, b| (b.connected_at, &b.connection).cmp(&(a.connected_at, &a.connection)));
    let newest_of_device = all.iter().find(|session| session.device == mine.device).map(|session| session.connection.clone());
    let (mut kept, mut displaced) = (0, vec![]);
    for session in all {
        let replaced = session.device == mine.device && Some(&session.connection) != newest_of_device.as_ref();
        if replaced || kept == limits::CONNECTIONS_PER_USER_MAX {
            displaced.push(session.connection);
        } else {
            kept += 1;
        }
    }
    displaced
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::{DeviceId, UnixMillis};

    use super::*;

    fn session(connection: &str, device: u8, connected_at: u64) -> Session {
        Session {
            connection: ConnectionId::new(connection).unwrap(),
            device: DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf0{device:02x}")).unwrap(),
            connected_at: UnixMillis::try_from(connected_at).unwrap(),
            expires: UnixMillis::MAX,
        }
    }

    fn displaced(mine: &Session, others: &[Session]) -> Vec<String> {
        let all = others.iter().cloned().chain([mine.clone()]).collect();
        displaced_by(mine, all).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_newer_connection_displaces_older_ones_of_its_device_only() {
        let mine = session("c3", 1, 30);
        assert_eq!(displaced(&mine, &[session("c1", 1, 10), session("c2", 2, 20)]), ["c1"]);
        assert!(displaced(&mine, &[session("c2", 2, 40)]).is_empty());
    }

    #[test]
    fn a_late_hello_of_an_older_connection_displaces_itself() {
        let mine = session("c1", 1, 10);
        assert_eq!(displaced(&mine, &[session("c2", 1, 20)]), ["c1"]);
    }

    #[test]
    fn of_two_hellos_in_the_same_millisecond_exactly_one_stays() {
        let (one, two) = (session("c1", 1, 10), session("c2", 1, 10));
        assert_eq!(displaced(&one, std::slice::from_ref(&two)), ["c1"]);
        assert_eq!(displaced(&two, std::slice::from_ref(&one)), ["c1"]);
    }

    #[test]
    fn the_oldest_of_seventeen_goes() {
        let others: Vec<_> = (1..=16).map(|n| session(&format!("c{n:02}"), n, 10 + u64::from(n))).collect();
        assert_eq!(displaced(&session("new", 99, 100), &others), ["c01"]);
        assert_eq!(displaced(&session("old", 99, 1), &others), ["old"]);
    }
}
