//! One run: a script from its first operation to rest, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fault::{Fault, Hits, Plan};
use crate::met::Met;
use crate::script::{Performed, Script};
use crate::world::{Violation, World};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// A hash of everything that happened.
    pub trace: u64,
    /// Operations by name.
    pub performed: Performed,
    /// The rarer answers and sights.
    pub met: Met,
    /// Faults.
    pub hits: BTreeMap<Fault, Hits>,
    /// Those that hit, as a plan.
    pub struck: BTreeSet<(Fault, u64)>,
    /// Entries in all logs.
    pub entries: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Deliveries that a restore had cut off, and that were begun only by the next message.
    pub never_begun: u64,
    /// How long the run took in it.
    pub virtual_ms: u64,
    /// What clients saw, JSON lines.
    pub history: String,
    /// The tables, JSON lines.
    pub dump: String,
    /// What must not be, if anything was.
    pub violation: Option<Violation>,
}

/// Runs a script and judges it. `prints`: what happens is printed.
pub fn run(script: &Script, prints: bool) -> Outcome {
    let mut world = World::new(script, prints);
    // The world is only read after a panic, for what led to it.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for step in &script.steps {
            world.run_for(step.after_ms);
            if world.violation.is_some() {
                return;
            }
            world.log(format_args!("{:?}", step.operation));
            let took_effect = world.perform(&step.operation);
            let counts = world.performed.entry(step.operation.name()).or_default();
            counts.0 += 1;
            counts.1 += u64::from(took_effect);
        }
        world.come_to_rest(script.deserted);
    }));
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        world.violated("panic", text.unwrap_or_default());
    }
    let dump = world.dump();
    // What never comes to rest has a reason, and the checker may know it.
    let restless = world.violation.take_if(|violation| violation.guarantee == "converges");
    if world.violation.is_none() {
        judge(&mut world, &dump);
        world.violation = world.violation.or(restless);
    }
    let entries = world.memory.state().log.values().map(BTreeMap::len).sum::<usize>();
    Outcome {
        trace: world.trace(),
        entries: entries as u64,
        dead_letters: world.queue.dead_letters,
        never_begun: world.never_begun,
        virtual_ms: world.now_ms,
        performed: world.performed,
        met: world.met,
        hits: world.faults.hits,
        struck: world.faults.struck,
        history: world.history,
        dump,
        violation: world.violation,
    }
}

/// The independent checker has the last word.
fn judge(world: &mut World, dump: &str) {
    match chatlane_tests_checker::judge(&world.history, dump) {
        Err(malformed) => world.violated("format", malformed.to_string()),
        Ok(verdict) => {
            if let Some(first) = verdict.violations().first() {
                let what = format!("{} (history lines {:?})", first.what, first.history);
                world.violated(&format!("{} {:?}", first.guarantee(), first.check), what);
            }
        }
    }
}

impl Script {
    /// The same run with its faults as a list.
    #[must_use]
    pub fn with_faults(&self, struck: &BTreeSet<(Fault, u64)>) -> Self {
        Self { faults: Plan::These(struck.clone()), ..self.clone() }
    }
}

/// The first of the seeds where none is given: `CHATLANE_SEED`; else a number of the commit's hash in `CHATLANE_COMMIT`; else any.
pub fn first_seed() -> u64 {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(seed) = variable("CHATLANE_SEED").and_then(|seed| seed.parse().ok()) {
        return seed;
    }
    let of_commit = variable("CHATLANE_COMMIT").and_then(|hash| u64::from_str_radix(hash.get(..12)?, 16).ok());
    let since_1970 = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    of_commit.unwrap_or_else(|| since_1970().as_secs()) % 1_000_000_000
}
