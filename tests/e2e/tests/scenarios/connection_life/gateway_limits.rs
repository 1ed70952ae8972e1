//! The gateway's limits (§10): idle for too long, too old. Shortened here; their real times are AWS's.

use std::time::Duration;

use chatlane_tests_e2e::{Device, start};
use serde_json::json;

use super::ping;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_with_1001_and_one_that_pings_is_not() {
    // The pings of a machine that stalls come too late. So the limit grows until one of them is kept; without an effect, none ever is.
    let mut kept = false;
    for idle in [2, 6, 18].map(Duration::from_secs) {
        let stack = start(|settings| settings.gateway.limits.idle = idle).await;
        let (idle, awake) = (stack.device("alice").await, stack.device("bob").await);
        let pinging = async {
            while awake.request(json!({ "action": "ping" })).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await; // as a client that pings often
            }
        };
        let closed = tokio::select! {
            closed = idle.closed() => Some(closed),
            () = pinging => None,
        };
        let Some(closed) = closed else { continue };
        assert_eq!(closed.code, 1001);
        // Longer than the limit has passed since it came.
        kept = awake.request(json!({ "action": "ping" })).await.is_ok();
        if kept {
            break;
        }
    }
    assert!(kept, "a connection that pings is closed all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_at_the_end_of_its_life_is_closed_with_1001_and_the_device_comes_back_at_once() {
    let stack = start(|settings| settings.gateway.limits.life = Duration::from_secs(3)).await;
    let alice = stack.silent_device("alice").await;
    let pinging = async {
        loop {
            alice.request(json!({ "action": "ping" })).await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await; // as a client that pings often
        }
    };
    let closed = tokio::select! {
        closed = alice.closed() => closed,
        () = pinging => unreachable!("it never ends"),
    };
    assert_eq!(closed.code, 1001, "whatever happens on it");
    // Again until one of them is fast enough for a hello.
    let again = async {
        loop {
            let token = stack.token("alice", Duration::from_hours(1));
            let device = Device::connect(&stack.url(), alice.id, &token).await.expect("the handshake is accepted");
            if device.hello().await.is_ok() {
                break;
            }
        }
    };
    chatlane_tests_e2e::patiently("hello on a new connection of the device", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_said_hello_is_answered_and_told_to() {
    let stack = start(|_| {}).await;
    let (alice, bob) = (stack.device("alice").await, stack.silent_device("bob").await);
    assert_eq!(ping(&bob).await["resync"], true);
    let lane = bob.open("alice").await.unwrap();
    alice.entry(&lane.conversation, 1).await;
    stack.quiet().await;
    assert!(bob.entries(&lane.conversation).unwrap().is_empty(), "answers, and no pushes");
    assert_eq!(bob.hello().await.unwrap().conversations.len(), 1);
    assert_eq!(ping(&bob).await.get("resync"), None);
}
