//! Two good histories with their dumps, written by hand, and the small changes that spoil them.
//!
//! In the first, alice (`phone`, later `tablet`) opens a conversation with bob (`desk`); each writes, an answer of bob's is lost and repeated,
//! bob's device dies and comes back, alice gives up a message that is too large, and carol (`spy`), who is a stranger, gets nothing. In the
//! second, the service is restored from a backup that lacks the last message.

use std::fmt::Write as _;

use chatlane_tests_checker::{Verdict, judge};
use serde_json::{Value, json};

/// What is judged.
#[derive(Clone)]
pub struct Story {
    pub history: Vec<Value>,
    pub dump: Vec<Value>,
}

/// A position.
pub fn at(epoch: u64, seq: u64) -> Value {
    json!({"epoch": epoch, "seq": seq})
}

/// What a message says.
pub fn body(text: &str) -> Value {
    json!({"content_type": "text/plain", "text": text})
}

/// The entries of the first story: epoch, sender, id; what a message says is its id.
const LOG: [(u64, &str, &str); 5] = [(1, "alice", "o1"), (1, "alice", "m1"), (1, "bob", "m2"), (1, "alice", "m3"), (1, "alice", "m4")];

/// Those of the second, in the end. At 1:3 there had been bob's `m2`.
const RESTORED_LOG: [(u64, &str, &str); 3] = [(1, "alice", "o1"), (1, "alice", "m1"), (2, "alice", "m3")];

/// An entry as a device has it.
pub fn entry(seq: usize, (epoch, sender, id): (u64, &str, &str)) -> Value {
    let (seq, kind) = (seq as u64, if seq == 1 { "created" } else { "message" });
    let mut entry = json!({"position": at(epoch, seq), "sender": sender, "id": id, "kind": kind, "time_ms": 1000 + seq, "count": seq - 1});
    if seq > 1 {
        entry["body"] = body(id);
    }
    entry
}

/// An item of the log.
pub fn item(seq: usize, epoch: u64, sender: &str, id: &str) -> Value {
    let n = |number: u64| json!({"N": number.to_string()});
    let seq = seq as u64;
    let mut item =
        json!({"c": {"S": "d1"}, "s": n(seq), "e": n(epoch), "u": {"S": sender}, "i": {"S": id}, "t": n(1000 + seq), "n": n(seq - 1)});
    if seq == 1 {
        item["k"] = json!({"S": "c"});
        item["m"] = json!({"L": [{"S": "alice"}, {"S": "bob"}]});
    } else {
        item["k"] = json!({"S": "m"});
        item["ct"] = json!({"S": "text/plain"});
        item["x"] = json!({"S": id});
    }
    json!({"table": "log", "item": item})
}

/// A cursor, as an attribute.
pub fn cursor(epoch: u64, seq: u64) -> Value {
    json!({"N": (u128::from(epoch) * 10_u128.pow(16) + u128::from(seq)).to_string()})
}

/// The rows of the conversation, beside its log.
fn rows(head: (u64, u64), alice: Value, bob: Value) -> Vec<Value> {
    let (epoch, seq) = head;
    let mut rows = vec![
        json!({"table": "conversations", "item": {"c": {"S": "d1"}, "k": {"S": "meta"}, "t": {"N": "1001"}}}),
        json!({"table": "conversations", "item": {"c": {"S": "d1"}, "k": {"S": "head"}, "e": {"N": epoch.to_string()},
            "s": {"N": seq.to_string()}, "n": {"N": (seq - 1).to_string()}, "t": {"N": "1005"}}}),
    ];
    for (user, with, cursors) in [("alice", "bob", alice), ("bob", "alice", bob)] {
        rows.push(json!({"table": "conversations", "item": {"c": {"S": "d1"}, "k": {"S": format!("member#{user}")}, "u": {"S": user}}}));
        let mut item = json!({"u": {"S": user}, "c": {"S": "d1"}, "f": {"N": "1"}, "w": {"S": with}});
        for (name, value) in cursors.as_object().expect("cursors are an object") {
            item[name] = value.clone();
        }
        rows.push(json!({"table": "inboxes", "item": item}));
    }
    rows
}

