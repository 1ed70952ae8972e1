//! Connections: who can be reached, and over which.

use std::collections::BTreeMap;

use chatlane_protocol::{UnixMillis, UserId};
use futures_util::future::join_all;

use super::{Backend, fresh, fresh_user};
use crate::ports::{Connection, ConnectionsOfUser, Gate};
use crate::testing::builders::{connection, device, session, start};

/// Connection ids look like `L0SM9cOFvHcCIhw=`: nothing in one may end a key or a path.
fn fresh_session() -> Connection {
    session(&format!("{}.a#b=", fresh("L0SM9cOFvHcCIhw")))
}

fn sorted(mut sessions: Vec<Connection>) -> Vec<Connection> {
    sessions.sort_by(|a, b| a.connection.cmp(&b.connection));
    sessions
}

async fn register<B: Backend>(store: &B, user: &UserId, session: &Connection) -> Vec<Connection> {
    sorted(store.register(user, session, start()).await.unwrap().all)
}

async fn of_user<B: Backend>(store: &B, user: &UserId) -> Vec<Connection> {
    let found = store.of_users(std::slice::from_ref(user)).await.unwrap();
    assert!(found.iter().all(|(of, _)| of == user));
    sorted(found.into_iter().map(|(_, session)| session).collect())
}

/// Every field of each, up to the number that a user may have and one more; also of those whose time is over.
pub async fn a_registered_session_is_answered_with_all_others_of_its_user<B: Backend>(store: &B) {
    let user = fresh_user();
    let mut sessions = vec![];
    for number in 0..=16_u8 {
        let added = Connection {
            device: device(number),
            connected_at: start().plus_ms(u64::from(number)),
            expires: if number % 2 == 0 { start() } else { start().plus_ms(u64::from(number)) },
            ..fresh_session()
        };
        sessions.push(added.clone());
        assert_eq!(register(store, &user, &added).await, sorted(sessions.clone()));
    }
    assert_eq!(of_user(store, &user).await, sorted(sessions));
}

/// Whatever else has changed; but the time that a refresh has given is not taken back.
pub async fn a_session_replaces_the_one_of_its_connection<B: Backend>(store: &B) {
    let (user, kept, first) = (fresh_user(), fresh_session(), fresh_session());
    register(store, &user, &kept).await;
    register(store, &user, &first).await;
    let second = Connection { device: device(2), connected_at: UnixMillis::ZERO, expires: first.expires.plus_ms(1), ..first };
    let both = sorted(vec![kept, second.clone()]);
    assert_eq!(register(store, &user, &second).await, both);
    let shorter = Connection { expires: start(), ..second };
    assert_eq!(register(store, &user, &shorter).await, both);
    assert_eq!(of_user(store, &user).await, both);
}

/// D2: of two connections of one device that say hello at once, at least one learns of the other.
// holds: D2
pub async fn of_sessions_registered_at_once_each_two_see_each_other<B: Backend>(store: &B) {
    let user = fresh_user();
    let sessions: Vec<Connection> = (0..8).map(|_| fresh_session()).collect();
    let answers = join_all(sessions.iter().map(|session| register(store, &user, session))).await;
    for (one, of_one) in sessions.iter().zip(&answers) {
        assert!(of_one.contains(one));
        for (other, of_other) in sessions.iter().zip(&answers) {
            assert!(of_one.contains(other) || of_other.contains(one));
        }
    }
    assert_eq!(of_user(store, &user).await, sorted(sessions));
}

/// By the minute of whoever registers; each user's apart.
pub async fn hellos_are_counted_by_the_minute<B: Backend>(store: &B) {
    let (user, other_user, session) = (fresh_user(), fresh_user(), fresh_session());
    let count = async |user, ms| store.register(user, &session, start().plus_ms(ms)).await.unwrap().in_this_minute;
    let mut counts = vec![];
    for ms in [0, 1, 59_999, 60_000, 61_000, 3_600_000] {
        counts.push(count(&user, ms).await);
    }
    assert_eq!(counts, [1, 2, 3, 1, 2, 1]);
    assert_eq!(count(&other_user, 1).await, 1);
}

/// AWS's own sample removes the wrong row after a 410.
pub async fn a_removal_takes_the_named_connections_only<B: Backend>(store: &B) {
    let (user, other_user) = (fresh_user(), fresh_user());
    let sessions: Vec<Connection> = (0..4).map(|_| fresh_session()).collect();
    for session in &sessions {
        register(store, &user, session).await;
    }
    register(store, &other_user, &sessions[0]).await;

    store.remove(&user, &[sessions[0].connection.clone(), sessions[2].connection.clone()]).await.unwrap();
    let left = sorted(vec![sessions[1].clone(), sessions[3].clone()]);
    assert_eq!(of_user(store, &user).await, left);
    assert_eq!(of_user(store, &other_user).await, [sessions[0].clone()]);

    // Again, with one that never was: no error, nothing else.
    store.remove(&user, &[sessions[0].connection.clone(), connection("never-was=")]).await.unwrap();
    assert_eq!(of_user(store, &user).await, left);

    store.remove(&user, &[sessions[1].connection.clone(), sessions[3].connection.clone()]).await.unwrap();
    assert_eq!(of_user(store, &user).await, []);
    assert_eq!(register(store, &user, &sessions[3]).await, [sessions[3].clone()]);
}

