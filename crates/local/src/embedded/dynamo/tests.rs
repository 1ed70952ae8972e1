use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;

use chatlane_tests_support::Folder;

use super::*;
use crate::embedded::{Endpoints, Recording, Service};
use crate::testing::{aws_json, send, serve_behind};

/// `TableName` with the keys `p` (S) and `s` (N).
fn table(name: &str) -> Value {
    json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            { "AttributeName": "p", "AttributeType": "S" },
            { "AttributeName": "s", "AttributeType": "N" },
        ],
        "KeySchema": [{ "AttributeName": "p", "KeyType": "HASH" }, { "AttributeName": "s", "KeyType": "RANGE" }],
    })
}

/// An item of exactly `bytes` at `(a, seq)`; `seq` has one or two digits.
fn item(seq: u32, bytes: usize) -> Value {
    // p + "a" is 2 bytes, s + a number of two digits 3, the name b 1.
    json!({ "p": { "S": "a" }, "s": { "N": seq.to_string() }, "b": { "S": "x".repeat(bytes - 6) } })
}

fn key(seq: u32) -> Value {
    json!({ "p": { "S": "a" }, "s": { "N": seq.to_string() } })
}

/// Embedded `DynamoDB` behind the layer, with one table `log`, called by one process.
struct Stage {
    dynamo: Dynamo,
    address: SocketAddr,
    recording: Recording,
}

/// What one call came to.
#[derive(Debug)]
struct Outcome {
    status: u16,
    answer: Value,
    units: Units,
}

fn writes(write: f64) -> Units {
    Units { write, read: 0.0 }
}

fn reads(read: f64) -> Units {
    Units { write: 0.0, read }
}

impl Stage {
    async fn open(path: Option<&Path>) -> Self {
        let dynamo = Dynamo::open(path).await.expect("a database");
        dynamo.create_table(&table("log"), None).expect("a table");
        let endpoints = Endpoints::new();
        let address = serve_behind(&endpoints, Service::DynamoDb, dynamo.router()).await;
        Self { dynamo, address, recording: endpoints.record() }
    }

    async fn new() -> Self {
        Self::open(None).await
    }

    async fn call(&self, operation: &str, mut request: Value) -> Outcome {
        if request.get("TableName").is_none() && request.get("RequestItems").is_none() && request.get("TransactItems").is_none() {
            request["TableName"] = "log".into();
        }
        let answer = send(self.address, aws_json("send-1", &format!("DynamoDB_20120810.{operation}"), &request)).await;
        let call = self.recording.take().remove(0);
        let answer = serde_json::from_slice(answer.expect("an answer").body()).expect("JSON");
        Outcome { status: call.status, answer, units: Units { write: call.write_units, read: call.read_units } }
    }

    async fn put(&self, item: Value) -> Outcome {
        let outcome = self.call("PutItem", json!({ "Item": item })).await;
        assert_eq!(outcome.status, 200, "{outcome:?}");
        outcome
    }

    async fn get(&self, seq: u32) -> Outcome {
        self.call("GetItem", json!({ "Key": key(seq), "ConsistentRead": true })).await
    }

    /// Sends one request after the other; each costs what is said.
    async fn costs<const N: usize>(&self, steps: [(&str, Value, Units); N]) {
        for (number, (operation, request, expected)) in steps.into_iter().enumerate() {
            let outcome = self.call(operation, request).await;
            assert_eq!((outcome.status, outcome.units), (200, expected), "step {number}, {operation}: {}", outcome.answer);
        }
    }
}

fn put(seq: u32, bytes: usize) -> Value {
    json!({ "Item": item(seq, bytes) })
}

fn get(seq: u32, consistent: bool) -> Value {
    json!({ "Key": key(seq), "ConsistentRead": consistent })
}

fn query(consistent: bool) -> Value {
    let values = json!({ ":a": { "S": "a" } });
    json!({ "KeyConditionExpression": "p = :a", "ConsistentRead": consistent, "ExpressionAttributeValues": values })
}

// Capacity: "DynamoDB read and write operations", developer guide.

#[tokio::test]
async fn a_write_costs_a_unit_for_each_kilobyte_begun_of_the_larger_item_before_or_after() {
    let update = json!({ "Key": key(11), "UpdateExpression": "REMOVE b" });
    let delete = json!({ "Key": key(12) });
    let batched = |seq, bytes| json!({ "PutRequest": { "Item": item(seq, bytes) } });
    let steps = [
        ("PutItem", put(11, 1024), writes(1.0)),
        ("PutItem", put(11, 1025), writes(2.0)),
        ("PutItem", put(11, 3000), writes(3.0)),
        ("PutItem", put(11, 100), writes(3.0)),
        ("PutItem", put(11, 2500), writes(3.0)),
        ("UpdateItem", update.clone(), writes(3.0)),
        ("UpdateItem", update, writes(1.0)),
        ("PutItem", put(12, 2500), writes(3.0)),
        ("DeleteItem", delete.clone(), writes(3.0)),
        ("DeleteItem", delete, writes(1.0)),
        ("BatchWriteItem", json!({ "RequestItems": { "log": [batched(13, 500), batched(14, 1500)] } }), writes(1.0 + 2.0)),
    ];
    Stage::new().await.costs(steps).await;
}

