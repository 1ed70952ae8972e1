//! Edits, reactions and deletions of one message, by sixteen devices at once, while the processes that write them are killed before and
//! after their transactions. What is stored at the end is what the log says, and each attempt is in it once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chatlane_chat::testing::builders::position;
use chatlane_local::Settings;
use chatlane_local::embedded::{At, Matching, Service};
use chatlane_protocol::{ConversationId, EntryKind, Message, Position, Reacting, ReactionChange, ReactionKey, Seq, UserId};
use chatlane_tests_e2e::{Device, DeviceError, Running, message, seed, start, wire_log};
use chatlane_tests_support::sender::Sender;
use chatlane_tests_support::{Dice, new_id};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::kills::{caught, kill};

/// Before the transaction takes effect, and after, at least.
const FAULTS: u64 = 50;

/// Messages, at least: every other one is deleted while others still react to it.
const ROUNDS: u64 = 8;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Of each user.
const DEVICES: usize = 4;

/// What each device does to one message.
const DEEDS: usize = 5;

const KEYS: [&str; 3] = ["+1", "👍", "ü"];

/// What somebody has asked for, and been answered.
struct Asked {
    user: &'static str,
    id: String,
    attempts: u32,
    answer: Value,
}

/// Repeats the request, with its id and its anchor, until it is answered for good.
async fn until_answered(device: &Device, user: &'static str, request: Value) -> Asked {
    let id = request["client_message_id"].as_str().unwrap_or_default().to_owned();
    for attempts in 1.. {
        let answer = match device.request(request.clone()).await {
            Ok(answer) => answer,
            Err(DeviceError::GatewayError(_)) => continue, // its process was killed: the outcome is unknown
            Err(error) => panic!("{request}: {error}"),
        };
        if answer["retryable"] != true {
            return Asked { user, id, attempts, answer };
        }
        tokio::time::sleep(std::time::Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or(50))).await;
    }
    unreachable!("it goes on until it is answered")
}

/// The highest position that has come to the device.
fn known(device: &Device, lane: &ConversationId) -> Position {
    let entries = device.entries(lane).expect("the same entry twice is the same");
    entries.into_values().next_back().map_or(position(1), |entry| entry.position)
}

/// A process is killed where its transaction is held, until that has been often enough.
async fn kills(stack: &Running, at: At, killed: &AtomicU64) {
    while killed.load(Ordering::Relaxed) < FAULTS {
        let transaction = Matching::service(Service::DynamoDb).function("send").operation("TransactWriteItems");
        let mut trap = stack.endpoints().hold(transaction, at, 1);
        let held = caught(&mut trap).await;
        killed.fetch_add(u64::from(kill(stack, &held).await), Ordering::Relaxed);
        held.lose();
    }
}

