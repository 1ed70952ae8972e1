//! The session as a client of the judge (`vectors/judge.py`): one JSON line of standard input is a step, one of standard output is what the
//! session does. `stdio SEED` draws its own random numbers, as a client in the profile *free* does; without it the steps bring them.

mod json;
mod read;
mod shelf;

use std::io::{self, BufRead, Write};

use chatlane_session::{Moment, Output, Session};
use serde_json::{Value, json};
use shelf::Shelf;

/// A session, and the batches that its store has not made, each with the number of its step.
struct Device {
    session: Session,
    shelf: Shelf,
    batches: Vec<(u64, u64)>,
    steps: u64,
    seed: Option<u64>,
}

impl Device {
    fn new(start: &Value, seed: Option<u64>) -> Self {
        let settings = read::settings(&start["settings"]);
        let shelf = Shelf::new(settings.user.clone());
        let session = Session::new(settings, read::restored(&start["restored"]));
        Self { session, shelf, batches: vec![], steps: 0, seed }
    }

    fn step(&mut self, step: &Value) -> Value {
        let now = Moment(step["at_ms"].as_u64().unwrap_or_default());
        let random = self.seed.map_or(step["random"].as_u64(), |seed| Some((seed + self.steps) * 7919)).unwrap_or_default();
        let mut outputs = vec![];
        for input in self.inputs(&step["input"]) {
            self.shelf.happens(&input);
            outputs.extend(self.session.handle(now, random, read::input(&input)));
        }
        for output in &outputs {
            if let Output::Commit { batch, .. } = output {
                self.batches.push((self.steps, batch.0));
            }
        }
        self.steps += 1;
        self.shelf.asked(&outputs);
        let kept = self.shelf.kept(&step["input"]);
        json!({
            "outputs": outputs.iter().map(json::output).chain(kept).collect::<Vec<_>>(),
            "draws": self.session.draws().iter().map(json::draw).collect::<Vec<_>>(),
            "wake_at_ms": self.session.wake_at().map(|wake| wake.0),
        })
    }

    /// In the profile *free* the store answers for steps, and whoever writes a message makes its id.
    fn inputs(&mut self, input: &Value) -> Vec<Value> {
        let mut input = input.clone();
        if is_named(&input) && input["client_message_id"].is_null() {
            input["client_message_id"] = json!(format!("own-{}", self.steps));
            input["opening"] = json!(format!("opening-{}", self.steps));
        }
        let Some(until) = input["step"].as_u64().filter(|_| self.seed.is_some()) else { return vec![input] };
        let failed = input["type"] == "not_stored";
        let answered: Vec<_> = self.batches.extract_if(.., |(step, _)| if failed { *step >= until } else { *step <= until }).collect();
        let count = if failed { 1 } else { answered.len() };
        answered.into_iter().take(count).map(|(_, batch)| json!({"type": input["type"], "batch": batch})).collect()
    }
}

/// Whether the input begins something that gets a name.
fn is_named(input: &Value) -> bool {
    let begins =
        ["compose", "compose_to", "open_with", "create", "edit", "delete", "react", "add", "remove", "leave", "role", "settings", "close"];
    input["type"].as_str().is_some_and(|kind| begins.contains(&kind))
}

fn main() -> io::Result<()> {
    let seed = std::env::args().nth(1).map(|seed| seed.parse().expect("SEED is a number"));
    let mut device = None;
    for line in io::stdin().lock().lines() {
        let step: Value = serde_json::from_str(&line?)?;
        let answer = if step["type"] == "start" {
            device = Some(Device::new(&step, seed));
            json!({"outputs": [], "wake_at_ms": null})
        } else {
            device.as_mut().expect("`start` comes first").step(&step)
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
