//! The life of a message: sent, delayed, received, hidden, deleted, moved.

use std::time::Duration;

use serde_json::json;

use super::super::{Depth, QueueError};
use super::{Bench, START_MS, code};

#[tokio::test]
async fn a_sent_message_is_received_with_its_body_digest_and_attributes() {
    let bench = Bench::new();
    let attributes = json!({ "timestamp": { "DataType": "Number", "StringValue": "1493147359900" } });

    let request = json!({ "MessageBody": "derp", "MessageAttributes": attributes, "MessageGroupId": "lane" });
    let sent = bench.call("SendMessage", request).await.expect("it is sent");
    bench.advance(Duration::from_secs(1));
    let received = bench.receive().await;

    assert_eq!(sent["MD5OfMessageBody"], "58fd9edd83341c29f1aebba81c31e257");
    assert_eq!(sent["MD5OfMessageAttributes"], "235c5c510d26fb653d073faed50ae77c");
    assert_eq!(received["MessageId"], sent["MessageId"]);
    assert_eq!(received["Body"], "derp");
    assert_eq!(received["MD5OfBody"], sent["MD5OfMessageBody"]);
    assert_eq!(received["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(received["MessageAttributes"], attributes);
    let received_at = (START_MS + 1000).to_string();
    let system = json!({
        "ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": received_at,
        "SentTimestamp": START_MS.to_string(), "SenderId": "send-3", "MessageGroupId": "lane",
    });
    assert_eq!(received["Attributes"], system);
}

#[tokio::test]
async fn attributes_are_answered_only_if_asked_for() {
    let bench = Bench::new();
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let attributes = json!({ "a.x": text("1"), "a.y": text("2"), "b": { "DataType": "Binary", "BinaryValue": "AAE=" } });
    // On the queue that never moves a message, however often it is received.
    bench.call_on("dead", "SendMessage", json!({ "MessageBody": "m", "MessageAttributes": attributes })).await.expect("it is sent");

    for (wish, expected) in [(json!([]), ""), (json!(["a.*"]), "a.x a.y"), (json!(["b"]), "b"), (json!([".*"]), "a.x a.y b")] {
        let request = json!({ "VisibilityTimeout": 0, "MessageAttributeNames": wish, "AttributeNames": ["SenderId"] });
        let answer = bench.call_on("dead", "ReceiveMessage", request).await.expect("an answer");
        let message = &answer["Messages"][0];
        let names: Vec<&str> = message["MessageAttributes"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.join(" "), expected);
        assert_eq!(message["MD5OfMessageAttributes"].is_string(), !names.is_empty(), "the digest is of what is answered");
        assert_eq!(message["Attributes"], json!({ "SenderId": "send-3" }));
    }
}

#[tokio::test]
async fn a_received_message_is_hidden_until_its_visibility_timeout_ends() {
    let bench = Bench::new();
    bench.send("m").await;

    let first = bench.receive().await;
    bench.advance(Duration::from_millis(29_999));
    assert!(bench.receive_from("tasks").await.is_empty());
    bench.advance(Duration::from_millis(1));
    let second = bench.receive().await;

    assert_eq!(second["MessageId"], first["MessageId"]);
    assert_ne!(second["ReceiptHandle"], first["ReceiptHandle"]);
    assert_eq!(second["Attributes"]["ApproximateReceiveCount"], "2");
    assert_eq!(second["Attributes"]["ApproximateFirstReceiveTimestamp"], first["Attributes"]["ApproximateFirstReceiveTimestamp"]);
}

#[tokio::test]
async fn a_receive_may_choose_its_visibility_timeout() {
    let bench = Bench::new();
    bench.send("m").await;

    bench.call("ReceiveMessage", json!({ "VisibilityTimeout": 5 })).await.expect("an answer");

    bench.advance(Duration::from_secs(5));
    bench.receive().await;
}

#[tokio::test]
async fn a_delayed_message_is_visible_after_its_delay() {
    let bench = Bench::new();
    bench.call("SendMessage", json!({ "MessageBody": "later", "DelaySeconds": 900 })).await.expect("it is sent");

    assert_eq!(bench.depth("tasks"), Depth { delayed: 1, ..Depth::default() });
    assert!(bench.receive_from("tasks").await.is_empty());
    bench.advance(Duration::from_mins(15));

    assert_eq!(bench.receive().await["Body"], "later");
}

#[tokio::test]
async fn a_deleted_message_does_not_come_back() {
    let bench = Bench::new();
    bench.send("m").await;
    let received = bench.receive().await;

    for _again in 0..2 {
        bench.call("DeleteMessage", json!({ "ReceiptHandle": received["ReceiptHandle"] })).await.expect("deleting twice is no error");
    }

    bench.advance(Duration::from_secs(30));
    assert!(bench.receive_from("tasks").await.is_empty());
    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn an_older_receipt_deletes_nothing() {
    let bench = Bench::new();
    bench.send("m").await;
    let first = bench.receive().await;
    bench.advance(Duration::from_secs(30));
    bench.receive().await;

    bench.call("DeleteMessage", json!({ "ReceiptHandle": first["ReceiptHandle"] })).await.expect("it succeeds all the same");

    assert_eq!(bench.depth("tasks"), Depth { in_flight: 1, ..Depth::default() });
}

#[tokio::test]
async fn the_latest_receipt_deletes_also_after_its_visibility_timeout() {
    let bench = Bench::new();
    bench.send("m").await;
    let received = bench.receive().await;
    bench.advance(Duration::from_secs(30));

    bench.call("DeleteMessage", json!({ "ReceiptHandle": received["ReceiptHandle"] })).await.expect("it is deleted");

    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn changing_the_visibility_shortens_or_extends_the_time_in_flight() {
    let bench = Bench::new();
    bench.send("m").await;
    let change = |received: &serde_json::Value, seconds: i64| {
        let request = json!({ "ReceiptHandle": received["ReceiptHandle"], "VisibilityTimeout": seconds });
        bench.call("ChangeMessageVisibility", request)
    };

    let received = bench.receive().await;
    change(&received, 0).await.expect("it is in flight");
    assert_eq!(code(change(&received, 10).await), "AWS.SimpleQueueService.MessageNotInflight");
    let received = bench.receive().await;
    change(&received, 60).await.expect("it is in flight");
    bench.advance(Duration::from_secs(59));

    assert_eq!(bench.depth("tasks"), Depth { in_flight: 1, ..Depth::default() });
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.depth("tasks"), Depth { visible: 1, ..Depth::default() });
}

// holds: L4
#[tokio::test]
async fn a_message_received_too_often_moves_to_the_dead_letter_queue() {
    let bench = Bench::new();
    let id = bench.send("poison").await;
    for count in 1..=3 {
        assert_eq!(bench.receive().await["Attributes"]["ApproximateReceiveCount"], count.to_string());
        bench.advance(Duration::from_secs(30));
    }

    assert!(bench.receive_from("tasks").await.is_empty(), "the fourth receive moves it");

    let dead = bench.receive_from("dead").await;
    assert_eq!(dead[0]["MessageId"], id);
    assert_eq!(dead[0]["Body"], "poison");
    assert_eq!(dead[0]["Attributes"]["SentTimestamp"], START_MS.to_string());
    assert_eq!(dead[0]["Attributes"]["DeadLetterQueueSourceArn"], "arn:aws:sqs:us-east-1:000000000000:tasks");
}

#[tokio::test]
async fn without_a_dead_letter_queue_a_message_is_received_for_ever() {
    let bench = Bench::new();
    bench.call_on("dead", "SendMessage", json!({ "MessageBody": "m" })).await.expect("it is sent");

    for _receive in 0..5 {
        assert_eq!(bench.receive_from("dead").await.len(), 1);
        bench.advance(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn messages_and_their_deadlines_survive_a_restart() {
    let bench = Bench::new();
    bench.send("in flight").await;
    let receipt = bench.receive().await["ReceiptHandle"].clone();
    bench.send("visible").await;
    bench.call("SendMessage", json!({ "MessageBody": "delayed", "DelaySeconds": 60 })).await.expect("it is sent");

    let bench = bench.restart();

    assert_eq!(bench.depth("tasks"), Depth { visible: 1, in_flight: 1, delayed: 1 });
    assert_eq!(bench.receive().await["Body"], "visible");
    bench.call("DeleteMessage", json!({ "ReceiptHandle": receipt })).await.expect("the receipt is still good");
    assert_eq!(bench.depth("tasks"), Depth { visible: 0, in_flight: 1, delayed: 1 });
}

#[tokio::test]
async fn a_waiting_receive_is_woken_by_a_message() {
    let bench = Bench::new();

    let (answer, _id) = tokio::join!(bench.call("ReceiveMessage", json!({ "WaitTimeSeconds": 20 })), bench.send("m"));

    assert_eq!(answer.expect("an answer")["Messages"][0]["Body"], "m");
}

#[tokio::test]
async fn a_waiting_receive_is_woken_by_the_end_of_a_delay() {
    let bench = Bench::new();
    bench.call("SendMessage", json!({ "MessageBody": "m", "DelaySeconds": 900 })).await.expect("it is sent");

    let (answer, ()) = tokio::join!(bench.call("ReceiveMessage", json!({ "WaitTimeSeconds": 20 })), async {
        bench.advance(Duration::from_mins(15));
    });

    assert_eq!(answer.expect("an answer")["Messages"][0]["Body"], "m");
}

/// In real time: one second is the shortest wait.
#[tokio::test]
async fn a_waiting_receive_ends_empty_when_its_time_is_over() {
    let bench = Bench::new();
    let before = std::time::Instant::now();

    let answer = bench.call("ReceiveMessage", json!({ "WaitTimeSeconds": 1 })).await.expect("an answer");

    assert_eq!(answer, json!({}));
    assert!(before.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn purging_deletes_every_message_in_any_state() {
    let bench = Bench::new();
    bench.send("in flight").await;
    bench.receive().await;
    bench.send("visible").await;

    bench.call("PurgeQueue", json!({})).await.expect("purged");

    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn waiting_for_an_empty_queue_ends_with_the_last_message() {
    let bench = Bench::new();
    bench.send("m").await;
    let received = bench.receive().await;

    let (waited, _deleted) = tokio::join!(
        bench.queue.wait_until_empty("tasks"),
        bench.call("DeleteMessage", json!({ "ReceiptHandle": received["ReceiptHandle"] }))
    );

    assert!(waited.is_ok());
    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn waiting_for_an_empty_queue_ends_also_when_the_last_message_moves() {
    let bench = Bench::new();
    bench.send("poison").await;
    for _receive in 0..3 {
        bench.receive().await;
        bench.advance(Duration::from_secs(30));
    }

    let (waited, _nothing) = tokio::join!(bench.queue.wait_until_empty("tasks"), bench.receive_from("tasks"));

    assert!(waited.is_ok());
    assert_eq!(bench.depth("dead"), Depth { visible: 1, ..Depth::default() });
}

#[tokio::test]
async fn an_unknown_queue_has_no_depth() {
    let bench = Bench::new();

    assert!(matches!(bench.queue.depth("nobody"), Err(QueueError::Unknown { name }) if name == "nobody"));
    assert!(matches!(bench.queue.wait_until_empty("nobody").await, Err(QueueError::Unknown { .. })));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error_of_the_service() {
    let bench = Bench::new();
    bench.queue.inner.store.break_file();

    let refused = bench.call("SendMessage", json!({ "MessageBody": "m" })).await.expect_err("a failure");
    let depth = bench.call("GetQueueAttributes", json!({ "AttributeNames": ["All"] })).await.expect_err("a failure");

    assert_eq!((refused.code(), refused.is_senders_fault()), ("InternalError", false));
    assert_eq!(depth.code(), "InternalError");
}
