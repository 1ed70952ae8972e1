//! Requests about many conversations, entries or messages: lists and numbers out of their bounds, positions that name no entry.

use chatlane_chat::testing::builders::position;
use chatlane_protocol::Position;
use chatlane_protocol::limits::{KNOWN_BYTES_MAX, TOKEN_BYTES_MAX};
use serde_json::{Value, json};

use super::malformed::{Names, each_gets_its_error};
use super::scene::{ID, Scene};

fn request(action: &str, fields: &Value) -> String {
    let mut request = json!({ "action": action, "id": ID });
    for (name, value) in fields.as_object().expect("fields") {
        request[name] = value.clone();
    }
    request.to_string()
}

/// So many conversations, in ascending order.
fn conversations(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number:03}")).collect()
}

/// The first position in each of them.
fn positions(count: usize) -> Value {
    conversations(count).iter().map(|conversation| json!({ "conversation": conversation, "position": position(1) })).collect()
}

fn twice(list: &Value) -> Value {
    json!([list[0], list[0]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_or_a_number_out_of_its_bounds_gets_bad_request() {
    let scene = Scene::new().await;
    let from = |count: usize| -> Value {
        conversations(count).iter().map(|conversation| json!({ "conversation": conversation, "after": position(1) })).collect()
    };
    let one = json!({ "conversation": "d", "position": position(1) });
    let seq = |seq: u64| json!([{ "conversation": "d", "position": { "epoch": 1, "seq": seq } }]);
    let probe = |ids: Value| request("probe", &json!({ "conversation": "d", "anchor": position(1), "ids": ids }));
    let history = |field: &str, value: Value| request("history", &json!({ "conversation": "d", field: value }));
    let known = |rows: Value| request("hello", &json!({ "v": 1, "known": rows }));
    let row = |conversation: &str| json!([conversation, 1, 1, 0, 0]);
    let up_to = |after: Option<&str>, rows: Value, known_to: &str| {
        request("hello", &json!({ "v": 1, "after": after, "known": rows, "known_to": known_to }))
    };
    let rows = [
        ("a sync of nothing", request("sync", &json!({ "conversations": [] }))),
        ("a sync of 101", request("sync", &json!({ "conversations": from(101) }))),
        ("a sync of one twice", request("sync", &json!({ "conversations": twice(&from(1)) }))),
        ("101 in the ack of a sync", request("sync", &json!({ "conversations": from(1), "ack": positions(101) }))),
        ("one twice in the ack of a sync", request("sync", &json!({ "conversations": from(1), "ack": twice(&positions(1)) }))),
        ("an array after", request("sync", &json!({ "conversations": [{ "conversation": "d", "after": [1, 1] }] }))),
        ("an array in the ack of a sync", request("sync", &json!({ "conversations": from(1), "ack": [["d", position(1)]] }))),
        ("no ack", request("ack", &json!({ "positions": [] }))),
        ("101 acks", request("ack", &json!({ "positions": positions(101) }))),
        ("one ack twice", request("ack", &json!({ "positions": twice(&positions(1)) }))),
        ("an array as a position", request("ack", &json!({ "positions": [{ "conversation": "d", "position": [1, 1] }] }))),
        ("an array as an ack", request("ack", &json!({ "positions": [["d", position(1)]] }))),
        ("one bad ack of two", request("ack", &json!({ "positions": [one, {}] }))),
        ("an ack of seq 2^53", request("ack", &json!({ "positions": seq(1 << 53) }))),
        ("no read", request("read", &json!({ "positions": [] }))),
        ("101 reads", request("read", &json!({ "positions": positions(101) }))),
        ("one read twice", request("read", &json!({ "positions": twice(&positions(1)) }))),
        ("an array as a read", request("read", &json!({ "positions": [["d", position(1)]] }))),
        ("a read of seq 2^53", request("read", &json!({ "positions": seq(1 << 53) }))),
        ("a probe for nothing", probe(json!([]))),
        ("a probe for 26", probe(json!(conversations(26)))),
        ("a probe for an empty id", probe(json!([""]))),
        ("a probe for an id of 65 bytes", probe(json!(["x".repeat(65)]))),
        ("a probe from an array", request("probe", &json!({ "conversation": "d", "anchor": [1, 1], "ids": ["m"] }))),
        ("a history of nothing", history("limit", json!(0))),
        ("a history of 101", history("limit", json!(101))),
        ("a history of 2^32", history("limit", json!(1_u64 << 32))),
        ("a history before 2^53", history("before", json!(1_u64 << 53))),
        ("a history before -1", history("before", json!(-1))),
        ("21 open", request("ping", &json!({ "open": conversations(21) }))),
        ("one open twice", request("ping", &json!({ "open": ["d", "d"] }))),
        ("open what is no conversation", request("ping", &json!({ "open": ["a b"] }))),
        ("an empty token", request("refresh", &json!({ "token": "" }))),
        ("a token of 9 KB", request("refresh", &json!({ "token": "x".repeat(TOKEN_BYTES_MAX + 1024) }))),
        ("known, descending", known(json!([row("e"), row("d")]))),
        ("known twice", known(json!([row("d"), row("d")]))),
        ("known without a read position", known(json!([["d", 1, 1]]))),
        ("known with a sixth value", known(json!([["d", 1, 1, 0, 0, 0]]))),
        ("known as an object", known(json!([{ "conversation": "d", "have": position(1), "read": position(1) }]))),
        ("known with seq 2^53", known(json!([["d", 1, 1_u64 << 53, 0, 0]]))),
        ("known with epoch 2^32", known(json!([["d", 1_u64 << 32, 1, 0, 0]]))),
        ("known of what is no conversation", known(json!([["a b", 1, 1, 0, 0]]))),
        ("known, not after `after`", request("hello", &json!({ "v": 1, "after": "e", "known": [row("e")] }))),
        ("known, beyond `known_to`", up_to(None, json!([row("e")]), "d")),
        ("`known_to` not after `after`", up_to(Some("d"), json!([]), "d")),
    ];
    let rows = rows.map(|(name, text)| {
        assert!(text.len() <= 32 * 1024, "{name} fits into one WebSocket frame");
        (name.to_owned(), text, "bad_request", Names::Its)
    });
    each_gets_its_error(scene, rows.into()).await;
}

/// What `sync` and `probe` refuse as `send` does an anchor. (`ack` and `read` have a test of their own, with the cursors.)
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_or_a_probe_from_a_position_that_names_no_entry_is_refused() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let conversation = scene.lane.conversation.clone();
    let none = json!(Position::ZERO);
    let rows = [
        ("one beyond the tail", json!({ "epoch": 1, "seq": 2 }), "anchor_unknown", Value::Null),
        ("the last seq that there is", json!({ "epoch": 1, "seq": (1_u64 << 53) - 1 }), "anchor_unknown", Value::Null),
        ("a later epoch than its entry's", json!({ "epoch": 2, "seq": 1 }), "anchor_unknown", Value::Null),
        ("an earlier epoch than its entry's", json!({ "epoch": 0, "seq": 1 }), "epoch_changed", none.clone()),
        ("beyond the tail, earlier epoch", json!({ "epoch": 0, "seq": 7 }), "epoch_changed", none),
    ];
    let count = 2 * rows.len();
    for (name, position, code, common) in rows {
        let sync = request("sync", &json!({ "conversations": [{ "conversation": conversation, "after": position }] }));
        let answer = scene.answer_to(name, &sync).await;
        let page = &answer["pages"][0];
        assert_eq!((&page["status"], &page["code"], &page["common"]), (&json!("refused"), &json!(code), &common), "{name}: {answer}");
        assert_eq!((&answer["done"], page.get("entries")), (&json!(true), None), "{name}: {answer}");

        let probe = request("probe", &json!({ "conversation": conversation, "anchor": position, "ids": ["m"] }));
        let answer = scene.answer_to(name, &probe).await;
        assert_eq!((&answer["type"], &answer["code"], &answer["common"]), (&json!("error"), &json!(code), &common), "{name}: {answer}");
    }
    scene.goes_on(count, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_before_everything_is_empty_and_one_beyond_the_tail_is_all() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let rows = [(0, 0), (1, 0), (2, 1), ((1_u64 << 53) - 1, 1)];
    for (limit, entries) in rows {
        let history = request("history", &json!({ "conversation": scene.lane.conversation, "before": limit }));
        let answer = scene.answer_to("history", &history).await;
        assert_eq!((answer["entries"].as_array().map(Vec::len), &answer["done"]), (Some(entries), &json!(true)), "{limit}: {answer}");
    }
    scene.goes_on(rows.len(), before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_may_claim_to_know_what_it_likes_and_is_told_its_own() {
    let scene = Scene::new().await;
    let mut known: Vec<Value> = vec![];
    // Full, of conversations that it cannot know, and ahead of everything in its own.
    for conversation in conversations(900) {
        known.push(json!([conversation, 9, (1_u64 << 53) - 1, 9, 1]));
        if json!(known).to_string().len() > KNOWN_BYTES_MAX {
            known.pop();
            break;
        }
    }
    let own = scene.lane.conversation.as_str();
    *known.last_mut().expect("a row") = json!([own, 1, 7, 0, 0]);
    let before = scene.alice.frames().len();
    scene.alice.send_text(request("hello", &json!({ "v": 1, "known": known }))).await.unwrap();
    let answer = scene.alice.until("an answer", |frames| frames.get(before).cloned()).await.unwrap();
    // It may be ahead of the head by its own messages; and of nothing else is it told anything.
    assert_eq!((&answer["type"], &answer["conversations"]), (&json!("hello"), &json!([])), "{answer}");
}
