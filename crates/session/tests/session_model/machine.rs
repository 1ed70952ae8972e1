//! The runs: many scripts, each with its seed, and what all of them together must have met.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Once};

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

    /// Whether panics of this thread are expected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static QUIETER_PANICS: Once = Once::new();

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
        let took_effect = world.perform(&line);
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
    QUIETER_PANICS.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                hook(panic);
            }
        }));
    });
    QUIET.set(true);
    let outcome = runner.run(&Script::sequential_strategy(LINES_MAX / 2..LINES_MAX), |(state, lines, seen)| {
        let run = AssertUnwindSafe(|| Sessions::test_sequential(config.clone(), state, lines, seen));
        catch_unwind(run).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            TestCaseError::fail(text.unwrap_or_default())
        })
    });
    QUIET.set(false);
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, script)) => Err((reason.to_string(), script)),
        Err(TestError::Abort(reason)) => panic!("no script was made: {reason}"),
    }
}

/// Runs a script again and prints what happens in it.
fn print((state, lines, _): Made) {
    super::world::PRINTED.set(true);
    Sessions::test_sequential(Config::default(), state, lines, None);
}

// holds: D1
#[test]
fn whatever_the_network_does_everybody_has_the_same_log_in_the_end() {
    let repeated = std::env::var("CHATLANE_SEED").ok().map(|seed| seed.parse::<u64>().expect("CHATLANE_SEED is a number"));
    let first = repeated.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000_000);
    let scripts = if repeated.is_some() { 1 } else { SCRIPTS };
    for seed in first..first + scripts {
        if let Err((reason, script)) = run(seed) {
            println!("seed {seed}: {reason}\n{:#?}", script.1);
            if repeated.is_some() {
                print(script);
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

/// What every run must have met. A run that has not met a fault proves nothing about it.
const FAULTS: [&str; 30] = [
    "answer lost after its effect",
    "answer overtaken",
    "app killed",
    "app killed, a write made but not confirmed",
    "app killed, its writes lost",
    "delivery late",
    "delivery repeated",
    "device displaced",
    "frame vanishes in a half-open socket",
    "function: dies before its answer",
    "function: dies before its enqueue",
    "function: dies before its writes",
    "function: throttled",
    "function: unavailable, everything done",
    "function: unavailable, nothing done",
    "gateway restarted",
    "handshake does not get through",
    "logs restored from a backup",
    "logs restored from a backup, a conversation lost",
    "push doubled",
    "push lost",
    "push overtaken",
    "request lost",
    "request overtaken",
    "request vanishes in a half-open socket",
    "session removed by a false 410",
    "socket cut",
    "socket half-open",
    "store is slow",
    "token expired",
];

/// The same for the server's rarer answers and what the user sees rarely: the repairs that they lead to have run.
const ANSWERS: [&str; 20] = [
    "ack, read: refused",
    "error: token_expired",
    "goaway",
    "hello: next page",
    "ping: resync",
    "probe: found",
    "probe: not done",
    "send: anchor_stale",
    "send: busy",
    "send: duplicate",
    "send: epoch_changed",
    "send: forbidden",
    "send: not_attempted",
    "send: rate_limited",
    "send: too_large",
    "shown: failed",
    "shown: rolled back",
    "shown: skipped",
    "sync: epoch_changed",
    "sync: not done",
];

fn look_at(met: &Tally) {
    let (tried, effect) = met.operations.values().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    assert!(2 * effect >= tried, "only {effect} of {tried} operations took effect");
    let missing: Vec<_> = FAULTS.iter().filter(|fault| !met.faults.contains_key(*fault)).collect();
    assert!(missing.is_empty(), "faults that were never met: {missing:?}");
    let missing: Vec<_> = ANSWERS.iter().filter(|answer| !met.answers.contains_key(*answer)).collect();
    assert!(missing.is_empty(), "answers that were never met: {missing:?}");
}