/// Every field of it, and of no other; whoever's it is not does not find it.
// holds: D2
pub async fn one_session_is_found_by_its_connection<B: Backend>(store: &B) {
    let (user, other_user) = (fresh_user(), fresh_user());
    let sessions = [fresh_session(), Connection { device: device(2), connected_at: UnixMillis::ZERO, expires: start(), ..fresh_session() }];
    for session in &sessions {
        register(store, &user, session).await;
    }
    for session in &sessions {
        assert_eq!(store.session(&user, &session.connection).await.unwrap().as_ref(), Some(session));
        assert_eq!(store.session(&other_user, &session.connection).await.unwrap(), None);
    }
    register(store, &other_user, &fresh_session()).await;
    assert_eq!(store.session(&other_user, &sessions[0].connection).await.unwrap(), None);
    assert_eq!(store.session(&user, &fresh_session().connection).await.unwrap(), None);
    store.remove(&user, std::slice::from_ref(&sessions[0].connection)).await.unwrap();
    assert_eq!(store.session(&user, &sessions[0].connection).await.unwrap(), None);
}

/// A token that was refreshed late, or twice out of order, takes no time away; nobody else's time changes.
// holds: D2
pub async fn a_session_is_prolonged_and_never_shortened<B: Backend>(store: &B) {
    let (user, other_user) = (fresh_user(), fresh_user());
    let (mine, other) = (fresh_session(), fresh_session());
    register(store, &user, &mine).await;
    register(store, &user, &other).await;
    register(store, &other_user, &mine).await;

    let later = |ms| Connection { expires: mine.expires.plus_ms(ms), ..mine.clone() };
    for (to, after) in [
        (mine.expires, mine.clone()),
        (UnixMillis::ZERO, mine.clone()),
        (later(2).expires, later(2)),
        (later(1).expires, later(2)),
        (later(10).expires, later(10)),
        (UnixMillis::MAX, Connection { expires: UnixMillis::MAX, ..mine.clone() }),
        (later(11).expires, Connection { expires: UnixMillis::MAX, ..mine.clone() }),
    ] {
        assert_eq!(store.prolong(&user, &mine.connection, to).await.unwrap().as_ref(), Some(&after), "to {to}");
        assert_eq!(store.session(&user, &mine.connection).await.unwrap(), Some(after), "to {to}");
    }
    assert_eq!(store.session(&user, &other.connection).await.unwrap(), Some(other));
    assert_eq!(of_user(store, &other_user).await, [mine]);
}

/// A refresh that comes after the end of its session must not bring it back: the socket may be another's, or closed.
// holds: D2
pub async fn a_session_that_is_not_there_is_not_prolonged_and_not_made<B: Backend>(store: &B) {
    let (unknown, user) = (fresh_user(), fresh_user());
    let (ended, kept) = (fresh_session(), fresh_session());
    register(store, &user, &ended).await;
    register(store, &user, &kept).await;
    store.remove(&user, std::slice::from_ref(&ended.connection)).await.unwrap();

    for user in [&unknown, &user] {
        assert_eq!(store.prolong(user, &ended.connection, UnixMillis::MAX).await.unwrap(), None);
        assert_eq!(store.session(user, &ended.connection).await.unwrap(), None);
    }
    assert_eq!(of_user(store, &unknown).await, []);
    assert_eq!(of_user(store, &user).await, [kept]);
}

/// A late `$disconnect` must not make a user.
pub async fn a_removal_for_an_unknown_user_creates_nothing<B: Backend>(store: &B) {
    let (user, mine) = (fresh_user(), fresh_session());
    store.remove(&user, std::slice::from_ref(&mine.connection)).await.unwrap();
    assert_eq!(of_user(store, &user).await, []);
    assert_eq!(register(store, &user, &mine).await, [mine]);
}

/// With none, one or two sessions each; and nobody's for nobody.
pub async fn more_than_a_hundred_users_are_asked_at_once<B: Backend>(store: &B) {
    let users: Vec<UserId> = (0..130).map(|_| fresh_user()).collect();
    let mut expected = vec![];
    for (index, user) in users.iter().enumerate() {
        for _ in 0..index % 3 {
            let session = fresh_session();
            register(store, user, &session).await;
            expected.push((user.clone(), session));
        }
    }
    let by_connection = |a: &(UserId, Connection), b: &(UserId, Connection)| a.1.connection.cmp(&b.1.connection);
    let mut found = store.of_users(&users).await.unwrap();
    found.sort_by(by_connection);
    expected.sort_by(by_connection);
    assert_eq!(found, expected);
    assert_eq!(store.of_users(&[]).await.unwrap(), []);
}

