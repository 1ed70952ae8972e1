use serde_json::json;

use super::*;

/// An item whose size is `bytes`, at least 10: `p` = 1 byte key, `b` = the rest.
fn item(bytes: usize) -> Value {
    json!({ "p": { "S": "a" }, "b": { "S": "x".repeat(bytes - 3) } })
}

fn settle(operation: &str, request: Value, mut answer: Value) -> (Units, Value) {
    let metered = Metered::new(operation, request).expect("a metered operation");
    let units = metered.settle(&mut answer);
    (units, answer)
}

fn writes(write: f64) -> Units {
    Units { write, read: 0.0 }
}

/// *`DynamoDB` item sizes and formats*, developer guide.
#[test]
fn an_attribute_costs_its_name_and_its_value() {
    for (value, bytes) in [
        (json!({ "S": "zwölf" }), 6),
        (json!({ "N": "0" }), 1),
        (json!({ "N": "7" }), 2),
        (json!({ "N": "42" }), 2),
        (json!({ "N": "123" }), 3),
        (json!({ "N": "1700000000000" }), 2),
        (json!({ "N": "0.25" }), 2),
        (json!({ "N": "12345678" }), 5),
        (json!({ "B": "AAAAAA==" }), 4),
        (json!({ "NULL": true }), 1),
        (json!({ "BOOL": false }), 1),
        (json!({ "L": [] }), 3),
        (json!({ "M": {} }), 3),
        (json!({ "L": [{ "S": "ab" }, { "S": "c" }] }), 3 + 2 + 3),
        (json!({ "M": { "key": { "S": "ab" } } }), 3 + 1 + 3 + 2),
        (json!({ "SS": ["ab", "c"] }), 3),
    ] {
        let item = serde_json::from_value::<Item>(json!({ "né": value })).expect("an item");
        assert_eq!(item_size(&item), 3 + bytes, "{value}");
    }
}

// What goes out.

#[test]
fn what_is_not_metered_or_asks_in_its_own_way_is_left_alone() {
    assert!(Metered::new("CreateTable", json!({})).is_none());
    for (operation, request) in [
        ("Query", json!({ CAPACITY: "INDEXES" })),
        ("Query", json!({ CAPACITY: "nonsense" })),
        ("GetItem", json!([1])),
        ("TransactWriteItems", json!({ CAPACITY: "TOTAL", "TransactItems": [7] })),
    ] {
        assert_eq!(Metered::new(operation, request.clone()).expect("metered").request, request);
    }
}

#[test]
fn only_a_conditional_write_asks_for_the_item_that_refuses_it() {
    for (request, asks) in [
        (json!({ "ConditionExpression": "c" }), true),
        (json!({ "ConditionExpression": "c", REFUSED_ITEM: "NONE" }), true),
        (json!({}), false),
    ] {
        let request = Metered::new("PutItem", request).expect("metered").request;
        assert_eq!(request.get(REFUSED_ITEM).is_some_and(|asked| asked == "ALL_OLD"), asks, "{request}");
    }
}

// What comes back.

#[test]
fn tables_of_one_request_are_summed_and_an_answer_without_capacity_costs_nothing() {
    let answer = json!({ "ConsumedCapacity": [{ "CapacityUnits": 2.0 }, { "CapacityUnits": 1.5 }] });
    assert_eq!(settle("BatchGetItem", json!({}), answer).0, Units { write: 0.0, read: 3.5 });
    assert_eq!(settle("PutItem", json!({}), json!({})).0, Units::default());
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
