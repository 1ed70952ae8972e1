//! What everything costs: calls, capacity units and queue requests, counted where they reach the embedded endpoints.
//!
//! The table is `counted.md` beside `Cargo.toml`. More is a regression, and so is less until somebody has looked: `CHATLANE_UPDATE=1`
//! writes it anew. Not in it: what the event source mapping asks of the queue, which AWS does by itself (and bills), and what the
//! authorizer asks of the identity provider.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use chatlane_local::embedded::{At, Call, Matching, Recording, Service};
use chatlane_protocol::frames::{ConversationHead, Outcome, SendAnswer};
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::{Device, Running, message, patiently, start};

/// A call that took longer may have run into the attempt timeout of its SDK client (`chatlane_aws::sdk_config`: 1 s) and been sent twice.
/// The machine stalled; what was counted says nothing.
const STALLED: Duration = Duration::from_millis(500);

/// Measurements before the machine is called unfit.
const ATTEMPTS_MAX: usize = 5;

/// Text of the longest message. Its entry is a little longer than 24 KB: 25 write units.
const LONG_TEXT_BYTES: usize = 24 * 1024;

const INTRODUCTION: &str = "\
# What everything costs

Counted by `tests/counted.rs` from the requests that reach the embedded endpoints; a difference in either direction fails.
`CHATLANE_UPDATE=1 cargo nextest run -p chatlane-tests-e2e --test counted` writes this file.

In the first five rows both users have one connected device each and an earlier message in the conversation. A write unit (WCU) is 1 KB
written, a read unit (RCU) 4 KB read; every read is strong. A refused conditional write costs its units too. *Request* is the function
that answers the client, *fan-out* the queue's worker. Not counted: the receives and deletes by which the event source mapping empties
the queue, the authorizer's request for the identity provider's keys, and what a starting process reads to open its connections (one read
and, for the queue or the gateway, one request that changes nothing).

";

/// One line of the table.
struct Row {
    scene: &'static str,
    calls: Vec<Call>,
}

/// What some calls come to.
#[derive(Default)]
struct Count {
    operations: BTreeMap<String, usize>,
    write_units: f64,
    read_units: f64,
}

impl Count {
    fn of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Self {
        let mut count = Self::default();
        for call in calls {
            *count.operations.entry(call.operation.clone()).or_default() += 1;
            count.write_units += call.write_units;
            count.read_units += call.read_units;
        }
        count
    }

    fn calls(&self) -> usize {
        self.operations.values().sum()
    }

    /// `1 GetItem, 2 Query`, without the operation that has a column of its own; and the number in that column.
    fn apart(&self, own_column: &str) -> (String, usize) {
        let others = self.operations.iter().filter(|(operation, _)| *operation != own_column);
        let others: Vec<String> = others.map(|(operation, times)| format!("{times} {operation}")).collect();
        (others.join(", "), self.operations.get(own_column).copied().unwrap_or(0))
    }
}

impl Row {
    fn request(&self) -> Count {
        Count::of(self.calls.iter().filter(|call| call.caller.function() != "fan_out"))
    }

    fn fan_out(&self) -> Count {
        Count::of(self.calls.iter().filter(|call| call.caller.function() == "fan_out"))
    }

    fn whole(&self) -> Count {
        Count::of(&self.calls)
    }

    fn cells(&self) -> [String; 11] {
        let (request, fan_out, whole) = (self.request(), self.fan_out(), self.whole());
        let (request_calls, sends) = request.apart("SendMessage");
        let (fan_out_calls, posts) = fan_out.apart("PostToConnection");
        [
            self.scene.to_owned(),
            request_calls,
            request.write_units.to_string(),
            request.read_units.to_string(),
            sends.to_string(),
            fan_out_calls,
            fan_out.write_units.to_string(),
            fan_out.read_units.to_string(),
            posts.to_string(),
            whole.calls().to_string(),
            format!("{} / {}", whole.write_units, whole.read_units),
        ]
    }
}

