//! How long a message takes on this machine, beside the floor of the same run. Printed, never judged.
//!
//! Floor ([`Floor`]) and message take turns, so that both meet the same machine. One message at a time: this is latency when nothing waits,
//! not throughput, which is for `tests/load`.

use std::fmt;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chatlane_protocol::frames::Outcome;
use chatlane_protocol::{ConversationId, Position, Seq};
use chatlane_tests_e2e::floor::Floor;
use chatlane_tests_e2e::{Device, Running, message, start};
use hdrhistogram::Histogram;

/// Measured messages.
const MESSAGES: u64 = 500;

/// Messages before them: all processes are started, all connections open.
const WARM_UP: u64 = 50;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // One sender at full speed is above what a conversation admits.
    let stack = start(|settings| drop(settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned()))).await;
    let floor = Floor::of(&stack).await;
    let lane = Lane::of(&stack).await?;
    let mut table = Table::new()?;
    let mut tail = lane.opened;
    for turn in 0..WARM_UP + MESSAGES {
        // The previous task is done, so that its worker takes nothing from this turn.
        stack.quiet().await;
        let floor = floor.step(turn).await?;
        let took = lane.send(turn, tail).await?;
        tail = took.position;
        if turn >= WARM_UP {
            table.floor.record(micros(floor))?;
            table.acknowledged.record(micros(took.acknowledged))?;
            table.delivered.record(micros(took.delivered))?;
        }
    }
    print!("{table}");
    drop(lane);
    Ok(())
}

/// Alice's conversation with Bob.
struct Lane {
    alice: Device,
    bob: Device,
    conversation: ConversationId,
    opened: Position,
}

/// One message.
struct Took {
    acknowledged: Duration,
    delivered: Duration,
    position: Position,
}

impl Lane {
    async fn of(stack: &Running) -> anyhow::Result<Self> {
        let (alice, bob) = (stack.device("alice").await, stack.device("bob").await);
        let opened = alice.open("bob").await?;
        bob.entry(&opened.conversation, Seq::FIRST.get()).await;
        Ok(Self { alice, bob, conversation: opened.conversation, opened: opened.head })
    }

    async fn send(&self, turn: u64, tail: Position) -> anyhow::Result<Took> {
        let messages = [message(format!("message {turn}"), tail)];
        let before = self.bob.frames().len();
        let began = Instant::now();
        let acknowledged = async {
            let answer = self.alice.send(&self.conversation, &messages).await;
            (answer, began.elapsed())
        };
        let delivered = async {
            let entries = self
                .bob
                .until("the message is delivered", |frames| frames[before..].iter().any(|frame| frame["type"] == "entries").then_some(()));
            (entries.await, began.elapsed())
        };
        let ((answer, acknowledged), (entries, delivered)) = tokio::join!(acknowledged, delivered);
        entries.context("bob stays connected")?;
        let answer = answer?;
        let Outcome::Ok(stored) = answer.results[0].outcome else { anyhow::bail!("not stored: {answer:?}") };
        Ok(Took { acknowledged, delivered, position: stored.position })
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds.
struct Table {
    floor: Histogram<u64>,
    acknowledged: Histogram<u64>,
    delivered: Histogram<u64>,
}

impl Table {
    fn new() -> anyhow::Result<Self> {
        // Exact to three digits; grows as it must.
        Ok(Self { floor: Histogram::new(3)?, acknowledged: Histogram::new(3)?, delivered: Histogram::new(3)? })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let cores = available_parallelism().map_or(0, usize::from);
        writeln!(
            f,
            "{MESSAGES} messages, one after the other, between two devices; warm; profile {profile}; {cores} cores; milliseconds, × floor"
        )?;
        writeln!(f, "{:28}{:>8}{:8}{:>8}{:8}{:>8}", "", "p50", "", "p95", "", "p99")?;
        let lines = [("floor: put + enqueue", &self.floor), ("send → ack", &self.acknowledged), ("send → deliver", &self.delivered)];
        for (name, histogram) in lines {
            write!(f, "{name:28}")?;
            for quantile in [0.5, 0.95, 0.99] {
                let [took, floor] = [histogram, &self.floor].map(|histogram| milliseconds(histogram.value_at_quantile(quantile)));
                write!(f, "{took:>8.2} ×{:<5.1} ", took / floor)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1e3
}
