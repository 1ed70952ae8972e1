//! The corpus of the package `chatlane-tests-support`: what is no request, or one with a bad field, gets one `error` frame, before any rule
//! is asked.

use chatlane_tests_support::bad_input::{BadInput, Corpus};
use serde_json::{Value, json};

use super::scene::{ID, Scene};

/// Sends all of these.
async fn each_gets_its_error(rows: impl FnOnce(&Corpus) -> Vec<BadInput>) {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let rows = rows(&scene.corpus);
    assert!(!rows.is_empty());
    for BadInput { name, text, code, has_id } in &rows {
        assert!(text.len() <= 32 * 1024, "{name} fits into one WebSocket frame");
        let answer = scene.answer_to(name, text).await;
        let id = if *has_id { json!(ID) } else { Value::Null };
        let got = (&answer["type"], &answer["code"], &answer["retryable"], &answer["id"]);
        assert_eq!(got, (&json!("error"), &json!(code), &json!(false), &id), "{name}: {answer}");
    }
    scene.goes_on(rows.len(), before).await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_one_json_object_gets_an_error_without_an_id() {
    each_gets_its_error(|corpus| corpus.rows("what_is_not_one_json_object_gets_an_error_without_an_id")).await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_value_out_of_its_bounds_gets_bad_request() {
    each_gets_its_error(|corpus| corpus.rows("a_value_out_of_its_bounds_gets_bad_request")).await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_echoed_is_not() {
    each_gets_its_error(|corpus| corpus.rows("an_id_that_cannot_be_echoed_is_not")).await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_does_not_exist_is_unknown_also_if_the_gateway_has_a_route_of_that_name() {
    each_gets_its_error(|corpus| corpus.rows("an_action_that_does_not_exist_is_unknown_also_if_the_gateway_has_a_route_of_that_name"))
        .await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_list_or_a_number_out_of_its_bounds_gets_bad_request() {
    each_gets_its_error(|corpus| corpus.rows("a_list_or_a_number_out_of_its_bounds_gets_bad_request")).await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_null_wrong_typed_or_repeated_gets_bad_request() {
    each_gets_its_error(Corpus::spoilt).await;
}
