//! From a queue to a function and back. The function is a channel: the test takes each invocation and answers it when it likes.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::super::event_source::failed;
use super::super::{Depth, EventSource, EventSourceSettings};
use super::{Bench, START_MS};
use crate::lambda::{Functions, InvokeError};

struct Invocation {
    function: String,
    event: Value,
    answer: oneshot::Sender<Result<Bytes, InvokeError>>,
}

impl Invocation {
    fn bodies(&self) -> Vec<&str> {
        self.records().iter().map(|record| record["body"].as_str().expect("text")).collect()
    }

    fn records(&self) -> &[Value] {
        self.event["Records"].as_array().expect("a list")
    }

    fn answer(self, answer: impl Into<Bytes>) {
        self.answer.send(Ok(answer.into())).expect("the mapping waits");
    }

    fn fail(self, error: InvokeError) {
        self.answer.send(Err(error)).expect("the mapping waits");
    }
}

/// Starts a mapping to a function whose invocations the test takes from the channel.
fn start(bench: &Bench, concurrency_max: usize) -> (EventSource, mpsc::UnboundedReceiver<Invocation>) {
    let (sender, invocations) = mpsc::unbounded_channel();
    let functions = Functions::new(move |function, event| {
        let (answer, answered) = oneshot::channel();
        let event = serde_json::from_slice(&event).expect("JSON");
        sender.send(Invocation { function, event, answer }).expect("the test lives");
        async { answered.await.expect("the test answers") }
    });
    let settings = EventSourceSettings { queue: "tasks".to_owned(), function: "fan_out".to_owned(), concurrency_max };
    (EventSource::start(&bench.queue, settings, functions).expect("the queue exists"), invocations)
}

async fn next(invocations: &mut mpsc::UnboundedReceiver<Invocation>) -> Invocation {
    invocations.recv().await.expect("an invocation")
}

fn failures(ids: &[&Value]) -> String {
    json!({ "batchItemFailures": ids.iter().map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>() }).to_string()
}

/// Waits until so many messages of `tasks` are left.
async fn until_left(bench: &Bench, depth: Depth) {
    let mut changed = bench.queue.named("tasks").expect("the queue").changed.subscribe();
    while bench.depth("tasks") != depth {
        changed.changed().await.expect("the queue lives");
    }
}

#[tokio::test]
async fn a_message_reaches_the_function_as_an_sqs_event_and_is_deleted_after_its_success() {
    let bench = Bench::new();
    let (_source, mut invocations) = start(&bench, 2);

    let id = bench.send("derp");
    let invocation = next(&mut invocations).await;

    assert_eq!(invocation.function, "fan_out");
    let mut record = invocation.records()[0].clone();
    assert!(record["receiptHandle"].take().is_string());
    let expected = json!({
        "messageId": id,
        "receiptHandle": null,
        "body": "derp",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": START_MS.to_string(),
            "SenderId": "send-3",
            "ApproximateFirstReceiveTimestamp": START_MS.to_string(),
        },
        "messageAttributes": {},
        "md5OfBody": "58fd9edd83341c29f1aebba81c31e257",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tasks",
        "awsRegion": "us-east-1",
    });
    assert_eq!(record, expected);
    invocation.answer("");
    bench.queue.wait_until_empty("tasks").await.expect("it is deleted");
}

