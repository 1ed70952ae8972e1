//! What looks bad and is not: it goes through whole.

use chatlane_protocol::{Body, Content, EntryKind};
use chatlane_tests_e2e::{message, start};
use serde_json::{Value, json};

use super::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn any_text_of_a_body_is_delivered_as_it_was_sent() {
    let scene = Scene::new().await;
    let room = 28 * 1024 - 246 - scene.lane.conversation.as_str().len() - "alice".len() - 36 - "text/plain".len();
    let texts = [
        "\u{0}".to_owned(),
        "a\u{0}b\u{1}\u{1f}\u{7f}\u{80}".into(),
        "\u{feff}\u{fffe}\u{ffff}\u{2028}\u{202e}".into(),
        "😀 é e\u{301} \u{10ffff}".into(),
        r#"{"action":"$connect"} ' OR 1=1; -- <script> \ud800 %00"#.into(),
        "\r\n\t \\ / \" ".into(),
        "x".repeat(room),
        "\u{1}".repeat(room / 6),
    ];
    let mut anchor = scene.lane.head;
    for text in texts {
        let mut sent = message(text.clone(), anchor);
        if text.len() % 2 == 0 {
            sent.body = Body::new("application/octet-stream", Content::Data(text.bytes().take(20_000).collect())).unwrap();
        }
        let answer = scene.alice.send(&scene.lane.conversation, std::slice::from_ref(&sent)).await.unwrap();
        let result = serde_json::to_value(&answer.results[0]).unwrap();
        assert_eq!(result["status"], "ok", "{result}");
        anchor = serde_json::from_value(result["position"].clone()).unwrap();
        let entry = scene.bob.entry(&scene.lane.conversation, anchor.seq.get()).await;
        assert!(entry.kind == EntryKind::Message(sent.body.into()), "{:?}…", text.chars().take(20).collect::<String>());
    }
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_sender_and_other_fields_of_the_server_are_ignored() {
    let scene = Scene::new().await;
    let mut request = scene.good_send();
    let forged = json!({
        "sender": "bob", "user": "bob", "principalId": "bob", "requestContext": { "authorizer": { "user": "bob" } }, "time_ms": 1,
        "position": { "epoch": 9, "seq": 9 }, "count": 99, "kind": "created", "members": ["alice", "mallory"], "type": "entries",
    });
    for (field, value) in forged.as_object().expect("an object") {
        request[field] = value.clone();
        request["messages"][0][field] = value.clone();
    }
    // An unknown field may be repeated: nobody reads it.
    let text = request.to_string().replacen(r#""sender""#, r#""sender":"dave","sender""#, 1);
    let answer = scene.alice.next_after(text).await.unwrap().unwrap();
    assert_eq!((&answer["results"][0]["status"], &answer["results"][0]["position"]["seq"]), (&json!("ok"), &json!(2)), "{answer}");

    let entry = serde_json::to_value(scene.bob.entry(&scene.lane.conversation, 2).await).unwrap();
    assert_eq!((&entry["sender"], &entry["kind"], &entry["count"]), (&json!("alice"), &json!("message"), &json!(1)), "{entry}");
    assert_eq!(entry["position"], json!({ "epoch": 1, "seq": 2 }));
    assert!(entry["time_ms"].as_u64() > Some(1), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_user_id_works_from_end_to_end() {
    let stack = start(|_| {}).await;
    let long = "ü".repeat(64);
    let users = ["auth0|a#b/ü", "a\u{0}b", "member#alice", "a%23b", "😀", " ", long.as_str()];
    let alice = stack.device("alice").await;
    for user in users {
        let odd = stack.silent_device(user).await;
        let welcome = odd.hello().await.unwrap();
        assert_eq!(welcome.user.as_str(), user);
        let lane = alice.open(user).await.unwrap();
        let EntryKind::Created { members } = odd.entry(&lane.conversation, 1).await.kind else { panic!("entry 1 is the creation") };
        assert!(members.iter().any(|member| member.as_str() == user), "{members:?}");

        alice.send(&lane.conversation, &[message("to", lane.head)]).await.unwrap();
        assert_eq!(odd.entry(&lane.conversation, 2).await.sender.as_str(), "alice");
        odd.send(&lane.conversation, &[message("fro", lane.head)]).await.unwrap();
        assert_eq!(alice.entry(&lane.conversation, 3).await.sender.as_str(), user);
        assert_eq!(odd.open("alice").await.unwrap().conversation, lane.conversation);
        stack.quiet().await;
        let rows: Vec<Value> = odd.hello().await.unwrap().conversations.iter().map(|row| json!(row.conversation)).collect();
        assert_eq!(rows, [json!({ "conversation": lane.conversation, "with": "alice", "head": { "epoch": 1, "seq": 3 } })], "{user}");
    }
    assert_eq!(alice.hello().await.unwrap().conversations.len(), users.len(), "as many lanes as users: no two ids meet");
}
