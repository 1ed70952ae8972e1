//! The conformance vectors, `crates/session/vectors/*.json`: what a session does with its inputs, rule by rule.
//!
//! They are made by running the scenarios here, each of which also looks whether it shows what it says; the test compares them with the
//! files. `CHATLANE_UPDATE=1` writes the files.

mod catching_up;
mod connection;
#[expect(dead_code, reason = "the model rolls more kinds of dice")]
#[path = "../session_model/dice.rs"]
mod dice;
mod entries;
mod json;
#[expect(dead_code, reason = "the facts need more")]
#[path = "../session/made.rs"]
mod made;
mod outbox;
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

use scenario::Scenario;
use serde_json::Value;

fn all() -> Vec<Scenario> {
    [entries::all(), catching_up::all(), outbox::all(), connection::all()].into_iter().flatten().collect()
}

// holds: L2, L5, D1
#[test]
fn the_conformance_vectors_say_what_the_session_does() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let scenarios = all();
    let number = scenarios.len();
    let vectors: BTreeMap<String, Value> =
        scenarios.into_iter().map(|scenario| (format!("{}.json", scenario.name), scenario.vector())).collect();
    assert_eq!(vectors.len(), number, "each name is used once");
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    if env::var("CHATLANE_UPDATE").is_ok() {
        fs::create_dir_all(&folder).unwrap();
        for name in there.iter().filter(|name| !vectors.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, vector) in &vectors {
            fs::write(folder.join(name), json::file(vector)).unwrap();
        }
        return;
    }
    let made: BTreeSet<String> = vectors.keys().cloned().collect();
    assert_eq!(made, there, "CHATLANE_UPDATE=1 writes the vectors anew");
    for (name, vector) in vectors {
        let file: Value = serde_json::from_str(&fs::read_to_string(folder.join(&name)).unwrap()).unwrap();
        let steps = |vector: &Value| vector["steps"].as_array().cloned().unwrap_or_default();
        for (number, (step, kept)) in steps(&vector).into_iter().zip(steps(&file)).enumerate() {
            assert!(step == kept, "{name}, step {number}: the session does {step:#}\nand not {kept:#}; CHATLANE_UPDATE=1 writes it anew");
        }
        assert!(vector == file, "{name} is another scenario; CHATLANE_UPDATE=1 writes it anew");
    }
    println!("vectors: {number}");
}
