//! A running stack, and what the scenarios in `tests/` do with it. The devices that speak to it by hand are those of
//! `chatlane-tests-support`; phones ([`phone`]) are the real client.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use chatlane_aws::items::{self, json::to_json};
use chatlane_aws::{Clocks, Parts, Resource, SdkConfig, Store};
use chatlane_chat::ports::{MessageLog as _, ReadBound};
use chatlane_functions::Function;
use chatlane_local::embedded::{Answer, Hold, Recording};
use chatlane_local::lambda::LineSink;
use chatlane_local::stack::FAN_OUT_QUEUE;
use chatlane_local::{Settings, Stack};
use chatlane_protocol::limits::TOKEN_LEEWAY_S;
use chatlane_protocol::{ConversationId, DeviceId, Entry, Seq};
pub use chatlane_tests_support::device::{Device, DeviceError, Traffic};
pub use chatlane_tests_support::{Dice, Folder, PATIENCE, message, patiently, seed, text};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub mod floor;
pub mod line;
pub mod past;
pub mod phone;
pub mod pocketed;
pub mod start;

/// The executable that the functions run in. `tests/run` builds it before the tests.
///
/// # Panics
/// If it is not there.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    // target/debug/deps/<test> or target/debug/<bin>
    let mut folder = test.parent().expect("a file is in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps is in the profile's folder");
    }
    let program = folder.join("chatlane-local");
    assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
    program
}

/// A stack with its data in a folder of its own, which goes when this does.
pub struct Running {
    stack: Option<Stack>,
    _data: Folder,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Deref for Running {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        self.stack.as_ref().expect("a stack runs until `stop`")
    }
}

/// The variable that has what users may spend: units of $0.125 a million, a second.
pub const BUDGET: &str = "CHATLANE_BUDGET_UNITS_PER_S";

/// Starts a stack for tests: any port, a visibility timeout of 1 s, nothing swept but by [`Running::sweep`], nobody charged (whom that hits
/// is chance, and calls are counted here), and what `adjust` changes.
///
/// # Panics
/// If it does not start.
pub async fn start(adjust: impl FnOnce(&mut Settings)) -> Running {
    let (data, lines) = (Folder::new(), Arc::default());
    let mut settings = Settings::new(program(), data.path());
    settings.port = 0;
    settings.visibility_timeout = Duration::from_secs(1);
    settings.sweep_window = Duration::from_hours(24);
    settings.environment.insert(BUDGET.to_owned(), "0".to_owned());
    // `tests/run long` lets some processes be of an earlier version.
    settings.program = std::env::var_os("CHATLANE_FUNCTIONS").map_or(settings.program, PathBuf::from);
    adjust(&mut settings);
    let stack = Stack::start(settings, sink(&lines)).await.expect("the stack starts");
    Running { stack: Some(stack), _data: data, lines }
}

