//! `hello`: routable first, then told where everything stands; one connection of a device, sixteen of a user. Pages, and what a device
//! knows already, have a file of their own.

use std::collections::BTreeSet;

use chatlane_chat::log::Head;
use chatlane_chat::ports::{Connection, Connections as _, Creations as _, Gate, ReadCursor};
use chatlane_chat::requests::hello::{Greeting, hello};
use chatlane_chat::testing::builders::{
    EPOCH, connection, conversation, creation, device, head, position, request_id, session, settings, start, unavailable, user,
};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ConversationHead, ConversationRow, HelloAnswer, Limits, Versions};
use chatlane_protocol::request::Hello;
use chatlane_protocol::{ConversationId, ErrorCode, Position, Refusal, UnixMillis, limits};

const GOAWAY: &str = r#"{"type":"goaway","reason":"displaced"}"#;

/// The first request of a device that has nothing.
fn request(v: u32) -> Hello {
    Hello { id: request_id("r-1"), v, after: None, known: vec![], known_to: None }
}

fn greet_with(store: &Faulty, mine: &Connection, request: &Hello, spread: u64) -> Result<Done<Greeting>, Refused> {
    store.memory.clock.set(start().plus_ms(5));
    block_on(hello(store, &settings(), spread, &user("alice"), mine, request))
}

fn greet(store: &Faulty, mine: &Connection) -> Result<Done<Greeting>, Refused> {
    greet_with(store, mine, &request(limits::VERSION_MAX), 0)
}

fn welcome(greeting: Result<Done<Greeting>, Refused>) -> HelloAnswer {
    match greeting {
        Ok(Done { answer: Greeting::Welcome(answer), .. }) => *answer,
        other => panic!("not welcome: {other:?}"),
    }
}

/// Alice on another connection, of this device, accepted so many ms after the start.
fn alice_on(name: &str, number: u8, connected_ms: u64) -> Connection {
    Connection { device: device(number), connected_at: start().plus_ms(connected_ms), ..session(name) }
}

fn connections(store: &Faulty) -> Vec<String> {
    store.memory.state().sessions.get(&user("alice")).into_iter().flat_map(|all| all.keys().map(ToString::to_string)).collect()
}

fn goaways(store: &Faulty) -> Vec<String> {
    let posts = std::mem::take(&mut store.memory.state().posts);
    assert!(posts.iter().all(|(_, frame)| frame == GOAWAY));
    posts.into_iter().map(|(connection, _)| connection.to_string()).collect()
}

