//! What a user may ask, and what it costs them: every route charges, and who has spent too much is told so and shut out.

use std::cell::Cell;
use std::collections::BTreeMap;

use chatlane_chat::limit::{Budget, kick};
use chatlane_chat::ports::{Connections as _, Failure, Gate};

use super::*;

/// Every frame is charged as what it costs, and the first is too much.
const NOTHING: Budget = Budget { units_per_s: 1, burst: 1, charged_min: 1 };

fn too_much(retry_after_ms: u64) -> Value {
    json!({
        "type": "error", "id": "1", "code": "rate_limited", "retryable": true, "retry_after_ms": retry_after_ms,
        "message": "too much is asked for this user: come back later",
    })
}

/// What `$connect` answers so long after the samples' time: its status, and when to come back.
fn connects(store: &Faulty, limit: &UserLimit, connection: &str, ms: u64) -> (u16, Option<String>) {
    store.memory.clock.set(time(CONNECTED_AT_MS + ms));
    let mut event = socket_event(Function::Connect);
    event.request_context.connection_id = Some(connection.to_owned());
    event.request_context.connected_at = i64::try_from(CONNECTED_AT_MS + ms).unwrap();
    event.request_context.authorizer.fields.insert("expires".to_owned(), json!((CONNECTED_AT_MS + ms + TOKEN_MS).to_string()));
    let answer = block_on(connect::handle(store, limit, event)).unwrap();
    (answer.status_code, answer.headers.get("Retry-After").cloned())
}

fn pending(store: &Faulty) -> usize {
    store.memory.state().pending.get(&user("alice")).map_or(0, BTreeMap::len)
}

#[test]
fn who_has_spent_too_much_is_told_so_on_every_route_and_shut_out() {
    let limit = &UserLimit::new(Some(NOTHING));
    for (function, event) in requests_and_others() {
        let store = world_until(TOKEN_MS);
        // Another connection of alice's, and one that has not said hello.
        let device = DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002").unwrap();
        let other = Connection { connection: ConnectionId::new("other").unwrap(), device, ..session(&store) };
        store.memory.log_in(&user("alice"), other.clone());
        assert_eq!(connects(&store, &UserLimit::new(None), "silent", 0), (200, None));

        let answer = try_serve_within(limit, &store, 7, function, event.clone()).unwrap();
        assert_eq!((answer.status_code, answer.body.as_str()), (200, ""), "{}", route(&event));
        let told = std::mem::take(&mut store.memory.state().posts).pop().unwrap();
        assert_eq!((told.0, serde_json::from_str::<Value>(&told.1).unwrap()), (alice().connection, too_much(60_000)), "{}", route(&event));
        let closed = store.memory.state().gone.clone();
        assert_eq!(closed.len(), 3, "{}: {closed:?}", route(&event));

        assert_eq!(connects(&store, limit, "next", 60_006), (429, Some("1".to_owned())));
        assert_eq!(connects(&store, &UserLimit::new(None), "next", 60_007), (200, None));
    }
}

fn session(store: &Faulty) -> Connection {
    store.memory.state().sessions[&user("alice")][&alice().connection].clone()
}

#[test]
fn a_handshake_is_charged_too_and_a_gate_is_shut_for_longer_each_time() {
    let (store, limit) = (world(), &UserLimit::new(Some(NOTHING)));
    let mut ms = 0;
    for minutes in [1_u64, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(connects(&store, limit, "c", ms), (429, Some((60 * minutes).to_string())));
        assert_eq!((store.count("charge"), pending(&store)), (store.count("shut"), 0));
        ms += minutes * 60_000;
    }
}

#[test]
fn who_knocks_at_a_shut_gate_costs_one_request_a_minute() {
    let (store, limit) = (world(), &UserLimit::new(None));
    let minute = 60_000 - CONNECTED_AT_MS % 60_000;
    store.memory.state().gates.insert(user("alice"), Gate { until: time(CONNECTED_AT_MS + minute + 2_000), times: 1 });
    for ms in [0, 1, minute - 1] {
        assert_eq!(connects(&store, limit, "c", ms).0, 429);
        assert_eq!(store.count("admit"), 1);
    }
    assert_eq!(connects(&store, limit, "c", minute), (429, Some("2".to_owned())));
    assert_eq!(store.count("admit"), 2);
    // An operator lets them in: known a minute later at the latest.
    store.memory.state().gates.clear();
    assert_eq!(connects(&store, limit, "c", minute + 1).0, 429);
    assert_eq!(connects(&store, limit, "c", minute + 2_000).0, 200);
}

