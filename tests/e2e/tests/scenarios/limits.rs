//! A user who asks too much is shut out, and nobody else is hurt.

use std::time::Duration;

use chatlane_protocol::frames::Outcome;
use chatlane_tests_e2e::{BUDGET, message, patiently, start};
use serde_json::json;

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_shuts_its_user_out_and_an_innocent_one_is_served() {
    let stack = start(|settings| {
        settings.environment.insert(BUDGET.to_owned(), "400".to_owned());
        settings.environment.insert("CHATLANE_BUDGET_BURST_UNITS".to_owned(), "20000".to_owned());
    })
    .await;
    let (alice, mallory, silent) = (stack.device("alice").await, stack.device("mallory").await, stack.silent_device("mallory").await);
    let lane = alice.open("bob").await.expect("open is answered").conversation;
    let flood = async {
        // Malformed ones cost as much. Whom chance charges first is anybody's guess, but not that it does.
        for number in 0.. {
            let sent = mallory.send_text(json!({ "action": if number % 2 == 0 { "ping" } else { "dance" }, "id": "f" }).to_string()).await;
            if sent.is_err() || mallory.frames().iter().any(|frame| frame["code"] == "rate_limited" && frame["retry_after_ms"] == 60_000) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let innocent = async {
        for number in 0..100 {
            let anchor = chatlane_chat::testing::builders::position(1);
            loop {
                match alice.send(&lane, &[message(format!("m{number}"), anchor)]).await {
                    Ok(answer) if matches!(answer.results[0].outcome, Outcome::Ok(_)) => break,
                    // The conversation's own limit.
                    Ok(_) => tokio::time::sleep(Duration::from_millis(60)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for _ in 0..10 {
            alice.hello().await.expect("hello is answered");
        }
    };
    patiently("the flood is stopped, and alice is served", async { tokio::join!(flood, innocent) }).await;
    assert_eq!(mallory.closed().await.code, 1000);
    silent.closed().await;
    assert_eq!(stack.refused("mallory").await, 429);
}