fn sessions(user: &str, devices: &[&str]) -> Value {
    let mut item = json!({"u": {"S": user}, "k": {"S": "sessions"}, "ttl": {"N": "9"}});
    for device in devices {
        item[format!("c:socket-of-{device}")] = json!({"M": {"d": {"S": device}, "a": {"N": "1"}, "x": {"N": "2"}}});
    }
    json!({"table": "users", "item": item})
}

fn owner(device: &str) -> &'static str {
    match device {
        "phone" | "tablet" => "alice",
        "desk" => "bob",
        _ => "carol",
    }
}

/// One line of a device.
pub fn told(device: &str, what: &str, mut fields: Value) -> Value {
    fields["device"] = device.into();
    fields["user"] = owner(device).into();
    fields["what"] = what.into();
    fields
}

/// One line of a device about the conversation.
pub fn of_d1(device: &str, what: &str, mut fields: Value) -> Value {
    fields["conversation"] = "d1".into();
    told(device, what, fields)
}

fn shown(device: &str, seqs: impl IntoIterator<Item = usize>) -> Vec<Value> {
    seqs.into_iter().map(|seq| of_d1(device, "shown", entry(seq, LOG[seq - 1]))).collect()
}

fn connected(device: &str) -> Vec<Value> {
    ["connect", "hello", "live"].map(|what| told(device, what, json!({}))).to_vec()
}

/// An attempt of some messages.
pub fn attempt(device: &str, request: &str, ids: &[&str]) -> Value {
    let messages: Vec<Value> = ids.iter().map(|id| json!({"id": id, "body": body(id)})).collect();
    of_d1(device, "attempt", json!({"request": request, "messages": messages}))
}

fn result(device: &str, request: &str, id: &str, status: &str, position: &Value) -> Value {
    let count = position["seq"].as_u64().map(|seq| seq - 1);
    of_d1(device, "result", json!({"request": request, "id": id, "status": status, "position": position, "count": count}))
}

fn moved(device: &str, what: &str, cursor: &str, position: &Value) -> Vec<Value> {
    vec![of_d1(device, what, json!({"position": position})), of_d1(device, "taken", json!({"position": position, "cursor": cursor}))]
}

fn end(device: &str, log: &[(u64, &str, &str)], unread: u64, outbox: &Value) -> Value {
    let entries: Vec<Value> = log.iter().enumerate().map(|(index, of)| entry(index + 1, *of)).collect();
    let have = entries.last().map(|entry| entry["position"].clone());
    let transcripts = json!([{"conversation": "d1", "from": at(0, 0), "have": have, "entries": entries, "unread": unread}]);
    told(device, "end", json!({"transcripts": transcripts, "outbox": outbox}))
}

fn stranger(conversation: &str, request: &str) -> Value {
    let answer = format!(
        "{{\"type\":\"error\",\"id\":\"{request}\",\"code\":\"not_found\",\"about\":\"{conversation}\",\"server_time_ms\":17{request}}}"
    );
    told("spy", "asked_as_stranger", json!({"action": "history", "conversation": conversation, "request": request, "answer": answer}))
}

