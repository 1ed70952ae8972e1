//! All that the functions do, once.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use chatlane_aws::items::deployment;
use chatlane_aws::items::json::to_json;
use chatlane_chat::limit::Budget;
use chatlane_chat::ports::Accounts as _;
use chatlane_chat::testing::builders::{position, seq, user};
use chatlane_functions::environment::system_clock;
use chatlane_local::embedded::{Answer, At, Call, Matching, Recording, Service};
use chatlane_protocol::frames::{Outcome, SendAnswer};
use chatlane_protocol::request::{PositionIn, SyncFrom};
use chatlane_protocol::{Body, ConversationId, NewMessage, Position};
use chatlane_tests_e2e::pocketed::Pocketed;
use chatlane_tests_e2e::{Device, DeviceError, Refusing, Running, message, patiently, until_past};
use serde_json::{Value, json};

/// What a device can ask, each by another function; the last has no route.
const ACTIONS: [&str; 13] = ["hello", "open", "add", "info", "send", "sync", "history", "probe", "ack", "read", "refresh", "ping", "dance"];

/// A stack, and what its functions have asked so far.
pub struct Scene<'a> {
    stack: &'a Running,
    pub recording: Recording,
}

/// Alice, who has three conversations, and Bob, who has one of them. All are delivered.
struct Actors {
    alice: Device,
    bob: Device,
    lane: ConversationId,
    all: Vec<ConversationId>,
    tail: Position,
}

impl<'a> Scene<'a> {
    pub fn new(stack: &'a Running) -> Self {
        Self { stack, recording: stack.record() }
    }

    /// Plays all scenes. Returns when what they have caused is done.
    pub async fn play(&self) {
        let actors = self.opened().await;
        self.sent(&actors).await;
        self.welcomed(&actors).await;
        self.synced(&actors).await;
        self.looked_up(&actors).await;
        self.amended(&actors).await;
        self.not_found(&actors).await;
        for action in ["ack", "read"] {
            self.moved(&actors, action).await;
        }
        self.kept_alive(&actors).await;
        self.not_delivered(&actors).await;
        self.not_queued(&actors).await;
        self.swept(&actors).await;
        self.grouped(&actors).await;
        self.expired().await;
        self.overdrawn().await;
        self.without_a_socket().await;
        self.stack.quiet().await;
    }

    /// Waits until `function` has done `operation`. An answer is in the recording, but some of what is done is not answered for.
    async fn until(&self, function: &str, operation: &str) {
        let done = |call: &Call| call.caller.function() == function && call.operation == operation;
        let what = format!("{operation} by {function}");
        patiently(&what, self.recording.until(|calls| calls.iter().any(done).then_some(()))).await;
    }

    /// `http` and `hello` at a new deployment, whose item they make; `open`: new, and existing.
    async fn opened(&self) -> Actors {
        assert_eq!(Pocketed::new(self.stack, "heidi").ask(json!({ "action": "hello", "v": 1 })).await.0, 200);
        let founded = json!({ "TableName": "conversations", "Key": to_json(&deployment::key()) });
        self.stack.dynamodb("DeleteItem", &founded).await;
        let (alice, bob) = (self.stack.device("alice").await, self.stack.device("bob").await);
        let mut all = vec![];
        for other in ["bob", "carol", "dave"] {
            all.push(alice.open(other).await.expect("open is answered").conversation);
        }
        self.stack.quiet().await;
        let again = alice.open("bob").await.expect("open is answered");
        assert_eq!(again.conversation, all[0]);
        Actors { alice, bob, lane: again.conversation, all, tail: position(3) }
    }