#[tokio::test]
async fn a_read_costs_a_unit_for_each_four_kilobytes_begun_or_half_if_it_is_eventually_consistent() {
    let steps = [
        ("GetItem", get(11, true), reads(1.0)), // not there: the least
        ("GetItem", get(11, false), reads(0.5)),
        ("Query", query(true), reads(1.0)),
        ("Query", query(false), reads(0.5)),
        ("PutItem", put(11, 4096), writes(4.0)),
        ("PutItem", put(12, 4097), writes(5.0)),
        ("GetItem", get(11, true), reads(1.0)),
        ("GetItem", get(12, true), reads(2.0)),
        ("GetItem", get(11, false), reads(0.5)),
        ("GetItem", get(12, false), reads(1.0)),
    ];
    Stage::new().await.costs(steps).await;
}

#[tokio::test]
async fn a_query_and_a_scan_round_the_sum_of_what_they_read_and_a_batch_each_item() {
    // The guide's own example of a batch: 1.5 KB and 6.5 KB are 4 KB + 8 KB.
    let batch = |consistent: bool| json!({ "RequestItems": { "log": { "Keys": [key(11), key(12)], "ConsistentRead": consistent } } });
    let steps = [
        ("PutItem", put(11, 1536), writes(2.0)),
        ("PutItem", put(12, 6656), writes(7.0)),
        ("Query", query(true), reads(2.0)),
        ("Query", query(false), reads(1.0)),
        ("Scan", json!({ "ConsistentRead": true }), reads(2.0)),
        ("BatchGetItem", batch(true), reads(3.0)),
        ("BatchGetItem", batch(false), reads(1.5)),
    ];
    Stage::new().await.costs(steps).await;
}

#[tokio::test]
async fn a_transaction_costs_double_and_reads_if_its_token_is_sent_again() {
    let put =
        |seq, bytes| json!({ "Put": { "TableName": "log", "Item": item(seq, bytes), "ConditionExpression": "attribute_not_exists(p)" } });
    let check = json!({ "ConditionCheck": { "TableName": "log", "Key": key(13), "ConditionExpression": "attribute_not_exists(p)" } });
    let get = |seq| json!({ "Get": { "TableName": "log", "Key": key(seq) } });
    // TransactWriteItems API reference, "Idempotency".
    let once = json!({ "TransactItems": [put(14, 500)], "ClientRequestToken": "once" });
    let steps = [
        ("TransactWriteItems", json!({ "TransactItems": [put(11, 500), put(12, 1500), check] }), writes(2.0 * (1.0 + 2.0 + 1.0))),
        ("TransactGetItems", json!({ "TransactItems": [get(11), get(13)] }), reads(4.0)),
        ("TransactWriteItems", once.clone(), writes(2.0)),
        ("TransactWriteItems", once, reads(2.0)),
    ];
    Stage::new().await.costs(steps).await;
}

#[tokio::test]
async fn a_refused_conditional_write_costs_the_existing_items_size_or_one_unit() {
    let stage = Stage::new().await;
    stage.put(item(11, 2500)).await;
    for (seq, mode, units, shown) in
        [(11, "NONE", 3.0, None), (11, "ALL_OLD", 3.0, Some(&item(11, 2500))), (12, "NONE", 1.0, None), (12, "ALL_OLD", 1.0, None)]
    {
        let request = json!({ "Key": key(seq), "ConditionExpression": "b = :x", "ExpressionAttributeValues": { ":x": { "S": "other" } },
            "ReturnValuesOnConditionCheckFailure": mode });
        let refused = stage.call("DeleteItem", request).await;
        assert_eq!((refused.status, refused.units, refused.answer.get("Item")), (400, writes(units), shown), "{seq} {mode}");
    }
    let silent = stage.call("PutItem", json!({ "Item": item(11, 100), "ConditionExpression": "attribute_not_exists(p)" })).await;
    assert_eq!((silent.status, silent.units, silent.answer.get("Item")), (400, writes(3.0), None));
}

#[tokio::test]
async fn a_cancelled_transaction_costs_twice_the_existing_items_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.put(item(11, 2500)).await;
    let put = |seq| json!({ "Put": { "TableName": "log", "Item": item(seq, 100), "ConditionExpression": "attribute_not_exists(p)" } });
    let cancelled = stage.call("TransactWriteItems", json!({ "TransactItems": [put(11), put(12)] })).await;
    assert_eq!((cancelled.status, cancelled.units), (400, writes(2.0 * (3.0 + 1.0))));
    assert_eq!(cancelled.answer["CancellationReasons"][0]["Code"], "ConditionalCheckFailed");
    assert_eq!(cancelled.answer["CancellationReasons"][0].get("Item"), None);
    assert_eq!(stage.get(12).await.answer.get("Item"), None);
}

