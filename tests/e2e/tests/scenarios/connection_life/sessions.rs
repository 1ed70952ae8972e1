//! Sessions that go while their socket lives, and rows that nothing may bring back.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use chatlane_chat::ports::{Session, Sessions as _};
use chatlane_chat::testing::builders;
use chatlane_chat::workers::task::Task;
use chatlane_local::embedded::{Answer, At, Matching, Service};
use chatlane_protocol::limits::CONNECTIONS_PER_USER_MAX;
use chatlane_protocol::request::{Known, SyncFrom};
use chatlane_protocol::{DeviceId, Position, UnixMillis};
use chatlane_tests_e2e::{Device, Running, message, patiently, start};
use serde_json::{Value, json};

use super::{ping, session_of, sessions_of};

/// A table's item, whatever is in it.
async fn item(stack: &Running, table: &str, key: Value) -> Option<Value> {
    stack.dynamodb("GetItem", &json!({ "TableName": table, "Key": key })).await.get("Item").cloned()
}

fn sessions_key(user: &str) -> Value {
    json!({ "u": { "S": user }, "k": { "S": "sessions" } })
}

async fn another_of(stack: &Running, user: &str, id: DeviceId) -> Device {
    Device::connect(&stack.url(), id, &stack.token(user, Duration::from_hours(1))).await.expect("the handshake is accepted")
}

fn goaways(frames: &[Value]) -> usize {
    frames.iter().filter(|frame| **frame == json!({ "type": "goaway", "reason": "displaced" })).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_device_displaces_the_older_one_for_good() {
    let stack = start(|_| {}).await;
    let (alice, old) = (stack.device("alice").await, stack.device("bob").await);
    let lane = alice.open("bob").await.unwrap();
    old.entry(&lane.conversation, 1).await;
    let new = another_of(&stack, "bob", old.id).await;
    new.hello().await.unwrap();
    old.until("the old one is told", |frames| (goaways(frames) == 1).then_some(())).await.unwrap();

    alice.send(&lane.conversation, &[message("to the new one", lane.head)]).await.unwrap();
    new.entry(&lane.conversation, 2).await;
    stack.quiet().await;
    assert_eq!(ping(&old).await["resync"], true, "it is answered, and known no more");
    assert!(!old.entries(&lane.conversation).unwrap().contains_key(&builders::seq(2)), "nothing is pushed to it");

    // Its hello comes too late: answered by a goaway, and the newer one stays.
    old.send_text(json!({ "action": "hello", "id": "late", "v": 1 }).to_string()).await.unwrap();
    old.until("it is told again", |frames| (goaways(frames) == 2).then_some(())).await.unwrap();
    assert_eq!(goaways(&new.frames()), 0);
    alice.send(&lane.conversation, &[message("still to the new one", lane.head)]).await.unwrap();
    new.entry(&lane.conversation, 3).await;
}

/// Each of another device of the user, so that only their number is too high.
#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_connection_of_a_user_displaces_the_oldest_and_no_other() {
    let stack = start(|_| {}).await;
    let alice = stack.device("alice").await;
    let lane = alice.open("bob").await.unwrap();
    let mut all = vec![];
    for _ in 0..CONNECTIONS_PER_USER_MAX {
        all.push(stack.device("bob").await);
    }
    let sessions = sessions_of(&stack, "bob").await;
    assert_eq!(sessions.len(), CONNECTIONS_PER_USER_MAX);
    // Handshakes of the same millisecond are told apart by the connection's id.
    let oldest = sessions.iter().min_by_key(|session| (session.connected_at, &session.connection)).unwrap();
    let oldest = all.swap_remove(all.iter().position(|device| device.id == oldest.device).unwrap());
    assert!(all.iter().chain([&oldest]).all(|device| goaways(&device.frames()) == 0));

    all.push(stack.device("bob").await);
    oldest.until("the oldest is told", |frames| (goaways(frames) == 1).then_some(())).await.unwrap();
    alice.send(&lane.conversation, &[message("to sixteen", lane.head)]).await.unwrap();
    for device in &all {
        device.entry(&lane.conversation, 2).await;
    }
    stack.quiet().await;
    assert_eq!(ping(&oldest).await["resync"], true, "it is answered, and known no more");
    assert!(!oldest.entries(&lane.conversation).unwrap().contains_key(&builders::seq(2)), "nothing is pushed to it");

    // There are sixteen newer ones: said again, its hello displaces none of them.
    oldest.send_text(json!({ "action": "hello", "id": "late", "v": 1 }).to_string()).await.unwrap();
    oldest.until("it is told again", |frames| (goaways(frames) == 2).then_some(())).await.unwrap();
    for device in &all {
        assert_eq!(ping(device).await.get("resync"), None);
        assert_eq!(goaways(&device.frames()), 0, "what was posted comes before a later answer");
    }
    let left: BTreeSet<DeviceId> = sessions_of(&stack, "bob").await.into_iter().map(|session| session.device).collect();
    assert_eq!(left, all.iter().map(|device| device.id).collect());
}

