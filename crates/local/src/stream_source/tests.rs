//! From a write to the log's table to a function. The function is a channel: the test takes each invocation and answers it when it likes.

use std::net::SocketAddr;

use chatlane_aws::items::entry;
use chatlane_aws::items::json::to_json;
use chatlane_protocol::{ConversationId, Seq};
use chatlane_tests_support::Folder;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::embedded::Dynamo;
use crate::queue::QueueSettings;
use crate::stack::tables;
use crate::testing::{aws_json, send, serve};

const FAILURES: &str = "failures";

/// The tables and a queue in a folder of their own, and what writes to the log.
struct Bench {
    folder: Folder,
    dynamo: Dynamo,
    queue: Queue,
    address: SocketAddr,
}

struct Invocation {
    event: Value,
    answer: oneshot::Sender<Result<Bytes, InvokeError>>,
}

impl Invocation {
    /// The seqs that the batch is about.
    fn seqs(&self) -> Vec<u64> {
        let records = self.event["Records"].as_array().expect("a list");
        records.iter().map(|record| entry::slot(&record["dynamodb"]["Keys"]).expect("a slot").1.get()).collect()
    }

    fn answer(self, answer: Result<(), InvokeError>) {
        self.answer.send(answer.map(|()| Bytes::from("null"))).expect("the mapping waits");
    }
}

/// The key of entry `number` of a conversation.
fn key(number: u64) -> chatlane_aws::items::Item {
    entry::key(&ConversationId::new("d1").expect("an id"), Seq::try_from(number).expect("a seq"))
}

fn failed() -> InvokeError {
    InvokeError::Handled { error_type: "Failure".to_owned(), message: "not now".to_owned() }
}

impl Bench {
    async fn new() -> Self {
        Self::at(Folder::new()).await
    }

    async fn at(folder: Folder) -> Self {
        let dynamo = Dynamo::open(Some(&folder.file("tables"))).await.expect("a database");
        for (definition, ttl) in tables() {
            dynamo.create_table(&definition, ttl).expect("a table");
        }
        let settings = QueueSettings {
            name: FAILURES.to_owned(),
            visibility_timeout: Duration::from_mins(1),
            max_receive_count: 1,
            dead_letter_queue: None,
        };
        let queue = Queue::open(&folder.file("queue"), [settings]).expect("a queue");
        let address = serve(dynamo.router()).await;
        Self { folder, dynamo, queue, address }
    }

    async fn restart(self) -> Self {
        let Self { folder, dynamo, queue, .. } = self;
        dynamo.close().await;
        drop(queue);
        Self::at(folder).await
    }

    async fn write(&self, operation: &str, mut request: Value) {
        request["TableName"] = "log".into();
        let request = aws_json("send-1", &format!("DynamoDB_20120810.{operation}"), &request);
        assert!(send(self.address, request).await.expect("an answer").status().is_success());
    }

    async fn put(&self, seqs: impl IntoIterator<Item = u64>) {
        for number in seqs {
            self.write("PutItem", json!({ "Item": to_json(&key(number)) })).await;
        }
    }

    /// A mapping to a function whose invocations the test takes from the channel.
    fn start(&self, window: Duration, batch_max: usize) -> (StreamSource, mpsc::UnboundedReceiver<Invocation>) {
        let (sender, invocations) = mpsc::unbounded_channel();
        let functions = Functions::new(move |function, event| {
            assert_eq!(function, "sweep");
            let (answer, answered) = oneshot::channel();
            let event = serde_json::from_slice(&event).expect("JSON");
            sender.send(Invocation { event, answer }).expect("the test lives");
            async { answered.await.expect("the test answers") }
        });
        let settings =
            StreamSourceSettings { function: "sweep".to_owned(), window, batch_max, retries_max: 5, failures: FAILURES.to_owned() };
        let stream = self.dynamo.stream("log").expect("the table is there");
        (StreamSource::start(stream, settings, functions, self.queue.clone()), invocations)
    }

    fn file(&self) -> Connection {
        Connection::open(self.folder.file("tables")).expect("dynoxide's file")
    }
}

async fn next(invocations: &mut mpsc::UnboundedReceiver<Invocation>) -> Invocation {
    invocations.recv().await.expect("an invocation")
}

#[tokio::test]
async fn an_insertion_reaches_the_function_as_an_event_of_the_stream_and_no_other_change_does() {
    let bench = Bench::new().await;
    let (source, mut invocations) = bench.start(Duration::ZERO, 10);
    bench.put([2]).await;
    let first = next(&mut invocations).await;
    let mut record = first.event["Records"][0].clone();
    for drawn in ["/eventID", "/dynamodb/SequenceNumber"] {
        assert!(record.pointer_mut(drawn).expect(drawn).take().as_str().is_some_and(|text| text.len() >= 21), "{record}");
    }
    assert!(record.pointer_mut("/dynamodb/ApproximateCreationDateTime").expect("a time").take().as_i64() > Some(1_700_000_000));
    let keys = to_json(&key(2));
    let expected = json!({
        "eventID": null,
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": null,
            "Keys": keys,
            "SequenceNumber": null,
            "SizeBytes": keys.to_string().len(),
            "StreamViewType": "KEYS_ONLY",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/log/stream/local",
    });
    assert_eq!(record, expected);

    // While the function is at work nothing else is given to it; then what was inserted meanwhile.
    let mut changed = keys.clone();
    changed["x"] = keys["c"].clone();
    bench.write("PutItem", json!({ "Item": changed })).await;
    bench.write("DeleteItem", json!({ "Key": keys })).await;
    bench.put([3]).await;
    assert!(invocations.try_recv().is_err());
    first.answer(Ok(()));
    let second = next(&mut invocations).await;
    assert_eq!(second.seqs(), [3]);
    second.answer(Ok(()));
    source.stop().await;
}

