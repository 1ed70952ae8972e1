//! The corpus of bad input (`docs/PROTOCOL.md` §12), which the second judge sends to the whole stack, here to the parser:
//! `tests/support/bad_input.json`.
//!
//! A row has `name`; what is sent: `text`, `request` (its `id` is added, and what is `null` in it left out), or `send`, changes of the good
//! request by JSON pointer; and what must come: `code`, `bad_request` unless it says so, without the request's id if `id` is false. Rows
//! whose `parser` is false are refused by a rule behind it. The judge leaves out rows whose `judge` is false: there an emulator would be
//! asked what its own parser does.
//!
//! Of the fields of `samples`, each named with its action, those of `optional` may be missing or null, and those of `any text` may be U+0001.
//!
//! `{"repeat": "x", "times": 3}` stands for a text, also as a part of `text`, `{"list": item, "times": 3}` for a list, with `$n` in the
//! item counting. `$id`, `$message`, `$conversation`, `$user` and, in a text, `$send` stand for what they say.

use chatlane_protocol::Request;
use serde_json::{Map, Value, json};

/// The `id` of every request.
const ID: &str = "bad";

fn corpus() -> Value {
    let names = [("$id", ID), ("$message", "m"), ("$conversation", "d1"), ("$user", "alice")];
    let kept = include_str!("../../../tests/support/bad_input.json").to_owned();
    serde_json::from_str(&names.iter().fold(kept, |text, (name, value)| text.replace(name, value))).unwrap()
}

/// A good request or a bad one, with its id and without what is `null` in it.
fn with_id(request: &Value) -> Value {
    let mut fields = Map::from_iter([("id".to_owned(), json!(ID))]);
    fields.extend(request.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    fields.into()
}

/// What a value stands for.
fn expanded(value: &Value) -> Value {
    let times = || usize::try_from(value["times"].as_u64().unwrap()).unwrap();
    match value {
        Value::Object(fields) if fields.contains_key("repeat") => json!(value["repeat"].as_str().unwrap().repeat(times())),
        Value::Object(fields) if fields.contains_key("list") => {
            let item = expanded(&value["list"]).to_string();
            (0..times()).map(|n| serde_json::from_str::<Value>(&item.replace("$n", &format!("{n:03}"))).unwrap()).collect()
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), expanded(value))).collect(),
        Value::Array(values) => values.iter().map(expanded).collect(),
        plain => plain.clone(),
    }
}

/// What a row sends.
fn sent(row: &Value, good: &Value) -> String {
    if let Some(changes) = row["send"].as_object() {
        let mut request = good.clone();
        for (pointer, value) in changes {
            *request.pointer_mut(pointer).unwrap() = expanded(value);
        }
        return request.to_string();
    }
    match &row["text"] {
        Value::Null => with_id(&expanded(&row["request"])).to_string(),
        Value::Array(parts) => parts.iter().map(|part| expanded(part).as_str().unwrap().to_owned()).collect(),
        text => text.as_str().unwrap().replace("$send", &good.to_string()),
    }
}

/// One typed error, not to be repeated, and the request's id where that can be read.
fn is_refused(name: &str, text: &str, code: &str, has_id: bool) {
    let refused = Request::parse(text).expect_err(name);
    assert_eq!((json!(refused.refusal.code), refused.refusal.retryable), (json!(code), false), "{name}");
    assert_eq!(refused.id.map(|id| id.to_string()), has_id.then(|| ID.to_owned()), "{name}");
}

// holds: R1
#[test]
fn each_row_of_the_corpus_gets_its_error() {
    let corpus = corpus();
    let good = with_id(&corpus["send"]);
    assert!(Request::parse(&good.to_string()).is_ok());
    let rows: Vec<&Value> = corpus["rows"].as_object().unwrap().values().flat_map(|rows| rows.as_array().unwrap()).collect();
    assert!(rows.len() > 200, "{} rows", rows.len());
    for row in rows.into_iter().filter(|row| row["parser"] != false) {
        let code = row["code"].as_str().unwrap_or("bad_request");
        is_refused(row["name"].as_str().unwrap(), &sent(row, &good), code, row["id"] != false);
    }
}

/// All fields of all objects, in objects and in the first item of lists of them.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        found.push(at.clone());
        pointers(value, &at, found);
        pointers(&value[0], &format!("{at}/0"), found);
    }
}

/// Every field of a request of each kind, spoilt in every way.
// holds: R1
#[test]
fn a_field_that_is_missing_null_wrong_typed_or_repeated_gets_bad_request() {
    let corpus = corpus();
    for sample in corpus["samples"].as_array().unwrap().iter().map(with_id) {
        let mut fields = vec![];
        pointers(&sample, "", &mut fields);
        for pointer in fields {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let was = sample.pointer(&pointer).unwrap().clone();
            let field = json!(format!("{}{pointer}", sample["action"].as_str().unwrap()));
            let spoil = |what: &str, code: &str, change: &dyn Fn(&mut Map<String, Value>)| {
                let mut request = sample.clone();
                change(request.pointer_mut(parent).and_then(Value::as_object_mut).unwrap());
                let text = request.to_string().replace("REPEATED", key);
                is_refused(&format!("{what} {pointer} of {}", sample["action"]), &text, code, pointer != "/id");
            };
            if !corpus["optional"].as_array().unwrap().contains(&field) {
                spoil("missing", "bad_request", &|fields| drop(fields.remove(key)));
                spoil("null", "bad_request", &|fields| drop(fields.insert(key.into(), Value::Null)));
            }
            for wrong in [json!(true), json!(-1), json!(1.5), json!([was]), json!({ "x": was })] {
                spoil(&format!("{wrong} as"), "bad_request", &|fields| drop(fields.insert(key.into(), wrong.clone())));
            }
            if !corpus["any text"].as_array().unwrap().contains(&field) {
                let code = if pointer == "/action" { "unknown_action" } else { "bad_request" };
                spoil("U+0001 as", code, &|fields| drop(fields.insert(key.into(), json!("\u{1}"))));
            }
            spoil("repeated", "bad_request", &|fields| drop(fields.insert("REPEATED".into(), was.clone())));
        }
    }
}
