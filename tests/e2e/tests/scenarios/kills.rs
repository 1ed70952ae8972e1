//! Processes that are killed, and answers that are lost, at exact points: the retry is answered with the first position (L2), the log has
//! one entry, and everybody gets it (L4). Pairs of users work in parallel; each scenario goes on until it has its [`FAULTS`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chatlane_aws::Store;
use chatlane_chat::Entry;
use chatlane_local::Settings;
use chatlane_local::embedded::{At, Call, Held, Hold, Matching, Service};
use chatlane_local::stack::DEAD_LETTER_QUEUE;
use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::{Device, Running, message, patiently, seed, start, stored_log};
use chatlane_tests_support::sender::{Sender, Sent, Tally};
use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};
use serde_json::Value;

/// Of each scenario, at least.
const FAULTS: u64 = 50;

const PAIRS: u64 = 10;

/// Two users with a conversation; the second one has two devices.
struct Pair {
    alice: Device,
    bob: [Device; 2],
    conversation: ConversationId,
    /// The last position that alice's device knows.
    known: Position,
    sender: Sender,
}

/// A stack with its pairs.
struct Scene {
    stack: Running,
    store: Store,
    pairs: Vec<Pair>,
}

impl Scene {
    async fn set() -> Self {
        let without_giving_up = |settings: &mut Settings| {
            // A task that shares its batch with a task to be killed for dies with it, as often as that happens.
            settings.max_receive_count = 1000;
            // Work that takes longer is handed out again before it is done: a slow machine would never finish what ten pairs have queued.
            settings.visibility_timeout = Duration::from_secs(2);
        };
        let (stack, seed) = (start(without_giving_up).await, seed());
        let mut pairs = vec![];
        for number in 0..PAIRS {
            let (alice, bob) = (format!("alice-{number}"), format!("bob-{number}"));
            let (alice, receivers) = (stack.device(&alice).await, [stack.device(&bob).await, stack.device(&bob).await]);
            let opened = alice.open(&bob).await.unwrap();
            let sender = Sender::new(seed.wrapping_add(number));
            pairs.push(Pair { alice, bob: receivers, conversation: opened.conversation, known: opened.head, sender });
        }
        stack.quiet().await;
        let store = stack.store().await;
        Self { stack, store, pairs }
    }

    /// Every pair goes through `scenario` with one message after the other, until all of them together have seen enough faults; the
    /// scenario answers how many it has made. Then every log is compared with what was sent, and every task must have been done.
    async fn play(mut self, name: &str, scenario: impl AsyncFn(&Running, &Store, &mut Pair, NewMessage) -> u64) {
        let (faults, messages) = (AtomicU64::new(0), AtomicU64::new(0));
        let played = self.pairs.iter_mut().map(async |pair| {
            while faults.load(Ordering::Relaxed) < FAULTS {
                let message = message(format!("message {}", messages.fetch_add(1, Ordering::Relaxed)), pair.known);
                faults.fetch_add(scenario(&self.stack, &self.store, pair, message).await, Ordering::Relaxed);
            }
        });
        join_all(played).await;
        self.stack.quiet().await;
        assert!(self.stack.queue().depth(DEAD_LETTER_QUEUE).unwrap().is_empty(), "a task was given up");

        let (mut tally, mut entries) = (Tally::default(), 0);
        for pair in &self.pairs {
            let log = stored_log(&self.store, &pair.conversation).await;
            assert!(log.iter().map(|entry| entry.position.seq.get()).eq(1..=pair.known.seq.get()), "L1");
            entries += log.len() as u64 - 1;
            tally.add(&pair.sender.tally);
        }
        assert_eq!(entries, messages.into_inner(), "one entry for each message");
        println!("{name}: {} faults in {entries} messages; {tally}", faults.into_inner());
    }
}

impl Pair {
    /// Sends until the message is stored; it is the next entry of the log, the only one of its id, and comes to both of bob's devices.
    async fn send(&mut self, store: &Store, message: &NewMessage) -> Sent {
        let sent = self.sender.send(&self.alice, &self.conversation, message).await;
        self.arrived(store, message, sent.stored().position).await;
        sent
    }

    async fn arrived(&mut self, store: &Store, message: &NewMessage, at: Position) {
        assert_eq!(at.seq, self.known.seq.next());
        assert_eq!(self.in_log(store, message).await.iter().map(|entry| entry.position).collect::<Vec<_>>(), [at]);
        for device in &self.bob {
            let entry = device.entry(&self.conversation, at.seq.get()).await;
            assert_eq!((entry.position, &entry.client_message_id), (at, &message.client_message_id));
        }
        self.known = at;
    }