impl Story {
    /// The first story.
    pub fn good() -> Self {
        let mut history = [connected("phone"), connected("desk"), connected("spy")].concat();
        history.extend([told("phone", "open", json!({"id": "o1"})), of_d1("phone", "opened", json!({"head": at(1, 1)}))]);
        history.extend([shown("phone", [1]), shown("desk", [1])].concat());
        history.push(of_d1("phone", "composed", json!({"id": "m1"})));
        history.extend([attempt("phone", "1", &["m1"]), result("phone", "1", "m1", "ok", &at(1, 2))]);
        history.extend([shown("phone", [2]), shown("desk", [2])].concat());
        history.extend(moved("desk", "told_ack", "delivered", &at(1, 2)));
        history.push(of_d1("phone", "cursors", json!({"of": "bob", "delivered": at(1, 2), "read": at(0, 0)})));
        // The answer to this one never comes; it is sent again on another connection.
        history.extend([attempt("desk", "1", &["m2"]), told("desk", "away", json!({}))]);
        history.extend(connected("desk"));
        history.extend([attempt("desk", "2", &["m2"]), result("desk", "2", "m2", "duplicate", &at(1, 3))]);
        history.extend([shown("desk", [3]), shown("phone", [3])].concat());
        history.extend([attempt("phone", "2", &["m3", "m4", "m5"])]);
        history.extend([result("phone", "2", "m3", "ok", &at(1, 4)), result("phone", "2", "m4", "ok", &at(1, 5))]);
        history.push(of_d1("phone", "result", json!({"request": "2", "id": "m5", "status": "refused", "code": "too_large"})));
        history.push(of_d1("phone", "given_up", json!({"id": "m5"})));
        history.extend(shown("phone", [4, 5]));
        history.extend(moved("phone", "told_read", "read", &at(1, 5)));
        let has = json!([{"conversation": "d1", "from": at(0, 0), "position": at(1, 3)}]);
        history.push(told("desk", "restart", json!({"has": has, "outbox": []})));
        history.extend([told("desk", "connect", json!({})), told("desk", "hello", json!({}))]);
        history.push(of_d1("desk", "standing", json!({"head": at(1, 5), "count": 4, "read": at(0, 0)})));
        history.extend(shown("desk", [4, 5]));
        history.push(told("desk", "live", json!({})));
        history.extend(moved("desk", "told_read", "read", &at(1, 3)));
        history.push(of_d1("phone", "cursors", json!({"of": "bob", "delivered": at(1, 3), "read": at(1, 3)})));
        history.extend(connected("tablet"));
        history.push(of_d1("tablet", "skipped", json!({"to": at(1, 3)})));
        history.push(of_d1("tablet", "older", entry(3, LOG[2])));
        history.extend(shown("tablet", [4, 5]));
        history.extend(moved("tablet", "told_ack", "delivered", &at(1, 5)));
        history.extend([stranger("d1", "21"), stranger("d0", "22")]);
        history.push(told("spy", "bad", json!({"ids": ["x1"], "code": "bad_request", "answers": 1})));
        history.push(attempt("spy", "1", &["x2"]));
        history.push(of_d1("spy", "result", json!({"request": "1", "id": "x2", "status": "refused", "code": "not_found"})));
        history.push(of_d1("spy", "given_up", json!({"id": "x2"})));
        history.push(json!({"what": "quiescent"}));
        history.push(end("phone", &LOG, 0, &json!([{"conversation": "d1", "id": "m5"}])));
        history.push(end("desk", &LOG, 2, &json!([])));

        let mut dump: Vec<Value> = LOG.iter().enumerate().map(|(index, (epoch, sender, id))| item(index + 1, *epoch, sender, id)).collect();
        let alice = json!({"r": cursor(1, 5), "rn": {"N": "4"}, "d:phone": cursor(1, 5), "d:tablet": cursor(1, 5)});
        let bob = json!({"r": cursor(1, 3), "rn": {"N": "2"}, "d:desk": cursor(1, 3)});
        dump.extend(rows((1, 5), alice, bob));
        dump.extend([sessions("alice", &["phone", "tablet"]), sessions("bob", &["desk"]), sessions("carol", &["spy"])]);
        Self { history, dump }
    }

