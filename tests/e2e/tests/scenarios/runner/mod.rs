//! The built programs as a person runs them: what they print, how they end, what is left.

mod chat;
mod program;

use std::net::TcpListener;
use std::path::PathBuf;

use chatlane_protocol::DeviceId;
use chatlane_protocol::frames::Outcome;
use chatlane_tests_e2e::{Device, Folder, message, program};
use serde_json::json;

use program::Program;

/// A running stack, as `chatlane-local --port 0 --data DIR` starts it.
struct Runner {
    program: Program,
    /// `ws://127.0.0.1:PORT/dev`, as printed.
    url: String,
    port: String,
}

impl Runner {
    async fn start(data: &Folder, more: &[&str]) -> Self {
        let program = Program::start(&program(), &[&["--port", "0", "--data", data.as_str()], more].concat());
        let line = program.out.line("the gateway's address", |line| line.starts_with("gateway ")).await;
        let url = line.split_whitespace().nth(1).expect("an address").to_owned();
        program.out.line("the end of the greeting", |line| line.starts_with("Ctrl-C ")).await;
        let port = url.trim_start_matches("ws://127.0.0.1:").trim_end_matches("/dev").to_owned();
        Self { program, url, port }
    }

    /// A device of `user` that has said nothing yet, with a token as the chat gets it.
    async fn device(&self, user: &str) -> Device {
        let token = reqwest::get(format!("http://127.0.0.1:{}/token?user={user}", self.port)).await.unwrap();
        let token = token.error_for_status().unwrap().text().await.unwrap();
        Device::connect(&self.url, DeviceId::from(uuid::Uuid::new_v4()), &token).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greeting_says_what_runs_and_what_to_type() {
    let data = Folder::new();
    let runner = Runner::start(&data, &[]).await;
    let greeting = runner.program.out.all();
    let port = &runner.port;
    let about = "Chatlane on this machine · 19 Lambda functions as real processes · DynamoDB, SQS embedded · data in ";
    assert_eq!(greeting[0], format!("{about}{} (delete it to start over)", data.as_str()));
    assert!(greeting[1].starts_with(&format!("gateway  {}        ready in ", runner.url)), "{}", greeting[1]);
    let typed = |name: &str| format!("cargo run -q -p chatlane-local -- chat {name} --port {port} --data {}", data.as_str());
    assert_eq!(greeting[3], format!("Paste into a second terminal:   {}", typed("alice")));
    assert_eq!(greeting[4], format!("and into a third:               {}", typed("bob")));

    // Carol does as she is told.
    let words: Vec<&str> = greeting[5].split_whitespace().collect();
    let after = |word: &str, nth: usize| words[words.iter().position(|found| *found == word).expect(word) + nth].trim_matches('\'');
    let (url, version, token) = (after("-c", 1), after("-s", 1), after("-s", 3));
    let protocols = format!("{version}, {token}");
    let carol = Device::connect_with(url, DeviceId::from(uuid::Uuid::new_v4()), &[("Sec-WebSocket-Protocol", &protocols)]).await.unwrap();
    let hello = greeting[6].trim_start().strip_prefix("then type ").expect("what to type");
    carol.send_text(hello).await.unwrap();
    let answer = carol.until("an answer", |frames| frames.first().cloned()).await.unwrap();
    assert_eq!((&answer["type"], &answer["user"]), (&json!("hello"), &json!("carol")), "{answer}");
    assert_eq!(runner.program.err.all(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_no_process_is_left_and_nothing_is_lost() {
    let data = Folder::new();
    let mut runner = Runner::start(&data, &[]).await;
    let (alice, bob) = (runner.device("alice").await, runner.device("bob").await);
    bob.hello().await.unwrap();
    let lane = alice.open("bob").await.unwrap();
    let sent = message("kept", lane.head);
    let answer = alice.send(&lane.conversation, std::slice::from_ref(&sent)).await.unwrap();
    assert!(matches!(answer.results[0].outcome, Outcome::Ok(_)), "{answer:?}");
    bob.entry(&lane.conversation, 2).await;

    let children = runner.program.children();
    assert!(children.len() >= 5, "authorize, connect, open, send and fan_out at least: {children:?}");
    runner.program.kill().await;
    program::gone(&children).await;
    assert_eq!(alice.closed().await.code, 1006);

    let runner = Runner::start(&data, &[]).await;
    let (alice, bob) = (runner.device("alice").await, runner.device("bob").await);
    let rows = bob.hello().await.unwrap().conversations;
    let rows: Vec<_> = rows.iter().map(|row| (&row.conversation.conversation, row.conversation.head.seq.get())).collect();
    assert_eq!(rows, [(&lane.conversation, 2)]);
    let answer = alice.send(&lane.conversation, &[sent]).await.unwrap();
    assert!(matches!(answer.results[0].outcome, Outcome::Duplicate(stored) if stored.position.seq.get() == 2), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_terminate_end_it_in_order() {
    for signal in ["INT", "TERM"] {
        let data = Folder::new();
        let mut runner = Runner::start(&data, &[]).await;
        let alice = runner.device("alice").await;
        alice.hello().await.unwrap();
        let children = runner.program.children();
        runner.program.signal(signal);
        assert_eq!(alice.closed().await.code, 1001, "{signal}");
        let (code, complaints) = runner.program.ended().await;
        assert_eq!((code, complaints), (Some(0), vec![]), "{signal}");
        let last = runner.program.out.all().pop();
        assert_eq!(last, Some(format!("stopping; everything is kept in {}", data.as_str())), "{signal}");
        program::gone(&children).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_forgets_what_was_there() {
    let data = Folder::new();
    let mut runner = Runner::start(&data, &[]).await;
    let alice = runner.device("alice").await;
    alice.open("bob").await.unwrap();
    runner.program.signal("INT");
    runner.program.ended().await;

    let mut runner = Runner::start(&data, &[]).await;
    assert_eq!(runner.device("alice").await.hello().await.unwrap().conversations.len(), 1, "kept without --fresh");
    runner.program.signal("INT");
    runner.program.ended().await;

    let runner = Runner::start(&data, &["--fresh"]).await;
    assert_eq!(runner.device("alice").await.hello().await.unwrap().conversations.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_in_one_line_what_to_do() {
    let (data, other) = (Folder::new(), Folder::new());
    let runner = Runner::start(&data, &[]).await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for (arguments, says, to_do) in [
        (vec!["--port", &runner.port, "--data", other.as_str()], "is taken", "--port"),
        (vec!["--port", "0", "--data", data.as_str()], "another Chatlane has the data folder", "--data"),
        (vec!["--port", "0", "--data", "/dev/null/data"], "cannot make the data folder /dev/null/data", "/dev/null/data"),
        (vec!["chat", "alice", "--port", &free, "--data", other.as_str()], "no Chatlane on port", "cargo run -p chatlane-local"),
    ] {
        let mut program = Program::start(&program(), &arguments);
        let (code, complaints) = program.ended().await;
        assert_eq!(code, Some(1), "{arguments:?}");
        let [line] = &complaints[..] else { panic!("{arguments:?}: not one line: {complaints:?}") };
        assert!(line.starts_with("chatlane-local: ") && line.contains(says) && line.contains(to_do), "{line}");
        assert!(program.out.all().is_empty(), "{arguments:?}");
    }
    runner.device("alice").await.hello().await.expect("the one that runs goes on");
}

#[tokio::test]
async fn the_bootstrap_started_by_hand_says_in_one_line_what_it_is() {
    let bootstrap: PathBuf = program().with_file_name("bootstrap");
    assert!(bootstrap.exists(), "{} is missing: cargo build --workspace --bins", bootstrap.display());
    let mut program = Program::start(&bootstrap, &[]);
    let (code, complaints) = program.ended().await;
    assert_eq!((code, complaints), (Some(1), vec![]));
    let said = program.out.all();
    let [line] = &said[..] else { panic!("not one line: {said:?}") };
    assert!(line.contains("Lambda functions") && line.contains("cargo run -p chatlane-local"), "{line}");
}

/// What an invocation's line says that it did, without the time: of `λ send 3.1 ms (cold start): 2 reads`, `2 reads`.
fn did<'a>(line: &'a str, function: &str) -> Option<&'a str> {
    let (took, did) = line.trim_start().strip_prefix(&format!("λ {function} "))?.split_once(": ")?;
    let took_ms = took.strip_suffix(" (cold start)").unwrap_or(took).strip_suffix(" ms")?;
    took_ms.parse::<f64>().ok().map(|_| did)
}

/// A line of a frame without its time and its device: `10:37:13.061 alice (5d1c…) → …`.
fn plain(line: &str) -> Option<String> {
    let (time, rest) = line.split_once(' ')?;
    let (user, rest) = rest.split_once(" (")?;
    let (device, rest) = rest.split_once("…)")?;
    (time.len() == 12 && device.len() == 4).then(|| format!("{user}{rest}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn v_tells_one_message_as_one_short_story_and_not_what_it_says() {
    let data = Folder::new();
    let runner = Runner::start(&data, &["-v", "--no-limit"]).await; // who is charged is chance
    let (alice, bob) = (runner.device("alice").await, runner.device("bob").await);
    bob.hello().await.unwrap();
    let lane = alice.open("bob").await.unwrap();
    bob.entry(&lane.conversation, 1).await;
    let out = &runner.program.out;
    out.line("the creation is delivered", |line| did(line, "fan_out").is_some()).await;

    alice.send(&lane.conversation, &[message("Zaubernuss", lane.head)]).await.unwrap();
    let sent = |line: &str| plain(line).is_some_and(|line| line.starts_with("alice → send (") && line.ends_with(" bytes)"));
    out.line("alice → send", sent).await;
    out.line("λ send", |line| did(line, "send") == Some("2 reads, 1 put → #2, fan-out queued")).await;
    let stored = |line: &str| plain(line).as_deref() == Some("alice ← stored #2");
    out.line("alice ← stored #2", stored).await;
    // Alice said no hello: bob's is the only socket.
    let delivered = |line: &str| did(line, "fan_out").is_some_and(|did| did.ends_with("head → 2, 2 members, 1 socket, 1 post"));
    out.line("λ fan_out", delivered).await;
    out.line("bob ← entry #2", |line| plain(line).as_deref() == Some("bob ← entry #2")).await;

    let all = out.all();
    let at = |find: &dyn Fn(&str) -> bool| all.iter().position(|line| find(line));
    assert!(at(&|line| did(line, "send").is_some()) < at(&stored), "stored, then acknowledged: {all:#?}");
    // R1. The greeting's token is for a person to copy; the handshakes' are not told.
    let told = &all[all.iter().position(|line| line.starts_with("Ctrl-C ")).expect("the greeting")..];
    assert!(!told.iter().any(|line| line.contains("Zaubernuss") || line.contains("eyJ")), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_has_a_line_that_says_why() {
    let data = Folder::new();
    let runner = Runner::start(&data, &["-v", "--concurrency", "1"]).await;
    let out = &runner.program.out;
    let alice = runner.device("alice").await;
    for _ in 0..3 {
        alice.send_text(json!({ "action": "ping", "id": "1" }).to_string()).await.unwrap();
    }
    out.line("a frame", |line| line.ends_with(" is not served: all 1 environments of the function are busy")).await;
    let refused = Device::connect(&runner.url, DeviceId::from(uuid::Uuid::new_v4()), "no.token.this").await;
    assert!(refused.is_err());
    out.line("the authorizer's reason", |line| line.contains("a handshake was denied: the token is malformed")).await;
    out.line("a handshake", |line| line.ends_with(" a handshake is refused: 403, the authorizer has said why")).await;
    // A token of one's own choice.
    let url = format!("http://127.0.0.1:{}/token?user=dave&seconds=1", runner.port);
    let token = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert_eq!(token.split('.').count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_a_second_ends_a_connection_and_not_the_stack() {
    let data = Folder::new();
    let runner = Runner::start(&data, &["--life", "1", "--seed", "7"]).await;
    assert_eq!(runner.device("alice").await.closed().await.code, 1001);
    runner.device("alice").await;
}
