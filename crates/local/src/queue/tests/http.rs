//! What the SDK sees beside the JSON.

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Bench;

async fn post(bench: &Bench, target: &str, body: impl Into<Bytes>) -> (StatusCode, HeaderMap, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}/", listener.local_addr().expect("an address"));
    let router = bench.queue.router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let request = Request::post(uri).header("x-amz-target", target).body(Full::new(body.into())).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    server.abort();
    assert!(uuid::Uuid::try_parse(parts.headers["x-amzn-requestid"].to_str().expect("text")).is_ok());
    assert_eq!(parts.headers["content-type"], "application/x-amz-json-1.0");
    (parts.status, parts.headers, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn an_answer_is_json_with_a_request_id() {
    let bench = Bench::new();

    let (status, _, answer) = post(&bench, "AmazonSQS.GetQueueUrl", json!({ "QueueName": "tasks" }).to_string()).await;

    assert_eq!(status, StatusCode::OK);
    assert!(answer["QueueUrl"].as_str().is_some_and(|url| url.ends_with("/000000000000/tasks")));
}

#[tokio::test]
async fn an_error_carries_its_type_and_its_older_code() {
    let bench = Bench::new();

    let (status, headers, answer) = post(&bench, "AmazonSQS.GetQueueUrl", json!({ "QueueName": "nobody" }).to_string()).await;

    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(headers["x-amzn-query-error"], "AWS.SimpleQueueService.NonExistentQueue;Sender");
    assert_eq!(answer, json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist." }));
}

#[tokio::test]
async fn an_unknown_operation_is_not_found() {
    let bench = Bench::new();

    for target in ["AmazonSQS.TagQueue", "DynamoDB_20120810.PutItem"] {
        let (status, _, answer) = post(&bench, target, "{}").await;
        assert_eq!((status, &answer["__type"]), (StatusCode::NOT_FOUND, &json!("com.amazon.coral.service#UnknownOperationException")));
    }
}

#[tokio::test]
async fn a_request_that_no_message_can_need_is_refused() {
    let bench = Bench::new();

    let (status, headers, _) = post(&bench, "AmazonSQS.SendMessage", vec![b' '; 8 * 1024 * 1024 + 1]).await;

    assert_eq!((status, &headers["x-amzn-query-error"]), (StatusCode::BAD_REQUEST, &"InvalidParameterValue;Sender".parse().expect("text")));
}

#[tokio::test]
async fn a_broken_file_answers_500() {
    let bench = Bench::new();
    bench.queue.inner.store.break_file();
    let request = json!({ "QueueUrl": "http://x/0/tasks", "MessageBody": "m" }).to_string();

    let (status, headers, _) = post(&bench, "AmazonSQS.SendMessage", request).await;

    assert_eq!(
        (status, &headers["x-amzn-query-error"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &"InternalError;Receiver".parse().expect("text"))
    );
}