/// What one device does to the message of this round, at `target`; the second one of alice deletes it at last, in every other round.
async fn deeds(
    (user, number, device): &(&'static str, usize, Device),
    lane: &ConversationId,
    round: u64,
    target: Seq,
    seed: u64,
) -> Vec<Asked> {
    let mut dice = Dice::new(seed);
    let mut asked = vec![];
    for deed in 0..DEEDS {
        let is_deletion = is_deleted(round) && (*user, *number, deed) == ("alice", 1, DEEDS - 1);
        let (action, said) = if is_deletion {
            ("delete", json!({}))
        } else if *user == "alice" && dice.one_in(2) {
            ("edit", json!({ "body": { "content_type": "text/plain", "text": secret(round) } }))
        } else {
            let change = if dice.one_in(3) { "remove" } else { "add" };
            ("react", json!({ "key": KEYS[dice.below(KEYS.len())], "change": change }))
        };
        let mut request = json!({
            "action": action, "conversation": lane, "client_message_id": new_id(), "anchor": known(device, lane), "target": target,
        });
        request.as_object_mut().expect("an object").extend(said.as_object().expect("fields").clone());
        asked.push(until_answered(device, user, request).await);
    }
    asked
}

/// Whether the message of this round is deleted.
const fn is_deleted(round: u64) -> bool {
    round % 2 == 1
}

/// Words of a message of this round.
fn secret(round: u64) -> String {
    format!("secret of {round}: {}", new_id())
}

/// What a message is by the entries behind it.
#[derive(Default)]
struct Folded {
    edits: Vec<Seq>,
    body: Option<String>,
    deleted: bool,
    reactions: BTreeMap<ReactionKey, BTreeSet<UserId>>,
}

// holds: L2, M1
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_what_its_log_says_whoever_dies_while_it_is_changed() {
    let (stack, seed) = (start(|settings: &mut Settings| settings.max_receive_count = 1000).await, seed());
    let mut devices = vec![];
    for user in USERS {
        for number in 0..DEVICES {
            devices.push((user, number, stack.device(user).await));
        }
    }
    let (_, _, owner) = &devices[0];
    let create = json!({ "action": "create", "client_message_id": new_id(), "users": USERS[1..] });
    let lane: ConversationId = serde_json::from_value(owner.request(create).await.unwrap()["conversation"].clone()).unwrap();
    let (before, after, rounds, all) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), Mutex::new(vec![]));
    let killers = join(kills(&stack, At::Request, &before), kills(&stack, At::Answer, &after));
    let work = async {
        let is_enough = || before.load(Ordering::Relaxed) >= FAULTS && after.load(Ordering::Relaxed) >= FAULTS;
        while rounds.load(Ordering::Relaxed) < ROUNDS || !is_enough() {
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            let sent = Sender::new(seed.wrapping_add(round)).send(owner, &lane, &message(secret(round), known(owner, &lane))).await;
            let target = sent.stored().position.seq;
            let done =
                devices.iter().zip(seed.wrapping_add(1000 * round)..).map(|(device, seed)| deeds(device, &lane, round, target, seed));
            let done = join_all(done).await;
            all.lock().unwrap().extend(done.into_iter().flatten());
        }
    };
    // The killers wait for one more transaction each when the work is done: they are done before.
    join(killers, work).await;
    stack.quiet().await;

    let asked = all.into_inner().unwrap();
    let log = wire_log(&stack.store().await, &lane).await;
    assert!(log.iter().map(|entry| entry.position.seq.get()).eq(1..=log.len() as u64), "L1");
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    for Asked { user, id, attempts, answer } in &asked {
        let told = answer["status"].as_str().or(answer["code"].as_str()).unwrap_or_default().to_owned();
        let entries = log.iter().filter(|entry| entry.sender.as_str() == *user && entry.client_message_id.as_str() == id);
        let places: Vec<Position> = entries.map(|entry| entry.position).collect();
        match told.as_str() {
            "ok" | "duplicate" => {
                assert_eq!(json!(places), json!([answer["position"]]), "L2: {id} of {user}");
                assert!(told == "ok" || *attempts > 1, "the first attempt is no duplicate");
            }
            "unchanged" | "no_message" | "not_editable" => assert_eq!(places, [], "{id} of {user} changed nothing"),
            other => panic!("{other}: {answer}"),
        }
        *statuses.entry(told).or_default() += 1;
    }

    let mut folded: BTreeMap<Seq, Folded> = BTreeMap::new();
    for entry in &log {
        match &entry.kind {
            EntryKind::Edit { target, body } => {
                let of = folded.entry(*target).or_default();
                of.edits.push(entry.position.seq);
                of.body = body.as_ref().map(|body| serde_json::to_value(body).unwrap()["text"].to_string());
            }
            EntryKind::Deletion { target } => folded.entry(*target).or_default().deleted = true,
            EntryKind::Reaction(Reacting { target, key, change }) => {
                let users = folded.entry(*target).or_default().reactions.entry(key.clone()).or_default();
                let changes = if *change == ReactionChange::Add { users.insert(entry.sender.clone()) } else { users.remove(&entry.sender) };
                assert!(changes, "{} says what was so already", entry.position);
            }
            _ => {}
        }
    }
    let history = async |before: Seq| {
        let asked = json!({ "action": "history", "conversation": lane, "before": before, "limit": 1 });
        owner.request(asked).await.expect("an answer")["entries"][0].clone()
    };
    for (target, of) in &folded {
        let told: chatlane_protocol::Entry = serde_json::from_value(history(target.next()).await).unwrap();
        match told.kind {
            EntryKind::Deleted => assert!(of.deleted, "{target}"),
            EntryKind::Message(Message { body, edited, reactions, .. }) => {
                assert!(!of.deleted, "{target}");
                assert_eq!(edited, of.edits.last().copied());
                let says = serde_json::to_value(&body).unwrap()["text"].to_string();
                assert!(of.body.as_ref().is_none_or(|body| *body == says));
                let counts: BTreeMap<ReactionKey, usize> =
                    reactions.iter().map(|one| (one.key.clone(), usize::try_from(one.count).unwrap())).collect();
                let by_log = of.reactions.iter().filter(|(_, users)| !users.is_empty()).map(|(key, users)| (key.clone(), users.len()));
                assert_eq!(counts, by_log.collect(), "{target}");
                let alice = UserId::new("alice").unwrap();
                assert!(reactions.iter().all(|one| one.mine == Some(of.reactions[&one.key].contains(&alice))), "{target}");
            }
            other => panic!("{other:?}"),
        }
    }
    // No word of what was deleted is left in any table.
    let rounds = rounds.into_inner();
    for table in ["log", "conversations", "inboxes", "users"] {
        let items = stack.dynamodb("Scan", &json!({ "TableName": table })).await.to_string();
        for round in (0..rounds).filter(|round| is_deleted(*round)) {
            assert!(!items.contains(&format!("secret of {round}:")), "{table} holds words that were deleted");
        }
    }
    println!(
        "seed {seed}: {rounds} messages, {} deeds: {statuses:?}; killed {} times before the transaction, {} after",
        asked.len(),
        before.into_inner(),
        after.into_inner()
    );
    for status in ["ok", "duplicate", "unchanged", "no_message"] {
        assert!(statuses.get(status).is_some_and(|times| *times > 0), "{status} never happened: {statuses:?}");
    }
}
