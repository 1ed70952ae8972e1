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

    async fn get(&self, seq: u32, consistent: bool) -> Outcome {
        self.call("GetItem", json!({ "Key": key(seq), "ConsistentRead": consistent })).await
    }

    async fn query(&self, consistent: bool) -> Outcome {
        let names = json!({ "#p": "p" });
        let values = json!({ ":a": { "S": "a" } });
        let request = json!({ "KeyConditionExpression": "#p = :a", "ConsistentRead": consistent,
            "ExpressionAttributeNames": names, "ExpressionAttributeValues": values });
        self.call("Query", request).await
    }
}

// Capacity: "DynamoDB read and write operations", developer guide.

#[tokio::test]
async fn a_put_costs_one_write_unit_for_each_kilobyte_begun() {
    let stage = Stage::new().await;
    assert_eq!(stage.put(item(11, 1024)).await.units, writes(1.0));
    assert_eq!(stage.put(item(12, 1025)).await.units, writes(2.0));
}

#[tokio::test]
async fn a_put_over_an_item_costs_the_larger_of_the_two() {
    let stage = Stage::new().await;
    stage.put(item(11, 3000)).await;
    assert_eq!(stage.put(item(11, 100)).await.units, writes(3.0));
}

#[tokio::test]
async fn an_update_costs_the_larger_of_the_item_before_and_after() {
    let stage = Stage::new().await;
    stage.put(item(11, 2500)).await;
    let update = json!({ "Key": key(11), "UpdateExpression": "REMOVE b" });
    assert_eq!(stage.call("UpdateItem", update.clone()).await.units, writes(3.0));
    assert_eq!(stage.call("UpdateItem", update).await.units, writes(1.0));
}

#[tokio::test]
async fn a_delete_costs_the_item_that_it_deletes_or_one() {
    let stage = Stage::new().await;
    stage.put(item(11, 2500)).await;
    let delete = json!({ "Key": key(11) });
    assert_eq!(stage.call("DeleteItem", delete.clone()).await.units, writes(3.0));
    assert_eq!(stage.call("DeleteItem", delete).await.units, writes(1.0));
}

#[tokio::test]
async fn a_strong_read_costs_one_read_unit_for_each_four_kilobytes_begun_and_the_other_kind_half() {
    let stage = Stage::new().await;
    stage.put(item(11, 4096)).await;
    stage.put(item(12, 4097)).await;
    for (seq, consistent, units) in [(11, true, 1.0), (12, true, 2.0), (11, false, 0.5), (12, false, 1.0)] {
        assert_eq!(stage.get(seq, consistent).await.units, reads(units), "{seq} {consistent}");
    }
}

#[tokio::test]
async fn reading_what_is_not_there_costs_the_least() {
    let stage = Stage::new().await;
    for (consistent, units) in [(true, 1.0), (false, 0.5)] {
        assert_eq!(stage.get(11, consistent).await.units, reads(units));
        assert_eq!(stage.query(consistent).await.units, reads(units));
    }
}

#[tokio::test]
async fn a_query_rounds_the_sum_of_what_it_read() {
    let stage = Stage::new().await;
    for seq in 11..14 {
        stage.put(item(seq, 2000)).await;
    }
    let strong = stage.query(true).await;
    assert_eq!((strong.units, strong.answer["Count"].as_u64()), (reads(2.0), Some(3)));
    assert_eq!(stage.query(false).await.units, reads(1.0));
}

#[tokio::test]
async fn a_scan_rounds_the_sum_of_what_it_read() {
    let stage = Stage::new().await;
    for seq in 11..14 {
        stage.put(item(seq, 2000)).await;
    }
    assert_eq!(stage.call("Scan", json!({ "ConsistentRead": true })).await.units, reads(2.0));
}

#[tokio::test]
async fn a_batch_get_rounds_each_item() {
    // The guide's own example: 1.5 KB and 6.5 KB are 4 KB + 8 KB.
    let stage = Stage::new().await;
    stage.put(item(11, 1536)).await;
    stage.put(item(12, 6656)).await;
    let batch = |consistent: bool| json!({ "RequestItems": { "log": { "Keys": [key(11), key(12)], "ConsistentRead": consistent } } });
    assert_eq!(stage.call("BatchGetItem", batch(true)).await.units, reads(3.0));
    assert_eq!(stage.call("BatchGetItem", batch(false)).await.units, reads(1.5));
}

#[tokio::test]
async fn a_batch_write_rounds_each_item() {
    let stage = Stage::new().await;
    let put = |seq, bytes| json!({ "PutRequest": { "Item": item(seq, bytes) } });
    let batch = json!({ "RequestItems": { "log": [put(11, 500), put(12, 1500)] } });
    assert_eq!(stage.call("BatchWriteItem", batch).await.units, writes(3.0));
}

#[tokio::test]
async fn a_transaction_of_writes_costs_double() {
    let stage = Stage::new().await;
    let put = |seq, bytes| json!({ "Put": { "TableName": "log", "Item": item(seq, bytes) } });
    let check = json!({ "ConditionCheck": { "TableName": "log", "Key": key(13), "ConditionExpression": "attribute_not_exists(p)" } });
    let transaction = json!({ "TransactItems": [put(11, 500), put(12, 1500), check] });
    assert_eq!(stage.call("TransactWriteItems", transaction).await.units, writes(2.0 * (1.0 + 2.0 + 1.0)));
}

#[tokio::test]
async fn a_transaction_of_reads_costs_double() {
    let stage = Stage::new().await;
    stage.put(item(11, 500)).await;
    let get = |seq| json!({ "Get": { "TableName": "log", "Key": key(seq) } });
    assert_eq!(stage.call("TransactGetItems", json!({ "TransactItems": [get(11), get(12)] })).await.units, reads(4.0));
}