fn table(rows: &[Row]) -> String {
    const HEADINGS: [&str; 11] =
        ["", "request", "WCU", "RCU", "SQS sends", "fan-out", "WCU", "RCU", "posts", "calls in all", "WCU / RCU in all"];
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let widths: Vec<usize> = (0..HEADINGS.len()).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0)).collect();
    let mut text = INTRODUCTION.to_owned();
    for (index, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            write!(text, "| {cell:width$} ").expect("a String takes everything");
        }
        text.push_str("|\n");
        if index == 0 {
            for &width in &widths {
                write!(text, "| {:-<width$} ", "").expect("a String takes everything");
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Two users with a conversation of two entries, delivered.
struct Pair {
    alice: Device,
    bob: Device,
    conversation: ConversationId,
    tail: Position,
}

/// Names, devices and recordings of one measurement. Devices stay connected to its end: a `$disconnect` would be counted.
struct Scene<'a> {
    stack: &'a Running,
    recording: Recording,
    attempt: usize,
    pairs: Vec<Pair>,
    others: Vec<Device>,
}

impl Scene<'_> {
    /// A user's name, new in this measurement; all of one length, so that nothing depends on it.
    fn user(&self, role: &str, number: usize) -> String {
        format!("{role}-{}-{number}", self.attempt)
    }

    async fn pair(&mut self) -> usize {
        let number = self.pairs.len();
        let alice = self.stack.device(&self.user("alice", number)).await;
        let name = self.user("bobby", number);
        let bob = self.stack.device(&name).await;
        let ConversationHead { conversation, head, .. } = alice.open(&name).await.expect("open is answered");
        let warm = alice.send(&conversation, &[message("an earlier message", head)]).await.expect("send is answered");
        let tail = position_of(&warm, 0);
        self.stack.quiet().await;
        self.recording.take();
        self.pairs.push(Pair { alice, bob, conversation, tail });
        number
    }

    /// What was called since the last time, when everything is delivered.
    async fn calls(&self) -> Vec<Call> {
        self.stack.quiet().await;
        counted(self.recording.take())
    }

    /// A frame of messages with these texts, sent once the pair is there.
    async fn sent(&mut self, scene: &'static str, texts: &[String]) -> Row {
        let number = self.pair().await;
        let Pair { alice, conversation, tail, .. } = &self.pairs[number];
        let messages: Vec<_> = texts.iter().map(|text| message(text.as_str(), *tail)).collect();
        let answer = alice.send(conversation, &messages).await.expect("send is answered");
        assert_eq!(position_of(&answer, texts.len() - 1).seq.get(), tail.seq.get() + texts.len() as u64);
        Row { scene, calls: self.calls().await }
    }

    async fn duplicate(&mut self) -> Row {
        let number = self.pair().await;
        let Pair { alice, conversation, tail, .. } = &self.pairs[number];
        let messages = [message("hello", *tail)];
        let first = alice.send(conversation, &messages).await.expect("send is answered");
        self.calls().await;
        let again = alice.send(conversation, &messages).await.expect("send is answered");
        assert!(matches!(again.results[0].outcome, Outcome::Duplicate(stored) if stored.position == position_of(&first, 0)), "{again:?}");
        Row { scene: "the same message again", calls: self.calls().await }
    }

    /// Alice's put is held until Bob's message has the slot and is delivered. Counted is Alice's message.
    async fn lost_race(&mut self) -> Row {
        let number = self.pair().await;
        let Pair { alice, bob, conversation, tail } = &self.pairs[number];
        let put = Matching::service(Service::DynamoDb).function("send").operation("PutItem");
        let mut hold = self.stack.endpoints().hold(put, At::Request, 1);
        let [losing, winning] = ["hello bob", "hello alice"].map(|text| message(text, *tail));
        let (losing, winning) = ([losing], [winning]);
        let bob_wins = async {
            let stopped = patiently("alice's put arrives", hold.caught()).await;
            let answer = bob.send(conversation, &winning).await.expect("send is answered");
            self.stack.quiet().await;
            let mut calls = counted(self.recording.take());
            calls.retain(|call| call.caller == stopped.call.caller);
            stopped.release();
            (answer, calls)
        };
        let (lost, (won, mut calls)) = tokio::join!(alice.send(conversation, &losing), bob_wins);
        assert_eq!(position_of(&won, 0).seq.get(), tail.seq.get() + 1);
        assert_eq!(position_of(&lost.expect("send is answered"), 0).seq.get(), tail.seq.get() + 2);
        calls.append(&mut self.calls().await);
        Row { scene: "a message that loses one race", calls }
    }

    async fn opened(&mut self) -> [Row; 2] {
        let (one, other) = (self.user("alice", 90), self.user("bobby", 90));
        let (alice, bob) = (self.stack.device(&one).await, self.stack.device(&other).await);
        self.calls().await;
        alice.open(&other).await.expect("open is answered");
        let new = Row { scene: "open, new", calls: self.calls().await };
        alice.open(&other).await.expect("open is answered");
        let existing = Row { scene: "open, existing", calls: self.calls().await };
        self.others.extend([alice, bob]);
        [new, existing]
    }

    /// The handshake and the first hello of a user in so many conversations.
    async fn arrival(&mut self, conversations: usize, scene: &'static str) -> [Row; 2] {
        let user = self.user("carol", conversations);
        for number in 0..conversations {
            let other = self.stack.device(&self.user("friend", number)).await;
            other.open(&user).await.expect("open is answered");
            self.others.push(other);
        }
        self.calls().await;
        let device = self.stack.silent_device(&user).await;
        let handshake = Row { scene: "handshake", calls: self.calls().await };
        let welcome = device.hello().await.expect("hello is answered");
        assert_eq!(welcome.conversations.len(), conversations);
        let hello = Row { scene, calls: self.calls().await };
        self.others.push(device);
        [handshake, hello]
    }
}