    /// `send`: a message, again, another under its id, in a race.
    async fn sent(&self, actors: &Actors) {
        let Actors { alice, bob, lane, .. } = actors;
        let first = message("hello", position(1));
        let (stored, again) = (alice.send(lane, std::slice::from_ref(&first)).await, alice.send(lane, std::slice::from_ref(&first)).await);
        assert!(matches!(outcome(stored), Outcome::Ok(_)));
        assert!(matches!(outcome(again), Outcome::Duplicate(_)));
        let mut other = first;
        other.body = Body::text("something else").expect("a text");
        assert!(matches!(outcome(alice.send(lane, &[other]).await), Outcome::Conflict(_)));

        let put = Matching::service(Service::DynamoDb).function("send").operation("PutItem");
        let mut hold = self.stack.endpoints().hold(put, At::Request, 1);
        let (losing, winning) = ([message("hello bob", position(2))], [message("hello alice", position(2))]);
        let bob_wins = async {
            let stopped = patiently("alice's put arrives", hold.caught()).await;
            let won = bob.send(lane, &winning).await;
            stopped.release();
            won
        };
        let (lost, won) = tokio::join!(alice.send(lane, &losing), bob_wins);
        for answer in [lost, won] {
            assert!(matches!(outcome(answer), Outcome::Ok(_)));
        }

        self.stack.quiet().await;
    }

    /// `hello`: with one conversation, with several, and on a newer connection of the device.
    async fn welcomed(&self, Actors { alice, bob, .. }: &Actors) {
        for (device, conversations) in [(bob, 1), (alice, 3)] {
            let welcome = device.hello().await.expect("hello is answered");
            assert_eq!(welcome.conversations.len(), conversations);
            assert!(welcome.conversations.iter().all(|row| row.last.is_some()), "{welcome:?}");
        }
        let tablet = self.stack.device("bob").await;
        let again = Device::connect(&self.stack.url(), tablet.id, &self.stack.token("bob", Duration::from_hours(1))).await;
        let again = again.expect("the handshake is accepted");
        again.hello().await.expect("hello is answered");
        told(&tablet, "goaway").await;
        // Bob has one connection again.
        again.close().await;
        tablet.close().await;
    }

    /// `sync`: of one conversation and of several, with one acknowledged and with several.
    async fn synced(&self, Actors { alice, bob, lane, all, .. }: &Actors) {
        let from = |conversation: &ConversationId| SyncFrom { conversation: conversation.clone(), after: Position::ZERO };
        let three: Vec<SyncFrom> = all.iter().map(from).collect();
        for (from, ack) in [(&three[..1], named(&all[..1], 2)), (&three[..], named(&all[1..], 1))] {
            let answer = alice.sync(from, &ack).await.expect("sync is answered");
            assert!(answer.done && answer.acked && answer.pages.len() == from.len(), "{answer:?}");
        }
        receipts(bob, lane, 1).await;
    }

    async fn looked_up(&self, Actors { alice, lane, .. }: &Actors) {
        let history = alice.request(json!({ "action": "history", "conversation": lane })).await.expect("an answer");
        assert_eq!(history["entries"].as_array().map(Vec::len), Some(4), "{history}");
        let asked = json!({ "action": "probe", "conversation": lane, "anchor": position(1), "ids": ["x"] });
        let probe = alice.request(asked).await.expect("an answer");
        assert_eq!(probe["done"], true, "{probe}");
    }

    /// `send` by its other routes: a message is edited twice (its deletion reads the edits at once), reacted to, looked at and
    /// deleted; each again, and once more.
    async fn amended(&self, Actors { alice, all, .. }: &Actors) {
        let lane = &all[2];
        let sent = alice.send(lane, &[message("hello dave", position(1))]).await;
        assert!(matches!(outcome(sent), Outcome::Ok(_)));
        let says = json!({ "content_type": "text/plain", "text": "hi dave" });
        let asked = [
            ("edit", json!({ "body": says })),
            ("edit", json!({ "body": { "content_type": "text/plain", "text": "good day" } })),
            ("react", json!({ "key": "+1", "change": "add" })),
            ("react", json!({ "key": "+1", "change": "remove" })),
            ("delete", json!({})),
        ];
        for (number, (action, said)) in asked.into_iter().enumerate() {
            let asked = |id: &str| {
                let id = format!("{id} {number}");
                let mut asked =
                    json!({ "action": action, "conversation": lane, "client_message_id": id, "anchor": position(2), "target": 2 });
                asked.as_object_mut().expect("an object").extend(said.as_object().expect("fields").clone());
                asked
            };
            assert_eq!(did(alice, &asked("first")).await["status"], "ok", "{said}");
            self.stack.quiet().await;
            assert_eq!(did(alice, &asked("first")).await["status"], "duplicate", "{said}");
            assert_eq!(did(alice, &asked("again")).await["status"], "unchanged", "{said}");
            let history = did(alice, &json!({ "action": "history", "conversation": lane })).await;
            assert!(history["entries"].as_array().is_some_and(|entries| entries.len() > 2), "{history}");
        }
        self.stack.quiet().await;
    }

