//! The queue's rules. Most tests set the clock; nothing here waits for time to pass unless it says so.

mod batches;
mod event_source;
mod http;
mod messages;

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use chatlane_tests_support::Folder;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::{Clock, Depth, OpenError, Queue, QueueSettings, api};

/// Where the tests' clock starts, milliseconds since 1970.
const START_MS: i64 = 1_700_000_000_000;

/// `tasks` (visibility 30 s, three receives) with the dead-letter queue `dead`, at a clock that the test moves.
struct Bench {
    queue: Queue,
    now_ms: Arc<AtomicI64>,
    folder: Folder,
}

fn settings() -> Vec<QueueSettings> {
    let queue = |name: &str, dead_letter_queue: Option<&str>| QueueSettings {
        name: name.to_owned(),
        visibility_timeout: Duration::from_secs(30),
        max_receive_count: 3,
        dead_letter_queue: dead_letter_queue.map(str::to_owned),
    };
    vec![queue("tasks", Some("dead")), queue("dead", None)]
}

impl Bench {
    fn new() -> Self {
        Self::at(Folder::new(), Arc::new(AtomicI64::new(START_MS)))
    }

    fn at(folder: Folder, now_ms: Arc<AtomicI64>) -> Self {
        let read = Arc::clone(&now_ms);
        let clock: Clock = Arc::new(move || read.load(Ordering::SeqCst));
        let queue = Queue::open_with_clock(&folder.file("queue.sqlite"), settings(), clock).expect("queues");
        Self { queue, now_ms, folder }
    }

    /// The process ends and another one opens the file at the same time of day.
    fn restart(self) -> Self {
        let Self { queue, now_ms, folder } = self;
        drop(queue);
        Self::at(folder, now_ms)
    }

    fn advance(&self, duration: Duration) {
        self.now_ms.fetch_add(super::millis(duration), Ordering::SeqCst);
        for settings in settings() {
            self.queue.announce(&settings.name);
        }
    }

    /// Calls an operation on `tasks`.
    async fn call(&self, operation: &str, request: Value) -> Result<Value, ApiError> {
        self.call_on("tasks", operation, request).await
    }

    async fn call_on(&self, name: &str, operation: &str, mut request: Value) -> Result<Value, ApiError> {
        request["QueueUrl"] = json!(Queue::url("http://127.0.0.1:1", name));
        self.call_raw(operation, request.to_string()).await
    }

    async fn call_raw(&self, operation: &str, body: impl Into<Bytes>) -> Result<Value, ApiError> {
        call(&self.queue, operation, body).await
    }

    /// Sends a message and returns its id.
    async fn send(&self, body: &str) -> String {
        let sent = self.call("SendMessage", json!({ "MessageBody": body })).await.expect("it is sent");
        sent["MessageId"].as_str().expect("an id").to_owned()
    }

    /// Receives what is visible on a queue, with all attributes, without waiting.
    async fn receive_from(&self, name: &str) -> Vec<Value> {
        let request = json!({ "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"] });
        let mut answer = self.call_on(name, "ReceiveMessage", request).await.expect("an answer");
        answer["Messages"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Receives the only visible message of `tasks`.
    async fn receive(&self) -> Value {
        let mut messages = self.receive_from("tasks").await;
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn depth(&self, name: &str) -> Depth {
        self.queue.depth(name).expect("a depth")
    }
}

async fn call(queue: &Queue, operation: &str, body: impl Into<Bytes>) -> Result<Value, ApiError> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", format!("AmazonSQS.{operation}").parse().expect("a header"));
    headers.insert("host", "127.0.0.1:1".parse().expect("a header"));
    headers.insert("authorization", "AWS4-HMAC-SHA256 Credential=send-3/20260101/us-east-1/sqs".parse().expect("a header"));
    api::answer(queue, &headers, body.into()).await
}

/// The code by which the SDK knows the error.
fn code(answer: Result<Value, ApiError>) -> &'static str {
    answer.expect_err("a refusal").code()
}

#[test]
fn one_file_serves_one_runner() {
    let bench = Bench::new();

    let second = Queue::open(&bench.folder.file("queue.sqlite"), settings());

    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
}

/// This test starts itself again as the process that is killed.
// holds: L3
#[tokio::test]
async fn a_message_that_was_answered_survives_the_death_of_the_process() {
    const FILE: &str = "CHATLANE_TEST_QUEUE";
    const ANSWERED: &str = "the message was answered";
    if let Some(file) = std::env::var_os(FILE) {
        let queue = Queue::open(file.as_ref(), settings()).expect("queues");
        let request = json!({ "QueueUrl": Queue::url("http://127.0.0.1:1", "tasks"), "MessageBody": "m" }).to_string();
        call(&queue, "SendMessage", request).await.expect("it is sent");
        println!("{ANSWERED}");
        loop {
            std::thread::park();
        }
    }
    let folder = Folder::new();
    let mut child = std::process::Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", "queue::tests::a_message_that_was_answered_survives_the_death_of_the_process", "--nocapture"])
        .env(FILE, folder.file("queue.sqlite"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.ends_with(ANSWERED))), "the child has ended too early");

    child.kill().expect("it lives");
    child.wait().expect("a status");

    let queue = Queue::open(&folder.file("queue.sqlite"), settings()).expect("the file is free");
    assert_eq!(queue.depth("tasks").expect("a depth"), Depth { visible: 1, ..Depth::default() });
}

#[test]
fn a_file_of_another_program_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.file("queue.sqlite"), "not a database, but long enough to be looked at by anybody who opens it".repeat(20))
        .expect("a file");

    let opened = Queue::open(&folder.file("queue.sqlite"), settings());

    assert!(matches!(opened, Err(OpenError::File(_))), "{opened:?}");
}

#[test]
fn a_dead_letter_queue_must_exist() {
    let folder = Folder::new();
    let mut alone = settings();
    alone.truncate(1);

    let opened = Queue::open(&folder.file("queue.sqlite"), alone);

    let named = matches!(&opened, Err(OpenError::UnknownDeadLetterQueue { queue, dead_letter_queue }) if queue == "tasks" && dead_letter_queue == "dead");
    assert!(named, "{opened:?}");
}

#[test]
fn the_clock_of_a_runner_is_the_time_of_day() {
    let folder = Folder::new();
    let queue = Queue::open(&folder.file("queue.sqlite"), settings()).expect("queues");

    assert!(queue.now_ms() > START_MS);
}