    /// The second story.
    pub fn restored() -> Self {
        let mut history = [connected("phone"), connected("desk")].concat();
        history.push(told("phone", "open", json!({"id": "o1"})));
        history.push(of_d1("phone", "opened", json!({"head": at(1, 1)})));
        history.extend([shown("phone", [1]), shown("desk", [1])].concat());
        history.extend([attempt("phone", "1", &["m1"]), result("phone", "1", "m1", "ok", &at(1, 2))]);
        history.extend([shown("phone", [2]), shown("desk", [2])].concat());
        history.extend([attempt("desk", "1", &["m2"]), result("desk", "1", "m2", "ok", &at(1, 3))]);
        history.extend([shown("desk", [3]), shown("phone", [3])].concat());
        history.extend(moved("phone", "told_ack", "delivered", &at(1, 3)));
        history.push(of_d1("desk", "cursors", json!({"of": "alice", "delivered": at(1, 3), "read": at(0, 0)})));
        history.push(json!({"what": "restored", "epoch": 2, "tails": {"d1": 2}}));
        history.extend(["phone", "desk"].map(|device| of_d1(device, "rolled_back", json!({"to": at(1, 2)}))));
        history.push(of_d1("desk", "cursors", json!({"of": "alice", "delivered": at(1, 2), "read": at(0, 0)})));
        history.extend([attempt("phone", "2", &["m3"]), result("phone", "2", "m3", "ok", &at(2, 3))]);
        history.extend(["phone", "desk"].map(|device| of_d1(device, "shown", entry(3, RESTORED_LOG[2]))));
        history.push(json!({"what": "quiescent"}));
        history.extend([end("phone", &RESTORED_LOG, 2, &json!([])), end("desk", &RESTORED_LOG, 2, &json!([]))]);
        let mut dump: Vec<Value> =
            RESTORED_LOG.iter().enumerate().map(|(index, (epoch, sender, id))| item(index + 1, *epoch, sender, id)).collect();
        dump.extend(rows((2, 3), json!({"d:phone": cursor(1, 2)}), json!({})));
        Self { history, dump }
    }

    /// Judges it.
    pub fn judged(&self) -> Verdict {
        let (history, dump) = self.texts();
        judge(&history, &dump).expect("the story is well formed")
    }

    /// Both inputs.
    pub fn texts(&self) -> (String, String) {
        let text = |lines: &[Value]| {
            lines.iter().fold(String::new(), |mut text, line| {
                writeln!(text, "{line}").expect("a text takes a line");
                text
            })
        };
        (text(&self.history), text(&self.dump))
    }

    /// Where the device's nth line (from 0) of this kind is. The device of an operator's line is "".
    pub fn find(&self, device: &str, what: &str, nth: usize) -> usize {
        let is_it = |line: &&(usize, &Value)| line.1["what"] == what && line.1["device"].as_str().unwrap_or_default() == device;
        let found = self.history.iter().enumerate().filter(|line| is_it(&line)).nth(nth);
        found.unwrap_or_else(|| panic!("no {nth}th {what} of {device}")).0
    }

    /// That line, to be changed.
    pub fn line(&mut self, device: &str, what: &str, nth: usize) -> &mut Value {
        let index = self.find(device, what, nth);
        &mut self.history[index]
    }

    /// Takes that line out.
    pub fn without(&mut self, device: &str, what: &str, nth: usize) -> Value {
        let index = self.find(device, what, nth);
        self.history.remove(index)
    }

    /// Puts a line before the last `quiescent`.
    pub fn before_quiescence(&mut self, line: Value) {
        let index = self.find("", "quiescent", 0);
        self.history.insert(index, line);
    }

    /// The entry in a slot of the dump.
    pub fn stored(&mut self, seq: usize) -> &mut Value {
        &mut self.dump[seq - 1]["item"]
    }

    /// The first item of a table that has this value in this attribute.
    pub fn find_item(&self, table: &str, attribute: &str, value: &str) -> usize {
        let found = self.dump.iter().position(|line| line["table"] == table && line["item"][attribute]["S"] == value);
        found.unwrap_or_else(|| panic!("no item of {table} with {attribute} = {value}"))
    }

    /// Sets an attribute of such an item.
    pub fn set(&mut self, (table, attribute, value): (&str, &str, &str), name: &str, to: Value) {
        let index = self.find_item(table, attribute, value);
        self.dump[index]["item"][name] = to;
    }
}

/// An acknowledgement.
pub fn answered(device: &str, request: &str, id: &str, position: &Value) -> Value {
    result(device, request, id, "ok", position)
}
