//! When the token's time is over (§8.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chatlane_local::embedded::Service;
use chatlane_local::issuer::{AUDIENCE, ISSUER};
use chatlane_protocol::frames::{HelloAnswer, Outcome};
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{DeviceId, ServerFrame};
use chatlane_tests_e2e::{Device, Running, message, start, stored_log};
use serde_json::{Value, json};

use super::{ping, session_of, until_past};

/// Lives of tokens to be tried: with the shortest a test waits least, with the longest any machine is fast enough.
const LIVES: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(12), Duration::from_secs(40)];

/// A device of `user` that said hello while its token's short time lasted, and what came of `next`, which also has to be in time.
async fn in_time<T>(stack: &Running, user: &str, next: impl AsyncFn(&Device) -> Option<T>) -> (Device, HelloAnswer, T) {
    for life in LIVES {
        let id = DeviceId::from(uuid::Uuid::new_v4());
        let Ok(device) = Device::connect(&stack.url(), id, &stack.short_token(user, life)).await else { continue };
        let Ok(welcome) = device.hello().await else { continue };
        let Some(done) = next(&device).await else { continue };
        return (device, welcome, done);
    }
    panic!("{LIVES:?} were all too short for a handshake and a hello");
}

/// A request that carries a new token.
fn refresh(token: &str) -> Value {
    json!({ "action": "refresh", "token": token })
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_tokens_time_a_request_is_told_so_once_and_the_connection_is_closed() {
    let stack = start(|_| {}).await;
    let bob = stack.device("bob").await;
    let lane = bob.open("alice").await.unwrap();
    let (alice, welcome, ()) = in_time(&stack, "alice", async |_| Some(())).await;
    until_past(&bob, welcome.expires_ms).await;

    let too_late = json!({ "action": "send", "conversation": lane.conversation, "messages": [message("too late", lane.head)] });
    let answer = alice.request(too_late).await.unwrap();
    assert_eq!((&answer["type"], &answer["code"], &answer["retryable"]), (&json!("error"), &json!("token_expired"), &json!(false)));
    assert_eq!(alice.closed().await.code, 1000, "the server ends it, behind the error");
    assert_eq!(alice.frames().iter().filter(|frame| frame["code"] == "token_expired").count(), 1);
    assert_eq!(stored_log(&stack.store().await, &lane.conversation).await.len(), 1, "the request was not carried out");

    // With a new token the same device goes on.
    let again = Device::connect(&stack.url(), alice.id, &stack.token("alice", Duration::from_hours(1))).await.unwrap();
    assert_eq!(again.hello().await.unwrap().conversations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_keeps_the_connection_beyond_the_old_tokens_time() {
    let stack = start(|_| {}).await;
    let bob = stack.device("bob").await;
    let lane = bob.open("alice").await.unwrap();
    let (alice, welcome, refreshed) = in_time(&stack, "alice", async |device| {
        let frame = device.ask(refresh(&stack.token("alice", Duration::from_hours(1)))).await.ok()?;
        let ServerFrame::Refresh(answer) = frame else { return None };
        Some(answer.expires_ms)
    })
    .await;
    assert!(refreshed > welcome.expires_ms, "{refreshed} is not after {}", welcome.expires_ms);
    until_past(&bob, welcome.expires_ms).await;

    assert_eq!(ping(&alice).await["type"], "ping", "requests are answered");
    let answer = bob.send(&lane.conversation, &[message("still there?", lane.head)]).await.unwrap();
    assert!(matches!(answer.results[0].outcome, Outcome::Ok(_)), "{answer:?}");
    alice.entry(&lane.conversation, 2).await; // and entries are pushed
    // Said again, hello tells the time as it is now.
    assert_eq!(alice.hello().await.unwrap().expires_ms, refreshed);

    // A token that ends sooner takes nothing away.
    let ServerFrame::Refresh(answer) = alice.ask(refresh(&stack.token("alice", Duration::from_mins(1)))).await.unwrap() else {
        panic!("not an answer to refresh")
    };
    assert_eq!(answer.expires_ms, refreshed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_said_again_takes_nothing_back_that_a_refresh_gave() {
    let stack = start(|_| {}).await;
    let bob = stack.device("bob").await;
    let (alice, welcome, refreshed) = in_time(&stack, "alice", async |device| {
        let frame = device.ask(refresh(&stack.token("alice", Duration::from_hours(1)))).await.ok()?;
        let ServerFrame::Refresh(answer) = frame else { return None };
        device.hello().await.ok()?;
        Some(answer.expires_ms)
    })
    .await;
    assert_eq!(session_of(&stack, "alice", &alice).await.map(|session| session.expires), Some(refreshed));
    until_past(&bob, welcome.expires_ms).await;
    assert_eq!(ping(&alice).await["type"], "ping", "requests are answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_with_a_token_that_is_not_for_this_connection_is_refused_and_changes_nothing() {
    let stack = start(|_| {}).await;
    let alice = stack.device("alice").await;
    let before = session_of(&stack, "alice", &alice).await;
    assert!(before.is_some());
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |exp: u64, device: &str| json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": exp, "device": device });
    let of_alice = |exp, device: &str| stack.issuer().sign(&claims(exp, device));
    let (mine, another) = (alice.id.to_string(), uuid::Uuid::new_v4().to_string());
    let rows = [
        ("of another user", stack.token("bob", Duration::from_hours(2))),
        ("of another device", of_alice(now_s + 7200, &another)),
        ("garbage", "garbage".to_owned()),
        ("cut off", of_alice(now_s + 7200, &mine).rsplit_once('.').unwrap().0.to_owned()),
        ("expired", of_alice(now_s - 3600, &mine)),
        ("of another issuer", stack.issuer().sign(&json!({ "iss": "mallory", "aud": AUDIENCE, "sub": "alice", "exp": now_s + 7200 }))),
        ("8 KB of letters", "x".repeat(8 * 1024)),
    ];
    for (name, token) in rows {
        let answer = alice.request(refresh(&token)).await.unwrap();
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("token_refused")), "{name}: {answer}");
        assert_eq!(answer["retryable"], false, "{name}: {answer}");
        assert_eq!(session_of(&stack, "alice", &alice).await, before, "{name}");
    }
    assert_eq!(ping(&alice).await.get("resync"), None, "the connection is as before");

    let answer = alice.request(refresh(&of_alice(now_s + 7200, &mine))).await.unwrap();
    assert_eq!(answer["type"], "refresh", "one that names this device is good: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_before_hello_is_told_to_say_hello_first() {
    let stack = start(|_| {}).await;
    let alice = stack.silent_device("alice").await;
    let token = stack.token("alice", Duration::from_hours(2));
    let answer = alice.request(refresh(&token)).await.unwrap();
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("resync")), "{answer}");
    assert_eq!(session_of(&stack, "alice", &alice).await, None, "it makes no session");
    alice.hello().await.unwrap();
    assert_eq!(alice.request(refresh(&token)).await.unwrap()["type"], "refresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_posted_to_a_session_whose_time_is_over() {
    let stack = start(|_| {}).await;
    let (alice, tablet) = (stack.device("alice").await, stack.device("bob").await);
    let lane = alice.open("bob").await.unwrap();
    let (phone, welcome, ()) = in_time(&stack, "bob", async |_| Some(())).await;
    let ended = session_of(&stack, "bob", &phone).await.expect("hello has made it");
    until_past(&alice, welcome.expires_ms).await;
    let recording = stack.record();

    alice.send(&lane.conversation, &[message("to whom it still reaches", lane.head)]).await.unwrap();
    tablet.entry(&lane.conversation, 2).await;
    alice.acknowledge("read", &[PositionIn { conversation: lane.conversation.clone(), position: lane.head }]).await.unwrap();
    tablet.until("a receipt", |frames| frames.iter().find(|frame| frame["type"] == "receipt").cloned()).await.unwrap();
    stack.quiet().await;
    let posted =
        recording.calls().into_iter().filter(|call| call.service == Service::Connections).map(|call| call.request["ConnectionId"].clone());
    let posted: Vec<Value> = posted.collect();
    assert_eq!(posted.len(), 2, "an entry and a receipt, each to the tablet alone: {posted:?}");
    assert!(!posted.contains(&json!(ended.connection)), "{posted:?}");
}
