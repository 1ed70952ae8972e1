//! Scenes in which a device learns what it does not know.

use chatlane_chat::testing::builders::position;
use chatlane_protocol::frames::SyncOutcome;
use chatlane_protocol::request::{Known, SyncFrom};
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::pocketed::Pocketed;
use serde_json::json;

use crate::long_ago::LongAgo;
use crate::scene::Scene;
use crate::table::Row;

/// Entries that the device has missed.
const MISSING: u64 = 10;

impl Scene<'_> {
    /// The handshake and the first hello of a user in so many conversations; then a hello that knows them all.
    pub async fn arrival(&mut self, conversations: usize, scene: &'static str, again: &'static str) -> [Row; 3] {
        let user = self.user("carol", conversations);
        for number in 0..conversations {
            let other = self.stack.device(&self.user("david", number)).await;
            other.open(&user).await.expect("open is answered");
            self.others.push(other);
        }
        self.calls().await;
        let device = self.stack.silent_device(&user).await;
        let handshake = Row { scene: "handshake", calls: self.calls().await, traffic: device.traffic() };
        let (hello, welcome) = self.row(scene, &device, device.hello()).await;
        let rows = welcome.expect("hello is answered").conversations;
        assert_eq!(rows.len(), conversations);
        let known = rows.iter().map(|row| Known {
            conversation: row.conversation.conversation.clone(),
            have: row.conversation.head,
            read: row.read,
            prefs: 0,
        });
        let known: Vec<Known> = known.collect();
        let (knowing, welcome) = self.row(again, &device, device.hello_page(None, &known)).await;
        assert_eq!(welcome.expect("hello is answered").conversations, []);
        self.others.push(device);
        [handshake, hello, knowing]
    }

    /// A phone with a thousand conversations comes back; in three of them it has missed something. The third page says that there are no
    /// more: two pages have looked at 500 conversations each.
    pub async fn thousand(&mut self, long_ago: &LongAgo) -> Vec<Row> {
        let device = self.stack.silent_device(LongAgo::BUSY).await;
        let (mut rows, mut told, mut next) = (vec![], vec![], None);
        for scene in ["hello, 1,000 conversations of which 3 changed: page 1", "the same: page 2", "the same: page 3"] {
            let (row, page) = self.row(scene, &device, device.hello_page(next.as_ref(), &long_ago.known)).await;
            let page = page.expect("hello is answered");
            told.extend(page.conversations.into_iter().map(|row| row.conversation.conversation));
            next = page.next;
            rows.push(row);
        }
        assert_eq!(next, None);
        assert_eq!(told.iter().collect::<Vec<_>>(), long_ago.changed().collect::<Vec<_>>());
        self.others.push(device);
        rows
    }

    /// Ten missing entries, of a short history and of a long one.
    pub async fn synced(&mut self, long_ago: &LongAgo) -> [Row; 2] {
        [
            self.missing(&long_ago.short, LongAgo::SHORT, "sync of 10 missing, 10^2 entries before").await,
            self.missing(&long_ago.long, LongAgo::LONG, "sync of 10 missing, 10^4 entries before").await,
        ]
    }

    async fn missing(&mut self, conversation: &ConversationId, entries: u64, scene: &'static str) -> Row {
        let device = self.stack.device(LongAgo::READER).await;
        let from = [SyncFrom { conversation: conversation.clone(), after: position(entries - MISSING) }];
        let (row, answer) = self.row(scene, &device, device.sync(&from, &[])).await;
        let answer = answer.expect("sync is answered");
        let [page] = answer.pages.as_slice() else { panic!("one conversation: {answer:?}") };
        let SyncOutcome::Ok(missed) = &page.outcome else { panic!("{page:?}") };
        assert!(answer.done && missed.entries.len() as u64 == MISSING, "{answer:?}");
        self.others.push(device);
        row
    }

    pub async fn looked_up(&mut self, long_ago: &LongAgo) -> [Row; 2] {
        let device = self.stack.device(LongAgo::READER).await;
        let asked = json!({ "action": "history", "conversation": long_ago.long, "before": LongAgo::LONG / 2, "limit": 50 });
        let (history, answer) = self.row("history, 50 entries", &device, device.request(asked)).await;
        assert_eq!(answer.expect("an answer")["entries"].as_array().map(Vec::len), Some(50));
        let asked = json!({ "action": "probe", "conversation": long_ago.long, "anchor": position(LongAgo::LONG - 180), "ids": ["x"] });
        let (probe, answer) = self.row("probe over 180 entries", &device, device.request(asked)).await;
        let answer = answer.expect("an answer");
        assert_eq!((&answer["reached"], &answer["done"]), (&json!(position(LongAgo::LONG)), &json!(true)));
        self.others.push(device);
        [history, probe]
    }

    /// Every function behind a route has a process before anything is counted: that a row starts one would make it slow.
    pub async fn warm(&mut self) {
        let device = self.stack.device(&self.user("warms", 0)).await;
        let of = |position: Position| json!([{ "conversation": "d", "position": position }]);
        for request in [
            json!({ "action": "sync", "conversations": [{ "conversation": "d", "after": Position::ZERO }] }),
            json!({ "action": "history", "conversation": "d" }),
            json!({ "action": "probe", "conversation": "d", "anchor": Position::ZERO, "ids": ["x"] }),
            json!({ "action": "ack", "positions": of(position(1)) }),
            json!({ "action": "read", "positions": of(position(1)) }),
            json!({ "action": "members", "conversation": "g" }),
            json!({ "action": "close", "conversation": "g", "client_message_id": "x", "anchor": Position::ZERO }),
            json!({ "action": "ping" }),
            self.new_token(&self.user("warms", 0)),
        ] {
            device.request(request).await.expect("an answer");
        }
        Pocketed::new(self.stack, &self.user("warms", 1)).answered(json!({ "action": "hello", "v": 1 })).await;
        self.stack.sweep(&[(chatlane_chat::testing::builders::conversation("d"), position(1).seq)]).await;
        self.others.push(device);
        self.calls().await;
    }
}
