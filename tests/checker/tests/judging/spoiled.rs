//! Every way in which a good story is spoiled is found, under the guarantee that it breaks and no other.

use std::collections::BTreeSet;

use chatlane_tests_checker::{Check, Guarantee, Violation};
use serde_json::{Value, json};

use crate::story::{Story, amended, answered, at, attempt, body, changed, cursor, entry, item, of_d1, of_g1, told};
use Guarantee::{C1, Count, D1, D2, L1, L2, L3, L4, L5, Live, M1, R1};

const HEAD: (&str, &str, &str) = ("conversations", "k", "head");
const ALICES: (&str, &str, &str) = ("inboxes", "u", "alice");
const BOBS: (&str, &str, &str) = ("inboxes", "u", "bob");

/// A name, the guarantees that it breaks (the first is the one that it is about), what it does to the first story.
type Mutation = (&'static str, &'static [Guarantee], fn(&mut Story));

const LOG: &[Mutation] = &[
    ("a slot is empty, and its entry was acknowledged and read", &[L1, L3, C1], |s| drop(s.dump.remove(2))),
    ("a slot has two entries", &[L1], |s| s.dump.push(item(5, 1, "bob", "m2"))),
    ("an epoch falls, because the entry before is of another", &[L1, L2], |s| s.stored(4)["e"] = json!({"N": "2"})),
    ("a second creation", &[L1], |s| {
        let mut second = item(1, 1, "bob", "o2");
        (second["item"]["s"], second["item"]["n"]) = (json!({"N": "6"}), json!({"N": "4"}));
        s.dump.push(second);
        s.history.push(told("desk", "open", json!({"id": "o2"})));
    }),
    ("a device has another body", &[L1], |s| s.line("phone", "shown", 1)["body"] = body("other")),
    ("a device has another sender", &[L1], |s| s.line("desk", "shown", 1)["sender"] = "bob".into()),
    ("a device has another id", &[L1], |s| s.line("tablet", "shown", 0)["id"] = "m9".into()),
    ("a device has another kind", &[L1], |s| s.line("phone", "shown", 0)["kind"] = "message".into()),
    ("a device has another time", &[L1], |s| s.line("phone", "shown", 2)["time_ms"] = 7.into()),
    ("an older entry is another", &[L1], |s| s.line("tablet", "older", 0)["id"] = "m9".into()),
    ("a transcript has another entry", &[L1], |s| s.line("desk", "end", 0)["transcripts"][0]["entries"][3]["id"] = "m9".into()),
    ("a device has an entry that the log has not", &[L1], |s| {
        let beyond = entry(6, (1, "bob", "m9"));
        s.before_quiescence(of_d1("phone", "shown", beyond.clone()));
        let kept = &mut s.line("phone", "end", 0)["transcripts"][0];
        kept["have"] = at(1, 6);
        kept["entries"].as_array_mut().expect("entries").push(beyond);
    }),
    ("a stored body was never sent", &[L1], |s| s.line("phone", "attempt", 0)["messages"][0]["body"] = body("other")),
    ("the head is beyond the tail", &[L1], |s| s.set(HEAD, "s", json!({"N": "6"}))),
    ("a head is told that is beyond the tail", &[L1], |s| s.line("desk", "status", 0)["head"] = at(1, 9)),
    ("settings without a log", &[L1], |s| {
        s.dump.push(json!({"table": "conversations", "item": {"c": {"S": "d9"}, "k": {"S": "meta"}, "t": {"N": "1"}}}));
    }),
    ("a message is stored twice", &[L2], |s| s.dump.push(item(6, 1, "alice", "m4"))),
    ("a retry is answered with another place", &[L2], |s| s.line("desk", "result", 0)["position"] = at(1, 4)),
    ("a probe finds a message in another place", &[L2], |s| {
        let mut found = answered("phone", "9", "m1", &at(1, 3));
        found["status"] = "found".into();
        s.before_quiescence(found);
    }),
    ("an acknowledged message is not there", &[L3], |s| {
        s.before_quiescence(attempt("phone", "9", &["m9"]));
        s.before_quiescence(answered("phone", "9", "m9", &at(1, 6)));
    }),
    ("a conversation that was opened is not there", &[L3], |s| {
        s.before_quiescence(told("phone", "opened", json!({"conversation": "d7", "head": at(1, 1)})));
    }),
    ("a batch is stored in another order than it was sent", &[L5], |s| {
        s.line("phone", "attempt", 1)["messages"].as_array_mut().expect("messages").swap(0, 1);
    }),
    ("a message is behind one that was attempted later", &[L5], |s| s.history.insert(3, attempt("phone", "0", &["m3"]))),
];

