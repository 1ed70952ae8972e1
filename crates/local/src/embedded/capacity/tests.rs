use serde_json::json;

use super::*;

/// An item whose size is `bytes`, at least 10: `p` = 1 byte key, `b` = the rest.
fn item(bytes: usize) -> Value {
    json!({ "p": { "S": "a" }, "b": { "S": "x".repeat(bytes - 3) } })
}

/// Bytes of one attribute named `n`, without the name.
fn value_bytes(value: &Value) -> usize {
    let item = serde_json::from_value::<Item>(json!({ "n": value })).expect("an item");
    item_size(&item) - 1
}

fn settle(operation: &str, request: Value, mut answer: Value) -> (Units, Value) {
    let metered = Metered::new(operation, request).expect("a metered operation");
    let units = metered.settle(&mut answer);
    (units, answer)
}

fn writes(write: f64) -> Units {
    Units { write, read: 0.0 }
}

// Item sizes: "DynamoDB item sizes and formats", developer guide.

#[test]
fn a_name_and_a_string_cost_their_utf8_bytes() {
    let item = serde_json::from_value::<Item>(json!({ "né": { "S": "zwölf" } })).expect("an item");
    assert_eq!(item_size(&item), 3 + 6);
}

#[test]
fn a_number_costs_a_byte_for_two_significant_digits_and_one() {
    for (number, bytes) in [("0", 1), ("7", 2), ("42", 2), ("123", 3), ("1700000000000", 2), ("0.25", 2), ("12345678", 5)] {
        assert_eq!(value_bytes(&json!({ "N": number })), bytes, "{number}");
    }
}

#[test]
fn a_binary_costs_its_raw_bytes() {
    assert_eq!(value_bytes(&json!({ "B": "AAAAAA==" })), 4);
}

#[test]
fn null_and_booleans_cost_a_byte() {
    assert_eq!(value_bytes(&json!({ "NULL": true })), 1);
    assert_eq!(value_bytes(&json!({ "BOOL": false })), 1);
}

#[test]
fn lists_and_maps_cost_three_bytes_and_one_for_each_element() {
    assert_eq!(value_bytes(&json!({ "L": [] })), 3);
    assert_eq!(value_bytes(&json!({ "M": {} })), 3);
    assert_eq!(value_bytes(&json!({ "L": [{ "S": "ab" }, { "S": "c" }] })), 3 + 2 + 3);
    assert_eq!(value_bytes(&json!({ "M": { "key": { "S": "ab" } } })), 3 + 1 + 3 + 2);
}

#[test]
fn sets_cost_their_elements() {
    assert_eq!(value_bytes(&json!({ "SS": ["ab", "c"] })), 3);
}

// What goes out.

#[test]
fn every_metered_request_asks_for_its_capacity() {
    for (operation, _) in METERED {
        let metered = Metered::new(operation, json!({})).expect("metered");
        assert_eq!(metered.request[CAPACITY], "TOTAL", "{operation}");
    }
}

#[test]
fn a_caller_that_asks_in_its_own_way_is_left_alone() {
    for mode in ["INDEXES", "nonsense"] {
        assert_eq!(Metered::new("Query", json!({ CAPACITY: mode })).expect("metered").request[CAPACITY], mode);
    }
}

#[test]
fn other_operations_and_requests_that_are_no_objects_are_not_touched() {
    assert!(Metered::new("CreateTable", json!({})).is_none());
    assert_eq!(Metered::new("GetItem", json!([1])).expect("metered").request, json!([1]));
    assert_eq!(Metered::new("TransactWriteItems", json!({ "TransactItems": [7] })).expect("metered").request["TransactItems"], json!([7]));
}

#[test]
fn only_a_conditional_write_asks_for_the_item_that_refuses_it() {
    let request = |condition: Value| Metered::new("PutItem", condition).expect("metered").request;
    assert_eq!(request(json!({ "ConditionExpression": "c" }))[REFUSED_ITEM], "ALL_OLD");
    assert_eq!(request(json!({ "ConditionExpression": "c", REFUSED_ITEM: "NONE" }))[REFUSED_ITEM], "ALL_OLD");
    assert_eq!(request(json!({})).get(REFUSED_ITEM), None);
}

// What comes back.

#[test]
fn capacity_that_was_not_asked_for_is_taken_out_of_the_answer() {
    let answer = json!({ "Item": {}, "ConsumedCapacity": { "TableName": "log", "CapacityUnits": 0.5 } });
    assert_eq!(settle("GetItem", json!({}), answer), (Units { write: 0.0, read: 0.5 }, json!({ "Item": {} })));
}

#[test]
fn capacity_that_was_asked_for_stays() {
    let answer = json!({ "ConsumedCapacity": { "CapacityUnits": 2.0 } });
    assert_eq!(settle("PutItem", json!({ CAPACITY: "TOTAL" }), answer.clone()), (writes(2.0), answer));
}

#[test]
fn tables_of_one_request_are_summed() {
    let answer = json!({ "ConsumedCapacity": [{ "CapacityUnits": 2.0 }, { "CapacityUnits": 1.5 }] });
    assert_eq!(settle("BatchGetItem", json!({}), answer).0, Units { write: 0.0, read: 3.5 });
}

#[test]
fn an_answer_without_capacity_costs_nothing() {
    assert_eq!(settle("PutItem", json!({}), json!({})).0, Units::default());
}

#[test]
fn a_refused_write_costs_the_existing_items_size() {
    let refusal = |item: Value| json!({ "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": item });
    let conditional = json!({ "ConditionExpression": "c" });
    for (bytes, units) in [(10, 1.0), (1024, 1.0), (1025, 2.0), (3000, 3.0)] {
        let (cost, answer) = settle("PutItem", conditional.clone(), refusal(item(bytes)));
        assert_eq!((cost, answer.get("Item")), (writes(units), None), "{bytes}");
    }
}

#[test]
fn a_refused_write_where_no_item_is_costs_one_unit() {
    let refusal = json!({ "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException" });
    assert_eq!(settle("DeleteItem", json!({ "ConditionExpression": "c" }), refusal).0, writes(1.0));
}

#[test]
fn a_cancelled_transaction_costs_twice_the_refused_writes() {
    let request = json!({ "TransactItems": [
        { "Put": { "Item": item(2000) } },
        { "Update": { "ConditionExpression": "c" } },
        { "Delete": { "ConditionExpression": "c", REFUSED_ITEM: "ALL_OLD" } },
    ] });
    let answer = json!({ "__type": "x#TransactionCanceledException", "CancellationReasons": [
        { "Code": "None" },
        { "Code": "ConditionalCheckFailed", "Item": item(2500) },
        { "Code": "ConditionalCheckFailed", "Item": item(10) },
    ] });
    let (units, answer) = settle("TransactWriteItems", request, answer);
    assert_eq!(units, writes(2.0 * (2.0 + 3.0 + 1.0)));
    assert_eq!(answer["CancellationReasons"][1].get("Item"), None, "not asked for");
    assert_eq!(answer["CancellationReasons"][2]["Item"], item(10), "asked for");
}

#[test]
fn a_cancelled_read_and_other_errors_cost_nothing() {
    let error = |name: &str| json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}") });
    assert_eq!(settle("TransactGetItems", json!({}), error("TransactionCanceledException")).0, Units::default());
    assert_eq!(settle("PutItem", json!({}), error("ProvisionedThroughputExceededException")).0, Units::default());
}
