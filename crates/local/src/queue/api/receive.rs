//! What a consumer does with messages: it receives them, deletes them and changes how long they stay hidden.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Batch, OfQueue, failed, in_range};
use crate::queue::Queue;
use crate::queue::api_error::ApiError;
use crate::queue::message::{self, Received};
use crate::queue::store::is_receipt_of;

/// Longest visibility timeout: 12 hours.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>.
const VISIBILITY_SECONDS_MAX: i64 = 12 * 60 * 60;

/// Longest wait of a receive: 20 s (`API_ReceiveMessage`).
const WAIT_SECONDS_MAX: i64 = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    #[serde(flatten)]
    of: OfQueue,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    /// The older name of `MessageSystemAttributeNames`.
    attribute_names: Option<Vec<String>>,
    message_system_attribute_names: Option<Vec<String>>,
    message_attribute_names: Option<Vec<String>>,
}

pub(super) async fn receive_message(queue: &Queue, request: ReceiveMessage) -> Result<Value, ApiError> {
    let settings = request.of.find(queue)?;
    let max = in_range("MaxNumberOfMessages", request.max_number_of_messages.unwrap_or(1), 1, 10)?;
    let visibility = match request.visibility_timeout {
        Some(seconds) => seconds_in("VisibilityTimeout", seconds, VISIBILITY_SECONDS_MAX)?,
        None => settings.visibility_timeout,
    };
    let wait = seconds_in("WaitTimeSeconds", request.wait_time_seconds.unwrap_or(0), WAIT_SECONDS_MAX)?;
    let until = Instant::now() + wait;
    let mut changed = queue.named(&settings.name)?.changed.subscribe();
    let received = loop {
        changed.mark_unchanged();
        let received = queue.receive(&settings.name, usize::try_from(max).unwrap_or(1), visibility)?;
        if !received.is_empty() {
            break received;
        }
        match tokio::time::timeout_at(until, queue.wait_for_message(&settings.name, &mut changed)).await {
            Ok(visible) => visible?,
            Err(_elapsed) => break received,
        }
    };
    let system_names: Vec<String> = request.message_system_attribute_names.into_iter().chain(request.attribute_names).flatten().collect();
    let names = request.message_attribute_names.unwrap_or_default();
    let messages: Vec<Value> = received.iter().map(|message| received_json(message, &system_names, &names)).collect();
    // Without messages the answer has no list, as SQS answers it.
    Ok(if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

/// A received message with those of its attributes that were asked for.
fn received_json(message: &Received, system_names: &[String], names: &[String]) -> Value {
    let mut json = json!({
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "MD5OfBody": message::body_md5(&message.body),
    });
    let mut system = message.system_attributes();
    system.retain(|name, _| system_names.iter().any(|wanted| wanted == "All" || wanted == name));
    if !system.is_empty() {
        json["Attributes"] = json!(system);
    }
    let mut attributes = message.attributes();
    attributes.retain(|name, _| names.iter().any(|wanted| is_wanted(wanted, name)));
    if let Some(digest) = message::attributes_md5(&attributes) {
        json["MD5OfMessageAttributes"] = json!(digest);
        json["MessageAttributes"] = json!(attributes);
    }
    json
}

/// `All`, `.*`, a name, or the start of names followed by `.*` (`API_ReceiveMessage`, `MessageAttributeNames`).
fn is_wanted(wanted: &str, name: &str) -> bool {
    wanted == "All" || wanted == name || wanted.strip_suffix(".*").is_some_and(|start| name.starts_with(start))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receipt {
    receipt_handle: Option<String>,
}

impl Receipt {
    fn of(&self, queue: &str) -> Result<&str, ApiError> {
        let receipt = self.receipt_handle.as_deref().ok_or(ApiError::Missing("ReceiptHandle"))?;
        if is_receipt_of(queue, receipt) { Ok(receipt) } else { Err(ApiError::ReceiptHandleIsInvalid) }
    }
}

#[derive(Deserialize)]
pub(super) struct DeleteMessage {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(flatten)]
    receipt: Receipt,
}

pub(super) fn delete_message(queue: &Queue, request: &DeleteMessage) -> Result<Value, ApiError> {
    let name = &request.of.find(queue)?.name;
    queue.delete(name, [request.receipt.of(name)?])?;
    Ok(json!({}))
}

pub(super) fn delete_message_batch(queue: &Queue, request: Batch<Receipt>) -> Result<Value, ApiError> {
    let name = &request.of.find(queue)?.name;
    let entries = request.entries()?;
    let (mut receipts, mut successful, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (id, receipt) in &entries {
        match receipt.of(name) {
            Ok(receipt) => {
                receipts.push(receipt);
                successful.push(json!({ "Id": id }));
            }
            Err(error) => refused.push(failed(id, &error)),
        }
    }
    queue.delete(name, receipts)?;
    Ok(json!({ "Successful": successful, "Failed": refused }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeMessageVisibility {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(flatten)]
    receipt: Receipt,
    visibility_timeout: Option<i64>,
}

pub(super) fn change_message_visibility(queue: &Queue, request: &ChangeMessageVisibility) -> Result<Value, ApiError> {
    let name = &request.of.find(queue)?.name;
    let receipt = request.receipt.of(name)?;
    let seconds = request.visibility_timeout.ok_or(ApiError::Missing("VisibilityTimeout"))?;
    let seconds = in_range("VisibilityTimeout", seconds, 0, VISIBILITY_SECONDS_MAX)?;
    let now_ms = queue.now_ms();
    if !queue.inner.store.change_visibility(name, receipt, now_ms, now_ms + seconds * 1000)? {
        return Err(ApiError::MessageNotInflight);
    }
    queue.announce(name);
    Ok(json!({}))
}

fn seconds_in(parameter: &str, value: i64, max: i64) -> Result<Duration, ApiError> {
    let seconds = in_range(parameter, value, 0, max)?;
    Ok(Duration::from_secs(seconds.unsigned_abs()))
}