const DELIVERY: &[Mutation] = &[
    ("the head stays behind an acknowledged message", &[L4], |s| {
        s.set(HEAD, "s", json!({"N": "4"}));
        s.set(HEAD, "n", json!({"N": "3"}));
    }),
    ("the head stays behind a message that was found", &[L4], |s| {
        s.before_quiescence(attempt("desk", "9", &["m9"]));
        s.before_quiescence(of_d1(
            "desk",
            "result",
            json!({"request": "10", "id": "m9", "status": "found", "position": at(1, 6), "count": 5}),
        ));
        s.before_quiescence(told("desk", "away", json!({})));
        s.dump.push(item(6, 1, "bob", "m9"));
    }),
    ("the head stays behind a message that its sender was shown", &[L4], |s| {
        s.before_quiescence(attempt("desk", "9", &["m9"]));
        s.before_quiescence(of_d1("desk", "shown", entry(6, (1, "bob", "m9"))));
        s.line("desk", "end", 0)["transcripts"][0]["have"] = at(1, 6);
        s.line("desk", "end", 0)["transcripts"][0]["unread"] = Value::Null;
        s.line("desk", "end", 0)["transcripts"][0]["entries"].as_array_mut().expect("entries").push(entry(6, (1, "bob", "m9")));
        s.dump.push(item(6, 1, "bob", "m9"));
    }),
    ("there is no head", &[L4], |s| {
        let head = s.find_item(HEAD.0, HEAD.1, HEAD.2);
        s.dump.remove(head);
    }),
    ("an entry is not shown", &[D1], |s| drop(s.without("phone", "shown", 2))),
    ("an entry is shown twice", &[D1], |s| {
        let again = s.line("phone", "shown", 3).clone();
        s.before_quiescence(again);
    }),
    ("two entries are shown in the wrong order", &[D1], |s| {
        let (one, other) = (s.find("phone", "shown", 3), s.find("phone", "shown", 4));
        s.history.swap(one, other);
    }),
    ("a skip goes back", &[D1], |s| s.before_quiescence(of_d1("tablet", "skipped", json!({"to": at(1, 4)})))),
    ("an entry is shown again after a restart", &[D1], |s| {
        let at = s.find("desk", "restart", 0);
        s.history.insert(at + 1, of_d1("desk", "shown", entry(3, (1, "bob", "m2"))));
    }),
    ("an entry that was shown is not in the store of the next life", &[D1], |s| {
        s.line("desk", "restart", 0)["has"][0]["position"] = at(1, 2);
    }),
    ("a conversation is not in the store of the next life", &[D1], |s| s.line("desk", "restart", 0)["has"] = json!([])),
    ("entries are missing after a restart", &[D1], |s| s.line("desk", "restart", 0)["has"][0]["position"] = at(1, 4)),
    ("entries are taken back without a restore", &[D1], |s| {
        let again = s.line("phone", "shown", 4).clone();
        s.before_quiescence(of_d1("phone", "rolled_back", json!({"to": at(1, 4)})));
        s.before_quiescence(again);
    }),
    ("a transcript has a gap", &[D1], |s| {
        s.line("phone", "end", 0)["transcripts"][0]["entries"].as_array_mut().expect("entries").remove(2);
    }),
    ("a transcript ends before what was shown", &[D1], |s| {
        let kept = &mut s.line("phone", "end", 0)["transcripts"][0];
        kept["have"] = at(1, 4);
        kept["entries"].as_array_mut().expect("entries").pop();
    }),
    ("a conversation that was shown has no transcript", &[D1], |s| s.line("phone", "end", 0)["transcripts"] = json!([])),
    ("a live device lacks the last entry", &[D2], |s| drop(s.without("desk", "shown", 4))),
    ("a live device has nothing", &[D2], |s| {
        for what in ["connect", "hello", "live"] {
            s.before_quiescence(json!({"what": what, "device": "watch", "user": "bob"}));
        }
    }),
    ("a message is neither answered nor given up", &[Live], |s| drop(s.without("phone", "given_up", 0))),
    ("a message is never attempted", &[Live], |s| s.before_quiescence(of_d1("phone", "composed", json!({"id": "m9"})))),
    ("a message is in the outbox in the end", &[Live], |s| {
        s.line("desk", "end", 0)["outbox"] = json!([{"conversation": "d1", "id": "m2"}]);
    }),
    ("a message vanishes in a restart", &[Live], |s| {
        let at = s.find("desk", "restart", 0);
        s.history.insert(at, attempt("desk", "9", &["m9"]));
    }),
    ("a device is catching up for ever", &[Live], |s| drop(s.without("spy", "live", 0))),
    ("a device is not answered to its hello", &[Live], |s| {
        s.without("spy", "live", 0);
        s.without("spy", "hello", 0);
    }),
];

