//! What is no request at all, or one with a bad field: one `error` frame, before any rule is asked.

use serde_json::{Value, json};

use super::scene::{ID, Scene, replaced};

/// How the error names the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Its,
    Nothing,
}

pub async fn each_gets_its_error(mut scene: Scene, rows: Vec<(String, String, &str, Names)>) {
    let before = scene.alice.frames().len();
    let count = rows.len();
    for (name, text, code, names) in rows {
        let answer = scene.answer_to(&name, &text).await;
        let id = if names == Names::Its { json!(ID) } else { Value::Null };
        let got = (&answer["type"], &answer["code"], &answer["retryable"], &answer["id"]);
        assert_eq!(got, (&json!("error"), &json!(code), &json!(false), &id), "{name}: {answer}");
    }
    scene.goes_on(count, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_one_json_object_gets_an_error_without_an_id() {
    let scene = Scene::new().await;
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let send = scene.good_send().to_string();
    let rows = [
        ("empty text", String::new()),
        ("white space", " \r\n\t".into()),
        ("no JSON", "hello bob".into()),
        ("cut off", send[..send.len() - 1].into()),
        ("garbage behind", format!("{send}x")),
        ("two objects", format!("{send}{send}")),
        ("a single quote", send.replace('"', "'")),
        ("a byte order mark", format!("\u{feff}{send}")),
        ("null", "null".into()),
        ("a number", "1".into()),
        ("a text", r#""send""#.into()),
        ("an array", "[]".into()),
        ("an array of the fields", format!(r#"["ping","{ID}"]"#)),
        ("an array of an id", format!(r#"["{ID}"]"#)),
        ("200 deep in an ignored field", format!(r#"{{"action":"ping","id":"{ID}","x":{}}}"#, nested(200))),
        ("200 deep in a body", send.replace(r#""hi""#, &nested(200))),
        ("200 deep in front of the action", format!(r#"{{"a":{},"action":"ping","id":"{ID}"}}"#, nested(200))),
        ("200 objects deep", format!(r#"{{"action":"ping","id":"{ID}","x":{}1{}}}"#, r#"{"x":"#.repeat(200), "}".repeat(200))),
        ("15,000 deep", format!(r#"{{"action":"send","id":"{ID}","x":{}}}"#, nested(15_000))),
        ("15,000 deep and never closed", "[".repeat(15_000)),
        ("a raw NUL in a text", send.replace("hi", "h\u{0}i")),
        ("a raw NUL behind", format!("{send}\u{0}")),
        ("a lone high surrogate", send.replace("hi", r"\ud800")),
        ("a lone low surrogate", send.replace("hi", r"\udc00")),
        ("surrogates the wrong way round", send.replace("hi", r"\udc00\ud800")),
        ("a number beyond all", send.replace(r#""epoch":1"#, r#""epoch":1e999"#)),
    ];
    let rows = rows.map(|(name, text)| (name.to_owned(), text, "bad_request", Names::Nothing)).into();
    each_gets_its_error(scene, rows).await;
}

/// Every field of every request: what else it could be.
fn spoiled(request: &Value, pointer: &str, optional: bool) -> Vec<(String, String)> {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let mut rows = vec![];
    let was = request.pointer(pointer).expect("a field").clone();
    let mut changed = |what: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut request = request.clone();
        change(request.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object"));
        rows.push((format!("{what} {pointer} of {}", request["action"]), request.to_string()));
    };
    if !optional {
        changed("missing", &|fields| drop(fields.remove(key)));
        changed("null", &|fields| drop(fields.insert(key.into(), Value::Null)));
    }
    for wrong in [json!(true), json!(-1), json!(1.5), json!("\u{1}"), json!([was.clone()]), json!({ "x": was.clone() })] {
        changed(&format!("{wrong} as"), &|fields| drop(fields.insert(key.into(), wrong.clone())));
    }
    changed("repeated", &|fields| drop(fields.insert("REPEATED".into(), was.clone())));
    rows.last_mut().expect("a row").1 = rows.last().expect("a row").1.replace("REPEATED", key);
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_null_wrong_typed_or_repeated_gets_bad_request() {
    let scene = Scene::new().await;
    let mut with_data = scene.good_send();
    with_data["messages"][0]["body"] = json!({ "content_type": "image/x-dot", "data": "AP8=" });
    let position = json!({ "epoch": 1, "seq": 1 });
    let named = json!({ "conversation": "d", "position": position });
    let requests = [
        (json!({ "action": "ping", "id": ID, "open": ["d"] }), vec!["/action", "/id"], vec!["/open"]),
        (
            json!({ "action": "hello", "id": ID, "v": 1, "after": "d", "known": [["e", 1, 1, 0, 0]], "known_to": "f" }),
            vec!["/action", "/id", "/v"],
            vec!["/after", "/known", "/known_to"],
        ),
        (json!({ "action": "refresh", "id": ID, "token": "a.b.c" }), vec!["/action", "/id", "/token"], vec![]),
        (
            json!({ "action": "history", "id": ID, "conversation": "d", "before": 3, "limit": 50 }),
            vec!["/action", "/id", "/conversation"],
            vec!["/before", "/limit"],
        ),
        (
            json!({ "action": "probe", "id": ID, "conversation": "d", "anchor": position, "ids": ["m"] }),
            vec!["/action", "/id", "/conversation", "/anchor", "/anchor/epoch", "/anchor/seq", "/ids"],
            vec![],
        ),
        (
            json!({ "action": "ack", "id": ID, "positions": [named] }),
            vec![
                "/action",
                "/id",
                "/positions",
                "/positions/0/conversation",
                "/positions/0/position",
                "/positions/0/position/epoch",
                "/positions/0/position/seq",
            ],
            vec![],
        ),
        (json!({ "action": "read", "id": ID, "positions": [named] }), vec!["/action", "/id", "/positions"], vec![]),
        (
            json!({ "action": "sync", "id": ID, "conversations": [{ "conversation": "d", "after": position }], "ack": [named] }),
            vec![
                "/action",
                "/id",
                "/conversations",
                "/conversations/0/conversation",
                "/conversations/0/after",
                "/conversations/0/after/epoch",
                "/conversations/0/after/seq",
                "/ack/0/conversation",
                "/ack/0/position",
            ],
            vec!["/ack"],
        ),
        (
            json!({ "action": "open", "id": ID, "with": "bob", "client_message_id": "m" }),
            vec!["/action", "/id", "/with", "/client_message_id"],
            vec![],
        ),
        (
            scene.good_send(),
            vec![
                "/action",
                "/id",
                "/conversation",
                "/messages",
                "/messages/0/client_message_id",
                "/messages/0/anchor",
                "/messages/0/anchor/epoch",
                "/messages/0/anchor/seq",
                "/messages/0/body",
                "/messages/0/body/content_type",
                "/messages/0/body/text",
            ],
            vec![],
        ),
        (with_data, vec!["/messages/0/body/data"], vec![]),
    ];
    let mut rows = vec![];
    for (request, fields, optional) in requests {
        for (pointer, optional) in fields.iter().map(|field| (field, false)).chain(optional.iter().map(|field| (field, true))) {
            for (name, text) in spoiled(&request, pointer, optional) {
                // A text is what these are: only another text is a wrong value, and U+0001 is one for all but these.
                let is_text = text.contains("\\u0001") && matches!(*pointer, "/with" | "/token" | "/messages/0/body/text");
                if is_text {
                    continue;
                }
                let unknown_action = *pointer == "/action" && text.contains("\\u0001");
                let code = if unknown_action { "unknown_action" } else { "bad_request" };
                rows.push((name, text, code, if *pointer == "/id" { Names::Nothing } else { Names::Its }));
            }
        }
    }
    assert!(rows.len() > 400, "{} rows", rows.len());
    each_gets_its_error(scene, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_out_of_its_bounds_gets_bad_request() {
    let scene = Scene::new().await;
    let (seq, epoch) = ("/messages/0/anchor/seq", "/messages/0/anchor/epoch");
    let (message_id, body) = ("/messages/0/client_message_id", "/messages/0/body");
    let text = |content_type: &str, text: &str| json!({ "content_type": content_type, "text": text });
    let message = scene.good_send()["messages"][0].clone();
    let open = |with: &str| replaced(json!({ "action": "open", "id": ID, "with": "", "client_message_id": "m" }), "/with", with);
    let hello = json!({ "action": "hello", "id": ID, "v": 1, "after": "d" });
    let rows = [
        ("seq 2^53", scene.send_with(seq, 1_u64 << 53)),
        ("seq 2^64", scene.good_send().to_string().replace(r#""seq":1"#, r#""seq":18446744073709551616"#)),
        ("negative seq", scene.send_with(seq, -1)),
        ("seq with a fraction", scene.good_send().to_string().replace(r#""seq":1"#, r#""seq":1.0"#)),
        ("seq with an exponent", scene.good_send().to_string().replace(r#""seq":1"#, r#""seq":1e0"#)),
        ("seq as text", scene.send_with(seq, "1")),
        ("epoch 2^32", scene.send_with(epoch, 1_u64 << 32)),
        ("negative epoch", scene.send_with(epoch, -1)),
        ("an anchor as an array", scene.send_with("/messages/0/anchor", json!([1, 1]))),
        ("a body as an array", scene.send_with(body, json!(["text/plain", "hi", null]))),
        ("a message as an array", scene.send_with("/messages/0", json!(["m", { "epoch": 1, "seq": 1 }, text("text/plain", "hi")]))),
        ("empty client message id", scene.send_with(message_id, "")),
        ("client message id of 65 bytes", scene.send_with(message_id, "x".repeat(65))),
        ("client message id of 1 KB", scene.send_with(message_id, "x".repeat(1024))),
        ("client message id with NUL", scene.send_with(message_id, "a\u{0}b")),
        ("client message id with a line end", scene.send_with(message_id, "a\nb")),
        ("no messages", scene.send_with("/messages", json!([]))),
        ("26 messages", scene.send_with("/messages", vec![message.clone(); 26])),
        ("1 bad message of 3", scene.send_with("/messages", json!([message, {}, message]))),
        ("empty conversation", scene.send_with("/conversation", "")),
        ("conversation of 65 bytes", scene.send_with("/conversation", "d".repeat(65))),
        ("conversation with #", scene.send_with("/conversation", "d#meta")),
        ("conversation with NUL", scene.send_with("/conversation", "d\u{0}")),
        ("conversation beyond ASCII", scene.send_with("/conversation", "dü")),
        ("empty body", scene.send_with(body, text("text/plain", ""))),
        ("empty data", scene.send_with(body, json!({ "content_type": "t", "data": "" }))),
        ("text and data", scene.send_with(body, json!({ "content_type": "t", "text": "x", "data": "AP8=" }))),
        ("neither text nor data", scene.send_with(body, json!({ "content_type": "t" }))),
        ("data without padding", scene.send_with(body, json!({ "content_type": "t", "data": "AP8" }))),
        ("data in the other alphabet", scene.send_with(body, json!({ "content_type": "t", "data": "__8=" }))),
        ("empty content type", scene.send_with(body, text("", "x"))),
        ("content type of 129 bytes", scene.send_with(body, text(&"t".repeat(129), "x"))),
        ("content type with NUL", scene.send_with(body, text("t\u{0}", "x"))),
        ("content type beyond ASCII", scene.send_with(body, text("tü", "x"))),
        ("open with nobody", open("")),
        ("open with 129 bytes", open(&"x".repeat(129))),
        ("open with 65 letters of 130 bytes", open(&"ü".repeat(65))),
        ("open with oneself", open("alice")),
        ("version 2^32", replaced(hello.clone(), "/v", 1_u64 << 32)),
        ("negative version", replaced(hello.clone(), "/v", -1)),
        ("a page after what is no conversation", replaced(hello, "/after", "a b")),
    ];
    let rows = rows.map(|(name, text)| (name.to_owned(), text, "bad_request", Names::Its)).into();
    each_gets_its_error(scene, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_echoed_is_not() {
    let scene = Scene::new().await;
    let rows = [
        ("empty", json!("")),
        ("65 bytes", json!("x".repeat(65))),
        ("NUL", json!("a\u{0}")),
        ("a line end", json!("a\n")),
        ("a number", json!(7)),
    ];
    let mut texts = vec![];
    for (name, id) in rows {
        for action in ["ping", "send", "dance"] {
            texts.push((format!("{action}: {name}"), json!({ "action": action, "id": id }).to_string(), "bad_request", Names::Nothing));
        }
    }
    each_gets_its_error(scene, texts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_does_not_exist_is_unknown_also_if_the_gateway_has_a_route_of_that_name() {
    let scene = Scene::new().await;
    let actions = ["dance", "", "SEND", "send ", "$connect", "$disconnect", "$default", "authorize", "fan_out", "\u{0}", "ü"];
    let mut rows: Vec<_> = actions
        .map(|action| (format!("{action:?}"), json!({ "action": action, "id": ID }).to_string(), "unknown_action", Names::Its))
        .into();
    for action in ["dance", "$connect"] {
        rows.push((format!("{action} without id"), json!({ "action": action }).to_string(), "bad_request", Names::Nothing));
    }
    rows.push(("an old version".into(), json!({ "action": "hello", "id": ID, "v": 0 }).to_string(), "upgrade_required", Names::Its));
    each_gets_its_error(scene, rows).await;
}