#[tokio::test]
async fn a_transaction_that_is_sent_again_with_its_token_costs_reads() {
    // TransactWriteItems API reference, "Idempotency".
    let stage = Stage::new().await;
    let put = json!({ "Put": { "TableName": "log", "Item": item(11, 500), "ConditionExpression": "attribute_not_exists(p)" } });
    let transaction = json!({ "TransactItems": [put], "ClientRequestToken": "once" });
    let first = stage.call("TransactWriteItems", transaction.clone()).await;
    let again = stage.call("TransactWriteItems", transaction).await;
    assert_eq!((first.units, again.status, again.units), (writes(2.0), 200, reads(2.0)));
}

#[tokio::test]
async fn a_refused_conditional_put_costs_the_existing_items_size() {
    let stage = Stage::new().await;
    stage.put(item(11, 2500)).await;
    let put = |extra: Option<&str>| {
        let mut request = json!({ "Item": item(11, 100), "ConditionExpression": "attribute_not_exists(p)" });
        if let Some(mode) = extra {
            request["ReturnValuesOnConditionCheckFailure"] = mode.into();
        }
        request
    };
    let silent = stage.call("PutItem", put(None)).await;
    assert_eq!((silent.status, silent.units, silent.answer.get("Item")), (400, writes(3.0), None));
    let telling = stage.call("PutItem", put(Some("ALL_OLD"))).await;
    assert_eq!((telling.status, telling.units, &telling.answer["Item"]), (400, writes(3.0), &item(11, 2500)));
}

#[tokio::test]
async fn a_refused_conditional_write_where_no_item_is_costs_one_unit() {
    let stage = Stage::new().await;
    let delete = json!({ "Key": key(11), "ConditionExpression": "attribute_exists(p)" });
    let refused = stage.call("DeleteItem", delete).await;
    assert_eq!((refused.status, refused.units), (400, writes(1.0)));
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
    assert_eq!(stage.get(12, true).await.answer.get("Item"), None);
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
async fn what_is_not_json_passes_as_it_is() {
    let stage = Stage::new().await;
    let broken = aws_json("send-1", "DynamoDB_20120810.PutItem", &Value::Null).map(|_| Bytes::from("{"));
    let answer = send(stage.address, broken).await.expect("an answer");
    assert_eq!(answer.status(), 400);
    assert!(String::from_utf8_lossy(answer.body()).contains("SerializationException"));
}

#[tokio::test]
async fn an_unsigned_request_is_refused() {
    let stage = Stage::new().await;
    let mut unsigned = aws_json("", "DynamoDB_20120810.ListTables", &json!({}));
    unsigned.headers_mut().remove("authorization");
    assert_eq!(send(stage.address, unsigned).await.expect("an answer").status(), 400);
}

// The file and the tables.

#[tokio::test]
async fn the_state_survives_a_restart() {
    let folder = Folder::new();
    let stage = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    stage.put(item(11, 100)).await;
    stage.dynamo.close().await;
    let stage = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    assert_eq!(stage.get(11, true).await.answer["Item"], item(11, 100));
}

// holds: L3
#[tokio::test]
async fn an_answered_write_is_in_the_file_without_any_close() {
    let folder = Folder::new();
    let killed = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    killed.put(item(11, 100)).await;
    let stage = Stage::open(Some(&folder.file("dynamodb.sqlite"))).await;
    assert_eq!(stage.get(11, true).await.answer["Item"], item(11, 100));
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
async fn a_table_is_created_once() {
    let stage = Stage::new().await;
    for _ in 0..2 {
        stage.dynamo.create_table(&table("users"), Some("ttl")).expect("the same table");
    }
    assert_eq!(stage.call("DescribeTable", json!({ "TableName": "users" })).await.answer["Table"]["TableStatus"], "ACTIVE");
}

#[tokio::test]
async fn a_table_with_other_keys_or_another_ttl_is_an_error() {
    let stage = Stage::new().await;
    let mut other = table("log");
    other["KeySchema"] = json!([{ "AttributeName": "p", "KeyType": "HASH" }]);
    other["AttributeDefinitions"] = json!([{ "AttributeName": "p", "AttributeType": "S" }]);
    let error = stage.dynamo.create_table(&other, None).expect_err("other keys");
    assert!(error.to_string().contains("delete the data folder"), "{error}");
    stage.dynamo.create_table(&table("log"), Some("ttl")).expect("TTL is turned on");
    stage.dynamo.create_table(&table("log"), Some("until")).expect_err("another attribute");
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
async fn a_file_that_is_no_database_is_an_error_that_names_it() {
    let folder = Folder::new();
    fs::write(folder.file("dynamodb.sqlite"), "no database".repeat(1000)).expect("a file");
    let error = Dynamo::open(Some(&folder.file("dynamodb.sqlite"))).await.err().expect("no database");
    assert!(error.to_string().contains("dynamodb.sqlite"), "{error}");
}

#[tokio::test]
async fn a_path_that_is_not_utf8_is_an_error() {
    let error = Dynamo::open(Some(Path::new(OsStr::from_bytes(b"/tmp/\xff")))).await.err().expect("no path");
    assert!(error.to_string().contains("choose another data folder"), "{error}");
}

#[tokio::test]
async fn a_closed_database_answers_a_server_error() {
    let stage = Stage::new().await;
    stage.dynamo.close().await;
    let request = aws_json("send-1", "DynamoDB_20120810.ListTables", &json!({}));
    assert_eq!(send(stage.address, request).await.expect("an answer").status(), 500);
}
