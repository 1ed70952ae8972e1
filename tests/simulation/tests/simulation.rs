//! What is proven before thousands of runs are believed (`tests/run simulation`): the same seed twice is the same run. And every script
//! that once broke something.

use std::fs;
use std::path::Path;

use chatlane_tests_simulation::{Fault, Operation, Plan, Script, Step, first_seed, run, shrink};
use chatlane_tests_support::Dice;

const OPERATIONS: usize = 200;

#[test]
fn the_same_seed_twice_is_the_same_run_to_the_byte() {
    let first = first_seed();
    for seed in first..first + 4 {
        let script = Script::of_seed(seed, OPERATIONS, Plan::Seeded, seed % 2 == 0);
        let (one, other) = (run(&script, false), run(&script, false));
        assert_eq!((one.trace, &one.history, &one.dump), (other.trace, &other.history, &other.dump), "seed {seed}");
        let listed = run(&script.with_faults(&one.struck), false);
        assert_eq!(listed.trace, one.trace, "seed {seed} with its faults as a list");
    }
}

/// Alice has two devices, bob has one; they write and read, and their sockets are cut. At rest the world compares the marks of both devices
/// with the server's, and their counts with the log's; no hello brings them there, but after a cut.
// holds: C1
#[test]
fn two_devices_of_a_user_agree_on_what_is_read() {
    let first = first_seed();
    for seed in first..first + 3 {
        let mut dice = Dice::new(seed);
        let step = |after_ms, operation| Step { after_ms, operation };
        let mut steps: Vec<Step> = (0..3).map(|device| step(20, Operation::Connect { device })).collect();
        steps.push(step(300, Operation::Open { device: 0, with: 1 }));
        for _ in 0..1_000 {
            let (device, pick) = (dice.below(3), 0);
            let operation = if dice.one_in(2) {
                Operation::Compose { device, pick, messages: 1, bytes: 10 }
            } else {
                Operation::MarkRead { device, pick, back: dice.below(3), private: false }
            };
            steps.push(step(dice.between(20, 400), operation));
        }
        let faults = Plan::These((0..1_000).filter(|number| number % 37 == 0).map(|number| (Fault::SocketCut, number)).collect());
        let story = "two devices of a user".to_owned();
        let outcome = run(&Script { story, seed, strict: false, small: false, deserted: false, crowd: false, steps, faults }, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        let (read, cuts) = (outcome.performed["mark read"].1, outcome.hits[&Fault::SocketCut].hit);
        println!("seed {seed}: {} messages, {read} marks, {cuts} cuts", outcome.entries - 1);
        assert!(outcome.entries > 400 && read > 300 && cuts > 15, "seed {seed}: {} entries, {read} marks, {cuts} cuts", outcome.entries);
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
        if let Some(violation) = &run(&script, false).violation {
            let short = serde_json::to_string(&shrink(&script, 300)).expect("a script is JSON");
            panic!("{}: {}: {}\n{short}", path.display(), violation.guarantee, violation.what);
        }
    }
}
