//! How long a message takes on this machine, beside the floor of the same run. Printed, never judged.
//!
//! Floor ([`Floor`]) and message take turns, so that both meet the same machine. One message at a time: this is latency when nothing waits,
//! not throughput, which is for `load`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chatlane_protocol::frames::Outcome;
use chatlane_protocol::{ConversationId, Position, Seq};
use chatlane_tests_e2e::floor::Floor;
use chatlane_tests_e2e::{Device, Running, message, start};
use chatlane_tests_load::ledger::{histogram, micros};
use chatlane_tests_load::table;

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
    let mut took = [histogram(), histogram(), histogram()];
    let mut tail = lane.opened;
    for turn in 0..WARM_UP + MESSAGES {
        // The previous task is done, so that its worker takes nothing from this turn.
        stack.quiet().await;
        let floor = floor.step(turn).await?;
        let sent = lane.send(turn, tail).await?;
        tail = sent.position;
        if turn >= WARM_UP {
            for (took, of_turn) in took.iter_mut().zip([floor, sent.acknowledged, sent.delivered]) {
                took.saturating_record(micros(of_turn));
            }
        }
    }
    println!("{MESSAGES} messages, one after the other, between two devices; warm; {}", table::machine());
    let names = ["floor: put + enqueue", "send → ack", "send → deliver"];
    let lines: Vec<_> = names.into_iter().zip(&took).collect();
    println!("{}", table::latencies(&lines, Some(&took[0])));
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
