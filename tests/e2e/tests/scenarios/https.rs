//! What a device does without a socket: it catches up, answers, and comes back with a ticket.

use chatlane_chat::testing::builders::position;
use chatlane_protocol::DeviceId;
use chatlane_protocol::frames::{Outcome, ServerFrame};
use chatlane_tests_e2e::pocketed::Pocketed;
use chatlane_tests_e2e::{Device, DeviceError, message, start, wire_log};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_catches_up_and_answers_over_https_and_its_socket_is_as_before() {
    let stack = start(|settings| drop(settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned()))).await;
    let (alice, bob) = (stack.device("alice").await, Pocketed::new(&stack, "bob"));
    let lane = alice.open("bob").await.unwrap().conversation;
    for number in 1..=30_u64 {
        alice.send(&lane, &[message(format!("{number}{}", "x".repeat(20_000)), position(number))]).await.unwrap();
    }
    stack.quiet().await;
    let hello = bob.answered(json!({"action": "hello", "v": 1})).await;
    let row = &hello["conversations"][0];
    assert_eq!((&row["conversation"], &row["head"]["seq"], &row["count"]), (&json!(lane), &json!(31), &json!(30)));
    let (mut has, mut pages) = (json!({"epoch": 1, "seq": 1}), 0);
    let mut seqs = vec![];
    loop {
        let ack = [json!({"conversation": lane, "position": has})];
        let from = [json!({"conversation": lane, "after": has})];
        let page = bob.answered(json!({"action": "sync", "conversations": from, "ack": ack})).await;
        pages += 1;
        let entries = page["pages"][0]["entries"].as_array().unwrap();
        seqs.extend(entries.iter().map(|entry| entry["position"]["seq"].as_u64().unwrap()));
        has = entries.last().map_or(has, |entry| entry["position"].clone());
        if page["done"] == true {
            break;
        }
    }
    assert_eq!(seqs, (2..=31).collect::<Vec<_>>());
    assert!(pages <= 4, "600 KB in {pages} pages");
    let read = bob.answered(json!({"action": "read", "positions": [{"conversation": lane, "position": has}]})).await;
    assert_eq!(read["results"][0]["status"], "ok");
    // Alice is told, and has the quick reply, by her socket.
    let told = |frame: &Value| frame["type"] == "receipt" && frame["user"] == "bob" && frame["read"]["seq"] == 31;
    alice.until("alice is told", |frames| frames.iter().any(told).then_some(())).await.unwrap();
    let body = json!({"content_type": "text/plain", "text": "on my way"});
    let reply = json!({"client_message_id": "quick", "anchor": has, "body": body});
    let sent = bob.answered(json!({"action": "send", "conversation": lane, "messages": [reply]})).await;
    assert_eq!(sent["results"][0]["position"]["seq"], 32);
    assert_eq!(alice.entry(&lane, 32).await.sender.as_str(), "bob");
}

// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_by_socket_and_https_at_the_same_moment_is_one_entry() {
    const MESSAGES: usize = 1_000;
    const AT_ONCE: usize = 8;
    let stack = start(|settings| drop(settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned()))).await;
    let pocketed = Pocketed::new(&stack, "alice");
    let both = Device::connect(&stack.url(), pocketed.id, &pocketed.token).await.unwrap();
    both.hello().await.unwrap();
    let lanes = join_all((0..AT_ONCE).map(async |number| both.open(&format!("bob-{number}")).await.unwrap().conversation)).await;
    let sending = lanes.iter().map(async |lane| {
        let mut doubled = 0;
        for number in 0..MESSAGES / AT_ONCE {
            // Of different anchors: the first of both may be much behind.
            let said = message(format!("m{number}"), position(1 + number as u64));
            let frame = json!({"action": "send", "conversation": lane, "messages": [&said]});
            // Whoever is not answered asks again.
            let by_socket = async {
                loop {
                    let Ok(answer) = both.request(frame.clone()).await else { continue };
                    let ServerFrame::Send(answer) = serde_json::from_value(answer).unwrap() else { continue };
                    match answer.results[0].outcome {
                        Outcome::Ok(stored) => break (true, stored.position),
                        Outcome::Duplicate(stored) => break (false, stored.position),
                        _ => {}
                    }
                }
            };
            let by_https = async {
                loop {
                    let (_, answer) = pocketed.ask(frame.clone()).await;
                    let result = &answer["results"][0];
                    if result["status"] == "ok" || result["status"] == "duplicate" {
                        break (result["status"] == "ok", serde_json::from_value(result["position"].clone()).unwrap());
                    }
                }
            };
            let ((new, at), (also_new, also_at)) = join(by_socket, by_https).await;
            assert_eq!(at, also_at);
            assert!(!(new && also_new), "both are told that it is new");
            doubled += 1;
        }
        doubled
    });
    assert_eq!(join_all(sending).await.into_iter().sum::<usize>(), MESSAGES);
    let store = stack.store().await;
    for lane in &lanes {
        assert_eq!(wire_log(&store, lane).await.len(), 1 + MESSAGES / AT_ONCE);
    }
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_handshakes_with_one_ticket_one_is_let_in() {
    let stack = start(|_| {}).await;
    let phone = Pocketed::new(&stack, "alice");
    let ticket = phone.answered(json!({"action": "ticket"})).await["ticket"].clone();
    let of_another = DeviceId::from(uuid::Uuid::new_v4());
    assert!(matches!(phone.connects_as(of_another, &ticket).await, Err(DeviceError::Handshake(403))));
    let all = join_all((0..16).map(|_| phone.connects_as(phone.id, &ticket))).await;
    let (open, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!(open.len(), 1);
    assert!(refused.iter().all(|refused| matches!(refused, Err(DeviceError::Handshake(403)))));
    let welcome = open.into_iter().next().unwrap().unwrap().hello().await.unwrap();
    assert_eq!((welcome.user.as_str(), welcome.device), ("alice", phone.id));
    let logged = stack.lines().join("\n");
    assert!(!logged.contains(ticket.as_str().unwrap()) && !logged.contains(&phone.token));
}
