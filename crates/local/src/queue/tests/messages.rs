//! The life of a message: sent, delayed, received, hidden, deleted, moved.

use std::time::Duration;

use chatlane_tests_support::patiently;
use serde_json::json;

use super::super::message::BATCH_MAX;
use super::super::{Depth, EventSource, EventSourceSettings, QueueError};
use super::{Bench, START_MS};
use crate::lambda::Functions;

#[tokio::test]
async fn a_sent_message_is_received_with_its_body_and_digest() {
    let bench = Bench::new();

    let sent = bench.send_with(json!({ "MessageBody": "derp" }));
    let received = bench.call("ReceiveMessage", json!({})).expect("an answer");
    let nothing = bench.call("ReceiveMessage", json!({ "MaxNumberOfMessages": 10 })).expect("an answer");

    assert_eq!(sent["MD5OfMessageBody"], "58fd9edd83341c29f1aebba81c31e257");
    let mut message = received["Messages"][0].clone();
    assert!(message["ReceiptHandle"].take().is_string());
    let md5 = &sent["MD5OfMessageBody"];
    assert_eq!(message, json!({ "MessageId": sent["MessageId"], "ReceiptHandle": null, "Body": "derp", "MD5OfBody": md5 }));
    assert_eq!(nothing, json!({}));
}

#[tokio::test]
async fn a_received_message_is_hidden_until_its_visibility_timeout_ends() {
    let bench = Bench::new();
    bench.send("m");

    let first = bench.receive();
    bench.advance(Duration::from_millis(29_999));
    assert!(bench.receive_from("tasks").is_empty());
    bench.advance(Duration::from_millis(1));
    let second = bench.receive();

    assert_eq!((&second.id, second.receive_count, second.first_received_at_ms), (&first.id, 2, START_MS));
    assert_ne!(second.receipt, first.receipt);
}

#[tokio::test]
async fn a_delayed_message_is_visible_after_its_delay() {
    let bench = Bench::new();
    bench.send_with(json!({ "MessageBody": "later", "DelaySeconds": 900 }));

    assert_eq!(bench.depth("tasks"), Depth { delayed: 1, ..Depth::default() });
    assert!(bench.receive_from("tasks").is_empty());
    bench.advance(Duration::from_mins(15));

    assert_eq!(bench.receive().body, "later");
}

#[tokio::test]
async fn an_older_receipt_deletes_nothing_and_the_latest_also_after_its_visibility_timeout() {
    let bench = Bench::new();
    bench.send("m");
    let [first, latest] = [(); 2].map(|()| {
        let received = bench.receive();
        bench.advance(Duration::from_secs(30));
        received.receipt
    });

    bench.queue.delete("tasks", [first.as_str()]).expect("it succeeds all the same");
    assert_eq!(bench.depth("tasks"), Depth { visible: 1, ..Depth::default() });

    for _again in 0..2 {
        bench.queue.delete("tasks", [latest.as_str()]).expect("deleting twice is no error");
        assert!(bench.depth("tasks").is_empty());
    }
}

// holds: L4
#[tokio::test]
async fn a_message_received_too_often_moves_to_the_dead_letter_queue() {
    let bench = Bench::new();
    let id = bench.send("poison");
    for count in 1..=3 {
        assert_eq!(bench.receive().receive_count, count);
        bench.advance(Duration::from_secs(30));
    }

    assert!(bench.receive_from("tasks").is_empty(), "the fourth receive moves it");

    for count in 1..=5 {
        let dead = bench.receive_from("dead").remove(0);
        assert_eq!((&dead.id, dead.body.as_str(), dead.sent_at_ms, dead.receive_count), (&id, "poison", START_MS, count));
        bench.advance(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn messages_and_their_deadlines_survive_a_restart() {
    let bench = Bench::new();
    bench.send("in flight");
    let receipt = bench.receive().receipt;
    bench.send("visible");
    bench.send_with(json!({ "MessageBody": "delayed", "DelaySeconds": 60 }));

    // An earlier version made the file, with columns that nothing reads any more.
    bench.queue.inner.store.execute("ALTER TABLE messages ADD group_id TEXT; ALTER TABLE messages ADD dead_letter_source TEXT");
    let bench = bench.restart();

    assert_eq!(bench.depth("tasks"), Depth { visible: 1, in_flight: 1, delayed: 1 });
    assert_eq!(bench.receive().body, "visible");
    bench.queue.delete("tasks", [receipt.as_str()]).expect("the receipt is still good");
    assert_eq!(bench.depth("tasks"), Depth { visible: 0, in_flight: 1, delayed: 1 });
}

#[tokio::test]
async fn waiting_for_an_empty_queue_ends_with_the_last_message_and_also_when_it_moves() {
    let bench = Bench::new();
    bench.send("m");
    let receipt = bench.receive().receipt;
    let deleting = async { bench.queue.delete("tasks", [receipt.as_str()]) };
    let (waited, deleted) = tokio::join!(bench.queue.wait_until_empty("tasks"), deleting);
    assert!(waited.is_ok() && deleted.is_ok());

    bench.send("poison");
    for _receive in 0..3 {
        bench.receive();
        bench.advance(Duration::from_secs(30));
    }
    let (waited, moved) = tokio::join!(bench.queue.wait_until_empty("tasks"), async { bench.queue.receive("tasks", BATCH_MAX) });
    assert!(waited.is_ok() && moved.is_ok_and(|received| received.is_empty()));
    assert_eq!(bench.depth("dead"), Depth { visible: 1, ..Depth::default() });
}

#[tokio::test]
async fn an_unknown_queue_has_no_depth_and_is_no_source() {
    let Bench { queue, .. } = &Bench::new();
    let functions = Functions::new(|_, event| std::future::ready(Ok(event)));
    let settings = EventSourceSettings { queue: "nobody".to_owned(), function: "f".to_owned(), concurrency_max: 2 };

    assert!(matches!(queue.depth("nobody"), Err(QueueError::Unknown { name }) if name == "nobody"));
    assert!(matches!(queue.wait_until_empty("nobody").await, Err(QueueError::Unknown { .. })));
    assert!(matches!(EventSource::start(queue, settings, functions), Err(QueueError::Unknown { .. })));
}

/// It became visible after the receive that did not find it, and nothing else happens.
#[tokio::test]
async fn nobody_waits_for_a_message_that_is_visible() {
    let bench = Bench::new();
    bench.send("m");
    let mut unchanged = bench.queue.named("tasks").expect("a queue").changed.subscribe();

    patiently("a message is visible", bench.queue.wait_for_message("tasks", &mut unchanged)).await.expect("the file");
}
