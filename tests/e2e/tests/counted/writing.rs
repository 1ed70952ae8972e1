//! Scenes in which something is stored: messages, conversations, cursors.

use chatlane_local::embedded::{At, Matching, Service};
use chatlane_protocol::frames::Outcome;
use chatlane_protocol::request::PositionIn;
use chatlane_tests_e2e::{message, patiently};
use serde_json::json;

use crate::long_ago::LongAgo;
use crate::scene::{Pair, Scene, position_of};
use crate::table::Row;

impl Scene<'_> {
    /// A frame of messages with these texts, sent once the pair is there.
    pub async fn sent(&mut self, scene: &'static str, texts: &[String]) -> Row {
        let number = self.pair().await;
        let Pair { alice, conversation, tail, .. } = &self.pairs[number];
        let messages: Vec<_> = texts.iter().map(|text| message(text.as_str(), *tail)).collect();
        let (row, answer) = self.row(scene, alice, alice.send(conversation, &messages)).await;
        assert_eq!(position_of(&answer.expect("send is answered"), texts.len() - 1).seq.get(), tail.seq.get() + texts.len() as u64);
        row
    }

    pub async fn duplicate(&mut self) -> Row {
        let number = self.pair().await;
        let Pair { alice, conversation, tail, .. } = &self.pairs[number];
        let messages = [message("hello", *tail)];
        let first = alice.send(conversation, &messages).await.expect("send is answered");
        let (row, again) = self.row("the same message again", alice, alice.send(conversation, &messages)).await;
        let again = again.expect("send is answered");
        assert!(matches!(again.results[0].outcome, Outcome::Duplicate(stored) if stored.position == position_of(&first, 0)), "{again:?}");
        row
    }

    /// Alice's put is held until Bob's message has the slot and is delivered. Counted is Alice's message.
    pub async fn lost_race(&mut self) -> Row {
        let number = self.pair().await;
        let Pair { alice, bob, conversation, tail } = &self.pairs[number];
        let put = Matching::service(Service::DynamoDb).function("send").operation("PutItem");
        let mut hold = self.stack.endpoints().hold(put, At::Request, 1);
        let [losing, winning] = ["hello bob", "hello alice"].map(|text| message(text, *tail));
        let (losing, winning) = ([losing], [winning]);
        let before = alice.traffic();
        let bob_wins = async {
            let stopped = patiently("alice's put arrives", hold.caught()).await;
            let answer = bob.send(conversation, &winning).await.expect("send is answered");
            let mut calls = self.calls().await;
            calls.retain(|call| call.caller == stopped.call.caller);
            stopped.release();
            (answer, calls)
        };
        let (lost, (won, mut calls)) = tokio::join!(alice.send(conversation, &losing), bob_wins);
        assert_eq!(position_of(&won, 0).seq.get(), tail.seq.get() + 1);
        assert_eq!(position_of(&lost.expect("send is answered"), 0).seq.get(), tail.seq.get() + 2);
        calls.append(&mut self.calls().await);
        Row { scene: "a message that loses one race", calls, traffic: alice.traffic().since(before) }
    }

    pub async fn opened(&mut self) -> [Row; 2] {
        let (one, other) = (self.user("alice", 90), self.user("bobby", 90));
        let (alice, bob) = (self.stack.device(&one).await, self.stack.device(&other).await);
        let (new, answer) = self.row("open, new", &alice, alice.open(&other)).await;
        answer.expect("open is answered");
        let (existing, answer) = self.row("open, existing", &alice, alice.open(&other)).await;
        answer.expect("open is answered");
        self.others.extend([alice, bob]);
        [new, existing]
    }

    /// Bob acknowledges what came, and reads it; Alice is told each time.
    pub async fn cursors(&mut self) -> Vec<Row> {
        let number = self.pair().await;
        let Pair { alice, bob, conversation, tail } = &self.pairs[number];
        let named = [PositionIn::new(conversation.clone(), *tail)];
        let mut rows = vec![];
        for (scene, action, moves) in [
            ("ack of one conversation", "ack", true),
            ("the same ack again", "ack", false),
            ("read of one, acknowledged before", "read", true),
        ] {
            let (row, answer) = self.row(scene, bob, bob.acknowledge(action, &named)).await;
            answer.expect("the cursor moves");
            assert_eq!(row.whole().operations.contains_key("PostToConnection"), moves, "{scene}: alice is told of what has moved");
            rows.push(row);
        }
        let told = alice.until("two receipts", |frames| {
            let receipts = frames.iter().filter(|frame| frame["type"] == "receipt");
            (receipts.count() == 2).then_some(())
        });
        told.await.expect("the connection stays open");
        let refreshed = self.row("refresh", bob, bob.request(self.new_token(&self.user("bobby", number)))).await;
        assert_eq!(refreshed.1.expect("an answer")["type"], "refresh");
        rows.push(refreshed.0);
        rows
    }

    /// Bob has the message and has read it when he says so the first time: both cursors are one write.
    pub async fn both_cursors(&mut self) -> Row {
        let number = self.pair().await;
        let Pair { bob, conversation, tail, .. } = &self.pairs[number];
        let named = [PositionIn { read: Some(*tail), ..PositionIn::new(conversation.clone(), *tail) }];
        let (row, answer) = self.row("ack and read of one, in one frame", bob, bob.acknowledge("ack", &named)).await;
        answer.expect("both move");
        row
    }

    /// A device of a user with ten conversations acknowledges all at once; those users are not connected.
    pub async fn ten_acks(&mut self, long_ago: &LongAgo) -> Vec<Row> {
        // A device of its own, whose cursors have never moved.
        let device = self.stack.device(LongAgo::READER).await;
        let (ack, answer) = self.row("ack of ten in one frame", &device, device.acknowledge("ack", &long_ago.tens)).await;
        answer.expect("all move");
        self.others.push(device);
        vec![ack]
    }

    /// Heartbeats.
    pub async fn pings(&mut self) -> Vec<Row> {
        let alice = self.stack.device(&self.user("alice", 91)).await;
        let mut open = vec![];
        for number in 91..94 {
            open.push(alice.open(&self.user("bobby", number)).await.expect("open is answered").conversation);
        }
        let (nothing, answer) = self.row("ping", &alice, alice.request(json!({ "action": "ping" }))).await;
        assert_eq!(answer.expect("an answer")["type"], "ping");
        let asked = alice.request(json!({ "action": "ping", "open": open }));
        let (three, answer) = self.row("ping with three open conversations", &alice, asked).await;
        assert_eq!(answer.expect("an answer")["conversations"].as_array().map(Vec::len), Some(3));
        self.others.push(alice);
        vec![nothing, three]
    }
}