    /// The entries of this message.
    async fn in_log(&self, store: &Store, message: &NewMessage) -> Vec<Entry> {
        let log = stored_log(store, &self.conversation).await;
        log.into_iter().filter(|entry| entry.client_message_id == message.client_message_id).collect()
    }

    /// Sends once; meanwhile `fault` happens to it.
    async fn attempt<T>(&self, message: &NewMessage, fault: impl Future<Output = T>) -> T {
        let (answer, done) = join(self.alice.send(&self.conversation, std::slice::from_ref(message)), fault).await;
        assert!(answer.is_err(), "L3: nothing is acknowledged by a process that was killed: {answer:?}");
        done
    }
}

/// Requests of a function that name this text, an id, anywhere.
pub(super) fn naming(service: Service, function: &str, operation: &str, id: &impl ToString) -> Matching {
    let id = id.to_string();
    Matching::service(service).function(function).operation(operation).when(move |call: &Call| call.request.to_string().contains(&id))
}

pub(super) async fn caught(trap: &mut Hold) -> Held {
    patiently("a request is caught", trap.caught()).await
}

/// Kills the process that waits. False if it was dead already, with another one's task.
pub(super) async fn kill(stack: &Running, held: &Held) -> bool {
    stack.lambda().kill(&held.call.caller.0).await
}

/// A process of `send` is killed where `point` holds it, after its put: the retry is a duplicate at the first position.
async fn send_is_killed_after_its_put(name: &str, at: At, point: impl Fn(&Pair, &NewMessage) -> Matching) {
    let scenario = async |stack: &Running, store: &Store, pair: &mut Pair, message: NewMessage| {
        // All that fit: the SDK of a process that waits for long begins to repeat its request.
        let mut trap = stack.endpoints().hold(point(pair, &message), at, usize::MAX);
        let death = async {
            let held = caught(&mut trap).await;
            assert!(kill(stack, &held).await);
            held.lose();
            // What the dead process sent again before it died must not be let go with the trap.
            while let Some(again) = trap.caught().now_or_never() {
                again.lose();
            }
        };
        pair.attempt(&message, death).await;
        drop(trap);

        let first = pair.in_log(store, &message).await;
        let Sent::Duplicate(stored) = pair.send(store, &message).await else { panic!("L2: a second entry") };
        assert_eq!((first.len(), first[0].position), (1, stored.position), "the answer is the first position");
        1
    };
    Scene::set().await.play(name, scenario).await;
}

// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn send_is_killed_between_its_put_and_the_answer_of_the_put() {
    let put = |_: &Pair, message: &NewMessage| naming(Service::DynamoDb, "send", "PutItem", &message.client_message_id);
    send_is_killed_after_its_put("killed between put and its answer", At::Answer, put).await;
}

// holds: L4
#[tokio::test(flavor = "multi_thread")]
async fn send_is_killed_between_put_and_enqueue() {
    let enqueue = |pair: &Pair, _: &NewMessage| naming(Service::Sqs, "send", "SendMessage", &pair.conversation);
    send_is_killed_after_its_put("killed between put and enqueue", At::Request, enqueue).await;
}

// holds: L3
#[tokio::test(flavor = "multi_thread")]
async fn send_is_killed_before_its_answer() {
    let answer = |_: &Pair, message: &NewMessage| naming(Service::Runtime, "send", "Response", &message.client_message_id);
    send_is_killed_after_its_put("killed before the answer", At::Request, answer).await;
}

/// The put of a dead process is still on its way when the retry has got the slot after the same anchor: it is refused, not a second entry.
// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_arrives_after_its_process_is_dead_and_its_retry_is_stored_changes_nothing() {
    let scenario = async |stack: &Running, store: &Store, pair: &mut Pair, message: NewMessage| {
        let put = || naming(Service::DynamoDb, "send", "PutItem", &message.client_message_id);
        let mut trap = stack.endpoints().hold(put(), At::Request, usize::MAX);
        let death = async {
            let held = caught(&mut trap).await;
            assert!(kill(stack, &held).await);
            held
        };
        let late = pair.attempt(&message, death).await;
        let dead = late.call.caller.clone();
        drop(trap);
        let _by_the_retry = pair.send(store, &message).await;

        let calls = stack.record();
        late.release();
        let arrived = calls.until(|calls| calls.iter().find(|call| call.caller == dead).map(|call| call.status));
        assert_eq!(patiently("the late put is answered", arrived).await, 400);
        assert_eq!(pair.in_log(store, &message).await.len(), 1);
        1
    };
    Scene::set().await.play("late put of a dead process", scenario).await;
}

