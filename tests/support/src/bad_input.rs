//! The corpus of bad input (`docs/PROTOCOL.md` §12), which the scenarios and the second judge send: `bad_input.json` beside the manifest.
//!
//! Its rows are kept under the name of the test that they are for. A row has `name`; what is sent: `text`, `request` (its `id` is added, and
//! what is `null` in it left out), or `send`, changes of the good request by JSON pointer; and what must come: `code`, `bad_request` unless it
//! says so, without the request's id if `id` is false. The second judge leaves out rows whose `judge` is false: there an emulator would be
//! asked what its own parser does.
//!
//! `{"repeat": "x", "times": 3}` stands for a text, also as a part of `text`, `{"list": item, "times": 3}` for a list, with `$n` in the item
//! counting. `$id`, `$message`, `$conversation`, `$user` and, in a text, `$send` stand for what they say.

use serde_json::{Map, Value, json};

/// The corpus, for one conversation of one user.
#[derive(Debug)]
pub struct Corpus {
    kept: Value,
    /// What the names stand for.
    stands_for: [(&'static str, String); 4],
}

/// One bad input.
#[derive(Clone, Debug)]
pub struct BadInput {
    /// What it is.
    pub name: String,
    /// What is sent.
    pub text: String,
    /// The code of the error.
    pub code: String,
    /// Whether the error has the request's id.
    pub has_id: bool,
}

impl Corpus {
    /// Every request gets this id and this client message id.
    ///
    /// # Panics
    /// Never: the file is JSON.
    pub fn new(id: &str, message: &str, conversation: &str, user: &str) -> Self {
        let kept = serde_json::from_str(include_str!("../bad_input.json")).expect("bad_input.json is JSON");
        let stands_for = [("$id", id), ("$message", message), ("$conversation", conversation), ("$user", user)];
        Self { kept, stands_for: stands_for.map(|(name, text)| (name, text.to_owned())) }
    }

    /// The rows of a test.
    ///
    /// # Panics
    /// If there is none of this name, or a row is not as described above.
    pub fn rows(&self, test: &str) -> Vec<BadInput> {
        let rows = self.kept["rows"][test].as_array().unwrap_or_else(|| panic!("no rows for {test}"));
        let read = |row: &Value| BadInput {
            name: row["name"].as_str().expect("a name").to_owned(),
            text: self.named(&self.text(row)),
            code: row["code"].as_str().unwrap_or("bad_request").to_owned(),
            has_id: row["id"] != false,
        };
        rows.iter().map(read).collect()
    }

    /// A good `send` of one message.
    ///
    /// # Panics
    /// Never: the file has one.
    pub fn good_send(&self) -> Value {
        serde_json::from_str(&self.named(&with_id(&self.kept["send"]).to_string())).expect("JSON")
    }

    /// Every field of a request of each kind, spoilt in every way.
    ///
    /// # Panics
    /// If a sample is no request.
    pub fn spoilt(&self) -> Vec<BadInput> {
        let mut rows = vec![];
        for sample in self.kept["samples"].as_array().expect("samples").iter().map(with_id) {
            let mut fields = vec![];
            pointers(&sample, "", &mut fields);
            for pointer in fields {
                let optional = self.kept["optional"].as_array().expect("a list").iter().any(|one| *one == pointer);
                spoil(&sample, &pointer, optional, &mut rows);
            }
        }
        for row in &mut rows {
            row.text = self.named(&row.text);
        }
        rows
    }

    /// The text of a row, with names in it.
    fn text(&self, row: &Value) -> String {
        if let Some(changes) = row["send"].as_object() {
            let mut request = with_id(&self.kept["send"]);
            for (pointer, value) in changes {
                *request.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is in a send")) = expanded(value);
            }
            return request.to_string();
        }
        match &row["text"] {
            Value::Null => with_id(&expanded(&row["request"])).to_string(),
            Value::Array(parts) => parts.iter().map(|part| as_text(&expanded(part))).collect(),
            text => as_text(text).replace("$send", &self.good_send().to_string()),
        }
    }

    fn named(&self, text: &str) -> String {
        self.stands_for.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The request with its id; without what is `null` in it.
fn with_id(request: &Value) -> Value {
    let mut fields = Map::from_iter([("id".to_owned(), json!("$id"))]);
    fields.extend(request.as_object().expect("a request").clone());
    fields.retain(|_, value| !value.is_null());
    fields.into()
}

/// What a value stands for.
fn expanded(value: &Value) -> Value {
    let times = || usize::try_from(value["times"].as_u64().expect("a number")).expect("few");
    match value {
        Value::Object(fields) if fields.contains_key("repeat") => json!(as_text(&value["repeat"]).repeat(times())),
        Value::Object(fields) if fields.contains_key("list") => {
            let item = expanded(&value["list"]).to_string();
            (0..times()).map(|n| serde_json::from_str::<Value>(&item.replace("$n", &format!("{n:03}"))).expect("JSON")).collect()
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), expanded(value))).collect(),
        Value::Array(values) => values.iter().map(expanded).collect(),
        plain => plain.clone(),
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

/// What else this field could be.
fn spoil(request: &Value, pointer: &str, optional: bool, rows: &mut Vec<BadInput>) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let was = request.pointer(pointer).expect("a field").clone();
    let mut changed = |what: &str, code: &str, change: &dyn Fn(&mut Map<String, Value>)| {
        let mut request = request.clone();
        change(request.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object"));
        let (name, text) = (format!("{what} {pointer} of {}", request["action"]), request.to_string().replace("REPEATED", key));
        rows.push(BadInput { name, text, code: code.to_owned(), has_id: pointer != "/id" });
    };
    if !optional {
        changed("missing", "bad_request", &|fields| drop(fields.remove(key)));
        changed("null", "bad_request", &|fields| drop(fields.insert(key.into(), Value::Null)));
    }
    for wrong in [json!(true), json!(-1), json!(1.5), json!([was]), json!({ "x": was })] {
        changed(&format!("{wrong} as"), "bad_request", &|fields| drop(fields.insert(key.into(), wrong.clone())));
    }
    // A text is what these are: U+0001 is a wrong value for all but these.
    if !matches!(pointer, "/with" | "/token" | "/messages/0/body/text") {
        let code = if pointer == "/action" { "unknown_action" } else { "bad_request" };
        changed("U+0001 as", code, &|fields| drop(fields.insert(key.into(), json!("\u{1}"))));
    }
    changed("repeated", "bad_request", &|fields| drop(fields.insert("REPEATED".into(), was.clone())));
}
