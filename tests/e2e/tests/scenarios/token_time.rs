//! The end of a token's time, put off (`docs/PROTOCOL.md` §8.2).

use std::time::Duration;

use chatlane_protocol::frames::Outcome;
use chatlane_protocol::{ServerFrame, UnixMillis};
use chatlane_tests_e2e::{Device, message, start, until_past};
use serde_json::json;

/// When the connection ends by a new token: `None` if it is refused, or the answer came too late.
async fn refreshed(device: &Device, token: &str) -> Option<UnixMillis> {
    match device.ask(json!({ "action": "refresh", "token": token })).await.ok()? {
        ServerFrame::Refresh(answer) => Some(answer.expires_ms),
        _ => None,
    }
}

// holds: D2
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_keeps_the_connection_beyond_the_old_tokens_time() {
    let stack = start(|_| {}).await;
    let token = |left| stack.token("alice", left);
    let bob = stack.device("bob").await;
    let lane = bob.open("alice").await.unwrap();
    let (alice, _, (before, after)) = stack
        .short_lived("alice", async |device| {
            let welcome = device.hello().await.ok()?;
            Some((welcome.expires_ms, refreshed(device, &token(Duration::from_hours(1))).await?))
        })
        .await;
    assert!(after > before, "{after} is not after {before}");
    until_past(&bob, before.get()).await;

    let answer = bob.send(&lane.conversation, &[message("still there?", lane.head)]).await.unwrap();
    assert!(matches!(answer.results[0].outcome, Outcome::Ok(_)), "{answer:?}");
    alice.entry(&lane.conversation, 2).await; // entries are pushed
    // Requests are answered; hello, said again, tells the time as it is now.
    assert_eq!(alice.hello().await.unwrap().expires_ms, after);
    assert_eq!(refreshed(&alice, &token(Duration::from_mins(1))).await, Some(after), "a token that ends sooner takes nothing away");
}
