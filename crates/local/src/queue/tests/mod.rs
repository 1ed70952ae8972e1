//! The queue's rules. Most tests set the clock; nothing here waits for time to pass unless it says so.

mod event_source;
mod messages;
mod requests;

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use chatlane_tests_support::Folder;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::message::{BATCH_MAX, Received};
use super::{Clock, Depth, OpenError, Queue, QueueSettings, api};
use crate::testing::{self, aws_json};

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
    fn call(&self, operation: &str, request: Value) -> Result<Value, ApiError> {
        call(&self.queue, operation, &of_tasks(request))
    }

    /// The same over HTTP; answers the status, the older code of an error, and the body.
    async fn post(&self, operation: &str, request: Value) -> (StatusCode, String, Value) {
        let address = testing::serve(self.queue.router()).await;
        let request = aws_json("send-3", &format!("AmazonSQS.{operation}"), &Value::Null).map(|_| of_tasks(request).into());
        let (parts, body) = testing::send(address, request).await.expect("an answer").into_parts();
        let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().expect("text")).to_owned();
        assert!(uuid::Uuid::try_parse(&header("x-amzn-requestid")).is_ok());
        assert_eq!(header("content-type"), "application/x-amz-json-1.0");
        (parts.status, header("x-amzn-query-error"), serde_json::from_slice(&body).expect("JSON"))
    }

    fn send_with(&self, request: Value) -> Value {
        self.call("SendMessage", request).expect("it is sent")
    }

    /// Sends a message and returns its id.
    fn send(&self, body: &str) -> String {
        self.send_with(json!({ "MessageBody": body }))["MessageId"].as_str().expect("an id").to_owned()
    }

    /// Receives what is visible on a queue.
    fn receive_from(&self, name: &str) -> Vec<Received> {
        self.queue.receive(name, BATCH_MAX).expect("the queue")
    }

    /// Receives the only visible message of `tasks`.
    fn receive(&self) -> Received {
        let mut messages = self.receive_from("tasks");
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn depth(&self, name: &str) -> Depth {
        self.queue.depth(name).expect("a depth")
    }
}

fn of_tasks(mut request: Value) -> String {
    request["QueueUrl"] = json!(Queue::url("http://127.0.0.1:1", "tasks"));
    request.to_string()
}

fn call(queue: &Queue, operation: &str, body: &str) -> Result<Value, ApiError> {
    let request = aws_json("send-3", &format!("AmazonSQS.{operation}"), &Value::Null);
    api::answer(queue, request.headers(), body.as_bytes())
}

#[test]
fn a_file_in_use_and_one_of_another_program_are_refused() {
    let bench = Bench::new();
    let second = Queue::open(&bench.folder.file("queue.sqlite"), settings());
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");

    let other = bench.folder.file("letter");
    std::fs::write(&other, "not a database, but long enough to be looked at by anybody who opens it".repeat(20)).expect("a file");
    let opened = Queue::open(&other, settings());
    assert!(matches!(opened, Err(OpenError::File(_))), "{opened:?}");
}

/// This test starts itself again as the process that is killed.
// holds: L3
#[tokio::test]
async fn a_message_that_was_answered_survives_the_death_of_the_process() {
    const FILE: &str = "CHATLANE_TEST_QUEUE";
    const ANSWERED: &str = "the message was answered";
    if let Some(file) = std::env::var_os(FILE) {
        let queue = Queue::open(file.as_ref(), settings()).expect("queues");
        call(&queue, "SendMessage", &of_tasks(json!({ "MessageBody": "m" }))).expect("it is sent");
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
fn the_clock_of_a_runner_is_the_time_of_day() {
    let folder = Folder::new();
    let queue = Queue::open(&folder.file("queue.sqlite"), settings()).expect("queues");

    assert!(queue.now_ms() > START_MS);
}
