//! Real conversations in 28 languages, right-to-left, Indic and CJK scripts among them: the package `chatterbot-corpus`, replayed.
//!
//! Two users for each language, with a device each, talk its files through in their direct conversation: the first line of every
//! conversation of a file is the one's, the second the other's, and so on. As people do, each speaks only when the other's line has come.
//! Consecutive lines of one speaker (where a conversation ends with the speaker with whom the next begins) go in one request.
//!
//! All of it takes minutes in a debug build. So a run of CI replays a sample: of every file the same few conversations, evenly spaced.
//! `CHATLANE_CORPUS=all` (`tests/run long`) replays everything.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chatlane_protocol::frames::{Outcome, Stored};
use chatlane_protocol::limits::MESSAGES_PER_SEND_MAX;
use chatlane_protocol::{ConversationId, Entry, Position, Seq};
use chatlane_tests_e2e::{Device, Running, message, patiently, start, text, wire_log};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tokio::process::Command;

/// YAML files of the package's pinned version.
const FILES: usize = 237;

/// Folders of them.
const LANGUAGES: usize = 28;

/// Conversations of a file that the sample takes, at most.
const SAMPLED: usize = 1;

/// Languages that are talked at the same time. Each has one request on its way, so no function needs more processes than it may have.
const AT_ONCE: usize = 8;

/// A file of the package.
struct Script {
    /// `english/food.yml`.
    file: String,
    conversations: Vec<Vec<String>>,
}

impl Script {
    fn language(&self) -> &str {
        self.file.split('/').next().unwrap_or_default()
    }

    /// Leaves the conversations of the sample.
    fn sample(&mut self) {
        let all = self.conversations.len();
        let taken = SAMPLED.min(all);
        let kept: BTreeSet<usize> = (0..taken).map(|n| n * all / taken).collect();
        let mut index = 0..;
        self.conversations.retain(|_| index.next().is_some_and(|index| kept.contains(&index)));
    }

    /// All lines in order, each with its speaker: 0 begins every conversation.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.conversations.iter().flat_map(|conversation| conversation.iter().enumerate().map(|(turn, line)| (turn % 2, line.as_str())))
    }
}

/// Sums over scripts, or what arrived of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    conversations: usize,
    messages: usize,
    bytes: usize,
}

impl Amount {
    fn of<'a>(scripts: impl IntoIterator<Item = &'a Script>) -> Self {
        let mut amount = Self::default();
        for script in scripts {
            amount.conversations += script.conversations.len();
            amount.messages += script.lines().count();
            amount.bytes += script.lines().map(|(_, line)| line.len()).sum::<usize>();
        }
        amount
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} conversations, {} messages, {} bytes of text", self.conversations, self.messages, self.bytes)
    }
}

/// All files of the package, read by `tests/e2e/corpus.py`. Prints and counts what could not be read.
async fn scripts() -> Vec<Script> {
    let python = std::env::var_os("CHATLANE_CORPUS_PYTHON").expect(
        "CHATLANE_CORPUS_PYTHON must name a Python with chatterbot-corpus and PyYAML: `tests/run e2e real_conversations` installs them and sets it",
    );
    let mut reader = Command::new(&python);
    reader.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus.py")).stdin(Stdio::null()).kill_on_drop(true);
    let done = patiently("the package is read", reader.output()).await;
    let done = done.unwrap_or_else(|error| panic!("cannot start {}: {error}", python.display()));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let printed = String::from_utf8(done.stdout).expect("JSON is UTF-8");
    let mut lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let listed = lines.next().expect("the number of files")["files"].as_u64().expect("a number");

    let (mut scripts, mut unreadable) = (vec![], 0);
    for line in lines {
        let file = line["file"].as_str().expect("a file has a name").to_owned();
        if let Ok(conversations) = serde_json::from_value(line["conversations"].clone()) {
            scripts.push(Script { file, conversations });
        } else {
            unreadable += 1;
            println!("{file} cannot be read: {}", line["error"]);
        }
    }
    println!("the package: {listed} files, {unreadable} of them unreadable; {}", Amount::of(&scripts));
    assert_eq!((listed, scripts.len()), (FILES as u64, FILES), "no file may be dropped");
    assert!(scripts.iter().all(|script| script.lines().next().is_some()), "every file has lines");
    scripts
}