const ROWS: &[Mutation] = &[
    ("a cursor in the tables is beyond the tail", &[C1], |s| s.set(ALICES, "d:phone", cursor(1, 9))),
    ("a cursor in the tables is further than any device told", &[C1], |s| s.set(BOBS, "d:desk", cursor(1, 5))),
    ("a cursor in the tables is of a device that told none", &[C1], |s| s.set(BOBS, "d:watch", cursor(1, 2))),
    ("a delivered cursor went back", &[C1], |s| s.set(ALICES, "d:tablet", cursor(1, 4))),
    ("a delivered cursor is gone", &[C1], |s| s.set(ALICES, "d:tablet", Value::Null)),
    ("a read cursor went back, so that more is unread", &[C1, Count], |s| {
        s.set(BOBS, "r", cursor(1, 2));
        s.set(BOBS, "rn", json!({"N": "1"}));
    }),
    ("a device told more than it was shown", &[C1], |s| s.line("desk", "told_ack", 0)["position"] = at(1, 5)),
    ("a user has read more than was shown", &[C1], |s| s.line("phone", "told_read", 0)["position"] = at(1, 6)),
    ("the server took a cursor where no entry is", &[C1], |s| s.line("desk", "taken", 0)["position"] = at(7, 2)),
    ("another's cursor went back", &[C1], |s| s.line("phone", "cursors", 1)["delivered"] = at(1, 1)),
    ("another's cursor is further than they told", &[C1], |s| s.line("phone", "cursors", 1)["read"] = at(1, 4)),
    ("an entry of a stranger is stored", &[M1], |s| {
        s.before_quiescence(attempt("spy", "9", &["x3"]));
        s.before_quiescence(of_d1("spy", "given_up", json!({"id": "x3"})));
        s.dump.push(item(6, 1, "carol", "x3"));
    }),
    ("a stranger is shown an entry", &[M1], |s| s.before_quiescence(of_d1("spy", "shown", entry(1, (1, "alice", "o1"))))),
    ("a stranger is told a head", &[M1], |s| s.before_quiescence(of_d1("spy", "status", json!({"head": at(1, 5), "count": 4})))),
    ("a member has no row", &[M1], |s| {
        let row = s.find_item("conversations", "k", "member#bob");
        s.dump.remove(row);
    }),
    ("a stranger's answer tells something", &[R1], |s| {
        s.line("spy", "asked_as_stranger", 0)["answer"] = r#"{"type":"error","id":"21","code":"forbidden"}"#.into();
    }),
    ("a bad request is stored", &[R1], |s| {
        s.before_quiescence(told("phone", "bad", json!({"ids": ["x9"], "code": "bad_request"})));
        s.dump.push(item(6, 1, "alice", "x9"));
    }),
    ("an entry is stored that nobody sent", &[R1], |s| s.dump.push(item(6, 1, "bob", "m9"))),
    ("a creation is stored that nobody asked for", &[R1], |s| s.line("phone", "open", 0)["id"] = "o9".into()),
    ("a message that was refused for good is stored", &[R1], |s| s.dump.push(item(6, 1, "alice", "m5"))),
    ("a bad request is answered with an unknown code", &[R1], |s| s.line("spy", "bad", 0)["code"] = "oops".into()),
    ("a bad request is answered twice", &[R1], |s| s.line("spy", "bad", 0)["answers"] = 2.into()),
    ("a stranger has an inbox row", &[R1], |s| {
        s.dump.push(json!({"table": "inboxes", "item": {"u": {"S": "carol"}, "c": {"S": "d1"}, "f": {"N": "1"}}}));
    }),
    ("a user has a session of another's device", &[R1], |s| {
        s.set(("users", "u", "carol"), "c:other", json!({"M": {"d": {"S": "phone"}, "a": {"N": "1"}, "x": {"N": "2"}}}));
    }),
    ("an entry counts wrong", &[Count], |s| s.stored(5)["n"] = json!({"N": "5"})),
    ("the head counts wrong", &[Count], |s| s.set(HEAD, "n", json!({"N": "5"}))),
    ("a read cursor counts wrong", &[Count], |s| s.set(ALICES, "rn", json!({"N": "2"}))),
    ("a device is told a wrong count", &[Count], |s| s.line("tablet", "shown", 1)["count"] = 3.into()),
    ("an acknowledgement has a wrong count", &[Count], |s| s.line("phone", "result", 0)["count"] = 2.into()),
    ("hello tells a wrong count", &[Count], |s| s.line("desk", "status", 0)["count"] = 5.into()),
    ("a device shows a wrong unread", &[Count], |s| s.line("desk", "end", 0)["transcripts"][0]["unread"] = 4.into()),
];