    /// `http`: each action, also as others need it; what is posted and who is shut out; and a ticket, which `authorize` takes.
    async fn without_a_socket(&self) {
        let (phone, others) = (Pocketed::new(self.stack, "heidi"), [self.stack.device("ivan").await, self.stack.device("judy").await]);
        let mut lanes = vec![];
        for other in &others {
            lanes.push(other.open("heidi").await.expect("open is answered").conversation);
        }
        self.stack.quiet().await;
        let from = |lane: &ConversationId| json!({ "conversation": lane, "after": Position::ZERO });
        let ack = |lanes: &[ConversationId], action: &str| json!({ "action": action, "positions": named(lanes, 1) });
        for frame in [
            json!({ "action": "hello", "v": 1 }),
            json!({ "action": "send", "conversation": lanes[0], "messages": [message("from my pocket", position(1))] }),
            json!({ "action": "history", "conversation": lanes[0] }),
            json!({ "action": "probe", "conversation": lanes[0], "anchor": position(1), "ids": ["x"] }),
            json!({ "action": "sync", "conversations": [from(&lanes[0])] }),
            json!({ "action": "sync", "conversations": lanes.iter().map(from).collect::<Vec<_>>() }),
            ack(&lanes[..1], "ack"),
            ack(&lanes, "read"),
        ] {
            assert_eq!(phone.ask(frame.clone()).await.0, 200, "{frame}");
        }
        let ticket = phone.ask(json!({ "action": "ticket" })).await.1["ticket"].clone();
        let socket = phone.connects_as(phone.id, &ticket).await.expect("it opens a connection");
        self.stack.quiet().await;
        self.overdraw("heidi").await;
        assert_eq!(phone.ask(json!({ "action": "hello", "v": 1 })).await.0, 429);
        socket.closed().await;
    }

    /// What is asked of a conversation by somebody who is no member: the member's row is looked for, as a whole.
    async fn not_found(&self, Actors { all, .. }: &Actors) {
        let eve = self.stack.device("eve").await;
        let (lane, positions) = (&all[0], named(&all[..1], 1));
        for asked in [
            json!({ "action": "send", "conversation": lane, "messages": [message("let me in", Position::ZERO)] }),
            json!({ "action": "sync", "conversations": [{ "conversation": lane, "after": Position::ZERO }] }),
            json!({ "action": "history", "conversation": lane }),
            json!({ "action": "probe", "conversation": lane, "anchor": position(1), "ids": ["x"] }),
            json!({ "action": "ack", "positions": positions }),
            json!({ "action": "read", "positions": positions }),
        ] {
            let answer = eve.request(asked).await.expect("an answer").to_string();
            assert!(answer.contains("not_found"), "{answer}");
        }
        eve.close().await;
    }

    /// `ack` or `read`: of one conversation, of several, of an entry that there is not, and of one of before a restore.
    async fn moved(&self, Actors { alice, bob, lane, all, tail }: &Actors, action: &str) {
        let before = count(&bob.frames(), lane);
        let one = PositionIn::new(lane.clone(), *tail);
        alice.acknowledge(action, &[one]).await.expect("the cursor moves");
        receipts(bob, lane, before + 1).await;
        let tablet = self.stack.device("alice").await;
        tablet.acknowledge(action, &named(all, 1)).await.expect("the tablet has said nothing yet");
        tablet.close().await;
        self.until("disconnect", "UpdateItem").await;
        let refused = alice.request(json!({ "action": action, "positions": named(&all[..1], 99) })).await.expect("an answer");
        assert_eq!(refused["results"][0]["code"], "anchor_unknown", "{refused}");
        let of_before = PositionIn::new(lane.clone(), Position::new(0, tail.seq));
        let refused = alice.request(json!({ "action": action, "positions": [of_before] })).await.expect("an answer");
        assert_eq!(refused["results"][0]["code"], "epoch_changed", "{refused}");
    }