#[tokio::test(flavor = "multi_thread")]
async fn real_conversations_in_28_languages_arrive_byte_identical_and_in_order() {
    let mut scripts = scripts().await;
    if std::env::var("CHATLANE_CORPUS").as_deref() != Ok("all") {
        scripts.iter_mut().for_each(Script::sample);
    }
    let mut languages: BTreeMap<&str, Vec<&Script>> = BTreeMap::new();
    for script in &scripts {
        languages.entry(script.language()).or_default().push(script);
    }
    assert_eq!(languages.len(), LANGUAGES, "{:?}", languages.keys());
    // The longest ones first, so that the last to end is a short one.
    let mut languages: Vec<_> = languages.into_iter().collect();
    languages.sort_by_key(|(_, scripts)| usize::MAX - Amount::of(scripts.iter().copied()).messages);

    let stack = start(|settings| {
        // Who types as fast as a program is above what a conversation admits.
        settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned());
        // Longer than any worker takes on a busy machine: tasks handed out twice would only add to its load.
        settings.visibility_timeout = Duration::from_secs(30);
    })
    .await;
    let began = Instant::now();
    let talking = stream::iter(&languages).map(|(language, scripts)| talk(&stack, language, scripts)).buffer_unordered(AT_ONCE);
    let arrived: Vec<usize> = talking.collect().await;
    stack.quiet().await;

    println!("replayed: {} files, {} languages; {} in {:.0?}", scripts.len(), arrived.len(), Amount::of(&scripts), began.elapsed());
    assert_eq!(arrived.iter().sum::<usize>(), Amount::of(&scripts).bytes, "every line of every file was replayed");
}

/// Talks the files of a language through, and judges the log and what both devices saw against them. Answers the bytes of text that came
/// to the other side.
async fn talk(stack: &Running, language: &str, scripts: &[&Script]) -> usize {
    let users = ["first", "second"].map(|speaker| format!("{speaker} speaker of {language}"));
    let devices = [stack.device(&users[0]).await, stack.device(&users[1]).await];
    let opened = devices[0].open(&users[1]).await.expect("a conversation is opened");
    let conversation = &opened.conversation;
    let said: Vec<(usize, &str)> = scripts.iter().flat_map(|script| script.lines()).collect();

    let (mut tail, mut own) = (opened.head, [BTreeSet::new(), BTreeSet::new()]);
    for turn in said.chunk_by(|(speaker, _), (next, _)| speaker == next).flat_map(|turn| turn.chunks(MESSAGES_PER_SEND_MAX)) {
        let (speaker, _) = turn[0];
        let device = &devices[speaker];
        // What is not its own has to come first.
        if !own[speaker].contains(&tail.seq) {
            device.entry(conversation, tail.seq.get()).await;
        }
        let messages: Vec<_> = turn.iter().map(|(_, line)| message(*line, tail)).collect();
        let answer = device.send(conversation, &messages).await.expect("a request is answered");
        assert_eq!(answer.results.len(), turn.len());
        for result in answer.results {
            let Outcome::Ok(Stored { position, .. }) = result.outcome else { panic!("{language}: {:?}", result.outcome) };
            assert_eq!(position.seq.get(), tail.seq.get() + 1, "{language}: nobody else writes here");
            tail = position;
            own[speaker].insert(position.seq);
        }
    }
    let (last, _) = said.last().expect("a language has lines");
    devices[1 - last].entry(conversation, tail.seq.get()).await;

    let log = wire_log(&stack.store().await, conversation).await;
    let stored: Vec<(&str, &str)> =
        log[1..].iter().map(|entry| (entry.sender.as_str(), text(entry).expect("only messages of text"))).collect();
    let said: Vec<(&str, &str)> = said.into_iter().map(|(speaker, line)| (users[speaker].as_str(), line)).collect();
    assert_eq!(stored, said, "{language}: the log is the files");
    let arrived = devices.iter().zip(&own).map(|(device, own)| arrived(device, conversation, own, &log));
    arrived.sum()
}

/// What was pushed to a device and what it said itself are the whole log. Answers the bytes of text that others sent it.
fn arrived(device: &Device, conversation: &ConversationId, own: &BTreeSet<Seq>, log: &[Entry]) -> usize {
    let pushed = device.entries(conversation).expect("live entries are as documented");
    let mut bytes = 0;
    for entry in log {
        let Position { seq, .. } = entry.position;
        match pushed.get(&seq) {
            Some(live) => assert_eq!(live, entry, "what came is what is stored"),
            None => assert!(own.contains(&seq), "{} never came to {}", entry.position, device.id),
        }
        if seq > Seq::FIRST && !own.contains(&seq) {
            bytes += text(entry).map_or(0, str::len);
        }
    }
    bytes
}
