//! 32 devices at once in one conversation: the lane stays a lane (L1, L2, L5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use chatlane_chat::workers::fan_out::RANGE_MAX;
use chatlane_chat::workers::task::Task;
use chatlane_client::Store;
use chatlane_client::device::{DeviceOptions, NoToken};
use chatlane_local::Settings;
use chatlane_local::embedded::{At, Call, Matching, Recording, Service};
use chatlane_protocol::limits::CONNECTIONS_PER_USER_MAX;
use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{Body, ConversationId, Entry, EntryKind, Position, Token, UserId};
use chatlane_session::Shown;
use chatlane_tests_e2e::{Device, Running, message, patiently, seed, start, text, wire_log};
use chatlane_tests_support::sender::{Sender, Tally};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// Of two users: as many as may be connected.
const DEVICES: usize = 2 * CONNECTIONS_PER_USER_MAX;

/// Of each device.
const MESSAGES: u64 = 40;

/// How far back a delivery task goes that does not know the head before, such as one that is received again (DESIGN §6).
const REPEATED_RANGE: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_full_speed_leaves_every_message_once_and_no_gap() {
    let stack = start(|settings| {
        for_a_crowd(settings);
        // A device that waits its turn falls behind by more than the anchor's bound; catching up is for `probe`.
        for name in ["CHATLANE_ANCHOR_ENTRIES_MAX", "CHATLANE_ANCHOR_BYTES_MAX"] {
            settings.environment.insert(name.to_owned(), 1_000_000_000.to_string());
        }
    })
    .await;
    // A device that listens gets every entry: what that costs is known with eight.
    Crowd::gather(&stack, 8).await.talk(&stack).await;
}

fn for_a_crowd(settings: &mut Settings) {
    // All 32 devices are at the gateway at once. On a machine with few cores, more processes would mostly lose races to each other; those
    // that find no process are told so, and come again with the same id.
    settings.concurrency_max = 4;
    // Longer than any worker takes on a busy machine: tasks handed out twice would only add to its load.
    settings.visibility_timeout = Duration::from_secs(30);
    settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned());
}

/// With the documented bound. Every device writes all its messages at once, so all their anchors are at the head that it knew at the start,
/// and most are too far behind when it is their turn: the clients catch up and go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_clients_within_the_anchor_bound_has_one_transcript() {
    let stack = start(for_a_crowd).await;
    let opened = stack.silent_device(user(0)).await.open(user(1)).await.unwrap();
    let (finished, finish) = oneshot::channel();
    let answers = tokio::spawn(Answers::watch(stack.record(), finish));

    let began = Instant::now();
    let clients = join_all((0..DEVICES).map(|number| client(&stack, number, &opened.conversation))).await;
    let stores = join_all(clients.into_iter().enumerate().map(|(number, client)| client.talk(number, &opened.conversation))).await;
    let took = began.elapsed();
    finished.send(()).unwrap();
    let answers = answers.await.unwrap();

    let log = wire_log(&stack.store().await, &opened.conversation).await;
    let seqs = log.iter().map(|entry| entry.position.seq.get());
    assert!(seqs.eq(1..=1 + DEVICES as u64 * MESSAGES), "L1");
    let mut said: BTreeMap<&str, u64> = BTreeMap::new();
    for text in log[1..].iter().filter_map(text) {
        let (line, device) = text.split_once(" of ").unwrap();
        let before = said.entry(device).or_default();
        *before += 1;
        assert_eq!(line, format!("line {before}"), "L2, L5: of {device}");
    }
    assert_eq!(said.len(), DEVICES);
    for store in &stores {
        assert!(store.entries(&opened.conversation, None, usize::MAX).unwrap() == log, "a transcript is the log");
        assert!(store.restore().unwrap().outbox.is_empty());
    }
    println!("{} transcripts of {} entries identical in {took:.1?}; {answers}", stores.len(), log.len());
    // A bound that nobody met would prove nothing. All but the first ones in the log were beyond it.
    assert!(answers.stale > 0);
}

