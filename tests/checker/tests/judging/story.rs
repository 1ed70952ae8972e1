//! Four good histories with their dumps, in `stories`, and the small changes that spoil them.
//!
//! In the first, alice (`phone`, later `tablet`) opens a conversation with bob (`desk`); each writes, an answer of bob's is lost and
//! repeated, bob's device dies and comes back, alice gives up a message that is too large, and carol (`spy`), who is a stranger, gets
//! nothing. In the second, the service is restored from a backup that lacks the last message: at 1:3 there had been bob's `m2`. In the third,
//! alice makes a group of bob, carol and herself, adds dave (`watch`), makes bob a moderator, names it anew and opens its history to who joins;
//! bob removes carol, alice adds her again, bob leaves, and alice locks it. In the fourth, alice and bob write in a group, edit, react and
//! delete; dave joins and sees no more of what was before than that there was something; bob is removed, and behind that alice edits once more.

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

fn owner(device: &str) -> &'static str {
    match device {
        "phone" | "tablet" => "alice",
        "desk" => "bob",
        "watch" => "dave",
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

/// One line of a device about the group.
pub fn of_g1(device: &str, what: &str, mut fields: Value) -> Value {
    fields["conversation"] = "g1".into();
    told(device, what, fields)
}

/// A change of the group is asked for by this device, and becomes an entry behind the last; it tells no facts.
pub fn changed(story: &mut Story, device: &str, said: &Value) {
    let kind = &said["kind"];
    story.before_quiescence(of_g1(device, "change", json!({"id": "g99", "kind": kind})));
    let mut item = item(12, 1, owner(device), "g99");
    let attributes = json!({"c": {"S": "g1"}, "n": {"N": "3"}, "k": {"S": kind}, "W": {"S": said.to_string()}});
    item["item"].as_object_mut().expect("an item").extend(attributes.as_object().expect("attributes").clone());
    story.dump.push(item);
}

/// Something is done to a message of the fourth story by this device, and becomes an entry behind the last; it tells no facts.
pub fn amended(story: &mut Story, device: &str, said: &Value) {
    let (kind, target) = (&said["kind"], &said["target"]);
    story.before_quiescence(of_g1(device, "change", json!({"id": "a99", "kind": kind, "target": target, "body": said["body"]})));
    let mut item = item(16, 1, owner(device), "a99");
    let attributes = json!({"c": {"S": "g1"}, "n": {"N": "4"}, "k": {"S": kind}, "W": {"S": said.to_string()}});
    item["item"].as_object_mut().expect("an item").extend(attributes.as_object().expect("attributes").clone());
    story.dump.insert(15, item);
}

/// An attempt of some messages.
pub fn attempt(device: &str, request: &str, ids: &[&str]) -> Value {
    let messages: Vec<Value> = ids.iter().map(|id| json!({"id": id, "body": body(id)})).collect();
    of_d1(device, "attempt", json!({"request": request, "messages": messages}))
}

/// An acknowledgement.
pub fn answered(device: &str, request: &str, id: &str, position: &Value) -> Value {
    let count = position["seq"].as_u64().map(|seq| seq - 1);
    of_d1(device, "result", json!({"request": request, "id": id, "status": "ok", "position": position, "count": count}))
}

impl Story {
    /// The first story.
    pub fn good() -> Self {
        Self::of(include_str!("stories/good-history.jsonl"), include_str!("stories/good-dump.jsonl"))
    }

    /// The second story.
    pub fn restored() -> Self {
        Self::of(include_str!("stories/restored-history.jsonl"), include_str!("stories/restored-dump.jsonl"))
    }

    /// The third story.
    pub fn group() -> Self {
        Self::of(include_str!("stories/group-history.jsonl"), include_str!("stories/group-dump.jsonl"))
    }

    /// The fourth story.
    pub fn amended() -> Self {
        Self::of(include_str!("stories/amended-history.jsonl"), include_str!("stories/amended-dump.jsonl"))
    }

    fn of(history: &str, dump: &str) -> Self {
        let [history, dump] =
            [history, dump].map(|text| text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect());
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