#[tokio::test]
async fn a_window_ends_with_its_time_or_with_the_records_of_a_batch() {
    let bench = Bench::new().await;
    let (source, mut invocations) = bench.start(Duration::from_hours(1), 3);
    bench.put(1..=3).await;
    let whole = next(&mut invocations).await;
    assert_eq!(whole.seqs(), [1, 2, 3]);
    whole.answer(Ok(()));
    source.stop().await;

    // What is there before the mapping: all within the window, however short that is.
    let bench = bench.restart().await;
    let stream = bench.dynamo.stream("log").expect("the table is there");
    bench.put(4..=5).await;
    assert_eq!(stream.count(9).expect("a count"), stream.read(9).expect("records").len());
    let (_source, mut invocations) = bench.start(Duration::from_millis(1), 10);
    let all = next(&mut invocations).await.seqs();
    assert!(all.ends_with(&[4, 5]), "{all:?}");
}

#[tokio::test]
async fn a_batch_that_fails_is_halved_and_what_fails_alone_is_given_up_after_five_retries() {
    let bench = Bench::new().await;
    bench.dynamo.stream("log").expect("the table is there");
    bench.put(1..=4).await;
    let (_source, mut invocations) = bench.start(Duration::ZERO, 10);
    let mut batches = vec![];
    loop {
        let invocation = next(&mut invocations).await;
        let seqs = invocation.seqs();
        invocation.answer(if seqs.contains(&3) { Err(failed()) } else { Ok(()) });
        batches.push(seqs);
        if batches.last().is_some_and(|seqs| *seqs == [4]) {
            break;
        }
    }
    let mut expected = vec![vec![1, 2, 3, 4], vec![1, 2], vec![3, 4]];
    expected.extend(vec![vec![3]; 6]);
    expected.push(vec![4]);
    assert_eq!(batches, expected);
    // The next batch comes after that: nothing is left of this one.
    bench.put([5]).await;
    assert_eq!(next(&mut invocations).await.seqs(), [5]);

    assert_eq!(bench.queue.depth(FAILURES).expect("the queue").visible, 1);
    let [told] = bench.queue.bodies(FAILURES).try_into().expect("one message");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!((&told["requestContext"]["approximateInvokeCount"], &told["DDBStreamBatchInfo"]["batchSize"]), (&json!(6), &json!(1)));
    let info = &told["DDBStreamBatchInfo"];
    assert!(info["startSequenceNumber"].is_string() && info["startSequenceNumber"] == info["endSequenceNumber"], "{info}");
}

#[tokio::test]
async fn a_throttled_invocation_is_no_try() {
    let bench = Bench::new().await;
    bench.dynamo.stream("log").expect("the table is there");
    bench.put(1..=2).await;
    let (_source, mut invocations) = bench.start(Duration::ZERO, 10);
    for _ in 0..7 {
        let invocation = next(&mut invocations).await;
        assert_eq!(invocation.seqs(), [1, 2]);
        invocation.answer(Err(InvokeError::Throttled { concurrency_max: 1 }));
    }
    next(&mut invocations).await.answer(Ok(()));
    bench.put([3]).await;
    assert_eq!(next(&mut invocations).await.seqs(), [3]);
    assert!(bench.queue.depth(FAILURES).expect("the queue").is_empty());
}

// holds: L4
#[tokio::test]
async fn what_was_not_handled_comes_again_after_a_restart() {
    let bench = Bench::new().await;
    let (source, mut invocations) = bench.start(Duration::ZERO, 10);
    bench.put([7]).await;
    let at_work = next(&mut invocations).await;
    source.stop().await;
    drop(at_work);
    let bench = bench.restart().await;
    let (_source, mut invocations) = bench.start(Duration::ZERO, 10);
    assert_eq!(next(&mut invocations).await.seqs(), [7]);
}

#[tokio::test]
async fn a_table_without_a_stream_gets_one_which_tells_what_is_written_from_then_on() {
    let bench = Bench::new().await;
    bench.put([1]).await;
    let stream = bench.dynamo.stream("log").expect("the table is there");
    bench.put([2]).await;
    let told: Vec<u64> = stream.read(9).expect("records").iter().map(|record| entry::slot(&record.keys).expect("a slot").1.get()).collect();
    assert_eq!(told, [2]);
    assert!(bench.dynamo.stream("letters").is_err(), "no table");
    assert!(Dynamo::open(None).await.expect("a database").stream("log").is_err(), "no file");
}

/// dynoxide asks for the highest number before each write.
#[tokio::test]
async fn the_number_of_the_next_record_is_found_without_a_look_at_all_of_them() {
    let bench = Bench::new().await;
    bench.dynamo.stream("log").expect("the table is there");
    let asking =
        "EXPLAIN QUERY PLAN SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records WHERE table_name = ?";
    let plan: String = bench.file().query_row(asking, ["log"], |row| row.get(3)).expect("a plan");
    assert!(plan.contains("SEARCH") && plan.contains("stream_records_by_number"), "{plan}");
}

#[tokio::test]
async fn polling_stops_where_the_file_cannot_be_read_any_more() {
    let bench = Bench::new().await;
    let (mut source, _invocations) = bench.start(Duration::ZERO, 10);
    bench.file().execute_batch("DROP TABLE _stream_records").expect("dynoxide's table");
    (&mut source.poller).await.expect("it ends by itself");
}