fn sink(lines: &Arc<Mutex<Vec<String>>>) -> LineSink {
    let lines = lines.clone();
    Arc::new(move |process, line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{process}: {line}")))
}

impl Running {
    /// Every line that the functions' processes have written so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the stack, if it runs.
    pub async fn stop(&mut self) {
        if let Some(stack) = self.stack.take() {
            stack.stop().await;
        }
    }

    /// A device of `user` that has said hello.
    ///
    /// # Panics
    /// If it is not let in.
    pub async fn device(&self, user: &str) -> Device {
        let device = self.silent_device(user).await;
        device.hello().await.expect("hello is answered");
        device
    }

    /// The status of a handshake of `user` that is refused.
    ///
    /// # Panics
    /// If it is let in, or refused without an answer.
    pub async fn refused(&self, user: &str) -> u16 {
        match self.knock(user).await.err().expect("the handshake is refused") {
            DeviceError::Handshake(status) => status,
            other => panic!("{other}"),
        }
    }

    /// A device of `user` that is connected and has said nothing yet.
    ///
    /// # Panics
    /// If it is not let in.
    pub async fn silent_device(&self, user: &str) -> Device {
        self.knock(user).await.expect("the handshake is accepted")
    }

    /// The same, or why it is not let in.
    ///
    /// # Errors
    /// It is not let in.
    pub async fn knock(&self, user: &str) -> Result<Device, DeviceError> {
        let token = self.token(user, Duration::from_hours(1));
        Device::connect(&self.url(), DeviceId::from(uuid::Uuid::new_v4()), &token).await
    }

    /// A device of `user` whose token's time will be over soon; when, in milliseconds since 1970 and with the leeway.
    ///
    /// # Panics
    /// If no life of a token is long enough for a handshake.
    pub async fn short_lived(&self, user: &str) -> (Device, u64) {
        // With the shortest a test waits least, with the longest any machine is fast enough.
        const LIVES: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(12), Duration::from_secs(40)];
        for life in LIVES {
            let now = SystemTime::now();
            let begun = now.checked_sub(Duration::from_secs(TOKEN_LEEWAY_S)).expect("it is later than 1970");
            let token = self.issuer().token(user, life, begun);
            let ends = (now + life).duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis();
            if let Ok(device) = Device::connect(&self.url(), DeviceId::from(uuid::Uuid::new_v4()), &token).await {
                return (device, u64::try_from(ends).expect("milliseconds fit"));
            }
        }
        panic!("{LIVES:?} were all too short for a handshake")
    }

    /// Waits until every delivery task is done.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn quiet(&self) {
        patiently("the queue is empty", self.queue().wait_until_empty(FAN_OUT_QUEUE)).await.expect("the queue can be read");
    }

    /// Gives the sweeper a batch of the log's stream that tells of these slots; it is looked at when this returns.
    ///
    /// # Panics
    /// If the sweeper fails.
    pub async fn sweep(&self, slots: &[(ConversationId, Seq)]) {
        let records = slots.iter().map(|(conversation, seq)| {
            let changed = json!({ "Keys": to_json(&items::entry::key(conversation, *seq)), "StreamViewType": "KEYS_ONLY" });
            let stream = "arn:aws:dynamodb:us-east-1:000000000000:table/log/stream/local";
            json!({ "eventName": "INSERT", "eventSource": "aws:dynamodb", "eventSourceARN": stream, "dynamodb": changed })
        });
        let event = json!({ "Records": records.collect::<Vec<_>>() });
        let swept = self.lambda().invoke(Function::Sweep.name(), event.to_string().into());
        patiently("the sweeper answers", swept).await.expect("it does not fail");
    }

    /// The tables, past the functions, as any tool reads them. Its calls are recorded under the caller `tool`.
    pub async fn store(&self) -> Store {
        let config = chatlane_aws::sdk_config_at(&self.endpoint_urls().dynamodb, "tool").await;
        let config = chatlane_aws::without_time_limits(&config); // a busy machine is no fault of what is tested
        store_on(&config, ["log", "conversations", "inboxes", "users"])
    }

    /// [`dynamodb`] of this stack.
    pub async fn dynamodb(&self, operation: &str, request: &Value) -> Value {
        dynamodb(&self.endpoint_urls().dynamodb, operation, request).await
    }

    /// Records every call to the embedded endpoints from now on.
    pub fn record(&self) -> Recording {
        self.endpoints().record()
    }
}

/// Asks an embedded `DynamoDB` in its own words (`GetItem`, …), past every type of ours: to see or to write single items.
///
/// # Panics
/// If it refuses.
pub async fn dynamodb(url: &str, operation: &str, request: &Value) -> Value {
    const TOOL: &str = "tool/20260101/us-east-1/dynamodb/aws4_request"; // a signature is looked at for being there
    // One for all: each new one reads the machine's certificates.
    static HTTP: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
    let asked = HTTP
        .post(url)
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={TOOL}, SignedHeaders=host, Signature=none"))
        .body(request.to_string());
    let answer = asked.send().await.expect("DynamoDB answers");
    let (status, text) = (answer.status(), answer.text().await.expect("an answer has a body"));
    assert!(status.is_success(), "{operation}: {text}");
    serde_json::from_str(&text).expect("an answer is JSON")
}

