//! Batches, and what a request is refused for.

use serde_json::{Value, json};

use super::super::Depth;
use super::super::message::MESSAGE_BYTES_MAX;
use super::{Bench, code};

fn entries(count: usize) -> Value {
    let entry = |n: usize| json!({ "Id": format!("e{n}"), "MessageBody": format!("body {n}") });
    json!({ "Entries": (0..count).map(entry).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_batch_of_ten_is_sent_received_and_deleted_at_once() {
    let bench = Bench::new();

    let sent = bench.call("SendMessageBatch", entries(10)).await.expect("an answer");
    let received = bench.receive_from("tasks").await;
    let delete = |(n, message): (usize, &Value)| json!({ "Id": n.to_string(), "ReceiptHandle": message["ReceiptHandle"] });
    let request = json!({ "Entries": received.iter().enumerate().map(delete).collect::<Vec<_>>() });
    let deleted = bench.call("DeleteMessageBatch", request).await.expect("an answer");

    let ids = |answer: &Value| answer["Successful"].as_array().expect("a list").iter().map(|one| one["Id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&sent), (0..10).map(|n| json!(format!("e{n}"))).collect::<Vec<_>>());
    assert_eq!(sent["Successful"][3]["MessageId"], received[3]["MessageId"]);
    assert_eq!(received[3]["Body"], "body 3");
    assert_eq!(ids(&deleted).len(), 10);
    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn a_bad_entry_fails_alone() {
    let bench = Bench::new();
    let request = json!({ "Entries": [
        { "Id": "good", "MessageBody": "m" },
        { "Id": "bad", "MessageBody": "m", "DelaySeconds": 901 },
    ] });

    let sent = bench.call("SendMessageBatch", request).await.expect("an answer");

    assert_eq!(sent["Successful"][0]["Id"], "good");
    assert_eq!((&sent["Failed"][0]["Id"], &sent["Failed"][0]["Code"]), (&json!("bad"), &json!("InvalidParameterValue")));
    assert_eq!(sent["Failed"][0]["SenderFault"], true);
    let request = json!({ "Entries": [{ "Id": "made-up", "ReceiptHandle": "tasks/nonsense" }] });
    let deleted = bench.call("DeleteMessageBatch", request).await.expect("an answer");
    assert_eq!(deleted["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
    assert_eq!(bench.depth("tasks"), Depth { visible: 1, ..Depth::default() });
}

#[tokio::test]
async fn a_malformed_batch_is_refused_whole() {
    let bench = Bench::new();
    let entry = |id: &str| json!({ "Id": id, "MessageBody": "m" });
    let half = json!("x".repeat(MESSAGE_BYTES_MAX / 2 + 1));
    let table = [
        (json!({}), "MissingParameter"),
        (json!({ "Entries": [] }), "AWS.SimpleQueueService.EmptyBatchRequest"),
        (entries(11), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (json!({ "Entries": [entry("a"), entry("a")] }), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        (json!({ "Entries": [entry("a b")] }), "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (json!({ "Entries": [entry("")] }), "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (json!({ "Entries": [{ "MessageBody": "m" }] }), "MissingParameter"),
        (
            json!({ "Entries": [{ "Id": "a", "MessageBody": half }, { "Id": "b", "MessageBody": half }] }),
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
    ];

    for (request, expected) in table {
        assert_eq!(code(bench.call("SendMessageBatch", request).await), expected);
    }
    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn a_message_of_one_mebibyte_is_accepted_and_a_byte_more_is_not() {
    let bench = Bench::new();
    let attributes = json!({ "n": { "DataType": "String", "StringValue": "v" } });
    let body = |bytes: usize| json!({ "MessageBody": "x".repeat(bytes), "MessageAttributes": attributes });
    let of_attributes = "n".len() + "String".len() + "v".len();

    let largest = bench.call("SendMessage", body(MESSAGE_BYTES_MAX - of_attributes)).await;
    let larger = bench.call("SendMessage", body(MESSAGE_BYTES_MAX - of_attributes + 1)).await;

    assert!(largest.is_ok());
    assert_eq!(code(larger), "InvalidParameterValue");
}

#[tokio::test]
async fn a_bad_message_is_refused() {
    let bench = Bench::new();
    let with = |name: &str, value: Value| {
        let mut request = json!({ "MessageBody": "m" });
        request[name] = value;
        request
    };
    let attribute = |name: &str, attribute: Value| {
        let mut attributes = json!({});
        attributes[name] = attribute;
        with("MessageAttributes", attributes)
    };
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let eleven: Value = (0..11).map(|n| (format!("n{n}"), text("v"))).collect::<serde_json::Map<_, _>>().into();
    let table = [
        (json!({}), "MissingParameter"),
        (with("MessageBody", json!("")), "MissingParameter"),
        (with("MessageBody", json!("\u{0}")), "InvalidMessageContents"),
        (with("MessageBody", json!("\u{FFFE}")), "InvalidMessageContents"),
        (with("DelaySeconds", json!(-1)), "InvalidParameterValue"),
        (with("DelaySeconds", json!(901)), "InvalidParameterValue"),
        (with("DelaySeconds", json!("soon")), "MalformedInput"),
        (with("MessageDeduplicationId", json!("1")), "InvalidParameterValue"),
        (with("MessageSystemAttributes", json!({})), "AWS.SimpleQueueService.UnsupportedOperation"),
        (with("MessageAttributes", eleven), "InvalidParameterValue"),
        (attribute("n", text("")), "InvalidParameterValue"),
        (attribute("n", text("\u{1}")), "InvalidMessageContents"),
        (attribute("", text("v")), "InvalidParameterValue"),
        (attribute("a b", text("v")), "InvalidParameterValue"),
        (attribute("n", json!({ "DataType": "Binary", "BinaryValue": "no base64" })), "InvalidParameterValue"),
        (attribute("n", json!({ "DataType": "Colour", "StringValue": "red" })), "InvalidParameterValue"),
    ];

    for (request, expected) in table {
        let text = request.to_string();
        assert_eq!(code(bench.call("SendMessage", request).await), expected, "{text:.200}");
    }
    assert!(bench.depth("tasks").is_empty());
}

#[tokio::test]
async fn a_bad_request_is_refused() {
    let bench = Bench::new();
    let receipt = format!("tasks/{}", uuid::Uuid::new_v4().simple());
    let table = [
        ("ReceiveMessage", json!({ "MaxNumberOfMessages": 0 }), "InvalidParameterValue"),
        ("ReceiveMessage", json!({ "MaxNumberOfMessages": 11 }), "InvalidParameterValue"),
        ("ReceiveMessage", json!({ "VisibilityTimeout": 43_201 }), "InvalidParameterValue"),
        ("ReceiveMessage", json!({ "WaitTimeSeconds": 21 }), "InvalidParameterValue"),
        ("DeleteMessage", json!({}), "MissingParameter"),
        ("DeleteMessage", json!({ "ReceiptHandle": "made up" }), "ReceiptHandleIsInvalid"),
        ("DeleteMessage", json!({ "ReceiptHandle": receipt.replace("tasks", "dead") }), "ReceiptHandleIsInvalid"),
        ("ChangeMessageVisibility", json!({ "ReceiptHandle": receipt }), "MissingParameter"),
        ("ChangeMessageVisibility", json!({ "ReceiptHandle": receipt, "VisibilityTimeout": 43_201 }), "InvalidParameterValue"),
        ("GetQueueUrl", json!({}), "MissingParameter"),
        ("GetQueueUrl", json!({ "QueueName": "nobody" }), "AWS.SimpleQueueService.NonExistentQueue"),
        ("GetQueueAttributes", json!({ "AttributeNames": ["Colour"] }), "InvalidAttributeName"),
        ("CreateQueue", json!({}), "InvalidAction"),
    ];

    for (operation, request, expected) in table {
        let text = request.to_string();
        assert_eq!(code(bench.call(operation, request).await), expected, "{operation} {text}");
    }
}

#[tokio::test]
async fn an_unknown_queue_is_refused_by_every_operation() {
    let bench = Bench::new();
    let operations = [
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "GetQueueAttributes",
        "PurgeQueue",
    ];

    for operation in operations {
        let unknown = bench.call_on("nobody", operation, json!({})).await;
        assert_eq!(code(unknown), "AWS.SimpleQueueService.NonExistentQueue", "{operation}");
        assert_eq!(code(bench.call_raw(operation, "{}").await), "MissingParameter", "{operation}");
        assert_eq!(code(bench.call_raw(operation, "{").await), "MalformedInput", "{operation}");
    }
}

#[tokio::test]
async fn a_queue_is_found_by_name_and_describes_itself() {
    let bench = Bench::new();
    bench.send("m").await;

    let url = bench.call("GetQueueUrl", json!({ "QueueName": "tasks" })).await.expect("an answer");
    let all = bench.call("GetQueueAttributes", json!({ "AttributeNames": ["All"] })).await.expect("an answer");
    let one = bench.call_on("dead", "GetQueueAttributes", json!({ "AttributeNames": ["VisibilityTimeout", "RedrivePolicy"] })).await;

    assert_eq!(url, json!({ "QueueUrl": "http://127.0.0.1:1/000000000000/tasks" }));
    let policy = all["Attributes"]["RedrivePolicy"].as_str().expect("text");
    let policy: Value = serde_json::from_str(policy).expect("JSON");
    assert_eq!(policy, json!({ "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3 }));
    assert_eq!(all["Attributes"]["ApproximateNumberOfMessages"], "1");
    assert_eq!(all["Attributes"]["QueueArn"], "arn:aws:sqs:us-east-1:000000000000:tasks");
    assert_eq!(one.expect("an answer"), json!({ "Attributes": { "VisibilityTimeout": "30" } }));
}