    /// `ping` with one conversation open and with several, `refresh`, and what no route takes.
    async fn kept_alive(&self, Actors { alice, all, .. }: &Actors) {
        for open in [&all[..1], all] {
            let answer = alice.request(json!({ "action": "ping", "open": open })).await.expect("an answer");
            assert_eq!(answer["conversations"].as_array().map(Vec::len), Some(open.len()), "{answer}");
        }
        let token = self.stack.token("alice", Duration::from_hours(2));
        let refreshed = alice.request(json!({ "action": "refresh", "token": token })).await.expect("an answer");
        assert_eq!(refreshed["type"], "refresh", "{refreshed}");
        let dance = alice.request(json!({ "action": "dance" })).await.expect("an answer");
        assert_eq!(dance["code"], "unknown_action", "{dance}");
    }

    /// `fan_out`: a connection that takes no post for now, and one that is gone.
    async fn not_delivered(&self, Actors { alice, bob, lane, .. }: &Actors) {
        let posts = Matching::service(Service::Connections).function("fan_out").operation("PostToConnection");
        let hold = self.stack.endpoints().hold(posts.clone(), At::Request, usize::MAX);
        let refusing = Refusing::with(hold, StatusCode::TOO_MANY_REQUESTS, "LimitExceededException");
        assert!(matches!(outcome(alice.send(lane, &[message("not now", position(4))]).await), Outcome::Ok(_)));
        self.until("fan_out", "SendMessage").await;
        drop(refusing);
        bob.entry(lane, 5).await;
        self.stack.quiet().await;

        let mut hold = self.stack.endpoints().hold(posts, At::Request, 1);
        assert!(matches!(outcome(alice.send(lane, &[message("to nobody", position(5))]).await), Outcome::Ok(_)));
        patiently("the post", hold.caught()).await.answer(Answer::error(StatusCode::GONE, "GoneException", "by the test"));
        self.stack.quiet().await;
        let ping = bob.request(json!({ "action": "ping" })).await.expect("an answer");
        assert_eq!(ping["resync"], true, "the session went with the answer: {ping}");
    }

    /// `sync` and `probe`: they find a message whose delivery could not be queued.
    async fn not_queued(&self, Actors { alice, lane, .. }: &Actors) {
        for (function, tail) in [("sync", 6), ("probe", 7)] {
            let stored = self.stored_only(alice, lane, tail).await;
            if function == "sync" {
                let answer = alice.sync(&[SyncFrom { conversation: lane.clone(), after: position(tail) }], &[]).await;
                assert!(answer.expect("sync is answered").done);
            } else {
                let ids = [stored.client_message_id];
                let asked = json!({ "action": "probe", "conversation": lane, "anchor": position(tail), "ids": ids });
                let probe = alice.request(asked).await.expect("an answer");
                assert_eq!(probe["found"][0]["position"]["seq"], tail + 1, "{probe}");
            }
            self.until(function, "SendMessage").await;
            self.stack.quiet().await;
        }
    }

    /// A message behind the tail whose delivery cannot be queued.
    async fn stored_only(&self, sender: &Device, lane: &ConversationId, tail: u64) -> NewMessage {
        let enqueues = Matching::service(Service::Sqs).function("send").operation("SendMessage");
        let mut hold = self.stack.endpoints().hold(enqueues, At::Request, 1);
        let refuse = async {
            patiently("the enqueue", hold.caught()).await.answer(Answer::error(StatusCode::BAD_REQUEST, "AccessDenied", "by the test"));
        };
        let stored = message("stored", position(tail));
        let (sent, ()) = tokio::join!(sender.send(lane, std::slice::from_ref(&stored)), refuse);
        assert!(sent.is_err(), "acknowledged, although nobody is going to deliver it: {sent:?}");
        stored
    }