/// Between the five are pauses of 1, 2, 4 and 8 s of the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_no_post_in_five_attempts_is_given_up_and_comes_back_by_ping_and_hello() {
    // Nothing is handed out again while a worker has it: the repetitions are the workers' own.
    let stack = start(|settings| settings.visibility_timeout = Duration::from_mins(1)).await;
    let (alice, deaf, well) = (stack.device("alice").await, stack.device("bob").await, stack.device("bob").await);
    let lane = alice.open("bob").await.unwrap();
    for bob in [&deaf, &well] {
        bob.entry(&lane.conversation, 1).await;
    }
    stack.quiet().await;
    let connection = session_of(&stack, "bob", &deaf).await.expect("it has said hello").connection;

    let posts = Matching::service(Service::Connections).operation("PostToConnection");
    let to_it = posts.when(move |call| call.request["ConnectionId"] == connection.as_str());
    let mut hold = stack.endpoints().hold(to_it, At::Request, usize::MAX);
    let recording = stack.record();
    let refusing = async {
        loop {
            hold.caught().await.answer(Answer::error(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", "by the test"));
        }
    };
    let giving_up = async {
        alice.send(&lane.conversation, &[message("to one of two", lane.head)]).await.unwrap();
        stack.quiet().await;
    };
    tokio::select! {
        () = giving_up => {}
        () = refusing => unreachable!("it refuses for ever"),
    }
    drop(hold);

    let calls = recording.calls();
    let tasks = calls.iter().filter(|call| call.caller.function() == "fan_out" && call.operation == "SendMessage");
    let left: BTreeSet<(u32, Option<u64>)> = tasks
        .map(|call| {
            let task: Task = serde_json::from_str(call.request["MessageBody"].as_str().unwrap()).unwrap();
            (task.remainder.expect("what could not be posted").attempt, call.request["DelaySeconds"].as_u64())
        })
        .collect();
    assert_eq!(left, [(1, Some(1)), (2, Some(2)), (3, Some(4)), (4, Some(8))].into(), "and after the fifth there is no more");
    assert_eq!(session_of(&stack, "bob", &deaf).await, None);
    assert!(deaf.entries(&lane.conversation).unwrap().keys().eq([&builders::seq(1)]));
    // The other device was not posted to again and again.
    well.entry(&lane.conversation, 2).await;
    let frames = well.frames();
    assert_eq!(frames.iter().filter(|frame| frame["entries"][0]["position"]["seq"] == 2).count(), 1);

    assert_eq!(ping(&deaf).await["resync"], true);
    deaf.hello().await.unwrap();
    let missed = deaf.catch_up(&[SyncFrom { conversation: lane.conversation.clone(), after: lane.head }]).await.unwrap();
    assert_eq!(missed[&lane.conversation].iter().map(|entry| entry.position.seq.get()).collect::<Vec<_>>(), [2]);
    alice.send(&lane.conversation, &[message("to both again", lane.head)]).await.unwrap();
    for bob in [&deaf, &well] {
        bob.entry(&lane.conversation, 3).await;
    }
}

/// AWS answers 410 while a connection is being made and after it has ended; a gateway that errs costs a device its session.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_false_410_a_ping_tells_the_device_to_say_hello_again_and_nothing_is_missed() {
    let stack = start(|_| {}).await;
    let (alice, bob) = (stack.device("alice").await, stack.device("bob").await);
    let lane = alice.open("bob").await.unwrap();
    bob.entry(&lane.conversation, 1).await;
    stack.quiet().await;
    assert_eq!(ping(&bob).await.get("resync"), None);

    let posts = Matching::service(Service::Connections).function("fan_out").operation("PostToConnection");
    let mut hold = stack.endpoints().hold(posts, At::Request, 1);
    alice.send(&lane.conversation, &[message("lost by a 410", lane.head)]).await.unwrap();
    patiently("the post", hold.caught()).await.answer(Answer::error(StatusCode::GONE, "GoneException", "by the test"));
    stack.quiet().await;
    drop(hold);
    assert_eq!(session_of(&stack, "bob", &bob).await, None, "the worker believes a 410");
    alice.send(&lane.conversation, &[message("to nobody", lane.head)]).await.unwrap();
    stack.quiet().await;

    assert_eq!(ping(&bob).await["resync"], true);
    // The same socket: hello with what it has, and a sync of what that tells.
    let have = Known { conversation: lane.conversation.clone(), have: lane.head, read: Position::ZERO };
    let pages = bob.hello_knowing(std::slice::from_ref(&have)).await.unwrap();
    let [row] = pages[0].conversations.as_slice() else { panic!("one conversation has changed: {pages:?}") };
    assert_eq!(row.conversation.head, builders::position(3));
    let missed = bob.catch_up(&[SyncFrom { conversation: lane.conversation.clone(), after: lane.head }]).await.unwrap();
    assert_eq!(missed[&lane.conversation].iter().map(|entry| entry.position.seq.get()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(ping(&bob).await.get("resync"), None);
    alice.send(&lane.conversation, &[message("live again", lane.head)]).await.unwrap();
    bob.entry(&lane.conversation, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_back_at_once_keeps_its_session_whenever_the_old_connections_end_is_told() {
    let stack = start(|_| {}).await;
    let (alice, old) = (stack.device("alice").await, stack.device("bob").await);
    let lane = alice.open("bob").await.unwrap();
    old.entry(&lane.conversation, 1).await;
    stack.quiet().await;
    let ends = Matching::service(Service::DynamoDb).function("disconnect").operation("UpdateItem");
    let mut hold = stack.endpoints().hold(ends, At::Request, 1);
    let id = old.id;
    drop(old); // lost power
    let ending = patiently("$disconnect wants to remove the session", hold.caught()).await;

    let new = another_of(&stack, "bob", id).await;
    new.hello().await.unwrap();
    let mine = session_of(&stack, "bob", &new).await;
    assert!(mine.is_some());
    let recording = stack.record();
    ending.release();
    recording
        .until(|calls| calls.iter().find(|call| call.caller.function() == "disconnect" && call.operation == "UpdateItem").map(drop))
        .await;
    assert_eq!(session_of(&stack, "bob", &new).await, mine, "$disconnect removes its own connection and no other");
    alice.send(&lane.conversation, &[message("at the new connection", lane.head)]).await.unwrap();
    new.entry(&lane.conversation, 2).await;
    stack.quiet().await;
    assert_eq!(new.entries(&lane.conversation).unwrap().len(), 1, "each entry once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_row_that_time_to_live_has_taken_is_not_brought_back() {
    let stack = start(|_| {}).await;
    let store = stack.store().await;
    let mut opened = stack.gateway().observe();
    let bob = stack.silent_device("bob").await;
    let event = patiently("the gateway has opened it", opened.recv()).await;
    let Some(chatlane_local::gateway::GatewayEvent::Opened { connection, .. }) = event else { panic!("{event:?}") };
    let connection = builders::connection(&connection);
    // A row whose hello was long ago: time to live, which takes it within a second here, is past.
    let session = Session { connection: connection.clone(), device: bob.id, connected_at: UnixMillis::ZERO, expires: UnixMillis::MAX };
    store.register(&builders::user("bob"), &session, UnixMillis::ZERO).await.unwrap();
    let swept = async {
        while item(&stack, "users", sessions_key("bob")).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await; // between two looks
        }
    };
    patiently("the row is swept", swept).await;

    let answer = bob.request(json!({ "action": "refresh", "token": stack.token("bob", Duration::from_hours(2)) })).await.unwrap();
    assert_eq!(answer["code"], "resync", "{answer}");
    assert_eq!(item(&stack, "users", sessions_key("bob")).await, None, "by refresh");
    store.remove(&builders::user("bob"), std::slice::from_ref(&connection)).await.unwrap();
    assert_eq!(item(&stack, "users", sessions_key("bob")).await, None, "by the removal after a 410");
    let recording = stack.record();
    bob.close().await;
    recording
        .until(|calls| calls.iter().find(|call| call.caller.function() == "disconnect" && call.operation == "UpdateItem").map(drop))
        .await;
    assert_eq!(item(&stack, "users", sessions_key("bob")).await, None, "by $disconnect");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_without_an_inbox_row_is_refused_and_makes_none() {
    let stack = start(|_| {}).await;
    let (alice, bob, carol) = (stack.device("alice").await, stack.device("bob").await, stack.device("carol").await);
    let lane = alice.open("bob").await.unwrap();
    let key = |user: &str| json!({ "u": { "S": user }, "c": { "S": lane.conversation } });
    // Bob's row goes, as with the end of a membership; Carol never had one.
    stack.dynamodb("DeleteItem", &json!({ "TableName": "inboxes", "Key": key("bob") })).await;
    for (user, device) in [("bob", &bob), ("carol", &carol)] {
        for action in ["ack", "read"] {
            let positions = json!([{ "conversation": lane.conversation, "position": lane.head }]);
            let answer = device.request(json!({ "action": action, "positions": positions })).await.unwrap();
            assert_eq!((&answer["type"], &answer["results"][0]["code"]), (&json!(action), &json!("not_found")), "{user}: {answer}");
            assert_eq!(item(&stack, "inboxes", key(user)).await, None, "{action} of {user}");
        }
    }
}
