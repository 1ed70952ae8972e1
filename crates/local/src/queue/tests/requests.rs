//! What a request is refused for, and what the SDK sees beside the JSON.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::Queue;
use super::super::message::MESSAGE_BYTES_MAX;
use super::Bench;

#[tokio::test]
async fn a_request_is_refused_with_the_code_of_sqs() {
    let bench = Bench::new();
    let unsupported = "AWS.SimpleQueueService.UnsupportedOperation";
    let table = [
        ("SendMessage", json!({}), "MissingParameter"),
        ("SendMessage", json!({ "MessageBody": "" }), "MissingParameter"),
        ("SendMessage", json!({ "MessageBody": "\u{0}" }), "InvalidMessageContents"),
        ("SendMessage", json!({ "MessageBody": "\u{FFFE}" }), "InvalidMessageContents"),
        ("SendMessage", json!({ "MessageBody": "m", "DelaySeconds": -1 }), "InvalidParameterValue"),
        ("SendMessage", json!({ "MessageBody": "m", "DelaySeconds": 901 }), "InvalidParameterValue"),
        ("SendMessage", json!({ "MessageBody": "m", "DelaySeconds": "soon" }), "MalformedInput"),
        ("SendMessage", json!({ "MessageBody": "m", "MessageGroupId": "" }), "InvalidParameterValue"),
        ("SendMessage", json!({ "MessageBody": "m", "MessageGroupId": "g".repeat(129) }), "InvalidParameterValue"),
        ("SendMessage", json!({ "MessageBody": "m", "MessageGroupId": "a b" }), "InvalidParameterValue"),
        ("ReceiveMessage", json!({ "MaxNumberOfMessages": 0 }), "InvalidParameterValue"),
        ("ReceiveMessage", json!({ "MaxNumberOfMessages": 11 }), "InvalidParameterValue"),
        // What nobody here asks for is refused, whether SQS has it or not.
        ("SendMessage", json!({ "MessageBody": "m", "MessageAttributes": {} }), unsupported),
        ("ReceiveMessage", json!({ "WaitTimeSeconds": 1 }), unsupported),
        ("GetQueueAttributes", json!({ "AttributeNames": ["QueueArn", "Colour"] }), unsupported),
        ("DeleteMessage", json!({}), unsupported),
        ("CreateQueue", json!({}), unsupported),
    ];

    for (operation, request, expected) in table {
        let text = request.to_string();
        let refused = bench.call(operation, request).expect_err("a refusal");
        assert_eq!(refused.parts().2, expected, "{operation} {text}");
    }
    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn every_operation_is_refused_without_its_queue() {
    let bench = Bench::new();
    let unknown = json!({ "QueueUrl": Queue::url("http://127.0.0.1:1", "nobody") }).to_string();
    for operation in ["SendMessage", "ReceiveMessage", "GetQueueAttributes"] {
        for (request, expected) in
            [(unknown.as_str(), "AWS.SimpleQueueService.NonExistentQueue"), ("{}", "MissingParameter"), ("{", "MalformedInput")]
        {
            let refused = super::call(&bench.queue, operation, request).expect_err("a refusal");
            assert_eq!(refused.parts().2, expected, "{operation} {request}");
        }
    }
}

#[tokio::test]
async fn a_message_of_one_mebibyte_is_accepted_and_a_byte_more_is_not() {
    let bench = Bench::new();
    let mut body = "\u{e9}".repeat(MESSAGE_BYTES_MAX / 2);
    assert_eq!(bench.post("SendMessage", json!({ "MessageBody": body })).await.0, StatusCode::OK);
    body.push('x');
    let (status, error, _) = bench.post("SendMessage", json!({ "MessageBody": body })).await;
    assert_eq!((status, error.as_str()), (StatusCode::BAD_REQUEST, "InvalidParameterValue;Sender"));
}

#[tokio::test]
async fn a_standard_queue_takes_messages_with_a_group() {
    let bench = Bench::new();
    let request = json!({ "MessageBody": "m", "MessageGroupId": "g".repeat(128) });
    assert_eq!(bench.post("SendMessage", request).await.0, StatusCode::OK);
    assert_eq!(bench.depth("tasks").visible, 1);
}

#[tokio::test]
async fn a_queue_tells_its_name() {
    let bench = Bench::new();
    let (status, error, answer) = bench.post("GetQueueAttributes", json!({ "AttributeNames": ["QueueArn"] })).await;
    assert_eq!((status, error.as_str()), (StatusCode::OK, ""));
    assert_eq!(answer, json!({ "Attributes": { "QueueArn": "arn:aws:sqs:us-east-1:000000000000:tasks" } }));
}

#[tokio::test]
async fn an_error_carries_its_type_and_its_older_code() {
    let bench = Bench::new();
    let (status, error, answer) = bench.post("TagQueue", json!({})).await;
    assert_eq!((status, error.as_str()), (StatusCode::BAD_REQUEST, "AWS.SimpleQueueService.UnsupportedOperation;Sender"));
    let message = "AmazonSQS.TagQueue is not supported here.";
    assert_eq!(answer, json!({ "__type": "com.amazonaws.sqs#UnsupportedOperation", "message": message }));
}

#[tokio::test]
async fn a_broken_file_answers_500() {
    let bench = Bench::new();
    bench.queue.inner.store.execute("DROP TABLE messages");
    for (operation, request) in [("SendMessage", json!({ "MessageBody": "m" })), ("ReceiveMessage", json!({}))] {
        let (status, error, answer) = bench.post(operation, request).await;
        assert_eq!((status, error.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "InternalError;Receiver"));
        assert_eq!(answer["message"], Value::from("The queue's file could not be used."));
    }
}