    /// `sweep`: one conversation and several, which are delivered and which are not; and what `fan_out` makes of a check.
    async fn swept(&self, Actors { alice, all, .. }: &Actors) {
        let slots = |seqs: [u64; 2]| all.iter().cloned().zip(seqs.map(seq)).collect::<Vec<_>>();
        for delivered in [&slots([8, 1])[..], &slots([8, 1])[..1]] {
            self.stack.sweep(delivered).await;
        }
        for (lane, tail) in all.iter().zip([8, 1]) {
            self.stored_only(alice, lane, tail).await;
        }
        for not_delivered in [&slots([9, 2])[..], &slots([9, 2])[..1]] {
            self.stack.sweep(not_delivered).await;
        }
        self.until("fan_out", "GetItem").await;
        self.stack.quiet().await;
    }

    /// `manage` and `look`: a group from its creation to its end, by all their routes; what was done before, what changes nothing, what is
    /// of several conversations, and what somebody asks who is a member no more, or never was.
    async fn grouped(&self, Actors { alice, bob, all, .. }: &Actors) {
        let create =
            json!({ "action": "create", "client_message_id": "group", "users": ["bob", "carol"], "settings": { "title": "Tram" } });
        let created = did(alice, &create).await;
        assert_eq!([&created["status"], &did(alice, &create).await["status"]], ["ok", "duplicate"]);
        self.stack.quiet().await;
        assert_eq!(did(alice, &create).await["status"], "duplicate");
        let group: ConversationId = serde_json::from_value(created["conversation"].clone()).expect("a conversation");
        let several = [std::slice::from_ref(&group), all].concat();
        let info = |of: &[ConversationId]| json!({ "action": "info", "conversations": of });
        let members = json!({ "action": "members", "conversation": group });
        for of in [&several[..1], &several[..]] {
            let told = did(alice, &info(of)).await;
            assert_eq!(told["conversations"].as_array().map(Vec::len), Some(of.len()), "{told}");
            assert_eq!(told["conversations"][0]["settings"]["title"], "Tram", "{told}");
        }
        assert_eq!(did(bob, &members).await["members"].as_array().map(Vec::len), Some(3));
        let prefs = did(bob, &json!({ "action": "prefs", "conversation": group, "prefs": { "pinned": true } })).await;
        assert_eq!(prefs["prefs"]["version"], 1, "{prefs}");
        let mentions = NewMessage { mentions: vec![user("bob")], ..message("hello bob", position(1)) };
        assert!(matches!(outcome(alice.send(&group, &[mentions]).await), Outcome::Ok(_)));
        self.until("fan_out", "UpdateItem").await;
        self.stack.quiet().await;
        let told = did(bob, &json!({ "action": "ping", "open": [group] })).await;
        assert_eq!(told["conversations"][0]["cursors"].as_array().map(Vec::len), Some(2), "{told}");

        let change = |(action, named, value): (&str, &str, Value), id: String| json!({ "action": action, "conversation": group, "client_message_id": id, "anchor": position(1), named: value });
        let in_turn = [
            ("add", "users", json!(["dave"])),
            ("role", "user", json!("bob")),
            ("settings", "settings", json!({ "locked": true })),
            ("settings", "settings", json!({ "title": "Friends of the tram" })),
            ("remove", "users", json!(["dave"])),
            ("leave", "successor", Value::Null),
            ("close", "nothing", Value::Null),
        ];
        for (number, said) in in_turn.into_iter().enumerate() {
            let who = if said.0 == "leave" { bob } else { alice };
            let asked = |id: String| {
                let mut asked = change(said.clone(), id);
                if said.0 == "role" {
                    asked["role"] = json!("admin");
                }
                asked
            };
            let first = asked(format!("change-{number}"));
            assert_eq!(did(who, &first).await["status"], "ok", "{first}");
            self.stack.quiet().await;
            assert_eq!(did(who, &first).await["status"], "duplicate", "{first}");
            match said.0 {
                "leave" => assert_eq!(did(who, &members).await["code"], "not_found", "{first}"),
                "close" => assert_eq!(did(who, &asked("again".to_owned())).await["code"], "forbidden", "{first}"),
                _ => assert_eq!(did(who, &asked("again".to_owned())).await["status"], "unchanged", "{first}"),
            }
        }
        let eve = self.stack.device("eve").await;
        for who in [bob, &eve] {
            for asked in [members.clone(), change(("add", "users", json!(["eve"])), "mine".to_owned())] {
                assert_eq!(did(who, &asked).await["code"], "not_found", "{asked}");
            }
            assert_eq!(did(who, &info(&several[..1])).await["conversations"][0]["code"], "not_found");
        }
        eve.close().await;
        self.stack.quiet().await;
    }