/// The same, of the second story.
const RESTORED: &[Mutation] = &[
    ("devices saw different entries where a restore took one back", &[L1], |s| s.line("phone", "shown", 2)["id"] = "m9".into()),
    ("an answer names another message where a restore took one back", &[L1], |s| s.line("desk", "result", 0)["id"] = "m9".into()),
    ("a live device still has what a restore took back", &[L1], |s| {
        for what in [("rolled_back", 0), ("shown", 3), ("end", 0)] {
            s.without("desk", what.0, what.1);
        }
    }),
    ("an acknowledged message is lost that the backup had", &[L3], |s| {
        s.line("", "restored", 0)["tails"] = json!({"d1": 3});
        for (device, what) in [("phone", "told_ack"), ("phone", "taken"), ("desk", "cursors"), ("desk", "cursors")] {
            s.without(device, what, 0);
        }
        s.set(ALICES, "d:phone", Value::Null);
    }),
    ("an acknowledged message is lost, and its epoch is that of the backup", &[L3, C1], |s| {
        s.line("", "restored", 0)["epoch"] = 1.into();
    }),
    ("what was taken since the restore is not kept", &[C1], |s| {
        s.before_quiescence(of_d1("phone", "told_ack", json!({"position": at(2, 3)})));
        s.before_quiescence(of_d1("phone", "taken", json!({"position": at(2, 3), "cursor": "delivered"})));
    }),
];

const META: (&str, &str, &str) = ("conversations", "k", "meta");
const DAVES: (&str, &str, &str) = ("conversations", "k", "member#dave");
const DAVES_INBOX: (&str, &str, &str) = ("inboxes", "u", "dave");

