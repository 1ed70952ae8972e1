//! The sample event of the log's stream, and what is done with a batch.

use aws_lambda_events::sqs::SqsEvent;
use chatlane_chat::settings::{Deployed, Limits};
use chatlane_chat::testing::builders::{self, SECRET, head};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::sweep::CHECK_AFTER_S;
use chatlane_chat::workers::task::Task;
use chatlane_functions::Function;
use chatlane_functions::limit::UserLimit;
use chatlane_functions::workers::{fan_out, sweep};
use serde_json::{Value, json};

use super::{CONNECTED_AT_MS, deployed, lane, sample, text, time, world};

/// What the sample speaks of: entry 2, whose delivery has not begun.
fn not_begun() -> Faulty {
    let store = world();
    store.memory.state().heads.insert(lane(), head(1));
    store
}

fn swept(store: &Faulty, event: &Value) -> bool {
    let event = serde_json::from_value(event.clone()).expect("an event of the stream");
    block_on(sweep::handle(store, &Deployed::founding(Limits::DEFAULT, SECRET), event)).is_ok()
}

fn event() -> Value {
    serde_json::from_str(&text(Function::Sweep)).expect("the sample is JSON")
}

fn queued(store: &Faulty) -> Vec<(Task, u32)> {
    std::mem::take(&mut store.memory.state().queue)
}

#[test]
fn the_sample_of_the_stream_gets_a_check_where_no_worker_has_begun() {
    let store = world();
    assert!(swept(&store, &event()));
    assert_eq!(queued(&store), []);

    let store = not_begun();
    assert!(swept(&store, &event()));
    let check = Task { check: true, queued: time(CONNECTED_AT_MS), ..builders::task_by("bob", &lane(), 2, 2) };
    assert_eq!(queued(&store), [(check.clone(), CHECK_AFTER_S)]);

    let mut message: SqsEvent = sample(Function::FanOut);
    message.records[0].body = Some(serde_json::to_string(&check).expect("a task is JSON"));
    assert_eq!(block_on(fan_out::handle(&store, &deployed(), &UserLimit::new(None), message, u64::MAX)).batch_item_failures.len(), 0);
    assert_eq!(queued(&store), [(Task { check: false, ..check }, 0)]);
}

/// It is found by halves; what is beside it is queued once, when it comes alone.
#[test]
fn a_batch_with_a_record_that_cannot_be_read_queues_nothing() {
    for keys in [json!({}), json!(null), json!({ "c": 7 })] {
        let (store, mut event) = (not_begun(), event());
        let records = event["Records"].as_array_mut().expect("a list");
        let mut bad = records[0].clone();
        bad["dynamodb"]["Keys"] = keys;
        records.push(bad);
        assert!(!swept(&store, &event));
        assert_eq!(queued(&store), []);
    }
}

#[test]
fn a_batch_comes_again_where_the_backend_does_not_answer() {
    for method in ["deployment", "heads", "at", "enqueue"] {
        let store = not_begun();
        store.on(method, Fault::RequestLost);
        assert!(!swept(&store, &event()), "{method}");
        assert!(swept(&store, &event()), "{method}");
        assert_eq!(queued(&store).len(), 1, "{method}");
    }
}
