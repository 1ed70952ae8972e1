//! R1, in units: what a stranger asks costs the same whether the conversation exists or not, and however long it is.

use std::collections::BTreeMap;

use chatlane_chat::testing::builders::{conversation, position};
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::{Device, Running, message};
use serde_json::{Value, json};

use crate::long_ago::LongAgo;
use crate::scene::Scene;
use crate::{ATTEMPTS_MAX, STALLED};

/// What somebody may ask of a conversation, about this place in it.
fn questions(of: &ConversationId, at: Position) -> Vec<Value> {
    let named = json!([{ "conversation": of, "position": at, "read": at }]);
    let mut questions = vec![
        json!({ "action": "send", "conversation": of, "messages": [message("x", at)] }),
        json!({ "action": "sync", "conversations": [{ "conversation": of, "after": at }] }),
        json!({ "action": "sync", "conversations": [{ "conversation": of, "after": at }], "ack": named }),
        json!({ "action": "history", "conversation": of }),
        json!({ "action": "probe", "conversation": of, "anchor": at, "ids": ["x"] }),
        json!({ "action": "ack", "positions": named, "quiet": true }),
        json!({ "action": "read", "positions": named }),
        json!({ "action": "ping", "open": [of] }),
    ];
    questions.extend(questions_about_a_group(of, at).into_iter().map(|(_, question)| question));
    questions
}

/// Those that change a group or a message, or tell what it is; each with its name.
pub fn questions_about_a_group(of: &ConversationId, at: Position) -> [(&'static str, Value); 12] {
    let change = |action: &str, named: Value| {
        let mut question = json!({ "action": action, "conversation": of, "client_message_id": "x", "anchor": at });
        question.as_object_mut().expect("an object").extend(named.as_object().expect("fields").clone());
        question
    };
    [
        ("add", change("add", json!({ "users": ["mallory", "bob"] }))),
        ("remove", change("remove", json!({ "users": ["bob"] }))),
        ("leave", change("leave", json!({ "successor": "bob" }))),
        ("role", change("role", json!({ "user": "mallory", "role": "owner" }))),
        ("settings", change("settings", json!({ "settings": { "title": "mine" } }))),
        ("close", change("close", json!({}))),
        ("edit", change("edit", json!({ "target": 2, "body": { "content_type": "text/plain", "text": "mine" } }))),
        ("delete", change("delete", json!({ "target": 2 }))),
        ("react", change("react", json!({ "target": 2, "key": "+1", "change": "add" }))),
        ("prefs", json!({ "action": "prefs", "conversation": of, "prefs": { "pinned": true } })),
        ("info", json!({ "action": "info", "conversations": [of] })),
        ("members", json!({ "action": "members", "conversation": of })),
    ]
}

/// Requests by their operation, and write and read units.
type Cost = (BTreeMap<String, usize>, [f64; 2]);

/// Of one question, on a machine that has not stalled meanwhile.
async fn cost(scene: &Scene<'_>, stranger: &Device, question: &Value) -> Cost {
    for _ in 0..ATTEMPTS_MAX {
        let (row, answer) = scene.row("a stranger asks", stranger, stranger.request(question.clone())).await;
        assert!(!answer.expect("an answer").to_string().contains(r#""status":"ok""#), "{question}");
        if row.calls.iter().all(|call| call.took < STALLED) {
            let cost = row.whole();
            return (cost.operations, [cost.write_units, cost.read_units]);
        }
    }
    panic!("in each of {ATTEMPTS_MAX} measurements a call took longer than {STALLED:?}: nothing can be counted here");
}

/// A group in which this user was a member until entry 2; and its owner, who stays connected: a `$disconnect` would be counted.
pub async fn group_that_removed(stack: &Running, user: &str) -> (ConversationId, Device) {
    let owner = stack.device("owner").await;
    let create = json!({ "action": "create", "client_message_id": user, "users": ["bob", user] });
    let answer = owner.request(create).await.expect("an answer");
    let group: ConversationId = serde_json::from_value(answer["conversation"].clone()).unwrap_or_else(|_| panic!("a group: {answer}"));
    let remove =
        json!({ "action": "remove", "conversation": group, "client_message_id": "remove", "anchor": position(1), "users": [user] });
    let answer = owner.request(remove).await.expect("an answer");
    assert_eq!(answer["position"], json!(position(2)), "{answer}");
    stack.quiet().await;
    (group, owner)
}

/// Asks all of them; each has the same requests and units. So does who was a member, but that a change is looked for in the log where it may
/// be one of before the removal.
pub async fn pays_the_same(stack: &Running, long_ago: &LongAgo) {
    let mut scene = Scene::new(stack, 0);
    scene.warm().await;
    let stranger = stack.device("mallory").await;
    let missing = conversation(&"x".repeat(long_ago.short.as_str().len()));
    for at in [Position::ZERO, position(1), position(LongAgo::SHORT), position(LongAgo::LONG), Position::new(0, position(5).seq)] {
        let mut costs: Vec<Vec<Cost>> = vec![];
        for of in [&missing, &long_ago.short, &long_ago.long] {
            let mut of_one = vec![];
            for question in questions(of, at) {
                of_one.push(cost(&scene, &stranger, &question).await);
            }
            costs.push(of_one);
        }
        assert!(costs.iter().all(|of_one| *of_one == costs[0]), "{at}: {costs:#?}");
    }
    let removed = stack.device("removed").await;
    let (group, _owner) = group_that_removed(stack, "removed").await;
    for at in [1, 2, 3].map(position) {
        let questions = questions_about_a_group(&missing, at).into_iter().zip(questions_about_a_group(&group, at));
        for ((what, of_none), (_, of_the_group)) in questions {
            let mut expected = cost(&scene, &stranger, &of_none).await;
            assert_eq!(cost(&scene, &stranger, &of_the_group).await, expected, "{what} at {at}");
            if at <= position(2) && !["prefs", "info", "members"].contains(&what) {
                *expected.0.entry("Query".to_owned()).or_default() += 1;
                expected.1[1] += 1.0;
            }
            assert_eq!(cost(&scene, &removed, &of_the_group).await, expected, "{what} at {at}, of who was a member");
        }
    }
}