/// The same, of the third story.
const GROUP: &[Mutation] = &[
    ("who has left writes", &[M1], |s| {
        let mut attempt = attempt("desk", "99", &["m9"]);
        attempt["conversation"] = "g1".into();
        s.before_quiescence(attempt);
        s.before_quiescence(of_g1("desk", "given_up", json!({"id": "m9"})));
        let mut entry = item(12, 1, "bob", "m9");
        (entry["item"]["c"], entry["item"]["n"]) = (json!({"S": "g1"}), json!({"N": "4"}));
        s.dump.push(entry);
    }),
    ("a member writes in a locked group", &[M1], |s| {
        let mut attempt = attempt("watch", "99", &["m9"]);
        attempt["conversation"] = "g1".into();
        s.before_quiescence(attempt);
        s.before_quiescence(of_g1("watch", "given_up", json!({"id": "m9"})));
        let mut entry = item(12, 1, "dave", "m9");
        (entry["item"]["c"], entry["item"]["n"]) = (json!({"S": "g1"}), json!({"N": "4"}));
        s.dump.push(entry);
    }),
    ("a member adds somebody", &[M1], |s| changed(s, "watch", &json!({"kind": "added", "users": ["erin"]}))),
    ("who is a member is added", &[M1], |s| changed(s, "phone", &json!({"kind": "added", "users": ["dave"]}))),
    ("nobody is added", &[M1], |s| changed(s, "phone", &json!({"kind": "added", "users": []}))),
    ("a member removes the owner", &[M1], |s| changed(s, "watch", &json!({"kind": "removed", "users": ["alice"]}))),
    ("who is no member is removed", &[M1], |s| changed(s, "phone", &json!({"kind": "removed", "users": ["bob"]}))),
    ("the last owner leaves", &[M1], |s| changed(s, "phone", &json!({"kind": "left"}))),
    ("the owner leaves the group to who is no member", &[M1], |s| changed(s, "phone", &json!({"kind": "left", "successor": "bob"}))),
    ("a member makes an owner", &[M1], |s| changed(s, "watch", &json!({"kind": "role", "user": "carol", "role": "owner"}))),
    ("a role is given that was there", &[M1], |s| changed(s, "phone", &json!({"kind": "role", "user": "carol", "role": "member"}))),
    ("a member sets something", &[M1, L1], |s| changed(s, "watch", &json!({"kind": "settings", "settings": {"title": "mine"}}))),
    ("something is set that was set", &[M1], |s| changed(s, "phone", &json!({"kind": "settings", "settings": {"locked": true}}))),
    ("a member closes the group", &[M1], |s| changed(s, "watch", &json!({"kind": "closed"}))),
    ("an entry tells another number of members", &[M1], |s| s.stored(6)["nm"] = json!({"N": "4"})),
    ("an entry tells another number of owners", &[M1], |s| s.stored(4)["no"] = json!({"N": "2"})),
    ("a change of a role is no change of members", &[M1], |s| s.stored(4)["mc"] = json!({"N": "3"})),
    ("an entry tells another change of settings", &[M1], |s| s.stored(5)["sc"] = json!({"N": "1"})),
    ("an entry tells another removal", &[M1], |s| s.stored(11)["rm"] = json!({"N": "6"})),
    ("an entry tells another policy", &[M1], |s| s.stored(11)["p"]["M"]["l"] = Value::Null),
    ("the same members come back, and their sum does not", &[M1], |s| s.stored(8)["ms"] = json!({"N": "111"})),
    ("who was removed is shown what was written since", &[M1], |s| {
        let entry = s.line("phone", "shown", 9).clone();
        s.before_quiescence(of_g1("desk", "shown", entry.clone()));
        let kept = &mut s.line("desk", "end", 0)["transcripts"][0];
        kept["have"] = at(1, 10);
        kept["entries"].as_array_mut().expect("entries").push(entry);
    }),
    ("who joins is shown what was before", &[M1], |s| {
        let entry = s.line("phone", "shown", 1).clone();
        s.before_quiescence(of_g1("watch", "older", entry));
    }),
    ("who was removed is told the head", &[M1], |s| s.before_quiescence(of_g1("desk", "status", json!({"head": at(1, 11), "count": 3})))),
    ("an entry is sent to who was removed", &[M1], |s| s.before_quiescence(of_g1("desk", "received", json!({"positions": [at(1, 10)]})))),
    ("a member may see what was before they joined", &[M1], |s| s.set(DAVES, "f", json!({"N": "1"}))),
    ("the two rows have different roles", &[M1], |s| s.set(DAVES_INBOX, "o", json!({"S": "a"}))),
    ("a row is of an older entry", &[M1], |s| s.set(("conversations", "k", "member#carol"), "v", json!({"N": "1"}))),
    ("who left still has a row", &[M1], |s| {
        s.dump.push(json!({"table": "inboxes", "item": {"u": {"S": "bob"}, "c": {"S": "g1"}, "f": {"N": "1"}}}));
    }),
    ("who left has no spans", &[M1], |s| {
        let left = s.find_item("conversations", "k", "left#bob");
        s.dump.remove(left);
    }),
    ("a span ends elsewhere", &[M1], |s| {
        s.set(("conversations", "k", "left#carol"), "sp", json!({"L": [{"M": {"f": {"N": "1"}, "e": cursor(1, 7)}}]}));
    }),
    ("who never left has spans", &[M1], |s| {
        s.dump.push(json!({"table": "conversations", "item": {"c": {"S": "g1"}, "k": {"S": "left#dave"}, "sp": {"L": []}}}));
    }),
    ("that somebody was a member is forgotten", &[M1], |s| {
        let was = s.find_item("users", "k", "was#g1");
        s.dump.remove(was);
    }),
    ("the title is the one of before", &[L1], |s| s.set(META, "ti", json!({"S": "trip"}))),
    ("a change is stored that nobody asked for", &[R1], |s| s.line("phone", "change", 0)["kind"] = "removed".into()),
    ("a change is stored that was to change nothing", &[R1], |s| {
        changed(s, "phone", &json!({"kind": "settings", "settings": {"locked": false}}));
        let last = s.dump.len();
        s.stored(last)["i"] = json!({"S": "g8"});
    }),
    ("who joins has not read what was there", &[Count], |s| {
        s.set(DAVES_INBOX, "r", Value::Null);
        s.line("watch", "end", 0)["transcripts"][0]["unread"] = 3.into();
    }),
];

