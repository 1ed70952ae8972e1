//! `docs/PROTOCOL.md` says what the code does: its examples are read and written by it, and it names every code and limit.

use chatlane_protocol::frames::encode;
use chatlane_protocol::{Request, ServerFrame};
use serde_json::{Deserializer, Value};

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");
const LIMITS: &str = include_str!("../src/limits.rs");

fn examples() -> Vec<Value> {
    let blocks = DOCUMENT.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(|block| Deserializer::from_str(block).into_iter().map(|example| example.expect(block)).collect::<Vec<_>>()).collect()
}

#[test]
fn every_example_of_the_document_is_read_and_written_the_same() {
    let (mut requests, mut frames) = (0, 0);
    for example in examples() {
        let text = example.to_string();
        let again = if example.get("action").is_some() {
            requests += 1;
            encode(&Request::parse(&text).expect(&text))
        } else if example.get("type").is_some() {
            frames += 1;
            encode(&serde_json::from_str::<ServerFrame>(&text).expect(&text))
        } else {
            assert!(example.get("connectionId").is_some(), "neither ours nor the gateway's: {text}");
            continue;
        };
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), example);
    }
    assert_eq!((requests, frames), (6, 8), "(requests, frames) in the document");
}

#[test]
fn the_document_names_every_limit() {
    for line in LIMITS.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let name = line.split(':').next().unwrap();
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name}");
    }
}
