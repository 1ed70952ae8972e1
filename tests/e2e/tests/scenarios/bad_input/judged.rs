//! Requests that are well formed and refused by a rule: a `send` answer in which the message is `refused`.

use chatlane_protocol::Position;
use chatlane_tests_e2e::message;
use serde_json::{Value, json};

use super::scene::{ID, Scene};

/// The first result of an answer to a `send`, which must be a refusal that is not worth a retry.
fn refusal(name: &str, answer: &Value) -> Value {
    assert_eq!((&answer["type"], &answer["id"]), (&json!("send"), &json!(ID)), "{name}: {answer}");
    let result = &answer["results"][0];
    assert_eq!((&result["status"], &result["retryable"]), (&json!("refused"), &json!(false)), "{name}: {answer}");
    result.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_over_the_limit_as_encoded_is_too_large() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    // docs/PROTOCOL.md §6: 246 bytes and conversation id, sender, client message id, content type, content.
    let room = 30 * 1024 - 246 - scene.lane.conversation.as_str().len() - "alice".len() - "m".len() - "text/plain".len();
    let text = |text: String| json!({ "content_type": "text/plain", "text": text });
    let rows = [
        ("one letter too many", text("x".repeat(room + 1))),
        ("control characters, six bytes each", text("\u{1}".repeat(room / 6 + 1))),
        ("quotes, two bytes each", text("\"".repeat(room / 2 + 1))),
        ("letters of two bytes", text("ü".repeat(room / 2 + 1))),
        ("data, as base64", json!({ "content_type": "text/plain", "data": "AAAA".repeat(room / 4 + 1) })),
    ];
    let count = rows.len() + 2;
    for (name, body) in rows {
        let request = scene.send_with("/messages/0/body", body);
        assert!(request.len() <= 32 * 1024, "{name} fits into one WebSocket frame");
        let answer = scene.answer_to(name, &request).await;
        assert_eq!(refusal(name, &answer)["code"], "too_large", "{name}: {answer}");
    }

    // Nothing after the first that is refused is tried, be it ever so good.
    let mut request = scene.good_send();
    let good = request["messages"][0].clone();
    request["messages"] = json!([{ "client_message_id": "l", "anchor": good["anchor"], "body": text("x".repeat(31_000)) }, good]);
    let answer = scene.answer_to("a batch", &request.to_string()).await;
    assert_eq!(refusal("a batch", &answer)["code"], "too_large");
    assert_eq!(answer["results"][1], json!({ "client_message_id": "m", "status": "not_attempted" }));

    // A message of several WebSocket frames may reach 128 KB at the gateway; what it holds is too large all the same.
    let name = "100 KB in frames of 16 KB";
    let request = scene.send_with("/messages/0/body", text("x".repeat(100_000)));
    let shown = scene.alice.frames().len();
    let answer = scene.harmless(name, async |scene| {
        super::closing::send_in_frames(&scene.alice, request.as_bytes(), 16 * 1024).await.unwrap();
        scene.alice.until(name, |frames| frames.get(shown).cloned()).await
    });
    assert_eq!(refusal(name, &answer.await.expect("an answer"))["code"], "too_large");
    scene.goes_on(count, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_names_no_entry_is_unknown_or_from_another_epoch() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let none = json!({ "epoch": 0, "seq": 0 });
    let rows = [
        ("one beyond the tail", json!({ "epoch": 1, "seq": 2 }), "anchor_unknown", Value::Null),
        ("the last seq that there is", json!({ "epoch": 1, "seq": (1_u64 << 53) - 1 }), "anchor_unknown", Value::Null),
        ("a later epoch than its entry's", json!({ "epoch": 2, "seq": 1 }), "anchor_unknown", Value::Null),
        ("beyond the tail, later epoch", json!({ "epoch": u32::MAX, "seq": 2 }), "anchor_unknown", Value::Null),
        ("an earlier epoch than its entry's", json!({ "epoch": 0, "seq": 1 }), "epoch_changed", none.clone()),
        ("beyond the tail, earlier epoch", json!({ "epoch": 0, "seq": 7 }), "epoch_changed", none),
    ];
    let count = rows.len();
    for (name, anchor, code, common) in rows {
        let answer = scene.answer_to(name, &scene.send_with("/messages/0/anchor", anchor)).await;
        let refusal = refusal(name, &answer);
        assert_eq!((&refusal["code"], &refusal["common"]), (&json!(code), &common), "{name}: {answer}");
    }
    scene.goes_on(count, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_201_entries_behind_is_stale_and_one_of_200_is_not() {
    let admitted = |settings: &mut chatlane_local::Settings| drop(settings.environment.insert("CHATLANE_ADMISSION".into(), "off".into()));
    let mut scene = Scene::with(admitted).await;
    let (lane, mut tail) = (scene.lane.clone(), scene.lane.head);
    for batch in 0..10 {
        let count = if batch < 9 { 25 } else { 1 };
        let batch: Vec<_> = (0..count).map(|n| message(format!("{n}"), tail)).collect();
        let answer = scene.bob.send(&lane.conversation, &batch).await.unwrap();
        let last = serde_json::to_value(answer.results.last().expect("results")).unwrap();
        tail = serde_json::from_value(last["position"].clone()).unwrap_or_else(|_| panic!("{last}"));
    }
    scene.stack.quiet().await;
    let behind = |entries: u64| json!(Position::new(1, (tail.seq.get() - entries).try_into().expect("a seq")));

    // Until its entries have come, alice's frames are not the answers alone.
    scene.alice.entry(&lane.conversation, tail.seq.get()).await;
    let answer = scene.answer_to("201 behind", &scene.send_with("/messages/0/anchor", behind(201))).await;
    let stale = refusal("201 behind", &answer);
    assert_eq!((&stale["code"], &stale["tail"]), (&json!("anchor_stale"), &json!(tail)));
    let answer = scene.answer_to("0:0, from the first entry on", &scene.send_with("/messages/0/anchor", json!(Position::ZERO))).await;
    assert_eq!(refusal("0:0", &answer)["code"], "anchor_stale");

    let mut request = scene.good_send();
    request["messages"][0]["anchor"] = behind(200);
    let answer = scene.alice.request(request).await.unwrap();
    assert_eq!(answer["results"][0]["status"], "ok", "{answer}");
}

/// R1: a stranger learns nothing, not even that a conversation exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_of_others_and_one_that_does_not_exist_get_the_same_answer() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let carol = scene.stack.device("carol").await;
    let foreign = carol.open("dave").await.unwrap();
    carol.send(&foreign.conversation, &[message("secret", foreign.head)]).await.unwrap();
    scene.stack.quiet().await;
    let unknown = "d".to_owned() + &"0".repeat(foreign.conversation.as_str().len() - 1);

    let anchors = [json!({ "epoch": 0, "seq": 0 }), json!(foreign.head), json!({ "epoch": 1, "seq": 99 }), json!({ "epoch": 9, "seq": 1 })];
    let count = 2 * anchors.len();
    for anchor in anchors {
        let name = anchor.to_string();
        let mut request = scene.good_send();
        request["messages"][0]["anchor"] = anchor;
        let mut answers = vec![];
        for conversation in [foreign.conversation.as_str(), &unknown] {
            request["conversation"] = json!(conversation);
            let answer = scene.answer_to(&name, &request.to_string()).await;
            assert_eq!(refusal(&name, &answer)["code"], "not_found", "{answer}");
            answers.push(answer.to_string().replace(conversation, "<asked>"));
        }
        assert_eq!(answers[0], answers[1], "{name}");
    }
    scene.goes_on(count, before).await;
}
