//! What is proven before thousands of runs are believed (`tests/run simulation`): the same seed twice is the same run. And every script
//! that once broke something.

use std::fs;
use std::path::Path;

use chatlane_tests_simulation::{Plan, Script, first_seed, run, shrink};

const OPERATIONS: usize = 200;

#[test]
fn the_same_seed_twice_is_the_same_run_to_the_byte() {
    let first = first_seed();
    for seed in first..first + 4 {
        let script = Script::of_seed(seed, OPERATIONS, Plan::Seeded);
        let (one, other) = (run(&script, false), run(&script, false));
        assert_eq!((one.trace, &one.history, &one.dump), (other.trace, &other.history, &other.dump), "seed {seed}");
        let listed = run(&script.with_faults(&one.struck), false);
        assert_eq!(listed.trace, one.trace, "seed {seed} with its faults as a list");
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
