//! The runs: many scripts, each with its seed, and what all of them together must have met.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::dice::Dice;
use super::script::{Line, lines};
use super::tally::Tally;
use super::world::World;

/// Scripts of a run.
const SCRIPTS: u64 = 200;

/// Lines of a script.
const LINES_MAX: usize = 120;

thread_local! {
    /// What the scripts of this run have met.
    static MET: RefCell<Tally> = RefCell::default();
}

/// What a script is generated from. What must come of it is known only when it has run: the server's log is the reference.
struct Script;

impl ReferenceStateMachine for Script {
    /// The seed of what is left to chance.
    type State = u64;
    type Transition = Line;

    fn init_state() -> BoxedStrategy<u64> {
        any::<u64>().no_shrink().boxed()
    }

    fn transitions(_: &u64) -> BoxedStrategy<Line> {
        lines()
    }

    fn apply(seed: u64, _: &Line) -> u64 {
        seed
    }
}

struct Sessions;

impl StateMachineTest for Sessions {
    type SystemUnderTest = World;
    type Reference = Script;

    fn init_test(seed: &u64) -> World {
        World::new(*seed)
    }

    fn apply(mut world: World, _: &u64, line: Line) -> World {
        let name = line.name();
        let took_effect = world.perform(line);
        world.tally.operation(name, took_effect);
        world
    }

    fn teardown(mut world: World, _: u64) {
        world.come_to_rest();
        MET.with_borrow_mut(|met| met.add(&world.tally));
    }
}

/// A script as proptest makes it: the seed of its chance, its lines, and what it has seen of them.
type Made = (u64, Vec<Line>, Option<Arc<AtomicUsize>>);

/// Runs the script of one seed. If it fails: why, and the shortest script found that still does.
fn run(seed: u64) -> Result<(), (String, Made)> {
    let mut dice = Dice::new(seed);
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next().to_le_bytes()));
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    // Each try of the shrinking panics; only the last one is worth reading.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = runner.run(&Script::sequential_strategy(LINES_MAX / 2..LINES_MAX), |(state, lines, seen)| {
        let run = AssertUnwindSafe(|| Sessions::test_sequential(config.clone(), state, lines, seen));
        catch_unwind(run).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            TestCaseError::fail(text.unwrap_or_default())
        })
    });
    std::panic::set_hook(hook);
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, script)) => Err((reason.to_string(), script)),
        Err(TestError::Abort(reason)) => panic!("no script was made: {reason}"),
    }
}

/// Runs a script again and prints what happens in it.
fn tell((state, lines, _): Made) {
    super::world::TOLD.set(true);
    Sessions::test_sequential(Config::default(), state, lines, None);
}

#[test]
fn whatever_the_network_does_everybody_has_the_same_log_in_the_end() {
    let repeated = std::env::var("CHATLANE_SEED").ok().map(|seed| seed.parse::<u64>().expect("CHATLANE_SEED is a number"));
    let first = repeated.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000_000);
    let scripts = if repeated.is_some() { 1 } else { SCRIPTS };
    for seed in first..first + scripts {
        if let Err((reason, script)) = run(seed) {
            println!("seed {seed}: {reason}\n{:#?}", script.1);
            if repeated.is_some() {
                tell(script);
            }
            panic!("{reason}");
        }
    }
    let met = MET.take();
    println!("scripts: {scripts}, from seed {first}\n{met}");
    if repeated.is_none() {
        look_at(&met);
    }
}

/// A run that has not met a fault proves nothing about it.
fn look_at(met: &Tally) {
    let (tried, effect) = met.operations.values().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    assert!(2 * effect >= tried, "only {effect} of {tried} operations took effect");
}
