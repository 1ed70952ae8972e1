//! Scenes of groups: they are made, changed, looked at, and spoken in.

use chatlane_chat::testing::builders::position;
use chatlane_protocol::limits::USERS_PER_ENTRY_MAX;
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::{Device, message};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::LONG_TEXT_BYTES;
use crate::scene::{Scene, position_of};
use crate::table::Row;

/// A group, all of whose entries are delivered.
struct Group {
    conversation: ConversationId,
    /// The owner first.
    members: Vec<String>,
    tail: Position,
    /// Of a fifth of the members, but at least of two: the owner's first, the last member's last.
    online: Vec<Device>,
}

impl Group {
    fn owner(&self) -> &Device {
        &self.online[0]
    }

    fn change(&self, action: &str, named: &Value) -> Value {
        let id = Uuid::new_v4();
        let mut request = json!({ "action": action, "conversation": self.conversation, "client_message_id": id, "anchor": self.tail });
        request.as_object_mut().expect("an object").extend(named.as_object().expect("fields").clone());
        request
    }
}

impl Scene<'_> {
    /// Users of this measurement, whose names are all of one length.
    fn users(&self, group: usize, numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("of-{group:02}-{}-{number:03}", self.attempt)).collect()
    }

    /// Asks for a change, which is made.
    async fn changed(&self, scene: &'static str, group: &mut Group, who: usize, action: &str, named: Value) -> Row {
        let asked = group.change(action, &named);
        let (row, answer) = self.row(scene, &group.online[who], group.online[who].request(asked)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer["status"], "ok", "{scene}: {answer}");
        group.tail = serde_json::from_value(answer["position"].clone()).expect("a position");
        row
    }

    /// A group of so many members, and what its creation cost, which has 40 of them at most; the others are added.
    async fn grouped(&self, scene: &'static str, number: usize, count: usize) -> (Row, Group) {
        let members = self.users(number, 0..count);
        let online = (count / 5).max(2);
        let mut devices = vec![];
        for index in (0..online - 1).chain([count - 1]) {
            devices.push(self.stack.device(&members[index]).await);
        }
        let (first, others) = members.split_at(count.min(USERS_PER_ENTRY_MAX));
        let create =
            json!({ "action": "create", "client_message_id": Uuid::new_v4(), "users": first[1..], "settings": { "title": "Tram" } });
        let (row, answer) = self.row(scene, &devices[0], devices[0].request(create)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer["status"], "ok", "{scene}: {answer}");
        let conversation = serde_json::from_value(answer["conversation"].clone()).expect("a conversation");
        let others: Vec<Vec<String>> = others.chunks(USERS_PER_ENTRY_MAX).map(<[String]>::to_vec).collect();
        let mut group = Group { conversation, members, tail: position(1), online: devices };
        for users in others {
            self.changed(scene, &mut group, 0, "add", json!({ "users": users })).await;
        }
        (row, group)
    }

    /// What a member who is online does in a group of so many, and to messages of theirs.
    async fn in_a_group(&self, group: &mut Group, count: usize) -> Vec<Row> {
        let scene = |what: &str| -> &'static str { format!("{what}, group of {count}").leak() };
        let who = group.online.len() - 1;
        let say = |letter: &str, bytes| json!({ "body": { "content_type": "text/plain", "text": letter.repeat(bytes) } });
        let about = |target: Position, named: Value| {
            let mut said = json!({ "target": target.seq });
            said.as_object_mut().expect("an object").extend(named.as_object().expect("fields").clone());
            said
        };
        let mut rows = vec![];
        for (bytes, size) in [(600, "1 KB"), (LONG_TEXT_BYTES, "24 KB")] {
            let messages = [message("x".repeat(bytes), group.tail)];
            let answer = group.online[who].send(&group.conversation, &messages).await.expect("send is answered");
            group.tail = position_of(&answer, 0);
            let target = group.tail;
            rows.push(self.changed(scene(&format!("edit of {size}")), group, who, "edit", about(target, say("y", bytes))).await);
            if bytes == 600 {
                let react = |key: &str| json!({ "key": key, "change": "add" });
                rows.push(self.changed(scene("the first reaction"), group, who, "react", about(target, react("+1"))).await);
                rows.push(self.changed(scene("another reaction"), group, 0, "react", about(target, react("👍"))).await);
                let asked = json!({ "action": "history", "conversation": group.conversation, "limit": 4 });
                let (row, answer) = self.row(scene("history with reactions"), group.owner(), group.owner().request(asked)).await;
                assert_eq!(answer.expect("an answer")["entries"][0]["reactions"].as_array().map(Vec::len), Some(2));
                rows.push(row);
            }
            let what = scene(&format!("deletion of {size}, edited once"));
            rows.push(self.changed(what, group, who, "delete", about(target, json!({}))).await);
        }
        let device = &group.online[who];
        let named = [PositionIn::new(group.conversation.clone(), group.tail)];
        let (row, answer) = self.row(scene("ack"), device, device.acknowledge("ack", &named)).await;
        answer.expect("the cursor moves");
        rows.push(row);
        let ping = json!({ "action": "ping", "open": [group.conversation] });
        let (row, answer) = self.row(scene("ping"), device, device.request(ping)).await;
        assert_eq!(answer.expect("an answer")["conversations"].as_array().map(Vec::len), Some(1));
        rows.push(row);
        let (row, welcome) = self.row(scene("hello"), device, device.hello()).await;
        assert_eq!(welcome.expect("hello is answered").conversations.len(), 1);
        rows.push(row);
        rows
    }

    /// Groups of 2 to 200 members: their creation, a message of the member who was added last, what else is done there, and who belongs to
    /// them.
    pub async fn groups(&mut self) -> Vec<Row> {
        let (mut created, mut sent, mut done, mut looked) = (vec![], vec![], vec![], vec![]);
        for (number, [create, send, members], count) in [
            (0, ["create of a group of 2", "a message in a group of 2", "members of a group of 2"], 2),
            (1, ["create of a group of 10", "a message in a group of 10", ""], 10),
            (2, ["create of a group of 40", "", ""], 40),
            (3, ["", "a message in a group of 50", ""], 50),
            (4, ["", "a message in a group of 200", "members of a group of 200"], 200),
        ] {
            let (row, mut group) = self.grouped(create, number, count).await;
            if !create.is_empty() {
                created.push(row);
            }
            let sender = group.online.last().expect("somebody is online");
            if !send.is_empty() {
                let messages = [message("to all of you", group.tail)];
                let (row, answer) = self.row(send, sender, sender.send(&group.conversation, &messages)).await;
                group.tail = position_of(&answer.expect("send is answered"), 0);
                assert_eq!(row.whole().operations["PostToConnection"], group.online.len() - 1, "{send}");
                sent.push(row);
            }
            if !send.is_empty() {
                done.extend(self.in_a_group(&mut group, count).await);
            }
            let sender = group.online.last().expect("somebody is online");
            if !members.is_empty() {
                let asked = json!({ "action": "members", "conversation": group.conversation });
                let (row, answer) = self.row(members, sender, sender.request(asked)).await;
                let answer = answer.expect("an answer");
                assert_eq!((answer["members"].as_array().map(Vec::len), answer.get("next")), (Some(count), None), "{members}");
                looked.push(row);
            }
            self.others.extend(group.online);
        }
        created.into_iter().chain(sent).chain(done).chain(looked).collect()
    }

    /// What becomes of a group of ten, which for a while has 51 members.
    pub async fn changes(&mut self) -> Vec<Row> {
        let (_, mut group) = self.grouped("", 5, 10).await;
        let new = self.users(6, 0..41);
        let users = |users: &[String]| json!({ "users": users });
        let mut rows = vec![self.changed("add of one", &mut group, 0, "add", users(&new[..1])).await];
        let again = group.change("add", &users(&new[..1]));
        let (row, answer) = self.row("add of a member", group.owner(), group.owner().request(again)).await;
        assert_eq!(answer.expect("an answer")["status"], "unchanged");
        rows.push(row);
        let messages = [message("welcome", group.tail)];
        let (row, answer) =
            self.row("a message behind a change of members", group.owner(), group.owner().send(&group.conversation, &messages)).await;
        group.tail = position_of(&answer.expect("send is answered"), 0);
        rows.push(row);
        rows.push(self.changed("add of 40", &mut group, 0, "add", users(&new[1..])).await);
        rows.push(self.changed("remove of one", &mut group, 0, "remove", users(&new[..1])).await);
        rows.push(self.changed("remove of 20", &mut group, 0, "remove", users(&new[1..21])).await);
        let last = group.members[9].clone();
        rows.push(self.changed("role", &mut group, 0, "role", json!({ "user": last, "role": "admin" })).await);
        rows.push(self.changed("settings, one of the policy", &mut group, 1, "settings", json!({ "settings": { "locked": true } })).await);
        let titled = json!({ "settings": { "title": "Friends of the tram", "locked": false } });
        rows.push(self.changed("settings, a title too", &mut group, 1, "settings", titled).await);
        let prefs = json!({ "action": "prefs", "conversation": group.conversation, "prefs": { "muted_until_ms": 1_900_000_000_000_u64 } });
        for (scene, version) in [("prefs", 1), ("the same prefs again", 1)] {
            let (row, answer) = self.row(scene, group.owner(), group.owner().request(prefs.clone())).await;
            assert_eq!(answer.expect("an answer")["prefs"]["version"], version);
            rows.push(row);
        }
        let mentions = group.members[1..4].iter().map(|user| chatlane_chat::testing::builders::user(user)).collect();
        let messages = [chatlane_protocol::NewMessage { mentions, ..message("@three", group.tail) }];
        let (row, answer) =
            self.row("a message that mentions three", group.owner(), group.owner().send(&group.conversation, &messages)).await;
        group.tail = position_of(&answer.expect("send is answered"), 0);
        rows.push(row);
        let info = json!({ "action": "info", "conversations": [group.conversation] });
        let (row, answer) = self.row("info of one", group.owner(), group.owner().request(info)).await;
        let told = answer.expect("an answer")["conversations"][0].clone();
        assert_eq!((&told["members"], &told["settings"]["title"]), (&json!(30), &json!("Friends of the tram")), "{told}");
        rows.push(row);
        rows.push(self.changed("leave", &mut group, 1, "leave", json!({})).await);
        rows.push(self.changed("close", &mut group, 0, "close", json!({})).await);
        self.others.extend(group.online);
        rows
    }
}