/// The tables of these names: log, conversations, inboxes, users.
pub fn store_on(config: &SdkConfig, [log, conversations, inboxes, users]: [&str; 4]) -> Store {
    let names = [(Resource::Log, log), (Resource::Conversations, conversations), (Resource::Inboxes, inboxes), (Resource::Users, users)];
    part_on(config, names)
}

/// A backend on the parts of these names. Its clock stands at 1970.
pub fn part_on<B: Parts>(config: &SdkConfig, names: impl IntoIterator<Item = (Resource, impl Into<String>)>) -> B {
    let clocks = Clocks { now: || chatlane_protocol::UnixMillis::ZERO, steady_ms: || 0 };
    B::new(config, &names.into_iter().map(|(resource, name)| (resource, name.into())).collect(), clocks)
}

/// The log of a conversation as it is stored, ascending. A gap is left as it is.
///
/// # Panics
/// If it cannot be read.
pub async fn stored_log(store: &Store, conversation: &ConversationId) -> Vec<chatlane_chat::Entry> {
    let everything = ReadBound::entries(usize::MAX);
    store.read(conversation, Seq::FIRST, everything).await.expect("the log can be read")
}

/// [`stored_log`], as clients see it.
pub async fn wire_log(store: &Store, conversation: &ConversationId) -> Vec<Entry> {
    stored_log(store, conversation).await.iter().map(chatlane_chat::Entry::to_wire).collect()
}

/// Asks `device` for the server's time until that is past `time_ms`.
///
/// # Panics
/// If it is not answered.
pub async fn until_past(device: &Device, time_ms: u64) {
    while device.request(json!({ "action": "ping" })).await.expect("ping is answered")["server_time_ms"].as_u64() <= Some(time_ms) {
        tokio::time::sleep(Duration::from_millis(20)).await; // between two looks at the clock
    }
}

/// Answers everything that a hold catches with this error, which takes no effect, until it is dropped.
pub struct Refusing(JoinHandle<()>);

impl Refusing {
    /// From now on.
    pub fn with(hold: Hold, status: StatusCode, code: &'static str) -> Self {
        Self::answering(hold, Answer::error(status, code, "by the test"))
    }

    /// The same with any answer.
    pub fn answering(mut hold: Hold, answer: Answer) -> Self {
        Self(tokio::spawn(async move {
            loop {
                hold.caught().await.answer(answer.clone());
            }
        }))
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Rows of a table as a page has them, the first of which is the heading; each column as wide as its widest cell.
pub fn padded<const COLUMNS: usize>(mut rows: Vec<[String; COLUMNS]>) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    rows.insert(1, widths.map(|width| "-".repeat(width)));
    let mut text = String::new();
    for row in &rows {
        text.extend(row.iter().zip(widths).flat_map(|(cell, width)| ["| ".to_owned(), format!("{cell:width$} ")]));
        text.push_str("|\n");
    }
    text
}

/// Compares a table that was measured with the one that is kept, beside this package's manifest; `CHATLANE_UPDATE=1` writes it anew.
///
/// # Panics
/// If they differ, with the lines that do.
pub fn assert_kept(name: &str, measured: &str) {
    println!("{measured}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var("CHATLANE_UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(&path, measured).expect("the table can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let (kept, measured): (Vec<&str>, Vec<&str>) = (kept.lines().collect(), measured.lines().collect());
    let gone = kept.iter().filter(|line| !measured.contains(line)).map(|line| format!("- {line}"));
    let come = measured.iter().filter(|line| !kept.contains(line)).map(|line| format!("+ {line}"));
    let difference: Vec<String> = gone.chain(come).collect();
    assert!(kept == measured, "{} says something else; CHATLANE_UPDATE=1 writes it anew:\n{}", path.display(), difference.join("\n"));
}