/// A device with the real client, and what it shows.
struct Client {
    device: chatlane_client::Device,
    shown: mpsc::UnboundedReceiver<Shown>,
}

/// A client of this device that knows the conversation.
async fn client(stack: &Running, number: usize, conversation: &ConversationId) -> Client {
    let store = Store::in_memory(&UserId::new(user(number)).unwrap()).unwrap();
    let mut options = DeviceOptions::new(stack.url(), &store);
    // The crowd has said more before the last client is there than a new device fetches by itself.
    options.settings.new_entries_max = u64::MAX;
    // All of them are refused again and again while there is a crowd; the longest pauses of a phone would only be waited for.
    options.settings.back_off_max_ms = 4_000;
    let token = Token::new(stack.token(user(number), Duration::from_hours(1))).unwrap();
    let token = move || std::future::ready(Ok::<_, NoToken>(token.clone()));
    let (device, shown) = chatlane_client::Device::start(options, store, token).unwrap();
    let mut client = Client { device, shown };
    client.until(|shown| matches!(shown, Shown::Entry { conversation: of, .. } if of == conversation)).await;
    client
}

impl Client {
    /// Waits until this is shown.
    async fn until(&mut self, which: impl Fn(&Shown) -> bool) {
        while !which(&patiently("a client shows something", self.shown.recv()).await.expect("a client goes on")) {}
    }

    /// Says everything at once, waits until everybody's is there, and ends.
    async fn talk(mut self, number: usize, conversation: &ConversationId) -> Store {
        for line in 1..=MESSAGES {
            self.device.compose(conversation.clone(), Body::text(format!("line {line} of {number}")).unwrap());
        }
        let all = 1 + DEVICES as u64 * MESSAGES;
        self.until(|shown| matches!(shown, Shown::Entry { entry, .. } if entry.position.seq.get() == all)).await;
        self.device.shutdown().await.unwrap()
    }
}

/// What the functions answered to the clients.
#[derive(Default)]
struct Answers {
    /// Of each function.
    all: BTreeMap<String, u64>,
    /// Of `send`, with a message whose anchor is too far behind.
    stale: u64,
}

impl Answers {
    async fn watch(calls: Recording, finish: oneshot::Receiver<()>) -> Self {
        let mut answers = Self::default();
        each(calls, finish, |call| {
            if call.service == Service::Runtime && call.operation == "Response" {
                *answers.all.entry(call.caller.function().to_owned()).or_default() += 1;
                let stale = call.caller.function() == "send" && call.request.to_string().contains("anchor_stale");
                answers.stale += u64::from(stale);
            }
        })
        .await;
        answers
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answers: {} of them anchor_stale", self.stale)?;
        self.all.iter().try_for_each(|(function, answers)| write!(f, ", {answers} × {function}"))
    }
}

/// All devices of both users, and their conversation.
struct Crowd {
    devices: Vec<Device>,
    /// So many, the first, have said hello.
    listening: usize,
    conversation: ConversationId,
    head: Position,
}

impl Crowd {
    async fn gather(stack: &Running, listening: usize) -> Self {
        let mut devices = vec![];
        for number in 0..DEVICES {
            devices.push(if number < listening { stack.device(user(number)).await } else { stack.silent_device(user(number)).await });
        }
        let opened = devices[0].open(user(1)).await.unwrap();
        stack.quiet().await;
        Self { devices, listening, conversation: opened.conversation, head: opened.head }
    }

