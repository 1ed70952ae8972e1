//! 32 devices at once in one conversation: the lane stays a lane (L1, L2, L5), and everybody has the same transcript (D1).

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use chatlane_client::Store;
use chatlane_client::device::{DeviceOptions, NoToken};
use chatlane_local::embedded::{At, Call, Matching, Recording, Service};
use chatlane_protocol::limits::CONNECTIONS_PER_USER_MAX;
use chatlane_protocol::{Body, ConversationId, Token, UserId};
use chatlane_session::Shown;
use chatlane_tests_e2e::{Running, patiently, start, text, wire_log};
use futures_util::future::{join, join_all};
use tokio::sync::{mpsc, oneshot};

/// Of two users: as many as may be connected.
const DEVICES: usize = 2 * CONNECTIONS_PER_USER_MAX;

/// Of each device.
const MESSAGES: u64 = 20;

/// With the documented bound. Every device writes all its messages at once, so all their anchors are at the head that it knew at the start,
/// and most are too far behind when it is their turn: the clients catch up and go on.
// holds: L1, L2, L5, D1
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_clients_within_the_anchor_bound_has_one_transcript() {
    let stack = start(|settings| {
        // All 32 devices are at the gateway at once. On a machine with few cores, more processes would mostly lose races to each other;
        // those that find no process are told so, and come again with the same id.
        settings.concurrency_max = 4;
        // Longer than any worker takes on a busy machine: tasks handed out twice would only add to its load.
        settings.visibility_timeout = Duration::from_secs(30);
        settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned());
    })
    .await;
    let opened = stack.silent_device(user(0)).await.open(user(1)).await.unwrap();
    let (finished, finish) = oneshot::channel();
    let answers = tokio::spawn(Answers::watch(stack.record(), finish));

    let began = Instant::now();
    let clients = join_all((0..DEVICES).map(|number| client(&stack, number, &opened.conversation))).await;
    let talking = join_all(clients.into_iter().enumerate().map(|(number, client)| client.talk(number, &opened.conversation)));
    let (stores, ()) = join(talking, contend(&stack)).await;
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
    assert!(answers.lost_races > 0, "nobody contended for a slot");
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
    /// Puts that found their slot taken.
    lost_races: u64,
}

impl Answers {
    async fn watch(calls: Recording, finish: oneshot::Receiver<()>) -> Self {
        let mut answers = Self::default();
        each(calls, finish, |call| {
            let lost = call.caller.function() == "send" && call.operation == "PutItem" && call.status == 400;
            answers.lost_races += u64::from(lost);
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
        write!(f, "{} puts lost a race; answers: {} of them anchor_stale", self.lost_races, self.stale)?;
        self.all.iter().try_for_each(|(function, answers)| write!(f, ", {answers} × {function}"))
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
