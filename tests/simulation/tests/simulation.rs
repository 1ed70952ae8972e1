//! The simulation, as the test run has it: the same seed twice is the same run; then no faults; then faults; and every script that once
//! broke something.

use std::fs;
use std::path::Path;

use chatlane_tests_simulation::{Plan, Script, Tally, first_seed, run, shrink};

const OPERATIONS: usize = 200;

/// `CHATLANE_SEED` repeats one run.
fn seeds(first: u64, runs: u64) -> std::ops::Range<u64> {
    let runs = if repeats() { 1 } else { runs };
    first..first + runs
}

fn repeats() -> bool {
    std::env::var_os("CHATLANE_SEED").is_some()
}

fn holds(script: &Script) -> Tally {
    let outcome = run(script, false);
    if let Some(violation) = &outcome.violation {
        let short = serde_json::to_string(&shrink(script, 300)).expect("a script is JSON");
        panic!("seed {}: {}: {}\n{short}", script.seed, violation.guarantee, violation.what);
    }
    let mut tally = Tally::default();
    tally.add(&outcome);
    tally
}

fn all_hold(runs: u64, plan: &Plan) -> Tally {
    let (mut all, first) = (Tally::default(), first_seed());
    for seed in seeds(first, runs) {
        all.add_all(&holds(&Script::of_seed(seed, OPERATIONS, plan.clone())));
    }
    println!("from seed {first}\n{all}");
    all
}

#[test]
fn the_same_seed_twice_is_the_same_run_to_the_byte() {
    for seed in seeds(first_seed(), 4) {
        let script = Script::of_seed(seed, OPERATIONS, Plan::Seeded);
        let (one, other) = (run(&script, false), run(&script, false));
        assert_eq!((one.trace, &one.history, &one.dump), (other.trace, &other.history, &other.dump), "seed {seed}");
        let listed = run(&script.with_faults(&one.struck), false);
        assert_eq!(listed.trace, one.trace, "seed {seed} with its faults as a list");
    }
}

#[test]
fn without_faults_everything_holds() {
    let all = all_hold(20, &Plan::None);
    let (tried, effect) = all.operations();
    assert!(2 * effect >= tried, "{effect} of {tried} operations took effect");
}

#[test]
fn under_faults_everything_holds_and_when_they_stop_everything_converges() {
    let all = all_hold(40, &Plan::Seeded);
    if !repeats() {
        assert_eq!(all.idle(), Vec::<String>::new());
    }
}

#[test]
fn what_was_found_once_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut paths: Vec<_> = fs::read_dir(folder).expect("the scripts").map(|entry| entry.expect("a script").path()).collect();
    paths.sort();
    for path in paths {
        let script: Script = serde_json::from_str(&fs::read_to_string(&path).expect("a script")).expect("a script");
        assert!(!script.story.is_empty(), "{} tells no story", path.display());
        holds(&script);
    }
}