const REACTIONS: (&str, &str, &str) = ("conversations", "k", "reactions#0000000000000002");

fn in_words(said: &Value) -> Value {
    json!({"S": said.to_string()})
}

/// The transcript of a device of the fourth story, as it has the entry in this slot.
fn held<'a>(story: &'a mut Story, device: &str, seq: u64) -> &'a mut Value {
    let entries = story.line(device, "end", 0)["transcripts"][0]["entries"].as_array_mut().expect("entries");
    entries.iter_mut().find(|entry| entry["position"]["seq"] == seq).expect("the entry is there")
}

/// The same, of the fourth story.
const AMENDED: &[Mutation] = &[
    ("a message is edited, and says what it said before", &[L1, D2], |s| {
        s.stored(13).as_object_mut().expect("an item").remove("E");
        s.stored(13)["W"] = in_words(&json!({"kind": "message", "body": body("m4")}));
    }),
    ("an edit is forgotten", &[L1], |s| s.stored(2)["E"] = json!({"L": []})),
    ("a message is deleted, and is there", &[L1], |s| {
        s.stored(3)["k"] = json!({"S": "message"});
        s.stored(3)["W"] = in_words(&json!({"kind": "message", "body": body("e2"), "edited": 5}));
        s.stored(3)["E"] = json!({"L": [{"N": "5"}]});
    }),
    ("a message is deleted, and an edit of it has its words", &[L1], |s| {
        s.stored(5)["W"] = in_words(&json!({"kind": "edit", "target": 3, "body": body("e2")}));
    }),
    ("the first words of a message that was deleted are somewhere", &[L1], |s| s.stored(8)["z"] = json!({"S": "m2"})),
    ("an edit is not what its sender asked for", &[L1], |s| {
        for line in s.history.iter_mut().filter(|line| line["what"] == "change" && line["id"] == "a8") {
            line["body"] = body("other");
        }
    }),
    ("a reaction is counted twice", &[Count], |s| {
        s.set(REACTIONS, "r", json!({"M": {"+1": {"M": {"n": {"N": "2"}}}, "ok": {"M": {"n": {"N": "1"}}}}}));
    }),
    ("a reaction is not counted", &[Count], |s| s.set(REACTIONS, "r", json!({"M": {"+1": {"M": {"n": {"N": "1"}}}}}))),
    ("reactions are counted no further than before", &[Count], |s| s.set(REACTIONS, "t", json!({"N": "6"}))),
    ("a user has lost their reaction", &[Count], |s| s.set(("conversations", "k", "reaction#2#bob"), "r", json!({"L": []}))),
    ("a deleted message takes reactions", &[Count], |s| s.set(("conversations", "k", "reactions#0000000000000003"), "x", Value::Null)),
    ("something stands beside what is no message", &[Count], |s| {
        s.set(("conversations", "k", "reactions#0000000000000010"), "s", json!({"N": "11"}));
    }),
    ("an edit is behind what its device did later", &[L5], |s| {
        let at = s.history.iter().position(|line| line["what"] == "change" && line["id"] == "a2").expect("the edit");
        let composed = of_g1("phone", "composed", json!({"id": "a3", "target": 2}));
        s.history.insert(at, of_g1("phone", "change", json!({"id": "a3", "kind": "reaction", "target": 2, "request": "0"})));
        s.history.insert(at, composed);
    }),
    ("an edit takes nothing of what is admitted", &[Count], |s| {
        let before = s.stored(14).clone();
        (s.stored(15)["bk"], s.stored(15)["bt"]) = (before["bk"].clone(), before["bt"].clone());
    }),
    ("a deletion counts as a message", &[Count], |s| s.stored(8)["n"] = json!({"N": "3"})),
    ("somebody edits another's message", &[M1, L1], |s| amended(s, "phone", &json!({"kind": "edit", "target": 10, "body": body("mine")}))),
    ("somebody edits what they may not see", &[M1, L1], |s| {
        amended(s, "watch", &json!({"kind": "edit", "target": 2, "body": body("mine")}));
    }),
    ("somebody edits a message after a day", &[M1, L1], |s| {
        amended(s, "phone", &json!({"kind": "edit", "target": 13, "body": body("late")}));
        s.stored(16)["t"] = json!({"N": (1013 + 24 * 60 * 60 * 1000 + 1).to_string()});
    }),
    ("a member deletes another's message", &[M1, L1, Count], |s| amended(s, "watch", &json!({"kind": "deletion", "target": 13}))),
    ("somebody deletes what is deleted", &[M1, Count], |s| amended(s, "phone", &json!({"kind": "deletion", "target": 3}))),
    ("somebody reacts to what is no message", &[M1], |s| {
        amended(s, "phone", &json!({"kind": "reaction", "target": 7, "key": "+1", "change": "add"}));
    }),
    ("somebody reacts to what they may not see", &[M1, Count], |s| {
        amended(s, "watch", &json!({"kind": "reaction", "target": 2, "key": "+1", "change": "add"}));
    }),
    ("somebody reacts as they did", &[M1, Count], |s| {
        amended(s, "phone", &json!({"kind": "reaction", "target": 2, "key": "+1", "change": "add"}));
    }),
    ("who was removed reacts", &[M1, Count], |s| {
        amended(s, "desk", &json!({"kind": "reaction", "target": 10, "key": "+1", "change": "add"}));
    }),
    ("an edit that was to change nothing is stored", &[R1, L1], |s| {
        amended(s, "phone", &json!({"kind": "edit", "target": 13, "body": body("e4")}));
        s.stored(16)["i"] = json!({"S": "a9"});
    }),
    ("who joins is told what was done to a message of before", &[M1], |s| {
        let line = s.line("watch", "received", 1);
        line["told"] = json!([{"position": at(1, 8), "kind": "deletion", "target": 3}]);
    }),
    ("who joins is told which message of before is answered", &[M1], |s| {
        let line = s.line("watch", "received", 3);
        line["told"] = json!([{"position": at(1, 10), "kind": "message", "reply_to": 2}]);
    }),
    ("who was removed is told the new words", &[M1], |s| {
        let told = &mut s.line("desk", "received", 14)["told"][1];
        (told["kind"], told["edited"]) = ("message".into(), 15.into());
    }),
    ("what somebody may see is hidden from them", &[M1], |s| s.line("phone", "received", 3)["told"][0]["kind"] = "hidden".into()),
    ("a device does not apply an edit", &[D2], |s| held(s, "watch", 13)["edited"] = Value::Null),
    ("a device has the words of before an edit", &[L1, D2], |s| held(s, "phone", 2)["body"] = body("m1")),
    ("a device keeps a deleted message", &[D2], |s| {
        let held = held(s, "phone", 3);
        (held["kind"], held["body"]) = ("message".into(), body("m2"));
    }),
    ("a device keeps the words of an edit of a deleted message", &[D2], |s| held(s, "phone", 5)["body"] = body("e2")),
    ("a device counts a reaction twice", &[D2], |s| held(s, "phone", 2)["reactions"][0]["count"] = 2.into()),
    ("a device does not know an own reaction", &[D2], |s| held(s, "phone", 2)["reactions"][0]["mine"] = Value::Null),
];

