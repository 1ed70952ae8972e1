//! Pairs that talk at a given rate: latencies from the time a message was due, beside the floor of the same run, and what it cost.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chatlane_local::embedded::Latency;
use chatlane_protocol::limits::ADMISSION_PER_S;
use chatlane_tests_e2e::floor::Floor;
use chatlane_tests_e2e::{Running, start};
use chatlane_tests_load::cpu::Cpu;
use chatlane_tests_load::ledger::{histogram, micros};
use chatlane_tests_load::pairs::Pairs;
use chatlane_tests_load::table;
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Load on a stack of its own.
#[derive(Debug, Parser)]
struct Options {
    /// Messages a second, over all pairs.
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before them: processes start, connections open.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Pairs of users, a device each.
    #[arg(long, default_value_t = 8)]
    pairs: u32,
    /// Whose latencies the requests of the functions have, this machine's or AWS's.
    #[arg(long, value_enum, default_value_t = Whose::Local)]
    latency: Whose,
    /// Of the due times and the latencies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whose {
    Local,
    Aws,
}

/// The floor is measured so often meanwhile.
const FLOOR_EVERY: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!(options.rate > 0.0 && options.pairs > 0, "--rate and --pairs are above 0");
    // A Poisson process has its bursts; beyond half of what is admitted they would measure the waits that admission asks for.
    let admitted = f64::from(options.pairs * ADMISSION_PER_S) / 2.0;
    ensure!(options.rate <= admitted, "--rate {} is above {admitted}, half of what {} conversations admit", options.rate, options.pairs);
    let stack = start(|settings| {
        settings.visibility_timeout = Duration::from_secs(30); // as deployed, at least six times what a worker takes
        settings.latency = match options.latency {
            Whose::Local => Latency::Local,
            Whose::Aws => Latency::Aws { seed: options.seed },
        };
    })
    .await;
    let pairs = Pairs::connect(&stack, usize::try_from(options.pairs)?).await?;

    let began = Instant::now();
    let (from, to) = (began + Duration::from_secs(options.warm_up), began + Duration::from_secs(options.warm_up + options.seconds));
    let talking = pairs.talk(options.rate, options.seed, sleep(to - began));
    let mut cpu = Cpu::default();
    let measuring = async {
        sleep(from - Instant::now()).await;
        let before = Cpu::now()?;
        let floor = floor(&stack, to).await?;
        cpu = Cpu::now()?.since(before);
        anyhow::Ok(floor)
    };
    let (talked, floor) = tokio::join!(talking, measuring);
    talked?;
    report(&options, &pairs, &floor?, cpu, from..to);
    Ok(())
}

/// A put and an enqueue every [`FLOOR_EVERY`] until `end`.
async fn floor(stack: &Running, end: Instant) -> anyhow::Result<Histogram<u64>> {
    let (floor, mut took, mut turns) = (Floor::of(stack).await, histogram(), interval(FLOOR_EVERY));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        turns.tick().await;
        if Instant::now() >= end {
            break;
        }
        let step = floor.step(turn).await?;
        // The first one opens the connections.
        if turn > 0 {
            took.saturating_record(micros(step));
        }
    }
    Ok(took)
}

fn report(options: &Options, pairs: &Pairs, floor: &Histogram<u64>, cpu: Cpu, span: std::ops::Range<Instant>) {
    let took = span.end - span.start;
    let measured = pairs.ledger().measured(span);
    let latency = match options.latency {
        Whose::Local => "latencies of this machine",
        Whose::Aws => "latencies of AWS",
    };
    println!("{} messages/s offered for {} s by {} pairs; {latency}; {}", options.rate, options.seconds, options.pairs, table::machine());
    let lines = [("floor: put + enqueue", floor), ("send → ack", &measured.acknowledged), ("send → deliver", &measured.delivered)];
    println!("{}", table::latencies(&lines, Some(floor)));
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    let offered = measured.offered as f64;
    println!(
        "{} messages were due ({:.1}/s): all acknowledged, all delivered, {} of them again; {}",
        measured.offered,
        offered / took.as_secs_f64(),
        measured.doubled,
        measured.tally
    );
    println!(
        "processor time: {:.1} s within {:.0} s; functions {:.1} s, generator with gateway and endpoints {:.1} s; {:.0} ms a message",
        cpu.all().as_secs_f64(),
        took.as_secs_f64(),
        cpu.children.as_secs_f64(),
        cpu.own.as_secs_f64(),
        cpu.all().as_secs_f64() * 1e3 / offered
    );
}
