//! `hello`: makes a connection routable, then answers the status of every conversation.
//!
//! D2 rests on the order: the session is written first, the inbox and the heads are read after it; a fan-out worker writes the head
//! first and reads the sessions after it. Whichever comes second sees the other.

use chatlane_protocol::frames::{
    ConversationHead, ConversationRow, ErrorFrame, Goaway, GoawayReason, HelloAnswer, Limits, ReadMark, Versions, encode,
};
use chatlane_protocol::request::{Hello, Known};
use chatlane_protocol::{ConnectionId, ConversationId, RequestId, Seq, ServerFrame, limits};
use futures_util::future::join_all;

use super::caller::Caller;
use super::rows::Standing;
use crate::done::{Did, Done};
use crate::log::{Entry, Head};
use crate::page::Page;
use crate::ports::{
    Clock, Connection, Connections, Failure, Heads, InboxRow, Inboxes, Memberships, MessageLog, Outbound, PostOutcome, Registered,
};
use crate::refusal::Refused;
use crate::settings::Settings;

/// Conversations read at once: their heads are one batch read.
const BATCH_ROWS_MAX: usize = 100;

/// Last entries that are read at once: of large ones only a few fit.
const LAST_ENTRIES_AT_ONCE: usize = 8;

/// What `hello` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Welcome.
    Welcome(Box<HelloAnswer>),
    /// Not registered: this device has a newer connection, or this user already has 16 newer ones, or they are shut out. This connection was
    /// told so, and is closed.
    Parted,
}

/// Greets. `spread` is a random number: reconnects of many clients are spread by it.
pub async fn hello<P>(ports: &P, settings: &Settings, spread: u64, caller: &Caller, request: &Hello) -> Result<Done<Greeting>, Refused>
where
    P: Connections + Inboxes + Memberships + Heads + MessageLog + Outbound + Clock,
{
    if request.v < limits::VERSION_MIN {
        return Err(Refused::UpgradeRequired);
    }
    let (mut expires, mut did) = (caller.expires, Did::default());
    if request.after.is_none() {
        let (session, posted) = make_routable(ports, caller, &request.id).await?;
        did.posted = posted;
        match session {
            Some(session) => expires = session.expires,
            None => return Ok(Done { answer: Greeting::Parted, did }),
        }
    }
    let now = ports.now();
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
            entry_bytes_max: settings.limits.entry_bytes_max,
            anchor_entries_max: settings.limits.anchor.entries_max,
            anchor_bytes_max: settings.limits.anchor.bytes_max,
            ..Limits::DEFAULT
        },
        conversations: vec![],
        gone: vec![],
        next: None,
    };
    fill(ports, settings.epoch, caller, request, &mut answer).await?;
    Ok(Done { answer: Greeting::Welcome(Box::new(answer)), did })
}

/// Puts as many conversations into the answer as its page may have bytes, at least one; and the last entries of the most recent of them,
/// as far as there is room.
async fn fill<P: Inboxes + Memberships + Heads + MessageLog + Clock>(
    ports: &P,
    epoch: u32,
    caller: &Caller,
    request: &Hello,
    answer: &mut HelloAnswer,
) -> Result<(), Failure> {
    const REST_OF_THE_ANSWER: usize = 2 * 1024;
    let mut known = request.known.iter().peekable();
    let mut page = Page::new(REST_OF_THE_ANSWER);
    let (mut reached, mut looked_at) = (request.after.clone(), 0);
    let mut standings = vec![];
    'page: loop {
        let asked_ms = ports.steady_ms();
        let mut rows = ports.inbox(&caller.user, reached.clone(), BATCH_ROWS_MAX).await?;
        let mut more = rows.len() == BATCH_ROWS_MAX;
        if let Some(end) = &request.known_to {
            // What the device has of those behind comes with the next request.
            let here = rows.partition_point(|(conversation, _)| conversation <= end);
            if here < rows.len() {
                rows.truncate(here);
                more = false;
                answer.next = Some(end.clone());
            }
        }
        looked_at += rows.len();
        let conversations: Vec<_> = rows.iter().map(|(conversation, _)| conversation.clone()).collect();
        let heads = if conversations.is_empty() { vec![] } else { ports.heads(&conversations).await? };
        for ((conversation, row), head) in rows.into_iter().zip(heads) {
            while let Some(gone) = known.next_if(|known| known.conversation < conversation) {
                if !take_gone(gone, answer, &mut page) {
                    answer.next = reached;
                    break 'page;
                }
                reached = Some(gone.conversation.clone());
            }
            let known = known.next_if(|known| known.conversation == conversation);
            // Of one that cannot be read nothing is said, neither its state nor that it is gone.
            let readable = row.inspect_err(|failure| failure.log("a conversation is left out")).ok();
            let news = readable.filter(|row| known.is_none_or(|known| !is_as_known(known, row, head, epoch)));
            if let Some(row) = news {
                let standing = Standing::new(row.clone(), asked_ms);
                let row = wire_row(row, head);
                if !page.take(encode(&row).len() + 1) {
                    answer.next = reached;
                    break 'page;
                }
                answer.conversations.push(row);
                standings.push(standing);
            }
            reached = Some(conversation);
        }
        if !more {
            for gone in known {
                if !take_gone(gone, answer, &mut page) {
                    answer.next = reached;
                    break;
                }
                reached = Some(gone.conversation.clone());
            }
            break;
        }
        if looked_at >= limits::HELLO_ROWS_MAX {
            answer.next = reached;
            break;
        }
    }
    add_last_entries(ports, caller, &request.known, answer, standings, page).await
}

