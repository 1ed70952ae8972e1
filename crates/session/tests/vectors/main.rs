//! The conformance vectors, `crates/session/vectors/*.json`: what a session does with its inputs, rule by rule.
//!
//! A vector is a story, what the device begins with, and inputs with their times. Whoever makes one writes these; `CHATLANE_UPDATE=1` plays
//! them and writes what the session does, and its maker sees to it that this is what the story says. The test plays all vectors, and is red
//! if one is not, to the byte, as it stands in its file.

mod coverage;
#[path = "../../examples/stdio/json.rs"]
mod json;
mod judged;
#[path = "../../examples/stdio/read.rs"]
mod read;
mod schema;
#[path = "../../examples/stdio/shelf.rs"]
mod shelf;
mod waits;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use chatlane_session::{Moment, Output, Session, Shown};
use serde_json::{Value, json};
use shelf::Shelf;

/// So that none is lost unseen.
const VECTORS: usize = 129;

const SCHEMA: &str = "schema.json";

/// The requests of a vector: the action and conversation of each id in the file, and the newest id of each now, both by socket. An answer
/// belongs to the newest such request. Its id in the file is that one's, until the session sends one request more or less: then it gets the
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
        for (outputs, is_now) in [(in_file, false), (now, true)] {
            for output in outputs.as_array().into_iter().flatten().filter(|output| output["type"] == "send") {
                let field = |name: &str| output["frame"][name].as_str().unwrap_or_default().to_owned();
                let (socket, id, what) =
                    (output["socket"].as_u64().unwrap_or_default(), field("id"), field("action") + &field("conversation"));
                if is_now {
                    self.newest.insert((socket, what), id);
                } else {
                    self.in_file.insert((socket, id), what);
                }
            }
        }
    }
}

/// A vector as a file: a line for each input and each output, so that people can read it and a change is a small difference.
fn file(vector: &Value) -> String {
    let steps = vector["steps"].as_array().into_iter().flatten();
    let steps: Vec<String> = steps
        .map(|step| {
            let expect: Vec<String> = step["expect"].as_array().into_iter().flatten().map(|output| format!("\n    {output}")).collect();
            let ends = step.get("ends").map(|ends| format!(", \"ends\": {ends}")).unwrap_or_default();
            format!(
                "  {{\"at_ms\": {}, \"random\": {}, \"input\":\n    {},\n   \"expect\": [{}],\n   \"draws\": {}, \"wake_at_ms\": {}{ends}}}",
                step["at_ms"],
                step["random"],
                step["input"],
                expect.join(","),
                step["draws"],
                step["wake_at_ms"]
            )
        })
        .collect();
    format!(
        "{{\n\"name\": {},\n\"story\": {},\n\"rules\": {},\n\"settings\": {},\n\"restored\": {},\n\"steps\": [\n{}\n]\n}}\n",
        vector["name"],
        vector["story"],
        vector["rules"],
        vector["settings"],
        vector["restored"],
        steps.join(",\n")
    )
}

/// Whether another client must do this too, in its way: all but what may be shown more or less often.
const fn acts(output: &Output) -> bool {
    !matches!(output, Output::Show(Shown::Conversation { .. } | Shown::Connection(_)))
}

/// A vector with what the session does now.
fn play(vector: &Value) -> Value {
    let settings = read::settings(&vector["settings"]);
    let mut shelf = Shelf::new(settings.user.clone());
    let mut session = Session::new(settings, read::restored(&vector["restored"]));
    let mut requests = Requests::default();
    let mut steps_of_batches = BTreeMap::new();
    let mut played = vector.clone();
    let mut before = vec![];
    for (index, step) in played["steps"].as_array_mut().into_iter().flatten().enumerate() {
        requests.name_the_answered(&mut step["input"]);
        if let Some(of) = step["input"]["batch"].as_u64().and_then(|batch| steps_of_batches.get(&batch)) {
            step["input"]["step"] = json!(of);
        }
        before.push(session.clone());
        let number = |name: &str| step[name].as_u64().unwrap_or_else(|| panic!("`{name}` of {step}"));
        let outputs = session.handle(Moment(number("at_ms")), number("random"), read::input(&step["input"]));
        shelf.happens(&step["input"]);
        shelf.asked(&outputs);
        let expect = json!(outputs.iter().map(json::output).chain(shelf.kept(&step["input"])).collect::<Vec<_>>());
        requests.were_sent(&step["expect"], &expect);
        for output in &outputs {
            if let Output::Commit { batch, .. } = output {
                steps_of_batches.insert(batch.0, index);
            }
        }
        if step["input"]["type"] == "tick" {
            step["input"]["wait"] = json!(if outputs.iter().any(acts) { "over" } else { "not yet" });
        }
        step["expect"] = expect;
        step["draws"] = json!(session.draws().iter().map(json::draw).collect::<Vec<_>>());
        step["wake_at_ms"] = json!(session.wake_at().map(|wake| wake.0));
    }
    waits::bound(played["steps"].as_array_mut().expect("a vector has steps"), &before);
    played
}

// holds: L2, L5, D1
#[test]
fn the_conformance_vectors_say_what_the_session_does() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "json") && !path.ends_with(SCHEMA)).collect();
    assert_eq!(files.len(), VECTORS);
    let schema = serde_json::from_str(&fs::read_to_string(folder.join(SCHEMA)).unwrap()).unwrap();
    let mut vectors = vec![];
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let vector: Value = serde_json::from_str(&text).unwrap();
        let name = vector["name"].as_str().unwrap();
        assert_eq!(path.file_stem().unwrap(), name);
        let played = play(&vector);
        if env::var("CHATLANE_UPDATE").is_ok() {
            fs::write(&path, file(&played)).unwrap();
            continue;
        }
        let steps = |vector: &Value| vector["steps"].as_array().cloned().unwrap_or_default();
        for (number, (step, kept)) in steps(&played).into_iter().zip(steps(&vector)).enumerate() {
            assert!(step == kept, "{name}, step {number}: the session does {step:#}\nand not {kept:#}; CHATLANE_UPDATE=1 writes it anew");
        }
        assert!(file(&played) == text, "{name} is written otherwise; CHATLANE_UPDATE=1 writes it anew");
        assert_eq!(schema::fault(&schema, &schema, &vector), None, "{name}");
        vectors.push(vector);
    }
    if !vectors.is_empty() {
        coverage::check(&vectors);
    }
}