#[test]
fn refused_and_malformed_frames_are_charged_by_what_they_cost() {
    let limit = &UserLimit::new(Some(Budget { charged_min: 1, ..Budget::DEFAULT }));
    let [one_message, two, four] = [32 * 1024, 32 * 1024 + 1, 128 * 1024].map(|bytes| "x".repeat(bytes));
    for (function, body, of_frame) in [
        (Function::Fallback, "no JSON", 18),
        (Function::Fallback, &one_message, 18),
        (Function::Fallback, &two, 26),
        (Function::Fallback, &four, 42),
        (Function::Send, r#"{"action":"send","id":"1"}"#, 18),
        (Function::History, r#"{"action":"history","id":"1","conversation":"none"}"#, 18),
        (Function::Send, text_of_sample(Function::Send).as_str(), 18),
    ] {
        let store = world_until(TOKEN_MS);
        let answer = try_serve_within(limit, &store, 0, function, saying(function, body)).unwrap();
        assert!(!answer.body.is_empty());
        let spent: u64 = store.memory.state().spent[&user("alice")].values().sum();
        let calls = store.counts();
        let of_calls: u64 = calls.iter().map(|(method, count)| cost(method) * *count as u64).sum();
        assert_eq!(spent, of_frame + of_calls - cost("charge"), "{} bytes: {calls:?}", body.len());
    }
}

fn text_of_sample(function: Function) -> String {
    socket_event(function).body.unwrap()
}

/// As the memory backend's wrapper counts: reads, writes and posts.
fn cost(method: &str) -> u64 {
    match method {
        "put" | "found" | "charge" | "shut" | "raise_head" | "enqueue" => 5,
        "post" | "close" => 8,
        _ => 1,
    }
}

#[test]
fn where_nobody_can_be_charged_or_shut_out_everybody_is_served() {
    let limit = &UserLimit::new(Some(NOTHING));
    for method in ["charge", "gate", "shut"] {
        let store = world_until(TOKEN_MS);
        store.on(method, Fault::RequestLost);
        let answer = try_serve_within(limit, &store, 0, Function::Ping, socket_event(Function::Ping)).unwrap();
        assert_eq!(answered(&answer)["type"], "ping", "{method}");
    }
    let store = world();
    store.on("admit", Fault::RequestLost);
    assert_eq!(connects(&store, &UserLimit::new(None), "c", 0).0, 200);
}

#[test]
fn a_gate_that_another_frame_shuts_meanwhile_is_not_shut_twice() {
    let (store, limit) = (world_until(TOKEN_MS), &UserLimit::new(Some(NOTHING)));
    let theirs = Gate { until: time(CONNECTED_AT_MS + 45_000), times: 3 };
    store.meanwhile("shut", move |memory| {
        memory.state().gates.insert(user("alice"), theirs);
    });
    assert!(try_serve_within(limit, &store, 0, Function::Ping, socket_event(Function::Ping)).unwrap().body.is_empty());
    assert_eq!(posts(&store), [too_much(45_000)]);
    assert!(is_closed(&store));
    assert_eq!(store.memory.state().gates[&user("alice")], theirs);
}

#[test]
fn an_environment_takes_fifty_frames_a_second_and_what_it_refuses_is_charged() {
    let (store, limit) = (world_until(TOKEN_MS), &UserLimit::new(Some(Budget { charged_min: 1, ..Budget::DEFAULT })));
    let ping = |ms| answered(&try_serve_within(limit, &store, ms, Function::Ping, socket_event(Function::Ping)).unwrap());
    for _ in 0..50 {
        assert_eq!(ping(999)["type"], "ping");
    }
    let spent = || store.memory.state().spent[&user("alice")].values().sum::<u64>();
    let before = spent();
    assert_eq!(ping(999), too_much(1000));
    assert_eq!((spent() - before, is_closed(&store)), (18, false));
    assert_eq!(ping(1000)["type"], "ping");
}

/// Delivers the sample's task, of an entry of bob's, as `change` makes it, where every unit is charged; answers what alice and bob have spent.
fn delivered(limit: &UserLimit, store: &Faulty, change: impl FnOnce(&mut Task)) -> [u64; 2] {
    let mut event: SqsEvent = sample(Function::FanOut);
    let mut task: Task = serde_json::from_str(event.records[0].body.as_deref().unwrap()).unwrap();
    change(&mut task);
    event.records[0].body = Some(serde_json::to_string(&task).unwrap());
    assert!(block_on(fan_out::handle(store, &deployed(), limit, event, u64::MAX)).batch_item_failures.is_empty());
    let state = store.memory.state();
    ["alice", "bob"].map(|name| state.spent.get(&user(name)).map_or(0, |spent| spent.values().sum()))
}

fn with_connections(store: &Faulty, who: &str, connections: u8) -> Vec<ConnectionId> {
    let all: Vec<ConnectionId> = (0..connections).map(|number| ConnectionId::new(format!("{who}s-{number}")).unwrap()).collect();
    for connection in all.clone() {
        store.memory.log_in(&user(who), Connection { connection, ..alice() });
    }
    all
}

#[test]
fn a_delivery_is_charged_to_the_senders_of_its_entries_in_shares() {
    let limit = &UserLimit::new(Some(Budget { charged_min: 1, ..Budget::DEFAULT }));
    let of_calls = |store: &Faulty| -> u64 {
        let all = store.counts().into_iter().filter(|(method, _)| *method != "charge");
        8 + all.map(|(method, count)| cost(method) * count as u64).sum::<u64>()
    };
    let store = world();
    with_connections(&store, "alice", 1);
    let few = delivered(limit, &store, |_| {});
    assert_eq!(few, [0, of_calls(&store)]);

    // Who has many connections does not ruin those who write to them; and pays for their own words.
    for (of_alice, of_bob, alice_pays, nobody_pays) in [(4, 1, 0, 3 * 8), (16, 1, 12 * 8, 3 * 8), (1, 16, 0, 0)] {
        let store = world();
        with_connections(&store, "alice", of_alice);
        with_connections(&store, "bob", of_bob);
        let bob_pays = |store| of_calls(store) - alice_pays - nobody_pays;
        assert_eq!(delivered(limit, &store, |_| {}), [alice_pays, bob_pays(&store)], "{of_alice} and {of_bob}");
    }

    // Two of three entries are alice's.
    let store = world();
    for seq in [3, 4] {
        assert!(matches!(block_on(store.memory.put(&entry(&lane(), seq, "alice"))), Ok(Put::Stored)));
    }
    with_connections(&store, "bob", 1);
    let spent = delivered(limit, &store, |task| task.last.seq = Seq::FIRST.next().next().next());
    let all = of_calls(&store);
    assert_eq!(spent, [(2 * all).div_ceil(3), all.div_ceil(3)]);
}

#[test]
fn what_is_posted_again_to_those_who_do_not_read_is_charged_to_them() {
    let limit = &UserLimit::new(Some(Budget { charged_min: 1, ..Budget::DEFAULT }));
    let left = |store: &Faulty, throttled: u32| {
        let targets = with_connections(store, "alice", 2).into_iter().map(|connection| (user("alice"), connection)).collect();
        let rest = Undelivered { targets, attempt: 0, throttled, since: time(CONNECTED_AT_MS) };
        delivered(limit, store, |task| task.undelivered = Some(rest))
    };
    // Where they were only not reached, their user has no part in it.
    let [of_alice, of_bob] = left(&world(), 0);
    assert!(of_alice == 0 && of_bob > 16);
    let [of_alice, of_bob] = left(&world(), 1);
    assert!(of_alice > 16 && of_bob == 0);
    let overtaken = world();
    assert!(matches!(block_on(overtaken.memory.put(&entry(&lane(), 3, "bob"))), Ok(Put::Stored)));
    assert_eq!(left(&overtaken, 1), [8 + 2, 0]); // the tail, and the deployment's item
}

#[test]
fn a_sender_who_is_overdrawn_by_deliveries_is_shut_out_and_everything_is_delivered() {
    let (store, limit) = (world(), &UserLimit::new(Some(NOTHING)));
    let own = with_connections(&store, "bob", 2);
    with_connections(&store, "alice", 2);
    delivered(limit, &store, |_| {});
    let state = store.memory.state();
    assert_eq!(state.posts.len(), 4);
    assert_eq!(state.gone.iter().cloned().collect::<Vec<_>>(), own);
    assert!(state.gates.contains_key(&user("bob")) && !state.gates.contains_key(&user("alice")));
}

/// Kicks alice for an hour; between two rounds a second passes, and `meanwhile` happens. What came of it, and how many rounds it took.
fn kicked(store: &Faulty, meanwhile: impl Fn(usize)) -> (Result<usize, Failure>, usize) {
    let pauses = Cell::new(0);
    let hour = time(CONNECTED_AT_MS + 3_600_000);
    let done = block_on(kick(store, &user("alice"), hour, async || {
        store.memory.clock.advance_ms(1000);
        pauses.set(pauses.get() + 1);
        meanwhile(pauses.get());
    }));
    (done, pauses.get() + 1)
}

#[test]
fn who_is_kicked_loses_all_connections_and_is_let_in_when_the_time_is_over() {
    let store = world_until(TOKEN_MS);
    let unlimited = &UserLimit::new(None);
    assert_eq!(connects(&store, unlimited, "silent", 0).0, 200);
    // Whatever the gate was.
    let own = Gate { until: time(CONNECTED_AT_MS + 60_000), times: 3 };
    store.memory.state().gates.insert(user("alice"), own);
    let (done, rounds) = kicked(&store, |_| {});
    assert_eq!((done.unwrap(), rounds, store.memory.state().gone.len()), (2, 1, 2));
    assert_eq!(connects(&store, unlimited, "next", 3_599_999), (429, Some("1".to_owned())));
    assert_eq!(connects(&store, unlimited, "next", 3_600_000), (200, None));
    // With no time they are let in at once.
    store.memory.clock.set(time(CONNECTED_AT_MS));
    assert!(block_on(kick(&store, &user("alice"), time(CONNECTED_AT_MS), async || store.memory.clock.advance_ms(1000))).is_ok());
    assert_eq!(connects(&store, unlimited, "again", 1).0, 200);
}

#[test]
fn a_connection_that_opens_while_its_user_is_kicked_is_closed_when_it_is_open() {
    let store = world();
    assert_eq!(connects(&store, &UserLimit::new(None), "opening", 0).0, 200);
    let opening = ConnectionId::new("opening").unwrap();
    store.memory.state().gone.insert(opening.clone());
    let (done, rounds) = kicked(&store, |pauses| {
        if pauses == 7 {
            store.memory.state().gone.clear(); // now it is open
        }
    });
    assert_eq!((done.unwrap(), rounds), (1, 8));
    assert!(store.memory.state().gone.contains(&opening));

    // One that never opens is not waited for longer than it may take; a session that is gone is not waited for.
    let store = world_until(TOKEN_MS);
    store.memory.state().gone.insert(alice().connection);
    let (done, rounds) = kicked(&store, |_| {});
    assert_eq!((done.unwrap(), rounds), (0, 1));
    assert_eq!(connects(&store, &UserLimit::new(None), "never", 3_600_001).0, 200);
    store.memory.state().gone.insert(ConnectionId::new("never").unwrap());
    let (done, rounds) = kicked(&store, |_| {});
    assert_eq!((done.unwrap(), rounds), (0, 32));
}

#[test]
fn a_kick_goes_on_until_everything_is_closed_and_says_so_where_it_is_not() {
    // Throttled, unknown, another's gate: tried again.
    let store = world_until(TOKEN_MS);
    store.memory.state().throttled.insert(alice().connection);
    store.meanwhile("shut", |memory| {
        memory.state().gates.insert(user("alice"), Gate { until: time(CONNECTED_AT_MS + 1), times: 1 });
    });
    let (done, rounds) = kicked(&store, |pauses| {
        let mut state = store.memory.state();
        state.throttled.clear();
        state.stuck.extend((pauses == 1).then(|| alice().connection));
        if pauses == 2 {
            state.stuck.clear();
        }
    });
    assert_eq!((done.unwrap(), rounds), (1, 3));

    let store = world_until(TOKEN_MS);
    store.memory.state().stuck.insert(alice().connection);
    let (done, rounds) = kicked(&store, |_| {});
    assert!(done.unwrap_err().to_string().contains("do it again"));
    assert_eq!(rounds, 101);

    let store = world_until(TOKEN_MS);
    store.memory.state().refuses_posts = true;
    assert!(kicked(&store, |_| {}).0.unwrap_err().to_string().contains("posts are refused"));
}

/// As many as make chance even.
const FRAMES: u64 = 10_000;

#[test]
fn on_average_everybody_is_charged_what_they_cost() {
    let (store, limit) = (world_until(TOKEN_MS), &UserLimit::new(Some(Budget::DEFAULT)));
    let before = store.counts();
    for number in 0..FRAMES {
        let mut event = socket_event(Function::Ping);
        event.request_context.request_id = Some(format!("L0SM9{number}="));
        // 220 units a second: within the budget.
        let answer = try_serve_within(limit, &store, number * 100, Function::Ping, event).unwrap();
        assert!(!answer.body.is_empty());
    }
    let charges = (store.count("charge") - before.get("charge").copied().unwrap_or_default()) as u64;
    let calls: u64 =
        store.counts().iter().filter(|(method, _)| **method != "charge").map(|(method, count)| cost(method) * *count as u64).sum();
    let spent = 18 * FRAMES + calls;
    assert!((500 * charges).abs_diff(spent) < spent / 10, "{charges} charges for {spent} units");
}

#[test]
fn of_connections_that_say_nothing_a_user_has_32() {
    let (store, limit) = (world(), &UserLimit::new(None));
    for number in 0..32 {
        assert_eq!(connects(&store, limit, &format!("c{number}"), 0).0, 200);
    }
    assert_eq!(connects(&store, limit, "c32", 1), (429, Some("60".to_owned())));
    assert_eq!(pending(&store), 32);
    // One says hello, one ends.
    let mut hello = socket_event(Function::Hello);
    hello.request_context.connection_id = Some("c7".to_owned());
    assert_eq!(serve(&store, 2, Function::Hello, hello)["type"], "hello");
    let mut ended = socket_event(Function::Disconnect);
    ended.request_context.connection_id = Some("c8".to_owned());
    assert!(try_serve(&store, 2, Function::Disconnect, ended).is_ok());
    assert_eq!(pending(&store), 30);
    for name in ["c33", "c34"] {
        assert_eq!(connects(&store, limit, name, 60_001).0, 200, "an environment looks again a minute later");
    }
    // Those whose end was never told do not count for ever: a token's time is over, and so is a connection's after two hours.
    assert_eq!(connects(&store, limit, "c35", TOKEN_MS + 60_001).0, 200);
    assert_eq!(pending(&store), 1);
    let session = block_on(store.memory.session(&user("alice"), &ConnectionId::new("c7").unwrap()));
    assert!(session.unwrap().is_some(), "what has said hello stays");
}

#[test]
fn who_tries_one_connection_too_many_again_and_again_pays_for_it_once_a_minute() {
    let (store, limit) = (world(), &UserLimit::new(Some(Budget { burst: 10_000, charged_min: 1, ..Budget::DEFAULT })));
    for number in 0..32 {
        assert_eq!(connects(&store, limit, &format!("c{number}"), 0), (200, None));
    }
    let spent = || store.memory.state().spent[&user("alice")].values().sum::<u64>();
    let calls = || ["admit", "remove", "charge"].map(|call| store.count(call));
    let (paid, before) = (spent(), calls());
    assert_eq!(connects(&store, limit, "late", 0), (429, Some("60".to_owned())));
    assert!(spent() >= paid + 18, "{paid}");
    for _ in 0..1_000 {
        assert_eq!(connects(&store, limit, "late", 1).0, 429);
    }
    assert_eq!(calls(), before.map(|count| count + 1));
    // The next minute looks again: the same price for each environment.
    assert_eq!(connects(&store, limit, "late", 60_000).0, 429);
    assert_eq!(calls(), before.map(|count| count + 2));
}
