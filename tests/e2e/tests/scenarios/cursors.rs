//! How far devices have got and users have read (C1), told to the others as it moves, and again where that was lost.

use axum::http::StatusCode;
use chatlane_chat::testing::builders::{position, seq};
use chatlane_local::embedded::{Answer, At, Matching, Service};
use chatlane_protocol::frames::{ConversationHead, ConversationRow, Receipt};
use chatlane_protocol::request::{Known, PositionIn};
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::{Device, Running, message, start};
use serde_json::{Value, json};

/// Alice and Bob, each with two devices, and their conversation of so many entries.
struct Two {
    stack: Running,
    alice: [Device; 2],
    bob: [Device; 2],
    conversation: ConversationId,
}

impl Two {
    async fn with(entries: u64) -> Self {
        let stack = start(|_| {}).await;
        let alice = [stack.device("alice").await, stack.device("alice").await];
        let bob = [stack.device("bob").await, stack.device("bob").await];
        let ConversationHead { conversation, head, .. } = alice[0].open("bob").await.unwrap();
        let two = Self { stack, alice, bob, conversation };
        two.say(&two.alice[0], entries - 1, head).await;
        two
    }

    async fn say(&self, from: &Device, messages: u64, anchor: Position) {
        let messages: Vec<_> = (1..=messages).map(|number| message(format!("{number} of {messages}"), anchor)).collect();
        for frame in messages.chunks(25) {
            let answer = from.send(&self.conversation, frame).await.unwrap();
            assert!(json!(answer.results).as_array().unwrap().iter().all(|result| result["status"] == "ok"), "{answer:?}");
        }
        self.stack.quiet().await;
    }

    fn at(&self, number: u64) -> [PositionIn; 1] {
        [PositionIn { conversation: self.conversation.clone(), position: position(number) }]
    }

    /// The row of the conversation in a hello of this device that knows nothing.
    async fn row(&self, device: &Device) -> ConversationRow {
        let rows = device.hello().await.unwrap().conversations;
        rows.into_iter().find(|row| row.conversation.conversation == self.conversation).expect("the conversation is told")
    }

    /// Where the other is, as a heartbeat tells it: delivered and read.
    async fn cursors(&self, device: &Device) -> (Value, Value) {
        let answer = device.request(json!({ "action": "ping", "open": [self.conversation] })).await.unwrap();
        let cursors = &answer["conversations"][0]["cursors"][0];
        (cursors["delivered"].clone(), cursors["read"].clone())
    }
}

/// The receipts that have come to a device, each as user, delivered seq, read seq.
fn receipts(frames: &[Value]) -> Vec<(String, u64, u64)> {
    let receipts = frames.iter().filter(|frame| frame["type"] == "receipt");
    let receipts = receipts.map(|frame| serde_json::from_value::<Receipt>(frame.clone()).expect("a receipt has its documented form"));
    receipts.map(|Receipt { cursors, .. }| (cursors.user.into(), cursors.delivered.seq.get(), cursors.read.seq.get())).collect()
}