/// Tells the device that it has a conversation which is not the caller's, if the page has room for that.
fn take_gone(gone: &Known, answer: &mut HelloAnswer, page: &mut Page) -> bool {
    let takes = page.take(gone.conversation.as_str().len() + "\"\",".len());
    if takes {
        answer.gone.push(gone.conversation.clone());
    }
    takes
}

/// Whether the row says nothing new to the device: its read mark is the user's, and it has everything up to the head. It may have more: an
/// entry of its own that was not dispatched yet. But what it has from an older epoch may have been cut by a restore.
fn is_as_known(known: &Known, row: &InboxRow, head: Head, epoch: u32) -> bool {
    let has_all = head.position == known.have || (head.position < known.have && known.have.epoch == epoch);
    known.read == row.read.position && known.prefs == row.prefs.version && has_all
}

fn wire_row(row: InboxRow, head: Head) -> ConversationRow {
    let is_group = row.with.is_none();
    let ReadMark { read, read_count, read_private } = row.read_mark();
    ConversationRow {
        conversation: ConversationHead { conversation: row.conversation, with: row.with, head: head.position },
        role: Some(row.role).filter(|_| is_group),
        group: head.group,
        count: head.count,
        time_ms: head.time,
        read,
        read_count,
        read_private,
        mentioned: row.mentioned,
        prefs: Some(row.prefs).filter(|prefs| prefs.version > 0),
        last: None,
    }
}

/// Adds the entries at the heads. M1: a row was read before its head and before that entry; to whoever was removed between them the
/// conversation is gone. (A direct conversation is left by nobody.)
async fn add_last_entries<P: MessageLog + Memberships + Clock>(
    ports: &P,
    caller: &Caller,
    known: &[Known],
    answer: &mut HelloAnswer,
    standings: Vec<Standing>,
    mut page: Page,
) -> Result<(), Failure> {
    let rows = answer.conversations.iter().zip(&standings).enumerate();
    let is_for_them = |row: &ConversationRow, standing: &Standing| row.conversation.head.seq >= standing.row.visible_from;
    let dispatched = rows.filter(|(_, (row, standing))| is_for_them(row, standing) && row.conversation.head.seq > Seq::ZERO);
    let mut recent: Vec<(usize, &ConversationRow)> = dispatched.map(|(index, (row, _))| (index, row)).collect();
    recent.sort_by_key(|(_, row)| std::cmp::Reverse(row.time_ms));
    recent.truncate(limits::LAST_ENTRIES_MAX);
    if recent.is_empty() {
        return Ok(());
    }
    let recent: Vec<(usize, (ConversationId, Seq))> =
        recent.into_iter().map(|(index, row)| (index, (row.conversation.conversation.clone(), row.conversation.head.seq))).collect();
    let mut gone = vec![];
    for some in recent.chunks(LAST_ENTRIES_AT_ONCE) {
        let mut all_fit = true;
        let (indexes, slots): (Vec<usize>, Vec<_>) = some.iter().cloned().unzip();
        let entries: Vec<(usize, Entry)> =
            indexes.into_iter().zip(ports.at(&slots).await?).filter_map(|(index, entry)| Some((index, entry?))).collect();
        let standing = entries.iter().map(|(index, entry)| async {
            let is_direct = !entry.facts.policy.is_group();
            if is_direct { Ok(None) } else { standings[*index].holds_behind(ports, &caller.user, Some(entry), entry.tells_up_to()).await }
        });
        for ((index, entry), holds) in entries.iter().zip(join_all(standing).await) {
            let (index, entry) = (*index, entry.told_to(standings[*index].row.visible_from, None));
            match holds {
                Ok(_) => {}
                Err(Refused::NotFound | Refused::Ended(_)) => {
                    gone.push(index);
                    continue;
                }
                Err(refused) => {
                    refused.log("a last entry is left out");
                    continue;
                }
            }
            let bytes = encode(&entry).len() + r#","last":"#.len();
            let row = &mut answer.conversations[index];
            if entry.position == row.conversation.head {
                row.last = page.take_if_it_fits(bytes).then_some(entry);
                all_fit &= row.last.is_some();
            }
        }
        if !all_fit {
            break;
        }
    }
    gone.sort_unstable();
    for index in gone.into_iter().rev() {
        // The delivery of the removal may have begun before this session was there: then nothing else would tell the device.
        let row = answer.conversations.remove(index);
        answer
            .gone
            .extend(known.iter().find(|known| known.conversation == row.conversation.conversation).map(|_| row.conversation.conversation));
    }
    Ok(())
}

