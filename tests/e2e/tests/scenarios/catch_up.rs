//! Devices that were away: what they miss comes whole, and costs what is missing; what they wanted to send gets in once.

use std::collections::BTreeMap;
use std::time::Duration;

use chatlane_chat::testing::builders::position;
use chatlane_local::embedded::{Call, Service};
use chatlane_protocol::frames::{Found, Outcome, ProbeAnswer};
use chatlane_protocol::request::{Known, NewMessage, SyncFrom};
use chatlane_protocol::{ConversationId, Entry, ErrorCode, Position, ServerFrame};
use chatlane_tests_e2e::past::Past;
use chatlane_tests_e2e::{Device, Running, Traffic, message, start, stored_log};
use serde_json::json;

const CONVERSATIONS: u64 = 50;

/// Entries of each conversation that are missed in one absence: 10,000 together.
const MISSED: u64 = 200;

/// Entries of each before the first absence; before the second there are eleven times as many.
const BEFORE: u64 = 20;

/// A call that took as long may have met the attempt timeout of its SDK client (1 s) and been sent twice: nothing can be compared.
const STALLED: Duration = Duration::from_millis(900);

/// What a device has: the entries of each conversation.
type Held = BTreeMap<ConversationId, Vec<Entry>>;

/// What coming back has cost.
struct Cost {
    traffic: Traffic,
    entries: usize,
    calls: BTreeMap<String, usize>,
    read_units: f64,
    write_units: f64,
    stalled: bool,
}

impl Cost {
    fn of(traffic: Traffic, entries: usize, calls: &[Call]) -> Self {
        let mut cost = Self { traffic, entries, calls: BTreeMap::new(), read_units: 0.0, write_units: 0.0, stalled: false };
        for call in calls.iter().filter(|call| call.service != Service::Runtime) {
            *cost.calls.entry(format!("{} {}", call.caller.function(), call.operation)).or_default() += 1;
            cost.read_units += call.read_units;
            cost.write_units += call.write_units;
            cost.stalled |= call.took >= STALLED;
        }
        cost
    }

    fn tell(&self, name: &str) {
        let Traffic { requests, sent_bytes, answered_bytes } = self.traffic;
        println!(
            "{name}: {} entries by {requests} requests ({sent_bytes} bytes) and as many answers ({answered_bytes} bytes); \
             AWS calls: {}, {} WCU, {} RCU: {:?}",
            self.entries,
            self.calls.values().sum::<usize>(),
            self.write_units,
            self.read_units,
            self.calls
        );
    }
}

/// Comes back: hello with what it has, then sync of what it misses, acknowledged page by page. Adds to what is held.
async fn come_back(stack: &Running, device: &Device, held: &mut Held) -> Cost {
    let have = |entries: &Vec<Entry>| entries.last().map_or(Position::ZERO, |last| last.position);
    let known =
        held.iter().map(|(conversation, entries)| Known { conversation: conversation.clone(), have: have(entries), read: Position::ZERO });
    let known: Vec<Known> = known.collect();
    let (recording, before) = (stack.record(), device.traffic());
    let pages = device.hello_knowing(&known).await.expect("hello is answered");
    let rows = pages.into_iter().flat_map(|page| page.conversations);
    let from = rows.map(|row| row.conversation.conversation);
    let from: Vec<SyncFrom> =
        from.map(|conversation| SyncFrom { after: held.get(&conversation).map_or(Position::ZERO, have), conversation }).collect();
    let fetched = device.catch_up(&from).await.expect("sync is answered");
    stack.quiet().await;
    let entries = fetched.values().map(Vec::len).sum();
    for (conversation, new) in fetched {
        held.entry(conversation).or_default().extend(new);
    }
    Cost::of(device.traffic().since(before), entries, &recording.take())
}