#[test]
fn every_mutation_is_found_every_guarantee_is_broken_alone_by_one_and_every_check_by_one() {
    let all = [
        (Story::good(), LOG),
        (Story::good(), DELIVERY),
        (Story::good(), ROWS),
        (Story::restored(), RESTORED),
        (Story::group(), GROUP),
        (Story::amended(), AMENDED),
    ];
    let (mut alone, mut checks, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (story, mutations) in all {
        for (name, expected, spoil) in mutations {
            assert!(names.insert(*name), "`{name}` is there twice");
            let mut spoiled = story.clone();
            spoil(&mut spoiled);
            let expected: BTreeSet<Guarantee> = expected.iter().copied().collect();
            let verdict = spoiled.judged();
            let found: BTreeSet<Guarantee> = verdict.violations().iter().map(Violation::guarantee).collect();
            assert_eq!(found, expected, "{name}: {:#?}", verdict.violations());
            for violation in verdict.violations() {
                assert!(!violation.history.is_empty() || !violation.dump.is_empty(), "{name}: no line is named by {violation:?}");
                checks.insert(violation.check);
            }
            alone.extend(expected.first().filter(|_| expected.len() == 1));
        }
    }
    assert!(names.len() >= 100, "{} mutations", names.len());
    let guarantees: BTreeSet<Guarantee> = Check::ALL.iter().map(|check| check.guarantee()).collect();
    assert_eq!(alone, guarantees);
    let all: BTreeSet<Check> = Check::ALL.iter().copied().collect();
    assert_eq!(all.difference(&checks).collect::<Vec<_>>(), Vec::<&Check>::new(), "no mutation breaks these");
}

/// Whatever a producer forgets, repeats or exchanges: a judgement, never a panic.
#[test]
fn whatever_line_is_missing_doubled_or_too_early_the_rest_is_judged() {
    for story in [Story::good(), Story::restored(), Story::group(), Story::amended()] {
        for index in 0..story.history.len() {
            let mut spoiled = [story.clone(), story.clone(), story.clone()];
            spoiled[0].history.remove(index);
            spoiled[1].history.insert(index, story.history[index].clone());
            spoiled[2].history.swap(index, index.saturating_sub(1));
            assert!(spoiled.iter().all(|story| story.judged().checked(Check::Slots) > 0));
        }
        for index in 0..story.dump.len() {
            let mut spoiled = [story.clone(), story.clone()];
            spoiled[0].dump.remove(index);
            spoiled[1].dump.insert(index, story.dump[index].clone());
            assert!(spoiled.iter().all(|story| story.judged().checked(Check::Slots) > 0));
        }
    }
}
