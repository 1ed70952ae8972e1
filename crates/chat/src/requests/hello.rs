//! `hello`: makes a connection routable, then answers the status of every conversation.
//!
//! D2 rests on the order: the session is written first, the inbox and the heads are read after it; a fan-out worker writes the head
//! first and reads the sessions after it. Whichever comes second sees the other.

mod pages;

use chatlane_protocol::frames::{ErrorFrame, Goaway, GoawayReason, HelloAnswer, encode};
use chatlane_protocol::request::Hello;
use chatlane_protocol::{ConnectionId, RequestId, ServerFrame, UnixMillis, UserId, limits};
use futures_util::future::join_all;

use pages::told;

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::ports::{Clock, Connection, Connections, Heads, Inboxes, Memberships, MessageLog, Outbound, PostOutcome, Registered};
use crate::refusal::Refused;
use crate::settings::Settings;

/// What `hello` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Welcome.
    Welcome(Box<HelloAnswer>),
    /// Not registered: this device has a newer connection, or this user already has 16 newer ones, or they are shut out. This connection was
    /// told so, and is closed.
    Parted,
}

/// Greets a user on this connection of theirs. `spread` is a random number: reconnects of many clients are spread by it.
pub async fn hello<P>(
    ports: &P,
    settings: &Settings,
    spread: u64,
    user: &UserId,
    mine: &Connection,
    request: &Hello,
) -> Result<Done<Greeting>, Refused>
where
    P: Connections + Inboxes + Memberships + Heads + MessageLog + Outbound + Clock,
{
    spoken(request)?;
    let (mut expires, mut did) = (mine.expires, Did::default());
    if request.after.is_none() {
        let (session, posted) = make_routable(ports, user, mine, &request.id).await?;
        did.posted = posted;
        match session {
            Some(session) => expires = session.expires,
            None => return Ok(Done { answer: Greeting::Parted, did }),
        }
    }
    let now = ports.now();
    // The gateway counts from the handshake, not from this hello.
    let life = limits::RECONNECT_IN_MS - limits::RECONNECT_SPREAD_MS + spread % (2 * limits::RECONNECT_SPREAD_MS);
    let reconnect_in_ms = life.saturating_sub(now.since_ms(mine.connected_at)).max(limits::RECONNECT_IN_MS_MIN);

    let caller = Caller::on(user, mine);
    let answer = told(ports, settings, &caller, expires, reconnect_in_ms, request).await?;
    Ok(Done { answer: Greeting::Welcome(Box::new(answer)), did })
}

/// The same over HTTPS, where there is nothing to make routable: the status of every conversation. The caller's token is good until `expires`.
pub async fn without_a_session<P>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    expires: UnixMillis,
    request: &Hello,
) -> Result<Done<Box<HelloAnswer>>, Refused>
where
    P: Inboxes + Memberships + Heads + MessageLog + Clock,
{
    spoken(request)?;
    let answer = told(ports, settings, caller, expires, limits::RECONNECT_IN_MS, request).await?;
    Ok(Done::read(Box::new(answer)))
}

/// Makes sure that the server speaks the client's version.
const fn spoken(request: &Hello) -> Result<(), Refused> {
    if request.v < limits::VERSION_MIN { Err(Refused::UpgradeRequired) } else { Ok(()) }
}

/// Writes the session and displaces what it replaces. Answers the session as it stands, `None` if this connection is not one that
/// stays, and how many frames the gateway took for those that do not.
///
/// Whoever goes is closed, and forgotten behind that: an open connection that nobody knows could not be closed where its user is shut out.
async fn make_routable<P: Connections + Outbound + Clock>(
    ports: &P,
    user: &UserId,
    mine: &Connection,
    request: &RequestId,
) -> Result<(Option<Connection>, usize), Refused> {
    let now = ports.now();
    let Registered { all, in_this_minute, gate } = ports.register(user, mine, now).await?;
    let registered = all.iter().find(|session| session.connection == mine.connection).cloned();
    let (leaving, farewell) = match gate.shut_for_ms(now) {
        Some(retry_after_ms) => {
            let refusal = Refused::TooMuch { retry_after_ms }.to_wire();
            (vec![mine.connection.clone()], ServerFrame::Error(ErrorFrame { id: Some(request.clone()), refusal }))
        }
        None => (displaced_by(mine, all), ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None })),
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
        ports.remove(user, &closed.map(|(.., connection)| connection).collect::<Vec<_>>()).await?;
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