    /// Whatever a caller asks whose token's time is over: who answers tells them and closes their connection.
    async fn expired(&self) {
        let clock = self.stack.device("clock").await;
        let (mut devices, mut last) = (vec![], 0);
        for _ in ACTIONS {
            let (device, ends_ms) = self.stack.short_lived("late").await;
            devices.push(device);
            last = last.max(ends_ms);
        }
        until_past(&clock, last).await;
        for (device, action) in devices.iter().zip(ACTIONS) {
            device.send_text(json!({ "action": action, "id": "late" }).to_string()).await.expect("the connection is open");
            told(device, "error").await;
            assert_eq!(device.closed().await.code, 1000, "{action}: {:?}", device.frames());
            assert_eq!(device.frames()[0]["code"], "token_expired", "{action}: {:?}", device.frames());
        }
        // The gateway may close a socket before it has answered.
        let closing = self.recording.until(|calls| {
            let closes = calls.iter().filter(|call| call.operation == "DeleteConnection").map(|call| call.caller.function());
            (closes.collect::<BTreeSet<_>>().len() == ACTIONS.len()).then_some(())
        });
        patiently("each of the functions has closed one", closing).await;
    }

    /// Somebody who has spent too much: the connection that they have is closed, by their next handshake or by the delivery of what they
    /// have sent.
    async fn overdrawn(&self) {
        let (mallory, nora) = (self.stack.device("mallory").await, self.stack.device("nora").await);
        let lane = nora.open("mallory").await.expect("open is answered").conversation;
        self.stack.quiet().await;
        let posts = Matching::service(Service::Connections).function("fan_out").operation("PostToConnection");
        let mut hold = self.stack.endpoints().hold(posts, At::Request, 1);
        assert!(matches!(outcome(nora.send(&lane, &[message("too much", position(1))]).await), Outcome::Ok(_)));
        let post = patiently("the post", hold.caught()).await;
        self.overdraw("nora").await;
        post.release();
        nora.closed().await;
        self.stack.quiet().await;

        self.overdraw("mallory").await;
        assert_eq!(self.stack.refused("mallory").await, 429);
        mallory.closed().await;
        assert_eq!(self.stack.refused("mallory").await, 429);
    }

    async fn overdraw(&self, who: &str) {
        let (now, budget) = (system_clock(), Budget::DEFAULT);
        let minute = now.get() / 60_000;
        self.stack.store().await.charge(&user(who), minute, budget.burst * 2, minute, now).await.expect("they are charged");
    }
}

async fn did(who: &Device, asked: &Value) -> Value {
    who.request(asked.clone()).await.expect("an answer")
}

/// What became of the one message of a frame.
fn outcome(answer: Result<SendAnswer, DeviceError>) -> Outcome {
    let mut answer = answer.expect("send is answered");
    assert_eq!(answer.results.len(), 1);
    answer.results.remove(0).outcome
}

/// This entry in each of these conversations.
fn named(conversations: &[ConversationId], seq: u64) -> Vec<PositionIn> {
    conversations.iter().map(|conversation| PositionIn::new(conversation.clone(), position(seq))).collect()
}

/// Waits for a frame of this type.
async fn told(device: &Device, kind: &str) {
    let frame = device.until(kind, |frames| frames.iter().any(|frame| frame["type"] == kind).then_some(()));
    frame.await.unwrap_or_else(|| panic!("the connection ended before {kind} came"));
}

/// Receipts of this conversation.
fn count(frames: &[Value], lane: &ConversationId) -> usize {
    frames.iter().filter(|frame| frame["type"] == "receipt" && frame["conversation"] == lane.as_str()).count()
}

/// Waits until so many receipts have come.
async fn receipts(device: &Device, lane: &ConversationId, times: usize) {
    let what = format!("{times} receipts");
    device.until(&what, |frames| (count(frames, lane) >= times).then_some(())).await.expect("the connection stays open");
}
