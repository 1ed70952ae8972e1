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
fn questions(of: &ConversationId, at: Position) -> [Value; 8] {
    let named = json!([{ "conversation": of, "position": at, "read": at }]);
    [
        json!({ "action": "send", "conversation": of, "messages": [message("x", at)] }),
        json!({ "action": "sync", "conversations": [{ "conversation": of, "after": at }] }),
        json!({ "action": "sync", "conversations": [{ "conversation": of, "after": at }], "ack": named }),
        json!({ "action": "history", "conversation": of }),
        json!({ "action": "probe", "conversation": of, "anchor": at, "ids": ["x"] }),
        json!({ "action": "ack", "positions": named, "quiet": true }),
        json!({ "action": "read", "positions": named }),
        json!({ "action": "ping", "open": [of] }),
    ]
}

/// Requests by their operation, and write and read units.
type Cost = (BTreeMap<String, usize>, String);

/// Of one question, on a machine that has not stalled meanwhile.
async fn cost(scene: &Scene<'_>, stranger: &Device, question: &Value) -> Cost {
    for _ in 0..ATTEMPTS_MAX {
        let (row, answer) = scene.row("a stranger asks", stranger, stranger.request(question.clone())).await;
        assert!(!answer.expect("an answer").to_string().contains(r#""status":"ok""#), "{question}");
        if row.calls.iter().all(|call| call.took < STALLED) {
            let cost = row.whole();
            return (cost.operations, format!("{} / {}", cost.write_units, cost.read_units));
        }
    }
    panic!("in each of {ATTEMPTS_MAX} measurements a call took longer than {STALLED:?}: nothing can be counted here");
}

/// Asks all of them; each has the same requests and units.
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
}