    /// Every device sends its messages, one after the ack of the other. Judges what is stored, what was acknowledged and what was
    /// delivered.
    async fn talk(&self, stack: &Running) {
        let (seed, conversation) = (seed(), &self.conversation);
        let (finished, finish) = oneshot::channel();
        let begun = tokio::spawn(Begun::watch(stack.record(), finish));

        let first_sent = Instant::now();
        let speaking = join_all(self.devices.iter().zip(seed..).map(|(device, seed)| speak(device, conversation, self.head, seed)));
        let (sent_and_tallies, ()) = join(speaking, contend(stack)).await;
        let (sent, tallies): (Vec<_>, Vec<_>) = sent_and_tallies.into_iter().unzip();
        let took = first_sent.elapsed();
        stack.quiet().await;
        finished.send(()).unwrap();
        let begun = begun.await.unwrap();

        let log = wire_log(&stack.store().await, conversation).await;
        lane_is_whole(&log, &sent);
        assert!(begun.lost_races > 0, "nobody contended for a slot");
        let cut = begun.cut();
        let mut missing = 0;
        for (device, sent) in self.devices.iter().zip(&sent).take(self.listening) {
            missing += everything_came(device, conversation, &log, sent, &cut).await;
        }

        let mut tally = Tally::default();
        for one in &tallies {
            tally.add(one);
        }
        println!("{} devices sent {} messages in {took:.1?}: {tally}", self.devices.len(), log.len() - 1);
        println!(
            "{} puts lost a race; live: {} deliveries begun, {} entries in ranges that are cut, {missing} left to sync on all devices",
            begun.lost_races,
            begun.raised.len(),
            cut.len()
        );
    }
}

/// The first two puts are let go together. Nobody has put anything before, so both are for the first free slot, and one of them loses it,
/// however slow the machine is.
async fn contend(stack: &Running) {
    let puts = Matching::service(Service::DynamoDb).function("send").operation("PutItem");
    let mut hold = stack.endpoints().hold(puts, At::Request, 2);
    let first = patiently("a put", hold.caught()).await;
    let second = patiently("another put", hold.caught()).await;
    first.release();
    second.release();
}

fn user(number: usize) -> &'static str {
    ["alice", "bob"][number % 2]
}

type Sent = Vec<(NewMessage, Position)>;

async fn speak(device: &Device, conversation: &ConversationId, head: Position, seed: u64) -> (Sent, Tally) {
    let mut sender = Sender::new(seed);
    let (mut known, mut sent) = (head, vec![]);
    for n in 1..=MESSAGES {
        let anchor = known.max(last_live(device).await);
        let message = message(format!("line {n} of {}", device.id), anchor);
        let stored = sender.send(device, conversation, &message).await.stored();
        assert!(stored.position > known, "L5: {} is not after {known}", stored.position);
        known = stored.position;
        sent.push((message, known));
    }
    (sent, sender.tally)
}

/// The end of the last live frame: with the last ack, what a device knows of the log.
async fn last_live(device: &Device) -> Position {
    let last = device.until("a look at the frames", |frames| {
        let live = frames.iter().rev().find_map(|frame| frame["entries"].as_array());
        Some(live.and_then(|entries| entries.last()).map(|entry| entry["position"].clone()))
    });
    let last = last.await.expect("the connection stays open");
    last.map_or(Position::ZERO, |position| serde_json::from_value(position).unwrap())
}

/// L1, L2, L3: consecutive seqs, each acknowledged message where its ack said, and nothing else.
fn lane_is_whole(log: &[Entry], sent: &[Sent]) {
    let seqs: Vec<u64> = log.iter().map(|entry| entry.position.seq.get()).collect();
    assert!(seqs.iter().copied().eq(1..=1 + DEVICES as u64 * MESSAGES), "{seqs:?}");
    assert!(log.iter().all(|entry| entry.count + 1 == entry.position.seq.get()), "the count goes up by one with each message");
    let mut places = BTreeSet::new();
    for (number, sent) in sent.iter().enumerate() {
        for (message, position) in sent {
            let entry = &log[index(*position)];
            assert_eq!((&entry.client_message_id, entry.sender.as_str()), (&message.client_message_id, user(number)));
            assert_eq!(entry.kind, EntryKind::Message { body: message.body.clone() });
            assert_eq!(entry.position, *position);
            places.insert(*position);
        }
    }
    // As many places as messages, each with another message: none is there twice, and no entry is nobody's.
    assert_eq!(places.len() + 1, log.len());
}