#[tokio::test]
async fn a_request_that_is_refused_before_any_item_is_free() {
    let stage = Stage::new().await;
    let missing = stage.call("GetItem", json!({ "TableName": "other", "Key": key(11) })).await;
    assert_eq!((missing.status, missing.units), (400, Units::default()));
    let invalid = stage.call("PutItem", json!({ "Item": { "p": { "S": "a" } } })).await;
    assert_eq!((invalid.status, invalid.units), (400, Units::default()));
}

#[tokio::test]
async fn the_answer_has_consumed_capacity_only_if_it_was_asked_for() {
    let stage = Stage::new().await;
    assert_eq!(stage.put(item(11, 100)).await.answer, json!({}));
    let asked = stage.call("PutItem", json!({ "Item": item(11, 100), "ReturnConsumedCapacity": "TOTAL" })).await;
    assert_eq!(asked.answer["ConsumedCapacity"]["CapacityUnits"], 1.0);
}

#[tokio::test]
async fn what_is_no_request_or_unsigned_or_comes_too_late_is_refused() {
    let stage = Stage::new().await;
    let request = || aws_json("send-1", "DynamoDB_20120810.ListTables", &json!({}));
    let broken = send(stage.address, request().map(|_| Bytes::from("{"))).await.expect("an answer");
    assert_eq!(broken.status(), 400);
    assert!(String::from_utf8_lossy(broken.body()).contains("SerializationException"));
    let mut unsigned = request();
    unsigned.headers_mut().remove("authorization");
    assert_eq!(send(stage.address, unsigned).await.expect("an answer").status(), 400);
    stage.dynamo.close().await;
    assert_eq!(send(stage.address, request()).await.expect("an answer").status(), 500);
}

// The file and the tables.

#[tokio::test]
async fn the_state_survives_a_restart() {
    let folder = Folder::new();
    let stage = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    stage.put(item(11, 100)).await;
    stage.dynamo.close().await;
    let stage = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    assert_eq!(stage.get(11).await.answer["Item"], item(11, 100));
}

// holds: L3
#[tokio::test]
async fn an_answered_write_is_in_the_file_without_any_close() {
    let folder = Folder::new();
    let killed = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    killed.dynamo.stream("log").expect("a table in a file");
    killed.put(item(11, 100)).await;
    let stage = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    assert_eq!(stage.get(11).await.answer["Item"], item(11, 100));
    let told = stage.dynamo.stream("log").expect("a table in a file").read(9).expect("records");
    assert_eq!(told.iter().map(|record| &record.keys).collect::<Vec<_>>(), [&key(11)], "and the stream tells of it");
}

#[tokio::test]
async fn an_expired_item_is_removed() {
    let stage = Stage::new().await;
    stage.dynamo.create_table(&table("users"), Some("ttl")).expect("a table");
    let mut expired = item(11, 100);
    expired["ttl"] = json!({ "N": "1700000000" });
    for item in [expired, item(12, 100)] {
        assert_eq!(stage.call("PutItem", json!({ "TableName": "users", "Item": item })).await.units, writes(1.0));
    }
    let get = |seq| json!({ "TableName": "users", "Key": key(seq) });
    while stage.call("GetItem", get(11)).await.answer.get("Item").is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.call("GetItem", get(12)).await.answer["Item"], item(12, 100));
}

#[tokio::test]
async fn a_table_is_created_once_and_one_with_other_keys_or_another_ttl_is_an_error() {
    let stage = Stage::new().await;
    for _ in 0..2 {
        stage.dynamo.create_table(&table("log"), Some("ttl")).expect("the same table; TTL is turned on");
    }
    assert_eq!(stage.call("DescribeTable", json!({})).await.answer["Table"]["TableStatus"], "ACTIVE");
    stage.dynamo.create_table(&table("log"), Some("until")).expect_err("another attribute");
    let mut other = table("log");
    other["KeySchema"] = json!([{ "AttributeName": "p", "KeyType": "HASH" }]);
    other["AttributeDefinitions"] = json!([{ "AttributeName": "p", "AttributeType": "S" }]);
    let error = stage.dynamo.create_table(&other, None).expect_err("other keys");
    assert!(error.to_string().contains("delete the data folder"), "{error}");
}

#[tokio::test]
async fn a_definition_that_dynamodb_refuses_is_an_error() {
    let stage = Stage::new().await;
    let error = stage.dynamo.create_table(&json!({ "TableName": "log" }), None).expect_err("no keys");
    assert!(!error.to_string().is_empty());
    let error = stage.dynamo.create_table(&json!({ "TableName": 1 }), None).expect_err("no request");
    assert_eq!(error.to_string(), "not a request that DynamoDB takes");
}

#[tokio::test]
async fn a_file_that_is_no_database_or_not_utf8_is_an_error_that_says_so() {
    let folder = Folder::new();
    let file = folder.file("dynamodb.sqlite");
    fs::write(&file, "no database".repeat(1000)).expect("a file");
    for (path, says) in [(file.as_path(), "dynamodb.sqlite"), (Path::new(OsStr::from_bytes(b"/tmp/\xff")), "choose another data folder")] {
        let error = Dynamo::open(Some(path)).await.err().expect("no database").to_string();
        assert!(error.contains(says), "{error}");
    }
}
