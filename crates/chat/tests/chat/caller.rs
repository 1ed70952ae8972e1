//! How long a connection may ask: the token's time, what `refresh` makes of it, and how it ends.

use chatlane_chat::ports::{Connection, Failure};
use chatlane_chat::requests::caller::unexpired;
use chatlane_chat::requests::refresh::refresh;
use chatlane_chat::testing::builders::{connection, device, request_id, session, start, unavailable, user};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::RefreshAnswer;
use chatlane_protocol::{ErrorCode, Refusal, UnixMillis};

const HOUR_MS: u64 = 3_600_000;

const TOKEN_EXPIRED: &str = concat!(
    r#"{"type":"error","id":"r-1","code":"token_expired","retryable":false,"#,
    r#""message":"the token has expired: connect again with a new one"}"#
);

/// Alice's request so long after the start.
fn ask(store: &Faulty, ms: u64) -> Result<Option<Connection>, Failure> {
    store.memory.clock.set(start().plus_ms(ms));
    block_on(unexpired(store, &user("alice"), session("alice-1"), Some(&request_id("r-1"))))
}

fn with_session(session: Connection) -> Faulty {
    let store = Faulty::new(start());
    store.memory.log_in(&user("alice"), session);
    store
}

/// A session whose time `refresh` has moved to so long after the start.
fn refreshed_to(ms: u64) -> Connection {
    Connection { expires: start().plus_ms(ms), ..session("alice-1") }
}

fn posts(store: &Faulty) -> Vec<(String, String)> {
    std::mem::take(&mut store.memory.state().posts).into_iter().map(|(to, frame)| (to.to_string(), frame)).collect()
}

fn is_closed(store: &Faulty) -> bool {
    store.memory.state().gone.contains(&connection("alice-1"))
}

const ALL: [&str; 4] = ["session", "of_users", "post", "close"];

// --- whether one may ask

#[test]
fn before_the_tokens_time_is_over_nothing_is_read() {
    let store = Faulty::new(start());
    for ms in [0, HOUR_MS - 1] {
        assert_eq!(ask(&store, ms).unwrap(), Some(session("alice-1")));
    }
    assert_eq!(ALL.map(|call| store.count(call)), [0, 0, 0, 0]);
}

#[test]
fn a_refreshed_connection_goes_on_with_its_new_time() {
    let store = with_session(refreshed_to(2 * HOUR_MS));
    for ms in [HOUR_MS, 2 * HOUR_MS - 1] {
        assert_eq!(ask(&store, ms).unwrap(), Some(refreshed_to(2 * HOUR_MS)));
    }
    assert_eq!(ALL.map(|call| store.count(call)), [2, 0, 0, 0]);
    assert_eq!(ask(&store, 2 * HOUR_MS).unwrap(), None);
}

// holds: M1
#[test]
fn whose_time_is_over_is_told_once_and_then_the_connection_is_closed() {
    let store = with_session(session("alice-1"));
    assert_eq!(ask(&store, HOUR_MS).unwrap(), None);
    assert_eq!((posts(&store), is_closed(&store)), (vec![("alice-1".to_owned(), TOKEN_EXPIRED.to_owned())], true));
    assert!(store.is_answered_before("post", "close"));
    assert!(store.is_answered_before("session", "post"));
    assert_eq!(ALL.map(|call| store.count(call)), [1, 0, 1, 1]);
}