#[tokio::test]
async fn a_batch_has_at_most_ten_messages() {
    let bench = Bench::new();
    for n in 0..12 {
        bench.send(&n.to_string());
    }

    let (_source, mut invocations) = start(&bench, 1);
    let first = next(&mut invocations).await;
    assert_eq!(first.bodies(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    first.answer("null");
    let second = next(&mut invocations).await;
    assert_eq!(second.bodies(), ["10", "11"]);
    second.answer("{}");

    bench.queue.wait_until_empty("tasks").await.expect("all are deleted");
}

#[tokio::test]
async fn invocations_are_concurrent_up_to_the_limit() {
    let bench = Bench::new();
    let (_source, mut invocations) = start(&bench, 2);
    bench.send("1");
    let first = next(&mut invocations).await;
    bench.send("2");
    let second = next(&mut invocations).await;

    // Two run. The third message must wait: it is still visible when everything else is at rest.
    bench.send("3");
    for _turn in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.depth("tasks"), Depth { visible: 1, in_flight: 2, delayed: 0 });
    assert!(invocations.try_recv().is_err());

    second.answer("");
    assert_eq!(next(&mut invocations).await.bodies(), ["3"]);
    drop(first);
}

// holds: L4
#[tokio::test]
async fn failed_items_come_again_when_their_visibility_timeout_ends_and_the_others_do_not() {
    let bench = Bench::new();
    bench.send("good");
    bench.send("bad");
    let (_source, mut invocations) = start(&bench, 1);

    let invocation = next(&mut invocations).await;
    let answer = failures(&[&invocation.records()[1]["messageId"]]);
    invocation.answer(answer);
    until_left(&bench, Depth { in_flight: 1, ..Depth::default() }).await;
    bench.advance(Duration::from_secs(30));
    let again = next(&mut invocations).await;

    assert_eq!(again.bodies(), ["bad"]);
    assert_eq!(again.records()[0]["attributes"]["ApproximateReceiveCount"], "2");
    again.answer("");
    bench.queue.wait_until_empty("tasks").await.expect("it is deleted");
}

#[test]
fn answers_are_judged_as_documented() {
    let bench = Bench::new();
    let ids = [bench.send("1"), bench.send("2")];
    let batch = bench.receive_from("tasks");
    let [none, first, both] = [&ids[..0], &ids[..1], &ids];
    for (answer, expected) in [
        ("", none),
        ("null", none),
        ("{}", none),
        (r#"{"batchItemFailures":[]}"#, none),
        (r#"{"batchItemFailures":null}"#, none),
        (r#"{"batchItemFailures":[{"itemIdentifier":"$ID"}]}"#, first),
        (r#"{"batchItemFailures":[{"itemIdentifier":"$ID"},{"itemIdentifier":"somebody else's"}]}"#, both),
        (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, both),
        (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, both),
        (r#"{"batchItemFailures":[{"messageId":"$ID"}]}"#, both),
        (r#"{"batchItemFailures":["$ID"]}"#, both),
        (r#"{"batchItemFailures":"$ID"}"#, both),
        ("[]", both),
        ("true", both),
        ("{", both),
    ] {
        let failed = failed(answer.replace("$ID", &ids[0]).as_bytes(), &batch);
        assert_eq!(failed, expected.iter().cloned().collect(), "{answer}");
    }
}

#[tokio::test]
async fn a_failed_invocation_fails_the_whole_batch() {
    let errors = [
        InvokeError::Handled { error_type: "Unavailable".to_owned(), message: "try again".to_owned() },
        InvokeError::Crashed { reason: "it was killed".to_owned() },
        InvokeError::TimedOut { after: Duration::from_secs(10) },
    ];
    let bench = Bench::new();
    bench.send("m");
    let (_source, mut invocations) = start(&bench, 1);

    for error in errors {
        next(&mut invocations).await.fail(error);
        bench.advance(Duration::from_secs(30));
    }

    // After three receives the fourth moves it (max_receive_count is 3).
    bench.queue.wait_until_empty("tasks").await.expect("it is moved");
    assert_eq!(bench.depth("dead"), Depth { visible: 1, ..Depth::default() });
}

#[tokio::test]
async fn a_throttled_batch_is_tried_again_without_another_receive_until_its_messages_are_visible_again() {
    for (passed, receives) in [(Duration::ZERO, "1"), (Duration::from_secs(30), "2")] {
        let bench = Bench::new();
        bench.send("m");
        let (_source, mut invocations) = start(&bench, 1);

        let invocation = next(&mut invocations).await;
        bench.advance(passed);
        invocation.fail(InvokeError::Throttled { concurrency_max: 1 });
        let again = next(&mut invocations).await;

        assert_eq!(again.records()[0]["attributes"]["ApproximateReceiveCount"], receives);
        again.answer("");
        bench.queue.wait_until_empty("tasks").await.expect("it is deleted");
    }
}

/// In real time: a visibility timeout wakes the mapping without any request.
#[tokio::test]
async fn the_end_of_a_visibility_timeout_wakes_the_mapping() {
    let bench = Bench::new();
    bench.send("m");
    bench.receive();
    bench.now_ms.fetch_add(29_990, std::sync::atomic::Ordering::SeqCst);
    let (_source, mut invocations) = start(&bench, 1);

    // The clock stands 10 ms before the end while the mapping starts to wait, and after it when it looks again.
    for _turn in 0..100 {
        tokio::task::yield_now().await;
    }
    bench.now_ms.fetch_add(10, std::sync::atomic::Ordering::SeqCst);

    assert_eq!(next(&mut invocations).await.bodies(), ["m"]);
}

#[tokio::test]
async fn a_stopped_mapping_leaves_the_messages_it_was_handling_to_their_visibility_timeout() {
    let bench = Bench::new();
    bench.send("m");
    let (source, mut invocations) = start(&bench, 1);
    let invocation = next(&mut invocations).await;

    source.stop().await;

    assert!(invocation.answer.send(Ok(Bytes::new())).is_err(), "nobody waits for the answer");
    bench.send("another");
    assert!(invocations.recv().await.is_none(), "nobody polls");
    assert_eq!(bench.depth("tasks"), Depth { visible: 1, in_flight: 1, delayed: 0 });
}

#[tokio::test]
async fn a_mapping_whose_file_breaks_stops_polling() {
    let bench = Bench::new();
    bench.send("m");
    let (_source, mut invocations) = start(&bench, 2);
    let invocation = next(&mut invocations).await;

    bench.queue.inner.store.execute("DROP TABLE messages");
    invocation.answer("");
    bench.advance(Duration::from_secs(30));

    assert!(invocations.recv().await.is_none(), "the mapping has ended");
}
