//! A user who asks too much is shut out, and nobody else is hurt.

use std::pin::pin;
use std::time::Duration;

use chatlane_protocol::frames::Outcome;
use chatlane_tests_e2e::{BUDGET, message, patiently, program, start};
use serde_json::json;
use tokio::process::Command;

/// Not on one that said hello, not on those that did not, and on none that opens all the while.
// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_is_answered_on_no_socket_and_no_handshake_is_admitted() {
    let stack = start(|_| {}).await;
    let (greeted, silent, other) = (stack.device("mallory").await, stack.silent_device("mallory").await, stack.device("alice").await);
    let kick = async {
        let mut command = Command::new(program());
        command.args(["ops", "kick", "mallory", "--for", "60", "--data"]).arg(stack.data());
        let done = patiently("the command ends", command.output()).await.expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let mut opened = vec![];
    for _ in 0..3 {
        opened.push(stack.silent_device("mallory").await);
    }
    let mut kicking = pin!(kick);
    let said = loop {
        tokio::select! {
            biased;
            said = &mut kicking => break said,
            knocked = stack.knock("mallory") => opened.extend(knocked),
        }
    };
    assert!(said.starts_with("mallory is shut out for 60 s;"), "{said}");
    for device in opened.iter().chain([&greeted, &silent]) {
        patiently("the socket is closed", device.closed()).await;
    }
    assert_eq!(stack.refused("mallory").await, 429);
    assert_eq!(other.request(json!({ "action": "ping" })).await.expect("others are served")["type"], "ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_creates_fifty_conversations_on_a_day() {
    let stack = start(|settings| drop(settings.environment.insert(BUDGET.to_owned(), "100000".to_owned()))).await;
    let alice = stack.device("alice").await;
    for number in 0..50 {
        alice.open(&format!("friend-{number}")).await.expect("open is answered");
    }
    let refused = alice.request(json!({ "action": "open", "with": "one-more", "client_message_id": "c" })).await.expect("an answer");
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("rate_limited")), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=86_400_000).contains(&ms)), "{refused}");
    alice.open("friend-7").await.expect("what is there is found");
}

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