/// The first post of a delivery has reached one of bob's devices, the second has not left the worker: the queue hands the task out again.
// holds: L4
#[tokio::test(flavor = "multi_thread")]
async fn fan_out_is_killed_after_a_post() {
    let scenario = async |stack: &Running, store: &Store, pair: &mut Pair, message: NewMessage| {
        let post = || naming(Service::Connections, "fan_out", "PostToConnection", &message.client_message_id);
        let mut posts = stack.endpoints().hold(post(), At::Request, 2);
        let mut answers = stack.endpoints().hold(post(), At::Answer, 1);
        let death = async {
            let (first, second) = (caught(&mut posts).await, caught(&mut posts).await);
            first.release();
            let posted = caught(&mut answers).await;
            let killed = kill(stack, &posted).await;
            posted.lose();
            second.lose();
            killed
        };
        let (_sent, killed) = join(pair.send(store, &message), death).await;
        if killed {
            // L4: begun, not done, and so repeated until it was: one device has it a second time.
            let [one, other] = &pair.bob;
            tokio::select! {
                () = comes_twice(one, &message) => {}
                () = comes_twice(other, &message) => {}
            }
        }
        u64::from(killed)
    };
    Scene::set().await.play("fan_out killed after a post", scenario).await;
}

async fn comes_twice(device: &Device, message: &NewMessage) {
    let id = message.client_message_id.as_str();
    let copies = |frames: &[Value]| {
        let entries = frames.iter().filter_map(|frame| frame["entries"].as_array()).flatten();
        entries.filter(|entry| entry["client_message_id"] == id).count()
    };
    let twice = device.until("an entry comes twice", |frames| (copies(frames) > 1).then_some(()));
    twice.await.expect("the connection stays open");
}

/// The messages that a process was given with an event of the queue: their ids, and whether this was their first receive.
fn batch(call: &Call) -> Option<Vec<(String, bool)>> {
    let records = (call.service == Service::Runtime && call.operation == "Next").then(|| call.answer["Records"].as_array())??;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let record = |record: &Value| (text(&record["messageId"]), record["attributes"]["ApproximateReceiveCount"] == "1");
    Some(records.iter().map(record).collect())
}

/// Everything is posted, and nobody but the worker knows: the queue hands the batch out again, whose entries its receivers have.
// holds: L4
#[tokio::test(flavor = "multi_thread")]
async fn fan_out_is_killed_before_its_answer() {
    let scene = Scene::set().await;
    let (calls, dead) = (scene.stack.record(), Mutex::new(vec![]));
    let scenario = async |stack: &Running, store: &Store, pair: &mut Pair, message: NewMessage| {
        // Any worker: which pairs' tasks share a batch is up to the queue. A killed one's tasks bring another answer, so there is always
        // one for each pair that waits.
        let answer = Matching::service(Service::Runtime).function("fan_out").operation("Response");
        let mut trap = stack.endpoints().hold(answer, At::Request, 1);
        let death = async {
            let held = caught(&mut trap).await;
            let killed = kill(stack, &held).await;
            if killed {
                dead.lock().unwrap().push(held.call.caller.clone());
            }
            held.lose();
            killed
        };
        let (_sent, killed) = join(pair.send(store, &message), death).await;
        u64::from(killed)
    };
    scene.play("fan_out killed before its answer", scenario).await;

    // L4: begun, not answered, and so handed out again, every message of every dead worker's last batch.
    let batches: Vec<_> = calls.calls().iter().filter_map(|call| Some((call.caller.clone(), batch(call)?))).collect();
    for worker in dead.into_inner().unwrap() {
        let died_with = batches.iter().rposition(|(caller, _)| *caller == worker).expect("it was given a batch");
        let (last, later) = (&batches[died_with].1, &batches[died_with + 1..]);
        let again = |id: &String| later.iter().flat_map(|(_, messages)| messages).any(|(other, first)| other == id && !first);
        assert!(!last.is_empty() && last.iter().all(|(id, _)| again(id)), "{worker} died with {last:?}, not all of which came again");
    }
}