fn index(position: Position) -> usize {
    usize::try_from(position.seq.get() - 1).unwrap()
}

/// What came live is what is stored, and together with the device's own acks it is everything that was not cut. Answers how many entries
/// are left to sync.
async fn everything_came(device: &Device, conversation: &ConversationId, log: &[Entry], sent: &Sent, cut: &BTreeSet<u64>) -> usize {
    // Posts that were accepted come before the answer to a later request.
    device.request(json!({ "action": "ping" })).await.unwrap();
    let live = device.entries(conversation).unwrap();
    for entry in live.values() {
        assert_eq!(*entry, log[index(entry.position)]);
    }
    let own: BTreeSet<Position> = sent.iter().map(|(_, position)| *position).collect();
    let missing = log[1..].iter().map(|entry| entry.position).filter(|at| !own.contains(at) && !live.contains_key(&at.seq));
    let missing: Vec<u64> = missing.map(|position| position.seq.get()).collect();
    let lost: Vec<&u64> = missing.iter().filter(|seq| !cut.contains(seq)).collect();
    assert!(lost.is_empty(), "entries {lost:?} never came to {}", device.id);
    missing.len()
}

/// Hands out every call until it is told that there are no more. Taken as they come: together they would be gigabytes.
async fn each(calls: Recording, finish: oneshot::Receiver<()>, mut note: impl FnMut(&Call)) {
    let mut finish = pin!(finish);
    loop {
        let finished = tokio::select! {
            _ = &mut finish => true,
            () = calls.until(|calls| (!calls.is_empty()).then_some(())) => false,
        };
        calls.take().iter().for_each(&mut note);
        if finished {
            return;
        }
    }
}

/// How the workers' deliveries began, from their calls. Every entry is in exactly one raise of the head, and the task that raised it posts
/// all of the raise but what DESIGN §6 cuts; the tail is never cut, so every device learns that it has to sync.
#[derive(Default)]
struct Begun {
    /// The last seq of a task whose worker raised the head, to the head before.
    raised: BTreeMap<u64, u64>,
    /// Tasks of which a worker did not know the head before: the queue handed them out again, or their raise had to be repeated.
    unknowing: BTreeSet<u64>,
    /// Puts that found their slot taken.
    lost_races: usize,
}

impl Begun {
    async fn watch(calls: Recording, finish: oneshot::Receiver<()>) -> Self {
        let mut begun = Self::default();
        each(calls, finish, |call| match call.caller.function() {
            "fan_out" => begun.note(call),
            "send" if call.operation == "PutItem" && call.status == 400 => begun.lost_races += 1,
            _ => {}
        })
        .await;
        begun
    }

    fn note(&mut self, call: &Call) {
        if call.service == Service::Runtime && call.operation == "Next" {
            for record in call.answer["Records"].as_array().into_iter().flatten() {
                if record["attributes"]["ApproximateReceiveCount"] != "1" {
                    let task: Task = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
                    self.unknowing.insert(task.last.seq.get());
                }
            }
        }
        if call.operation == "UpdateItem" && call.request["TableName"] == "conversations" {
            let seq = |value: &Value| value["N"].as_str().unwrap().parse::<u64>().unwrap();
            let last = seq(&call.request["ExpressionAttributeValues"][":s"]);
            if call.status == 200 {
                self.raised.insert(last, seq(&call.answer["Attributes"]["s"]));
            } else if seq(&call.answer["Item"]["s"]) == last {
                self.unknowing.insert(last);
            }
        }
    }

    /// The entries that need not come live.
    fn cut(&self) -> BTreeSet<u64> {
        let cut = self.raised.iter().flat_map(|(&last, &before)| {
            let kept = if self.unknowing.contains(&last) { REPEATED_RANGE } else { RANGE_MAX };
            before + 1..=last.saturating_sub(kept)
        });
        cut.collect()
    }
}