/// Alice's conversations with so many others, in the order of their ids.
fn conversations(store: &Faulty, number: usize) -> Vec<ConversationId> {
    let ids: Vec<ConversationId> = (0..number).map(|n| conversation(&format!("d{n:03}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        let creation = creation(id, &user("alice"), &user(&format!("user-{n}")));
        assert!(block_on(store.memory.create(&creation)).is_ok());
    }
    ids
}

#[test]
fn a_welcome_tells_who_one_is_the_limits_and_where_everything_stands() {
    let store = Faulty::new(start());
    let ids = conversations(&store, 2);
    store.memory.state().heads.insert(ids[1].clone(), Head { time: start().plus_ms(1), ..head(9) });
    let read = ReadCursor { position: position(4), count: 3 };
    store.memory.change_row(&user("alice"), &ids[1], |row| row.read = read);
    let nothing = ConversationRow {
        role: None,
        group: None,
        conversation: ConversationHead { conversation: ids[0].clone(), with: Some(user("user-0")), head: Position::ZERO },
        count: 0,
        time_ms: UnixMillis::ZERO,
        read: Position::ZERO,
        read_count: 0,
        read_private: false,
        mentioned: None,
        prefs: None,
        last: None,
    };
    let unread = ConversationRow {
        role: None,
        group: None,
        conversation: ConversationHead { conversation: ids[1].clone(), with: Some(user("user-1")), head: position(9) },
        count: 8,
        time_ms: start().plus_ms(1),
        read: position(4),
        read_count: 3,
        read_private: false,
        mentioned: None,
        prefs: None,
        last: None, // its entry is not there
    };
    let expected = HelloAnswer {
        id: request_id("r-1"),
        versions: Versions { min: 1, max: 1 },
        user: user("alice"),
        device: device(1),
        server_time_ms: start().plus_ms(5),
        epoch: EPOCH,
        expires_ms: session("alice-1").expires,
        reconnect_in_ms: 95 * 60 * 1000 - 5, // from the handshake on
        limits: Limits {
            entry_bytes_max: 28 * 1024,
            request_bytes_max: 32 * 1024,
            messages_per_send_max: 25,
            anchor_entries_max: 200,
            anchor_bytes_max: 128 * 1024,
            gap_wait_ms: 500,
            ping_after_idle_ms: 240_000,
            cursors_every_ms: 1000,
        },
        conversations: vec![nothing, unread],
        gone: vec![],
        next: None,
    };
    assert_eq!(welcome(greet(&store, &session("alice-1"))), expected);
    let sessions: Vec<Connection> = store.memory.state().sessions[&user("alice")].values().cloned().collect();
    assert_eq!(sessions, [session("alice-1")]);
}

/// D2: a fan-out that raised the head before these reads is seen in them; one that raises it after them sees the session.
// holds: D2
#[test]
fn the_session_is_written_before_inbox_and_heads_are_read() {
    let store = Faulty::new(start());
    conversations(&store, 1);
    welcome(greet(&store, &session("alice-1")));
    assert!(store.is_answered_before("register", "inbox"));
    assert!(store.is_answered_before("register", "heads"));
}

/// A connection that `refresh` has prolonged says hello again: with the time that the caller has been admitted with.
#[test]
fn the_end_of_the_connections_time_is_the_callers() {
    let store = Faulty::new(start());
    let later = start().plus_ms(9_000_000);
    let answer = welcome(greet(&store, &Connection { expires: later, ..session("alice-1") }));
    let registered = store.memory.state().sessions[&user("alice")][&connection("alice-1")].expires;
    assert_eq!((answer.expires_ms, registered), (later, later));
}

#[test]
fn who_has_no_conversations_gets_an_empty_page() {
    let store = Faulty::new(start());
    let answer = welcome(greet(&store, &session("alice-1")));
    assert_eq!((answer.conversations, answer.next), (vec![], None));
    assert_eq!(store.count("heads"), 0);
}

#[test]
fn saying_hello_again_on_one_connection_displaces_nobody() {
    let store = Faulty::new(start());
    welcome(greet(&store, &session("alice-1")));
    welcome(greet(&store, &session("alice-1")));
    assert_eq!((connections(&store), goaways(&store)), (vec!["alice-1".to_owned()], vec![]));
}

// holds: D2
#[test]
fn a_newer_connection_displaces_the_older_ones_of_its_device_and_tells_them() {
    let store = Faulty::new(start());
    welcome(greet(&store, &alice_on("old", 1, 10)));
    welcome(greet(&store, &alice_on("tablet", 2, 5)));
    assert_eq!(greet(&store, &alice_on("new", 1, 20)).unwrap().did, Did { posted: 1, ..Did::default() });
    assert_eq!((connections(&store), goaways(&store)), (vec!["new".to_owned(), "tablet".to_owned()], vec!["old".to_owned()]));
    // It is told, closed and forgotten, in this order.
    assert!(store.is_answered_before("post", "close") && store.is_answered_before("close", "remove"));
    assert_eq!(store.memory.state().gone, BTreeSet::from([connection("old")]));
}

// holds: D2
#[test]
fn a_late_hello_of_an_older_connection_removes_itself_and_nothing_else() {
    let store = Faulty::new(start());
    welcome(greet(&store, &alice_on("new", 1, 20)));
    let did = Did { posted: 1, ..Did::default() };
    assert_eq!(greet(&store, &alice_on("old", 1, 10)).unwrap(), Done { answer: Greeting::Parted, did });
    assert_eq!((connections(&store), goaways(&store)), (vec!["new".to_owned()], vec!["old".to_owned()]));
    assert_eq!(store.count("inbox"), 1, "the displaced one is told nothing");
}

// holds: D2
#[test]
fn the_seventeenth_connection_of_a_user_displaces_the_oldest() {
    let store = Faulty::new(start());
    for number in 1..=16 {
        welcome(greet(&store, &alice_on(&format!("c-{number:02}"), number, u64::from(number))));
    }
    assert_eq!((connections(&store).len(), goaways(&store)), (16, vec![]));
    welcome(greet(&store, &alice_on("c-17", 17, 17)));
    assert_eq!((connections(&store).len(), goaways(&store)), (16, vec!["c-01".to_owned()]));
    // One that is older than all of them is the one too many itself.
    assert_eq!(greet(&store, &alice_on("c-00", 18, 0)).unwrap().answer, Greeting::Parted);
    assert_eq!((connections(&store).len(), goaways(&store)), (16, vec!["c-00".to_owned()]));
}

#[test]
fn a_displaced_connection_that_cannot_be_told_is_displaced_all_the_same() {
    let store = Faulty::new(start());
    welcome(greet(&store, &alice_on("gone", 1, 1)));
    store.memory.state().gone.insert(connection("gone"));
    assert_eq!(greet(&store, &alice_on("stuck", 1, 2)).unwrap().did, Did::default());
    store.memory.state().stuck.insert(connection("stuck"));
    assert_eq!(greet(&store, &alice_on("new", 1, 3)).unwrap().did, Did::default());
    assert_eq!(connections(&store), ["new", "stuck"]);
    store.memory.state().stuck.clear();
    assert_eq!(greet(&store, &alice_on("new", 1, 3)).unwrap().did, Did { posted: 1, ..Did::default() });
    assert_eq!(connections(&store), ["new"]);
}

/// It would be an open socket that nobody knows, and that nobody could close.
#[test]
fn a_connection_that_could_not_be_closed_is_known_until_it_is() {
    let store = Faulty::new(start());
    welcome(greet(&store, &alice_on("old", 1, 1)));
    store.on("close", Fault::RequestLost);
    welcome(greet(&store, &alice_on("new", 1, 2)));
    assert_eq!(connections(&store), ["new", "old"]);
    welcome(greet(&store, &alice_on("new", 1, 2)));
    assert_eq!(connections(&store), ["new"]);
}

#[test]
fn who_is_shut_out_is_told_so_and_closed_and_asks_for_nothing() {
    let store = Faulty::new(start());
    welcome(greet(&store, &alice_on("open", 1, 1)));
    store.memory.state().gates.insert(user("alice"), Gate { until: start().plus_ms(7_000), times: 0 });
    let inboxes = store.count("inbox");
    assert_eq!(greet(&store, &alice_on("late", 2, 2)).unwrap().answer, Greeting::Parted);
    let (to, told) = store.memory.state().posts.pop().unwrap();
    assert_eq!(to, connection("late"));
    assert!(told.contains(r#""id":"r-1","code":"rate_limited","retryable":true,"retry_after_ms":6995"#), "{told}");
    assert!(store.memory.state().gone.contains(&connection("late")));
    assert_eq!((connections(&store), store.count("inbox")), (vec!["open".to_owned()], inboxes));
}

#[test]
fn reconnects_are_spread_over_twenty_minutes() {
    let store = Faulty::new(start());
    let now = Connection { connected_at: start().plus_ms(5), ..session("alice-1") };
    let minutes = |spread| welcome(greet_with(&store, &now, &request(1), spread)).reconnect_in_ms / 60_000;
    assert_eq!(minutes(0), 95);
    assert_eq!(minutes(10 * 60 * 1000), 105);
    assert_eq!(minutes(20 * 60 * 1000 - 1), 114);
    assert!((95..115).contains(&minutes(u64::MAX)));
}

/// The gateway's two hours count from the handshake, whenever hello is said again.
#[test]
fn a_hello_said_again_does_not_put_the_reconnect_off() {
    let store = Faulty::new(start());
    let old = Connection { connected_at: UnixMillis::try_from(start().plus_ms(5).get() - 100 * 60 * 1000).unwrap(), ..session("alice-1") };
    let in_ms = |spread| welcome(greet_with(&store, &old, &request(1), spread)).reconnect_in_ms;
    assert_eq!(in_ms(10 * 60 * 1000), 5 * 60 * 1000);
    assert_eq!(in_ms(0), 10_000);
}

/// What a refresh has given, a hello said again does not take back.
// holds: D2
#[test]
fn a_hello_said_again_keeps_the_time_that_a_refresh_has_given() {
    let store = Faulty::new(start());
    let (alice, mine) = (user("alice"), session("alice-1"));
    welcome(greet(&store, &mine));
    let longer = mine.expires.plus_ms(1000);
    block_on(store.prolong(&alice, &mine.connection, longer)).unwrap();
    assert_eq!(welcome(greet(&store, &mine)).expires_ms, longer);
    assert_eq!(store.memory.state().sessions[&alice][&mine.connection].expires, longer);
}

#[test]
fn a_client_that_is_too_old_is_told_and_changes_nothing() {
    let store = Faulty::new(start());
    let refused = greet_with(&store, &session("alice-1"), &request(limits::VERSION_MIN - 1), 0).unwrap_err();
    assert!(matches!(refused, Refused::UpgradeRequired));
    assert_eq!(refused.to_wire(), Refusal::new(ErrorCode::UpgradeRequired, "this server speaks protocol versions 1 to 1"));
    assert_eq!(connections(&store), Vec::<String>::new());
}

#[test]
fn a_newer_client_is_told_what_the_server_speaks() {
    let store = Faulty::new(start());
    let answer = welcome(greet_with(&store, &session("alice-1"), &request(limits::VERSION_MAX + 1), 0));
    assert_eq!(answer.versions, Versions { min: limits::VERSION_MIN, max: limits::VERSION_MAX });
}

#[test]
fn whatever_cannot_be_reached_hello_is_retried() {
    for call in ["register", "remove", "inbox", "heads", "at"] {
        for fault in [Fault::RequestLost, Fault::AnswerLost] {
            let store = Faulty::new(start());
            let ids = conversations(&store, 1);
            store.memory.state().heads.insert(ids[0].clone(), head(1));
            store.memory.log_in(&user("alice"), session("old"));
            store.on(call, fault);
            let refused = greet(&store, &alice_on("new", 1, 1)).unwrap_err();
            assert_eq!(refused.to_wire(), unavailable(), "{call}");

            assert_eq!(welcome(greet(&store, &alice_on("new", 1, 1))).conversations.len(), 1, "{call}");
            assert_eq!(connections(&store), ["new"], "{call}");
        }
    }
}

#[test]
fn the_twenty_first_hello_of_a_minute_is_put_off_to_the_next_and_reads_nothing() {
    let store = Faulty::new(start());
    conversations(&store, 3);
    for number in 0..20 {
        assert_eq!(welcome(greet(&store, &alice_on("c1", 1, number))).conversations.len(), 3);
    }
    let before = store.counts();
    let refused = greet(&store, &alice_on("c1", 1, 0)).unwrap_err().to_wire();
    assert_eq!((refused.code, refused.retry_after_ms), (ErrorCode::RateLimited, Some(60_000 - 5)));
    let mut after = store.counts();
    *after.get_mut("register").unwrap() -= 1;
    assert_eq!(after, before);
    // It is routable, in the place of the one before.
    assert_eq!(greet(&store, &alice_on("c2", 1, 30)).unwrap_err().to_wire().code, ErrorCode::RateLimited);
    assert_eq!((connections(&store), goaways(&store)), (vec!["c2".to_owned()], vec!["c1".to_owned()]));
    // Further pages are none.
    let page = Hello { after: Some(conversation("d000")), ..request(1) };
    assert_eq!(welcome(greet_with(&store, &alice_on("c1", 1, 0), &page, 0)).conversations.len(), 2);
    let of = |who| block_on(hello(&store, &settings(), 0, &user(who), &alice_on("c2", 1, 30), &request(1)));
    assert!(of("bob").is_ok());
    store.memory.clock.set(start().plus_ms(60_000));
    let next = of("alice");
    assert_eq!(welcome(next).conversations.len(), 3);
}