#[test]
fn a_request_without_a_good_id_is_told_without_one() {
    let store = Faulty::new(start());
    store.memory.clock.set(start().plus_ms(HOUR_MS));
    let found = block_on(unexpired(&store, &user("alice"), session("alice-1"), None)).unwrap();
    assert_eq!(found, None);
    assert_eq!(posts(&store), [("alice-1".to_owned(), TOKEN_EXPIRED.replace(r#""id":"r-1","#, ""))]);
}

#[test]
fn only_the_connections_own_session_prolongs_it() {
    let later = start().plus_ms(2 * HOUR_MS);
    let none = Faulty::new(start());
    let of_another_connection = with_session(Connection { expires: later, ..session("alice-2") });
    let of_another_device = with_session(Connection { device: device(2), expires: later, ..session("alice-1") });
    let of_another_user = Faulty::new(start());
    of_another_user.memory.log_in(&user("bob"), refreshed_to(2 * HOUR_MS));
    for (store, whose) in [(none, "none"), (of_another_connection, "connection"), (of_another_device, "device"), (of_another_user, "user")]
    {
        assert_eq!(ask(&store, HOUR_MS).unwrap(), None, "{whose}");
        assert!(posts(&store).len() == 1 && is_closed(&store), "{whose}");
    }
}

#[test]
fn a_session_that_cannot_be_read_is_no_reason_to_close() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let store = with_session(refreshed_to(2 * HOUR_MS));
        store.on("session", fault);
        let error = ask(&store, HOUR_MS).unwrap_err();
        assert_eq!(Refused::Failed(error).to_wire(), unavailable());
        assert_eq!((posts(&store), is_closed(&store)), (vec![], false));
        assert!(ask(&store, HOUR_MS).unwrap().is_some());
    }
}

/// Whatever of the two is lost, nobody is served; the next request does it again.
#[test]
fn a_connection_that_cannot_be_told_is_closed_all_the_same() {
    let store = Faulty::new(start());
    store.on("post", Fault::RequestLost);
    assert_eq!(ask(&store, HOUR_MS).unwrap(), None);
    assert_eq!((posts(&store), is_closed(&store)), (vec![], true));

    let store = Faulty::new(start());
    store.on("close", Fault::RequestLost);
    assert_eq!(ask(&store, HOUR_MS).unwrap(), None);
    assert_eq!((posts(&store).len(), is_closed(&store)), (1, false));
    assert_eq!(ask(&store, HOUR_MS + 1).unwrap(), None);
    assert_eq!((posts(&store).len(), is_closed(&store)), (1, true));
}

// --- refresh

fn prolong(store: &Faulty, who: &str, of: &str, expires: UnixMillis) -> Result<RefreshAnswer, Refused> {
    let Done { answer, did } =
        block_on(refresh(store, &user(who), &connection(&format!("{who}-1")), &request_id("r-1"), &user(of), expires))?;
    assert_eq!(did, Did::default(), "nothing that is counted");
    Ok(answer)
}

fn expires(store: &Faulty) -> UnixMillis {
    store.memory.state().sessions[&user("alice")][&connection("alice-1")].expires
}

#[test]
fn a_new_token_prolongs_the_connection_and_an_older_one_shortens_nothing() {
    let store = with_session(session("alice-1"));
    for (granted, after) in [(2 * HOUR_MS, 2 * HOUR_MS), (HOUR_MS / 2, 2 * HOUR_MS), (2 * HOUR_MS, 2 * HOUR_MS), (3 * HOUR_MS, 3 * HOUR_MS)]
    {
        let answer = prolong(&store, "alice", "alice", start().plus_ms(granted)).unwrap();
        let after = start().plus_ms(after);
        assert_eq!((answer, expires(&store)), (RefreshAnswer { id: request_id("r-1"), expires_ms: after }, after));
    }
    // And it is what counts at the next request.
    assert_eq!(ask(&store, 3 * HOUR_MS - 1).unwrap().unwrap().expires, start().plus_ms(3 * HOUR_MS));
}

#[test]
fn a_token_of_another_user_is_refused_and_touches_nothing() {
    let store = with_session(session("alice-1"));
    let refused = prolong(&store, "alice", "bob", start().plus_ms(2 * HOUR_MS)).unwrap_err();
    assert_eq!(refused.to_wire(), Refusal::new(ErrorCode::TokenRefused, "the token was not accepted"));
    assert_eq!((expires(&store), store.count("prolong")), (session("alice-1").expires, 0));
}

#[test]
fn a_connection_without_a_session_says_hello_first_and_no_session_is_made() {
    let store = with_session(session("alice-2"));
    let refused = prolong(&store, "alice", "alice", start().plus_ms(2 * HOUR_MS)).unwrap_err();
    assert_eq!(refused.to_wire(), Refusal::new(ErrorCode::Resync, "the connection is not known: say hello, then repeat"));
    let sessions = store.memory.state().sessions[&user("alice")].clone();
    assert_eq!(sessions.into_values().collect::<Vec<_>>(), [session("alice-2")]);
}

#[test]
fn a_refresh_whose_outcome_is_unknown_is_repeated() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let store = with_session(session("alice-1"));
        store.on("prolong", fault);
        let later = start().plus_ms(2 * HOUR_MS);
        let refused = prolong(&store, "alice", "alice", later).unwrap_err().to_wire();
        assert_eq!((refused.code, refused.retryable, refused.retry_after_ms), (ErrorCode::Unavailable, true, Some(100)));
        assert_eq!(prolong(&store, "alice", "alice", later).unwrap().expires_ms, later);
    }
}