/// Writes the session and displaces what it replaces. Answers the session as it stands, `None` if this connection is not one that
/// stays, and how many frames the gateway took for those that do not.
///
/// Whoever goes is closed, and forgotten behind that: an open connection that nobody knows could not be closed where its user is shut out.
async fn make_routable<P: Connections + Outbound + Clock>(
    ports: &P,
    caller: &Caller,
    request: &RequestId,
) -> Result<(Option<Connection>, usize), Refused> {
    let mine = Connection {
        connection: caller.connection.clone(),
        device: caller.device,
        connected_at: caller.connected_at,
        expires: caller.expires,
    };
    let now = ports.now();
    let Registered { all, in_this_minute, gate } = ports.register(&caller.user, &mine, now).await?;
    let registered = all.iter().find(|session| session.connection == mine.connection).cloned();
    let (leaving, farewell) = match gate.shut_for_ms(now) {
        Some(retry_after_ms) => {
            let refusal = Refused::TooMuch { retry_after_ms }.to_wire();
            (vec![mine.connection.clone()], ServerFrame::Error(ErrorFrame { id: Some(request.clone()), refusal }))
        }
        None => (displaced_by(&mine, all), ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None })),
    };
    let mut posted = 0;
    if !leaving.is_empty() {
        let farewell = encode(&farewell);
        let parted = join_all(leaving.into_iter().map(async |connection| {
            let told = ports.post(&connection, &farewell).await;
            (told, ports.close(&connection).await, connection)
        }));
        let parted = parted.await;
        posted = parted.iter().filter(|(told, ..)| *told == PostOutcome::Posted).count();
        let stays = parted.iter().all(|(.., connection)| *connection != mine.connection);
        // What could not be closed is displaced once more by the next hello, or closed with the others when the gate is shut.
        let closed = parted.into_iter().filter(|(_, closed, _)| matches!(closed, PostOutcome::Posted | PostOutcome::Gone));
        ports.remove(&caller.user, &closed.map(|(.., connection)| connection).collect::<Vec<_>>()).await?;
        if !stays {
            return Ok((None, posted));
        }
    }
    if in_this_minute > limits::HELLOS_PER_MINUTE_MAX {
        // It is routable, which costs nothing more; what it asks for is not read.
        return Err(Refused::TooMuch { retry_after_ms: 60_000 - now.get() % 60_000 });
    }
    Ok((registered, posted))
}

/// The connections that must go after `mine` was added: older ones of the same device, and the oldest above 16; `mine` itself, if it is
/// among them. Decided from one returned item, so that of two racing hellos exactly one stays.
fn displaced_by(mine: &Connection, mut all: Vec<Connection>) -> Vec<ConnectionId> {
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

    fn session(connection: &str, device: u8, connected_at: u64) -> Connection {
        Connection {
            connection: ConnectionId::new(connection).unwrap(),
            device: DeviceId::new(&format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf0{device:02x}")).unwrap(),
            connected_at: UnixMillis::try_from(connected_at).unwrap(),
            expires: UnixMillis::MAX,
        }
    }

    fn displaced(mine: &Connection, others: &[Connection]) -> Vec<String> {
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

    // holds: D2
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