/// From the handshake to hello; neither is posted to, and both are what a shut gate closes.
pub async fn a_connection_is_noted_when_it_is_admitted_and_becomes_a_session_by_hello<B: Backend>(store: &B) {
    let (user, other_user) = (fresh_user(), fresh_user());
    let (first, second) = (fresh_session(), Connection { device: device(2), ..fresh_session() });
    assert_eq!(store.admit(&user, &first, start()).await.unwrap(), (Gate::default(), vec![first.clone()]));
    store.admit(&other_user, &fresh_session(), start()).await.unwrap();
    let (gate, noted) = store.admit(&user, &second, start()).await.unwrap();
    assert_eq!((gate, sorted(noted)), (Gate::default(), sorted(vec![first.clone(), second.clone()])));
    assert_eq!(of_user(store, &user).await, []);
    assert_eq!(store.session(&user, &first.connection).await.unwrap(), None);

    assert_eq!(register(store, &user, &first).await, std::slice::from_ref(&first));
    assert_eq!(of_user(store, &user).await, std::slice::from_ref(&first));
    let third = fresh_session();
    let (_, noted) = store.admit(&user, &third, start()).await.unwrap();
    assert_eq!(sorted(noted), sorted(vec![second.clone(), third.clone()]));
    store.remove(&user, &[second.connection.clone(), first.connection.clone()]).await.unwrap();
    assert_eq!(of_user(store, &user).await, []);
    assert_eq!(store.admit(&user, &third, start()).await.unwrap().1, [third]);
}

/// Only in the place of the gate that was seen; nobody is admitted while it is shut, and what is open then is answered.
pub async fn a_gate_is_shut_once_and_admits_nobody_until_its_time<B: Backend>(store: &B) {
    let (user, session, pending) = (fresh_user(), fresh_session(), fresh_session());
    let shut = |minutes: u64, times| Gate { until: start().plus_ms(minutes * 60_000), times };
    assert_eq!(store.gate(&user).await.unwrap(), Gate::default());
    assert_eq!(store.shut(&user, shut(1, 1), shut(2, 2)).await.unwrap(), None);
    register(store, &user, &session).await;
    store.admit(&user, &pending, start()).await.unwrap();
    let both = ConnectionsOfUser { greeted: vec![session.connection.clone()], pending: vec![pending.connection] };
    assert_eq!(store.shut(&user, Gate::default(), shut(1, 1)).await.unwrap(), Some(both));
    assert_eq!(store.gate(&user).await.unwrap(), shut(1, 1));
    assert_eq!(store.shut(&user, Gate::default(), shut(2, 2)).await.unwrap(), None);
    assert_eq!(store.shut(&user, shut(1, 2), shut(2, 2)).await.unwrap(), None);

    let late = fresh_session();
    let before = start().plus_ms(60_000 - 1);
    assert_eq!(store.admit(&user, &late, before).await.unwrap(), (shut(1, 1), vec![]));
    assert_eq!(store.gate(&fresh_user()).await.unwrap(), Gate::default());
    let (gate, noted) = store.admit(&user, &late, start().plus_ms(60_000)).await.unwrap();
    assert_eq!((gate, noted.contains(&late)), (shut(1, 1), true));
    assert!(store.shut(&user, shut(1, 1), shut(9, 2)).await.unwrap().unwrap().pending.contains(&late.connection));
    assert_eq!(of_user(store, &user).await, [session], "a gate is no session");
}

/// A gate for what was spent is shut for an hour at most. What a machine with a wrong clock has shut for longer admits; what an operator has,
/// does not.
pub async fn a_gate_that_a_wrong_clock_has_shut_admits<B: Backend>(store: &B) {
    let hours = |hours: u64, times| Gate { until: start().plus_ms(hours * 3_600_000), times };
    for (gate, admits) in [(hours(2, 1), false), (hours(3, 1), true), (hours(3, 0), false)] {
        let (user, opening) = (fresh_user(), fresh_session());
        store.shut(&user, Gate::default(), gate).await.unwrap();
        let noted = if admits { vec![opening.clone()] } else { vec![] };
        assert_eq!(store.admit(&user, &opening, start()).await.unwrap(), (gate, noted), "{gate:?}");
    }
}

/// Windows add up, each for itself, whoever charges at the same time; those before the first are not kept for ever.
pub async fn what_a_user_spends_adds_up_in_each_window<B: Backend>(store: &B) {
    let (user, other_user) = (fresh_user(), fresh_user());
    assert_eq!(store.charge(&user, 100, 7, 70, start()).await.unwrap(), BTreeMap::from([(100, 7)]));
    store.charge(&other_user, 100, 1_000, 70, start()).await.unwrap();
    let charged = join_all((0..10).map(|_| store.charge(&user, 101, 500, 71, start()))).await;
    let most = charged.into_iter().map(|spent| spent.unwrap()[&101]).max();
    assert_eq!(most, Some(5_000));
    // A machine whose clock is behind.
    assert_eq!(store.charge(&user, 90, 3, 60, start()).await.unwrap(), BTreeMap::from([(90, 3), (100, 7), (101, 5_000)]));
    let spent = store.charge(&user, 125, 1, 95, start()).await.unwrap();
    assert_eq!(spent, BTreeMap::from([(100, 7), (101, 5_000), (125, 1)]));
}
