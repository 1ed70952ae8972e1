//! Pairs of users, a device each, who talk in their direct conversations when messages are due.
//!
//! Each device has one request on its way and sends what came due meanwhile in the next one, as the client of `docs/PROTOCOL.md` does: its
//! messages keep their order, and a gateway error, which names no request, is about one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chatlane_protocol::limits::MESSAGES_PER_SEND_MAX;
use chatlane_protocol::{ConversationId, Entry, EntryKind, NewMessage, Position, ServerFrame};
use chatlane_tests_e2e::{Running, message};
use chatlane_tests_support::Device;
use chatlane_tests_support::sender::{Sender, Sent};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::ledger::Ledger;
use crate::schedule::Schedule;

/// What a message says: about as much as people write.
const TEXT: &str = "the quick brown fox jumps over the lazy dog, and then it does so again because nobody has seen it the first time";

/// How long a message may take to be acknowledged and delivered before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(2);

/// The pairs.
pub struct Pairs {
    couples: Vec<Pair>,
    ledger: Arc<Ledger>,
    _listening: JoinSet<()>,
}

struct Pair {
    conversation: ConversationId,
    sides: [Arc<Side>; 2],
}

struct Side {
    user: String,
    device: Device,
    /// The highest position that this device knows: the anchor of its next message.
    known: Mutex<Position>,
}

/// A side while it talks.
struct Talking {
    side: Arc<Side>,
    outbox: UnboundedSender<NewMessage>,
}

impl Pairs {
    /// Connects `count` pairs and opens their conversations.
    ///
    /// # Errors
    /// A device is not let in, or a request fails.
    pub async fn connect(stack: &Running, count: usize) -> anyhow::Result<Self> {
        let (ledger, mut couples, mut listening) = (Arc::new(Ledger::default()), vec![], JoinSet::new());
        for number in 0..count {
            let mut sides = vec![];
            for name in ["left", "right"] {
                let user = format!("{name} {number}");
                let device = stack.device(&user).await;
                sides.push(Arc::new(Side { user, device, known: Mutex::new(Position::ZERO) }));
            }
            let sides = <[_; 2]>::try_from(sides).ok().context("two sides")?;
            let opened = sides[0].device.open(&sides[1].user).await?;
            for side in &sides {
                side.knows(opened.head);
                listening.spawn(listen(side.clone(), ledger.clone()));
            }
            couples.push(Pair { conversation: opened.conversation, sides });
        }
        Ok(Self { couples, ledger, _listening: listening })
    }

    /// What became of the messages.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Talks at `per_s` messages a second over all pairs, which take turns, as do their sides; from now until `end`. Returns when every
    /// message that came due is acknowledged and delivered.
    ///
    /// # Errors
    /// A message will not be stored, or is not acknowledged and delivered in time.
    pub async fn talk(&self, per_s: f64, seed: u64, end: impl Future<Output = ()>) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut end = std::pin::pin!(end);
        let mut ended = None;
        let mut sending = JoinSet::new();
        let talking: Vec<[Talking; 2]> = self
            .couples
            .iter()
            .map(|pair| {
                pair.sides.clone().map(|side| {
                    let (outbox, due) = unbounded_channel();
                    sending.spawn(drain(side.clone(), pair.conversation.clone(), due, self.ledger.clone(), seed));
                    Talking { side, outbox }
                })
            })
            .collect();
        for (turn, due) in Schedule::new(per_s, seed).map(|due| began + due).enumerate() {
            if ended.is_none() {
                tokio::select! {
                    () = sleep_until(due.into()) => {}
                    () = &mut end => ended = Some(Instant::now()),
                }
            }
            // What was due before the end is sent, however late this task is.
            if ended.is_some_and(|ended| due > ended) {
                break;
            }
            let Talking { side, outbox } = &talking[turn % talking.len()][turn / talking.len() % 2];
            let message = message(TEXT, side.anchor());
            self.ledger.due(message.client_message_id.clone(), due);
            // Where it has failed, the sending task's end tells.
            outbox.send(message).ok();
        }
        drop(talking);
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        if timeout(PATIENCE, self.ledger.settled()).await.is_err() {
            let (unacknowledged, undelivered) = self.ledger.open();
            bail!("{unacknowledged} messages were never acknowledged, {undelivered} never delivered");
        }
        Ok(())
    }
}

impl Side {
    fn anchor(&self) -> Position {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, position: Position) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = position.max(*known);
    }
}

/// Sends what came due until nothing can any more.
async fn drain(
    side: Arc<Side>,
    conversation: ConversationId,
    mut due: UnboundedReceiver<NewMessage>,
    ledger: Arc<Ledger>,
    seed: u64,
) -> anyhow::Result<()> {
    let mut sender = Sender::new(seed);
    loop {
        let mut messages = vec![];
        if due.recv_many(&mut messages, MESSAGES_PER_SEND_MAX).await == 0 {
            ledger.add(&sender.tally);
            return Ok(());
        }
        let stored = |message: &NewMessage, sent: Sent| {
            ledger.acknowledged(&message.client_message_id, Instant::now());
            side.knows(sent.stored().position);
        };
        sender.send_all(&side.device, &conversation, messages, stored).await?;
    }
}

async fn listen(side: Arc<Side>, ledger: Arc<Ledger>) {
    let mut seen = 0;
    while let Some(frames) = side.device.found(|frames| frames.get(seen..).filter(|new| !new.is_empty()).map(<[_]>::to_vec)).await {
        let arrived = Instant::now();
        seen += frames.len();
        let all = frames.into_iter().flat_map(entries_of).filter(|entry| entry.sender.as_str() != side.user);
        // K1: what is told as of an unknown kind is not delivered.
        for entry in all.filter(|entry| entry.kind != EntryKind::Unknown) {
            ledger.delivered(&entry.client_message_id, arrived);
            side.knows(entry.position);
        }
    }
}

/// The entries of a push; of any other frame none.
pub fn entries_of(frame: Value) -> Vec<Entry> {
    match serde_json::from_value(frame) {
        Ok(ServerFrame::Entries(live)) => live.entries,
        _ => vec![],
    }
}