async fn has_receipts(device: &Device, expected: &[(&str, u64, u64)]) {
    let expected: Vec<_> = expected.iter().map(|&(user, delivered, read)| (user.to_owned(), delivered, read)).collect();
    device.until("receipts", |frames| (receipts(frames).len() >= expected.len()).then_some(())).await.unwrap();
    assert_eq!(receipts(&device.frames()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_and_read_is_told_to_all_devices_of_the_other_user() {
    let two = Two::with(4).await;
    let [phone, tablet] = &two.bob;
    phone.acknowledge("ack", &two.at(2)).await.unwrap();
    phone.acknowledge("ack", &two.at(4)).await.unwrap();
    // The other device has less: nobody else gains by it.
    let recording = two.stack.record();
    tablet.acknowledge("ack", &two.at(3)).await.unwrap();
    assert!(recording.take().iter().all(|call| call.service != Service::Connections), "the furthest device counts");
    tablet.acknowledge("read", &two.at(3)).await.unwrap();
    tablet.acknowledge("read", &two.at(4)).await.unwrap();
    let told = [("bob", 2, 0), ("bob", 4, 0), ("bob", 4, 3), ("bob", 4, 4)];
    for device in &two.alice {
        has_receipts(device, &told).await;
    }

    // Late and repeated positions move nothing, and nobody is told again.
    let recording = two.stack.record();
    for (action, number) in [("ack", 2), ("read", 1), ("ack", 4), ("read", 4)] {
        phone.acknowledge(action, &two.at(number)).await.unwrap();
    }
    assert!(recording.take().iter().all(|call| call.service != Service::Connections));
    assert_eq!(two.cursors(&two.alice[0]).await, (json!(position(4)), json!(position(4))));
    for device in &two.bob {
        assert_eq!(receipts(&device.frames()), [], "one's own are told by hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_implies_delivered() {
    let two = Two::with(3).await;
    two.bob[0].acknowledge("read", &two.at(2)).await.unwrap();
    has_receipts(&two.alice[0], &[("bob", 2, 2)]).await;
    assert_eq!(two.cursors(&two.alice[1]).await, (json!(position(2)), json!(position(2))));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_are_lost_are_found_by_the_next_ping() {
    let two = Two::with(3).await;
    assert_eq!(two.cursors(&two.alice[0]).await, (json!(Position::ZERO), json!(Position::ZERO)));
    let posts = Matching::service(Service::Connections).function("read").operation("PostToConnection");
    let mut hold = two.stack.endpoints().hold(posts, At::Request, usize::MAX);
    let refusing = tokio::spawn(async move {
        loop {
            hold.caught().await.answer(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "by the test"));
        }
    });
    two.bob[0].acknowledge("read", &two.at(3)).await.expect("the cursor moves whatever becomes of its receipts");
    refusing.abort();
    for device in &two.alice {
        assert_eq!(two.cursors(device).await, (json!(position(3)), json!(position(3))));
        assert_eq!(receipts(&device.frames()), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_device_has_read_is_told_to_the_users_other_one_by_its_next_hello() {
    let two = Two::with(4).await;
    let [phone, tablet] = &two.bob;
    let known = |read| [Known { conversation: two.conversation.clone(), have: position(4), read }];
    let rows = async |read| tablet.hello_page(None, &known(read)).await.unwrap().conversations;
    assert_eq!(rows(Position::ZERO).await, []);

    phone.acknowledge("read", &two.at(3)).await.unwrap();
    let told = rows(Position::ZERO).await;
    assert_eq!(told.iter().map(|row| (row.read, row.read_count, row.count)).collect::<Vec<_>>(), [(position(3), 2, 3)]);
    assert_eq!(rows(position(3)).await, [], "once it knows, it is not told again");
}

/// C1.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_moves_to_entries_of_its_own_conversation_only() {
    let two = Two::with(3).await;
    let longer = two.bob[0].open("carol").await.unwrap();
    let more: Vec<_> = (0..9).map(|number| message(format!("{number}"), longer.head)).collect();
    two.bob[0].send(&longer.conversation, &more).await.unwrap();
    two.stack.quiet().await;
    let before = two.row(&two.bob[0]).await;

    let of = |conversation: &ConversationId, position: Position| json!({ "conversation": conversation, "position": position });
    let rows = [
        ("beyond the tail", position(4), "anchor_unknown"),
        ("an entry that only another conversation has", position(10), "anchor_unknown"),
        ("the last seq that there is", Position { epoch: 1, seq: seq((1 << 53) - 1) }, "anchor_unknown"),
        ("before the first", position(0), "anchor_unknown"),
        ("of a later epoch than its entry", Position { epoch: 2, seq: seq(2) }, "anchor_unknown"),
        ("of an earlier epoch than its entry", Position { epoch: 0, seq: seq(2) }, "epoch_changed"),
    ];
    for (name, position, code) in rows {
        for action in ["ack", "read"] {
            let answer = two.bob[0].request(json!({ "action": action, "positions": [of(&two.conversation, position)] })).await.unwrap();
            let result = &answer["results"][0];
            assert_eq!((&result["status"], &result["code"]), (&json!("refused"), &json!(code)), "{action} {name}: {answer}");
            assert_eq!(result["retryable"], false, "{action} {name}: {answer}");
        }
    }
    assert_eq!(two.row(&two.bob[0]).await, before);
    assert_eq!(two.cursors(&two.alice[0]).await, (json!(Position::ZERO), json!(Position::ZERO)));

    // One that is refused harms no other, and each has its result in its place.
    let positions = [of(&two.conversation, position(99)), of(&longer.conversation, position(10))];
    let answer = two.bob[0].request(json!({ "action": "read", "positions": positions })).await.unwrap();
    let results: Vec<(&Value, &Value)> =
        answer["results"].as_array().unwrap().iter().map(|result| (&result["conversation"], &result["status"])).collect();
    assert_eq!(results, [(&json!(two.conversation), &json!("refused")), (&json!(longer.conversation), &json!("ok"))]);
}

/// R1: what there is and what there is not look the same from outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_the_same_answer_for_a_conversation_of_others_and_for_none() {
    let two = Two::with(3).await;
    let carol = two.stack.device("carol").await;
    let none = "d".to_owned() + &"0".repeat(two.conversation.as_str().len() - 1);
    for position in [Position::ZERO, position(1), position(3), position(99), Position { epoch: 9, seq: seq(1) }] {
        let named = |conversation: &str| json!({ "conversation": conversation, "position": position });
        let requests = [
            json!({ "action": "ack", "positions": [named("?")] }),
            json!({ "action": "read", "positions": [named("?")] }),
            json!({ "action": "sync", "conversations": [{ "conversation": "?", "after": position }], "ack": [named("?")] }),
            json!({ "action": "history", "conversation": "?", "before": position.seq }),
            json!({ "action": "probe", "conversation": "?", "anchor": position, "ids": ["x"] }),
            json!({ "action": "ping", "open": ["?"] }),
        ];
        for request in requests {
            let mut answers = vec![];
            for conversation in [two.conversation.as_str(), none.as_str()] {
                let asked: Value = serde_json::from_str(&request.to_string().replace('?', conversation)).unwrap();
                let mut answer = carol.request(asked).await.unwrap();
                let told_nothing = answer["type"] == "ping" && answer.get("conversations").is_none();
                assert!(told_nothing || answer.to_string().contains(r#""code":"not_found""#), "{request}: {answer}");
                // What differs between any two answers: the request's id, and the time.
                answer["id"].take();
                answer["server_time_ms"].take();
                answers.push(answer.to_string().replace(conversation, "?"));
            }
            assert_eq!(answers[0], answers[1], "{request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_is_the_count_at_the_head_less_the_count_that_was_read() {
    let two = Two::with(1).await;
    let unread = async |device: &Device| {
        let row = two.row(device).await;
        row.count - row.read_count
    };
    assert_eq!(unread(&two.bob[0]).await, 0, "the creation is no message");
    two.say(&two.alice[0], 7, position(1)).await;
    assert_eq!([unread(&two.bob[0]).await, unread(&two.alice[0]).await], [7, 7], "own messages count as those of others");
    two.alice[0].acknowledge("read", &two.at(8)).await.unwrap();
    two.bob[0].acknowledge("read", &two.at(5)).await.unwrap();
    assert_eq!([unread(&two.bob[1]).await, unread(&two.alice[1]).await], [3, 0]);

    two.say(&two.bob[0], 2, position(8)).await;
    assert_eq!([unread(&two.bob[0]).await, unread(&two.alice[0]).await], [5, 2]);
    two.bob[0].acknowledge("read", &two.at(10)).await.unwrap();
    two.bob[1].acknowledge("read", &two.at(6)).await.unwrap(); // late, from a device that was away
    assert_eq!([unread(&two.bob[0]).await, unread(&two.alice[0]).await], [0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_survive_a_restart_of_the_stack() {
    let mut two = Two::with(5).await;
    two.bob[0].acknowledge("ack", &two.at(4)).await.unwrap();
    two.bob[1].acknowledge("read", &two.at(3)).await.unwrap();
    two.stack.restart(|_| {}).await;
    let (alice, bob) = (two.stack.device("alice").await, two.stack.device("bob").await);
    assert_eq!(two.cursors(&alice).await, (json!(position(4)), json!(position(3))));
    let row = two.row(&bob).await;
    assert_eq!((row.read, row.read_count, row.count), (position(3), 2, 4));
}
