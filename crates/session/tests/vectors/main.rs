//! The conformance vectors, `crates/session/vectors/*.json`: what a session does with its inputs, rule by rule.
//!
//! A vector is a story, what the device begins with, and inputs with their times. Whoever makes one writes these; `CHATLANE_UPDATE=1` plays
//! them and writes what the session does, and its maker sees to it that this is what the story says. The test plays all vectors, and is red
//! if one is not, to the byte, as it stands in its file.

mod json;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use chatlane_session::{Moment, Session};
use serde_json::{Value, json};

/// So that none is lost unseen.
const VECTORS: usize = 41;

/// The requests of a vector: the action of each id in the file, and the newest id of each action now, both by socket. An answer belongs to
/// the newest request of its action. Its id in the file is that one's, until the session sends one request more or less: then it gets the
/// new one, or all vectors would have to be numbered anew by hand.
#[derive(Default)]
struct Requests {
    in_file: BTreeMap<(u64, String), String>,
    newest: BTreeMap<(u64, String), String>,
}

impl Requests {
    fn name_the_answered(&self, input: &mut Value) {
        let (Some(socket), Some(id)) = (input["socket"].as_u64(), input["frame"]["id"].as_str()) else { return };
        let action = self.in_file.get(&(socket, id.to_owned()));
        if let Some(newest) = action.and_then(|action| self.newest.get(&(socket, action.clone()))) {
            input["frame"]["id"] = json!(newest);
        }
    }

    fn were_sent(&mut self, in_file: &Value, now: &Value) {
        for (outputs, requests, from, to) in [(in_file, &mut self.in_file, "id", "action"), (now, &mut self.newest, "action", "id")] {
            for output in outputs.as_array().into_iter().flatten().filter(|output| output["type"] == "send") {
                let field = |name: &str| output["frame"][name].as_str().unwrap_or_default().to_owned();
                requests.insert((output["socket"].as_u64().unwrap_or_default(), field(from)), field(to));
            }
        }
    }
}

/// A vector with what the session does now.
fn play(vector: &Value) -> Value {
    let mut session = Session::new(read::settings(&vector["settings"]), read::restored(&vector["restored"]));
    let mut requests = Requests::default();
    let mut played = vector.clone();
    for step in played["steps"].as_array_mut().into_iter().flatten() {
        requests.name_the_answered(&mut step["input"]);
        let number = |name: &str| step[name].as_u64().unwrap_or_else(|| panic!("`{name}` of {step}"));
        let outputs = session.handle(Moment(number("at_ms")), number("random"), read::input(&step["input"]));
        let expect = json!(outputs.iter().map(json::output).collect::<Vec<_>>());
        requests.were_sent(&step["expect"], &expect);
        step["expect"] = expect;
        step["wake_at_ms"] = json!(session.wake_at().map(|wake| wake.0));
    }
    played
}

// holds: L2, L5, D1
#[test]
fn the_conformance_vectors_say_what_the_session_does() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    assert_eq!(files.len(), VECTORS);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let vector: Value = serde_json::from_str(&text).unwrap();
        let name = vector["name"].as_str().unwrap();
        assert_eq!(path.file_stem().unwrap(), name);
        let played = play(&vector);
        if env::var("CHATLANE_UPDATE").is_ok() {
            fs::write(&path, json::file(&played)).unwrap();
            continue;
        }
        let steps = |vector: &Value| vector["steps"].as_array().cloned().unwrap_or_default();
        for (number, (step, kept)) in steps(&played).into_iter().zip(steps(&vector)).enumerate() {
            assert!(step == kept, "{name}, step {number}: the session does {step:#}\nand not {kept:#}; CHATLANE_UPDATE=1 writes it anew");
        }
        assert!(json::file(&played) == text, "{name} is written otherwise; CHATLANE_UPDATE=1 writes it anew");
    }
}
