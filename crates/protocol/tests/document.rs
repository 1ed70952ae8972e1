//! `docs/PROTOCOL.md` says what the code does: its examples are those of the snapshots, all of them, and it names every code and limit.

use std::fs::read_to_string;
use std::path::Path;

use chatlane_protocol::Request;
use chatlane_protocol::ServerFrame;
use chatlane_protocol::frames::encode;
use serde_json::{Deserializer, Map, Value};

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");
const REQUESTS: &str = include_str!("snapshots/frames__every_request_looks_like_this.snap");
const FRAMES: &str = include_str!("snapshots/frames__every_frame_of_the_server_looks_like_this.snap");
const CODES: &str = include_str!("snapshots/frames__every_error_code_has_its_word_and_says_whether_to_retry.snap");

/// The JSON of a snapshot, which begins with a header between two lines of dashes.
fn snapshot(file: &str) -> Map<String, Value> {
    serde_json::from_str(file.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}

fn examples() -> Vec<Value> {
    let blocks = DOCUMENT.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(|block| Deserializer::from_str(block).into_iter().map(|example| example.expect(block)).collect::<Vec<_>>()).collect()
}

#[test]
fn every_example_of_the_document_is_read_and_written_the_same() {
    for example in examples() {
        let text = example.to_string();
        let again = if example.get("action").is_some() {
            encode(&Request::parse(&text).expect(&text))
        } else if example.get("type").is_some() {
            encode(&serde_json::from_str::<ServerFrame>(&text).expect(&text))
        } else {
            assert!(example.get("connectionId").is_some(), "neither ours nor the gateway's: {text}");
            continue;
        };
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), example);
    }
}

#[test]
fn the_examples_of_the_document_are_the_snapshots() {
    let examples = examples();
    let snapshots: Map<String, Value> = [REQUESTS, FRAMES]
        .into_iter()
        .zip(["request", "frame"])
        .flat_map(|(file, kind)| snapshot(file).into_iter().map(move |(name, it)| (format!("{kind} {name}"), it)))
        .collect();
    for (name, snapshot) in &snapshots {
        assert!(examples.contains(snapshot), "no example is the {name}: {snapshot}");
    }
    for example in examples.iter().filter(|example| example.get("connectionId").is_none()) {
        assert!(snapshots.values().any(|snapshot| snapshot == example), "no snapshot is the example {example}");
    }
}

#[test]
fn the_document_names_every_limit() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let actions = source.join("actions").read_dir().unwrap().map(|file| file.unwrap().path());
    let text: String =
        actions.chain(["shared_limits.rs", "pushes.rs"].map(|file| source.join(file))).map(|file| read_to_string(file).unwrap()).collect();
    let limits: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    assert!(limits.len() >= 36, "{} limits", limits.len());
    for name in limits {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_document_says_of_every_code_whether_to_retry_and_names_no_other() {
    let codes = snapshot(CODES);
    let table = DOCUMENT.split("\n## 9. ").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Map<String, Value> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let (code, rest) = row.split_once("` | ").unwrap();
            (code.to_owned(), (rest.split(" |").next() == Some("yes")).into())
        })
        .collect();
    assert_eq!(rows, codes);
}
