//! `simulation`: many runs, each of its own seed. Of those that fail the first is shortened to a script and printed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use chatlane_tests_simulation::{Outcome, Plan, Script, Tally, first_seed, run, shrink};
use clap::Parser;

/// Runs the deterministic simulation.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Arguments {
    /// How many runs; each has the seed after the one before.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Of the first run. Without it: by the environment's `CHATLANE_SEED` or `CHATLANE_COMMIT` (a hash), else at random.
    #[arg(long)]
    seed: Option<u64>,
    /// Of each run.
    #[arg(long, default_value_t = 200)]
    operations: usize,
    /// Nothing goes wrong.
    #[arg(long)]
    no_faults: bool,
    /// Every run is strict, not only every second one: heartbeats tell nothing, and no fault may cost a push.
    #[arg(long)]
    strict: bool,
    /// Every user has three devices, and groups change all the time.
    #[arg(long)]
    crowd: bool,
    /// Fails also if some kind of operation took effect less often than this.
    #[arg(long, default_value_t = 0)]
    each: u64,
    /// Fails also if the runs do no work: half of the operations must take effect, and each fault hit 1 % of what it can hit.
    #[arg(long)]
    at_work: bool,
    /// Runs at once.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, std::num::NonZero::get))]
    jobs: usize,
    /// Prints what happens.
    #[arg(long)]
    trace: bool,
    /// Runs a saved script instead.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Writes history.jsonl and dump.jsonl of a failing run (or of the only one) into this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Further runs for shortening a failing one.
    #[arg(long, default_value_t = 1500)]
    shrink: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.script {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let script = serde_json::from_str(&text).with_context(|| format!("{} is a script", path.display()))?;
        return judged(&arguments, &script, &run(&script, arguments.trace));
    }
    let first = arguments.seed.unwrap_or_else(first_seed);
    let plan = if arguments.no_faults { Plan::None } else { Plan::Seeded };
    let kind = if arguments.strict { "strict runs" } else { "runs" };
    println!("{} {kind} of {} operations, from seed {first}", arguments.runs, arguments.operations);
    std::panic::set_hook(Box::new(|_| {})); // a run that panics is a violation, told as such
    let (next, failed, found) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None::<(Script, Outcome)>));
    let (all, began) = (Mutex::new(Tally::default()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                let mut tally = Tally::default();
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= arguments.runs {
                        break;
                    }
                    let script = Script::of_seed(first + number, arguments.operations, plan.clone(), arguments.crowd);
                    let script = Script { strict: script.strict || arguments.strict, ..script };
                    let outcome = run(&script, arguments.trace);
                    tally.add(&outcome);
                    if outcome.violation.is_some() || arguments.runs == 1 {
                        failed.fetch_or(outcome.violation.is_some(), Ordering::Relaxed);
                        // All runs before a failing one have begun, so that the first of those that fail is always the same.
                        if let Ok(mut found) = found.lock()
                            && found.as_ref().is_none_or(|(other, _)| script.seed < other.seed)
                        {
                            *found = Some((script, outcome));
                        }
                    }
                }
                if let Ok(mut all) = all.lock() {
                    all.add_all(&tally);
                }
            });
        }
    });
    let (took, all) = (began.elapsed().as_secs_f64(), all.into_inner().unwrap_or_default());
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = all.runs as f64 / took;
    print!("{rate:.1} runs/s; {all}");
    if let Some((script, outcome)) = found.into_inner().unwrap_or_default() {
        return judged(&arguments, &script, &outcome);
    }
    let mut idle = if arguments.at_work { all.idle() } else { vec![] };
    idle.extend(all.rarer_than(arguments.each));
    for idle in &idle {
        println!("idle: {idle}");
    }
    Ok(if idle.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what is wrong with a run, and how it comes about.
fn judged(arguments: &Arguments, script: &Script, outcome: &Outcome) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &arguments.keep {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("history.jsonl"), &outcome.history)?;
        std::fs::write(folder.join("dump.jsonl"), &outcome.dump)?;
    }
    println!("trace {:016x}", outcome.trace);
    let Some(violation) = &outcome.violation else { return Ok(ExitCode::SUCCESS) };
    println!("seed {}: {}: {}", script.seed, violation.guarantee, violation.what);
    if arguments.shrink > 0 {
        let short = shrink(script, arguments.shrink);
        println!("{}", serde_json::to_string_pretty(&short)?);
    }
    Ok(ExitCode::FAILURE)
}
