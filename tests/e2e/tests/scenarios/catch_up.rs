//! A device that was away: what it misses comes whole, and costs what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use chatlane_chat::testing::builders::position;
use chatlane_local::embedded::{Call, Service};
use chatlane_protocol::request::{Known, SyncFrom};
use chatlane_protocol::{ConversationId, Entry, Position};
use chatlane_tests_e2e::past::Past;
use chatlane_tests_e2e::{Device, Running, Traffic, start, wire_log};
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
        let stored = wire_log(&store, conversation).await;
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