/// Two absences of one device, the second with a history eleven times as long.
async fn absences(stack: &Running, attempt: u64) -> [Cost; 2] {
    let user = format!("away-{attempt}");
    let friend = |number: u64| format!("friend-{attempt}-{number:02}");
    let mut past = Past::default();
    let conversations = (0..CONVERSATIONS).map(|number| past.conversation(&user, &friend(number), BEFORE));
    let conversations: Vec<ConversationId> = conversations.collect();
    past.write(stack).await;
    let (device, mut held) = (stack.device(&user).await, Held::new());
    let first = come_back(stack, &device, &mut held).await;
    assert_eq!(first.entries as u64, CONVERSATIONS * BEFORE, "a device with nothing gets everything");

    let mut costs = vec![];
    for (name, absence) in [("a short history", 0), ("one eleven times as long", 1)] {
        let before = BEFORE + absence * MISSED;
        let mut past = Past::default();
        for (number, conversation) in (0..).zip(&conversations) {
            past.messages(conversation, &friend(number), before + 1..=before + MISSED);
        }
        past.write(stack).await;
        let cost = come_back(stack, &device, &mut held).await;
        cost.tell(name);
        assert_eq!(cost.entries as u64, CONVERSATIONS * MISSED);
        costs.push(cost);
    }

    let store = stack.store().await;
    for conversation in &conversations {
        let stored: Vec<Entry> = stored_log(&store, conversation).await.iter().map(chatlane_chat::Entry::to_wire).collect();
        let seqs: Vec<u64> = held[conversation].iter().map(|entry| entry.position.seq.get()).collect();
        assert!(seqs.iter().copied().eq(1..=BEFORE + 2 * MISSED), "{conversation}: {seqs:?}");
        assert_eq!(json!(held[conversation]).to_string(), json!(stored).to_string(), "{conversation}");
    }
    // All is acknowledged: whoever asks is told so, and the next hello has nothing to tell.
    let known = held.iter().map(|(conversation, entries)| Known {
        conversation: conversation.clone(),
        have: entries.last().expect("entries").position,
        read: Position::ZERO,
    });
    let pages = device.hello_knowing(&known.collect::<Vec<_>>()).await.expect("hello is answered");
    assert!(pages.iter().all(|page| page.conversations.is_empty()), "{pages:?}");
    let other = stack.device(&friend(0)).await;
    let ping = other.request(json!({ "action": "ping", "open": [conversations[0]] })).await.expect("ping is answered");
    assert_eq!(ping["conversations"][0]["cursors"][0]["delivered"], json!(position(BEFORE + 2 * MISSED)), "{ping}");
    costs.try_into().unwrap_or_else(|_| unreachable!("two"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_away_for_ten_thousand_entries_catches_up_and_pays_for_what_is_missing_only() {
    let stack = start(|settings| settings.visibility_timeout = Duration::from_mins(1)).await;
    for attempt in 0..3 {
        let [short, long] = absences(&stack, attempt).await;
        if short.stalled || long.stalled {
            println!("the machine stalled: what was counted says nothing");
            continue;
        }
        assert_eq!(short.calls, long.calls, "the same is missing");
        assert_eq!(short.traffic.requests, long.traffic.requests);
        return;
    }
    panic!("a call took longer than {STALLED:?} in each of three measurements: nothing can be counted here");
}

async fn probe(device: &Device, conversation: &ConversationId, anchor: Position, sent: &NewMessage) -> ProbeAnswer {
    let ids = [&sent.client_message_id];
    let asked = json!({ "action": "probe", "conversation": conversation, "anchor": anchor, "ids": ids });
    match device.ask_again(asked).await.expect("probe is answered") {
        ServerFrame::Probe(answer) => answer,
        other => panic!("not an answer to probe: {other:?}"),
    }
}

/// Probes until the end of the log, or until the message is found; how often, and what is known then.
async fn probe_to_the_end(device: &Device, conversation: &ConversationId, sent: &NewMessage) -> (usize, Option<Found>, Position) {
    let mut anchor = sent.anchor;
    for probes in 1.. {
        let ProbeAnswer { found, reached, done, .. } = probe(device, conversation, anchor, sent).await;
        anchor = reached;
        if done || !found.is_empty() {
            return (probes, found.into_iter().next(), anchor);
        }
    }
    unreachable!("a log has an end")
}

/// Entries that come between a message's making and its sending: more than one probe looks through.
const BETWEEN: u64 = 1500;

async fn outcome(device: &Device, conversation: &ConversationId, sent: &NewMessage) -> Outcome {
    let answer = device.send(conversation, std::slice::from_ref(sent)).await.expect("send is answered");
    answer.results.into_iter().next().expect("a result").outcome
}

#[track_caller]
fn is_stale(outcome: &Outcome, tail: u64) {
    let Outcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
    assert_eq!((refusal.code, refusal.tail), (ErrorCode::AnchorStale, Some(position(tail))), "{refusal:?}");
}

async fn times_in_the_log(stack: &Running, conversation: &ConversationId, sent: &NewMessage) -> usize {
    let log = stored_log(&stack.store().await, conversation).await;
    log.iter().filter(|entry| entry.client_message_id == sent.client_message_id).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_older_than_the_anchors_bound_gets_in_once_by_probe() {
    let stack = start(|_| {}).await;
    let alice = stack.device("alice").await;
    let lane = alice.open("bob").await.unwrap();
    let never_tried = message("made in a tunnel", lane.head);
    let mut past = Past::default();
    past.messages(&lane.conversation, "bob", 2..=1 + BETWEEN);
    past.write(&stack).await;

    is_stale(&outcome(&alice, &lane.conversation, &never_tried).await, 1 + BETWEEN);
    let (probes, found, reached) = probe_to_the_end(&alice, &lane.conversation, &never_tried).await;
    assert_eq!((probes, found, reached), (2, None, position(1 + BETWEEN)));
    let sent = NewMessage { anchor: reached, ..never_tried };
    for again in [false, true] {
        match outcome(&alice, &lane.conversation, &sent).await {
            Outcome::Ok(stored) if !again => assert_eq!(stored.position, position(2 + BETWEEN)),
            Outcome::Duplicate(stored) if again => assert_eq!(stored.position, position(2 + BETWEEN)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(times_in_the_log(&stack, &lane.conversation, &sent).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_first_attempt_had_landed_is_found_by_probe_and_not_sent_again() {
    let stack = start(|_| {}).await;
    let alice = stack.device("alice").await;
    let lane = alice.open("bob").await.unwrap();
    // Its answer is lost, as far as the device knows.
    let sent = message("sent into a tunnel", lane.head);
    let Outcome::Ok(landed) = outcome(&alice, &lane.conversation, &sent).await else { panic!("not stored") };
    let mut past = Past::default();
    past.messages(&lane.conversation, "bob", 3..=2 + BETWEEN);
    past.write(&stack).await;

    is_stale(&outcome(&alice, &lane.conversation, &sent).await, 2 + BETWEEN);
    let (probes, found, _) = probe_to_the_end(&alice, &lane.conversation, &sent).await;
    let found = found.expect("it is in the log");
    assert_eq!((probes, found.stored, found.client_message_id), (1, landed, sent.client_message_id.clone()));
    assert_eq!(times_in_the_log(&stack, &lane.conversation, &sent).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_conversations_with_one_new_entry_each_come_in_two_pages() {
    let stack = start(|_| {}).await;
    let mut past = Past::default();
    let conversations = (0..100).map(|number| past.conversation("busy", &format!("friend-{number}"), 2));
    let from = conversations.map(|conversation| SyncFrom { conversation, after: position(1) });
    let from: Vec<SyncFrom> = from.collect();
    let another = past.conversation("busy", "another", 2);
    past.write(&stack).await;
    let device = stack.device("busy").await;
    // Starts the processes, which open their connections.
    device.catch_up(&[SyncFrom { conversation: another, after: position(1) }]).await.unwrap();
    let (recording, before) = (stack.record(), device.traffic());
    let fetched = device.catch_up(&from).await.unwrap();
    let cost = Cost::of(device.traffic().since(before), fetched.values().map(Vec::len).sum(), &recording.take());
    cost.tell("one each of a hundred");
    assert_eq!((fetched.len(), cost.entries), (100, 100));
    assert_eq!(cost.traffic.requests, 3, "two pages, and the ack of the second");
}