/// The Runtime API costs nothing.
fn counted(mut calls: Vec<Call>) -> Vec<Call> {
    calls.retain(|call| call.service != Service::Runtime);
    calls
}

fn position_of(answer: &SendAnswer, index: usize) -> Position {
    match answer.results[index].outcome {
        Outcome::Ok(stored) => stored.position,
        ref other => panic!("message {index} was not stored: {other:?}"),
    }
}

async fn measure(stack: &Running, attempt: usize) -> Vec<Row> {
    let mut scene = Scene { stack, recording: stack.record(), attempt, pairs: vec![], others: vec![] };
    let short = |number: usize| format!("message number {number}");
    let mut rows = vec![
        scene.sent("a quiet message", &[short(0)]).await,
        scene.sent("a message of 24 KB", &["x".repeat(LONG_TEXT_BYTES)]).await,
        scene.sent("ten messages in one frame", &(0..10).map(short).collect::<Vec<_>>()).await,
        scene.duplicate().await,
        scene.lost_race().await,
    ];
    rows.extend(scene.opened().await);
    let [handshake, hello] = scene.arrival(0, "hello, no conversation").await;
    let [_, hello_of_three] = scene.arrival(3, "hello, three conversations").await;
    rows.extend([handshake, hello, hello_of_three]);
    rows
}

fn stalled(rows: &[Row]) -> bool {
    rows.iter().flat_map(|row| &row.calls).any(|call| call.took >= STALLED)
}

/// `None`: not a read.
fn is_strong(call: &Call) -> Option<bool> {
    match call.operation.as_str() {
        "GetItem" | "Query" => Some(call.request["ConsistentRead"] == true),
        "BatchGetItem" => {
            let tables = call.request["RequestItems"].as_object().expect("a batch read names its tables");
            Some(tables.values().all(|table| table["ConsistentRead"] == true))
        }
        "Scan" | "BatchExecuteStatement" | "ExecuteStatement" => panic!("nothing scans: {call:?}"),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_costs_what_the_table_says() {
    // The template's visibility timeout: a slow machine must not make the queue hand out a task twice.
    let stack = start(|settings| settings.visibility_timeout = Duration::from_mins(1)).await;
    let mut rows = vec![];
    for attempt in 0..ATTEMPTS_MAX {
        rows = measure(&stack, attempt).await;
        if !stalled(&rows) {
            break;
        }
    }
    assert!(!stalled(&rows), "in each of {ATTEMPTS_MAX} measurements a call took longer than {STALLED:?}: nothing can be counted here");
    let counted = table(&rows);
    println!("{counted}");

    for row in &rows {
        assert!(row.calls.iter().all(|call| is_strong(call) != Some(false)), "{}: every read is strong (D2, M1)", row.scene);
        let functions: BTreeSet<&str> = row.calls.iter().map(|call| call.caller.function()).filter(|name| *name != "fan_out").collect();
        assert!(functions.len() <= 1, "{}: one function answers a request, not {functions:?}", row.scene);
    }

    // DESIGN §3: "Quiet send: 1 WRU + 2 strong reads + 1 SQS send"; §6: "in all 2 WRU, about 6 strong reads, 1 SQS send, 9 calls with the post".
    let quiet = &rows[0];
    let (request, whole) = (quiet.request(), quiet.whole());
    let reads = quiet.calls.iter().filter(|call| call.caller.function() == "send" && is_strong(call) == Some(true)).count();
    assert_eq!((request.write_units.to_string().as_str(), reads, request.operations["SendMessage"]), ("1", 2, 1), "the send path");
    assert_eq!((whole.write_units.to_string().as_str(), whole.operations["SendMessage"], whole.calls()), ("2", 1, 9), "the whole message");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counted.md");
    if std::env::var("CHATLANE_UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(&path, &counted).expect("the table can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let (expected, counted): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), counted.lines().collect());
    let gone = expected.iter().filter(|line| !counted.contains(line)).map(|line| format!("- {line}"));
    let come = counted.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}"));
    let difference: Vec<String> = gone.chain(come).collect();
    assert!(expected == counted, "{} says something else; CHATLANE_UPDATE=1 writes it anew:\n{}", path.display(), difference.join("\n"));
}
