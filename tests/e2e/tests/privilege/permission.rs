//! From a call to the permission that AWS asks for it.

use std::time::Duration;

use chatlane_local::embedded::{Call, Caller, Fate, Service};
use chatlane_local::stack::SWEEP_FAILURES_QUEUE;
use serde_json::{Value, json};

/// One action on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The function's name.
    pub role: String,
    /// What stands behind the account in the resource's ARN; for `@connections` behind the API and its stage.
    pub resource: String,
    /// As a policy names it: `dynamodb:PutItem`.
    pub action: String,
}

/// What Lambda asks of a queue, as the function's role, to invoke the function with its messages.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-lambda-function-trigger.html>,
/// "Prerequisites". Lambda's pollers are no clients of the embedded endpoints, but an event that they bring says which queue it is from.
const OF_AN_EVENT_SOURCE: [&str; 3] = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];

/// What Lambda asks of a table's stream, as the function's role, to invoke the function with its records.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html>, "Add permissions".
const OF_A_STREAM: [&str; 4] = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"];

/// What a starting process asks for by this name, instead of a connection's id, to open its own connection to the gateway.
const NO_CONNECTION: &str = "none";

/// What the caller's role needs for this call.
///
/// # Panics
/// If nobody has looked up yet what the operation needs.
pub fn permissions(call: &Call) -> Vec<Permission> {
    let unknown = || -> ! { panic!("which permissions are needed for {:?} {}? {}", call.service, call.operation, call.request) };
    let text = |value: &Value| value.as_str().unwrap_or_else(|| unknown()).to_owned();
    let needed: Vec<(String, String)> = match (call.service, call.operation.as_str()) {
        (Service::DynamoDb, "DeleteItem" | "GetItem" | "PutItem" | "Query" | "UpdateItem") => {
            vec![on_table(&call.operation, &call.request)]
        }
        (Service::DynamoDb, "BatchGetItem") => {
            let tables = call.request["RequestItems"].as_object().unwrap_or_else(|| unknown());
            tables.keys().map(|table| ("dynamodb:BatchGetItem".to_owned(), format!("table/{table}"))).collect()
        }
        // <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>: a transaction needs the
        // permissions of its parts, and none of its own.
        (Service::DynamoDb, "TransactGetItems" | "TransactWriteItems") => {
            let items = call.request["TransactItems"].as_array().unwrap_or_else(|| unknown());
            let parts = items.iter().filter_map(Value::as_object).flatten();
            parts.map(|(part, request)| on_table(&format!("{part}Item"), request)).collect()
        }
        (Service::Sqs, "GetQueueAttributes" | "SendMessage") => {
            let url = text(&call.request["QueueUrl"]);
            vec![(format!("sqs:{}", call.operation), last_part(&url, '/'))]
        }
        (Service::Connections, "PostToConnection") => vec![on_connection("POST", &text(&call.request["ConnectionId"]))],
        (Service::Connections, "DeleteConnection") => vec![on_connection("DELETE", &text(&call.request["ConnectionId"]))],
        (Service::Connections, "GetConnection") => vec![on_connection("GET", &text(&call.request["ConnectionId"]))],
        // The Runtime API is inside a function. Some events tell what else was asked for them.
        (Service::Runtime, "Next") => {
            let records = call.answer["Records"].as_array().into_iter().flatten();
            let of_source = |record: &Value| match record["eventSource"].as_str() {
                Some("aws:sqs") => {
                    let queue = last_part(&text(&record["eventSourceARN"]), ':');
                    OF_AN_EVENT_SOURCE.map(|action| (action.to_owned(), queue.clone())).to_vec()
                }
                Some("aws:dynamodb") => {
                    let stream = last_part(&text(&record["eventSourceARN"]), ':');
                    let stream = stream.rsplit_once('/').map_or(stream.as_str(), |(stream, _label)| stream).to_owned();
                    let asked = OF_A_STREAM.map(|action| (action.to_owned(), stream.clone()));
                    asked.into_iter().chain([("sqs:SendMessage".to_owned(), SWEEP_FAILURES_QUEUE.to_owned())]).collect()
                }
                _ => vec![],
            };
            records.flat_map(of_source).collect()
        }
        (Service::Runtime, _) => vec![],
        _ => unknown(),
    };
    let role = call.caller.function();
    needed.into_iter().map(|(action, resource)| Permission { role: role.to_owned(), resource, action }).collect()
}

fn on_table(operation: &str, request: &Value) -> (String, String) {
    let table = request["TableName"].as_str().unwrap_or_else(|| panic!("{operation} names no table: {request}"));
    (format!("dynamodb:{operation}"), format!("table/{table}"))
}

/// Ids are the gateway's, so nobody can know them when a policy is written.
fn on_connection(method: &str, id: &str) -> (String, String) {
    let id = if id == NO_CONNECTION { id } else { "*" };
    ("execute-api:ManageConnections".to_owned(), format!("{method}/@connections/{id}"))
}

fn last_part(text: &str, separator: char) -> String {
    text.rsplit(separator).next().unwrap_or(text).to_owned()
}

fn call(operation: &str, request: Value) -> Call {
    Call {
        caller: Caller("send-3".to_owned()),
        service: Service::DynamoDb,
        operation: operation.to_owned(),
        request,
        fate: Fate::Answered,
        status: 200,
        answer: Value::Null,
        write_units: 0.0,
        read_units: 0.0,
        took: Duration::ZERO,
    }
}

#[test]
fn a_transaction_needs_the_permissions_of_its_parts() {
    let part = |name: &str, table: &str| json!({ name: { "TableName": table } });
    let parts = [part("Put", "log"), part("Update", "users"), part("Delete", "users"), part("ConditionCheck", "inboxes")];
    let needed = permissions(&call("TransactWriteItems", json!({ "TransactItems": parts })));
    let needed: Vec<(&str, &str)> = needed.iter().map(|needed| (needed.action.as_str(), needed.resource.as_str())).collect();
    assert_eq!(
        needed,
        [
            ("dynamodb:PutItem", "table/log"),
            ("dynamodb:UpdateItem", "table/users"),
            ("dynamodb:DeleteItem", "table/users"),
            ("dynamodb:ConditionCheckItem", "table/inboxes"),
        ]
    );
    let read = permissions(&call("TransactGetItems", json!({ "TransactItems": [part("Get", "conversations")] })));
    assert_eq!((read[0].role.as_str(), read[0].action.as_str()), ("send", "dynamodb:GetItem"));
}

#[test]
#[should_panic(expected = "which permissions are needed for DynamoDb Scan")]
fn an_operation_that_nobody_has_looked_up_is_not_passed_over() {
    permissions(&call("Scan", json!({ "TableName": "log" })));
}
