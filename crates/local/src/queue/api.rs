//! The SQS endpoint: AWS JSON 1.0, ten operations, standard queues.
//!
//! Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>. What is not modelled is refused
//! (`UnsupportedOperation`, `UnknownOperationException`), never ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::error;

use super::api_error::{ApiError, CONTENT_TYPE};
use super::message::{self, Attributes, DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX, NewMessage, Received};
use super::store::is_receipt_of;
use super::{Queue, QueueSettings, arn};

/// Entries of a batch and messages of a receive: at most 10.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>.
pub(super) const BATCH_MAX: usize = 10;

/// Longest visibility timeout: 12 hours (same page).
const VISIBILITY_SECONDS_MAX: i64 = 12 * 60 * 60;

/// Longest wait of a receive: 20 s (`API_ReceiveMessage`).
const WAIT_SECONDS_MAX: i64 = 20;

/// Largest request that is read: ten messages are 1 MiB together, but JSON may write each byte as `\u00XX`, six.
const REQUEST_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;

pub(super) fn router(queue: Queue) -> Router {
    Router::new().fallback(handle).with_state(queue)
}

async fn handle(State(queue): State<Queue>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match to_bytes(body, REQUEST_BYTES_MAX).await {
        Ok(body) => answer(&queue, &parts.headers, body).await,
        Err(_too_large) => Err(ApiError::invalid(format!("the request exceeds {REQUEST_BYTES_MAX} bytes"))),
    };
    if let Err(ApiError::Internal(error)) = &answer {
        error!(%error, "the queue's file could not be used");
    }
    let answer = match answer {
        Ok(value) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], value.to_string()).into_response(),
        Err(error) => error.into_response(),
    };
    ([("x-amzn-requestid", uuid::Uuid::new_v4().to_string())], answer).into_response()
}

/// Answers one request; the body of the answer is JSON.
pub(super) async fn answer(queue: &Queue, headers: &HeaderMap, body: Bytes) -> Result<Value, ApiError> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = text(header::HeaderName::from_static("x-amz-target"));
    match target.strip_prefix("AmazonSQS.").unwrap_or_default() {
        "SendMessage" => send_message(queue, sender(text(header::AUTHORIZATION)), parse(&body)?),
        "SendMessageBatch" => send_message_batch(queue, sender(text(header::AUTHORIZATION)), parse(&body)?),
        "ReceiveMessage" => receive_message(queue, parse(&body)?).await,
        "DeleteMessage" => delete_message(queue, &parse(&body)?),
        "DeleteMessageBatch" => delete_message_batch(queue, parse(&body)?),
        "ChangeMessageVisibility" => change_message_visibility(queue, &parse(&body)?),
        "GetQueueUrl" => get_queue_url(queue, text(header::HOST), parse(&body)?),
        "GetQueueAttributes" => get_queue_attributes(queue, parse(&body)?),
        "PurgeQueue" => purge_queue(queue, &parse(&body)?),
        _ => Err(ApiError::UnknownOperation(target.to_owned())),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::Serialization)
}

/// The access key id that a request was signed with: `Credential=<id>/<date>/…`.
fn sender(authorization: &str) -> &str {
    authorization.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next()).unwrap_or("anonymous")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfQueue {
    queue_url: Option<String>,
}

impl OfQueue {
    /// The settings of the queue that the URL's last segment names. Host and account are not compared: the URL may have been made for
    /// another port of this machine.
    fn find<'q>(&self, queue: &'q Queue) -> Result<&'q QueueSettings, ApiError> {
        let url = self.queue_url.as_deref().ok_or(ApiError::Missing("QueueUrl"))?;
        Ok(&queue.lane(url.rsplit('/').next().unwrap_or_default())?.settings)
    }
}

/// A message as `SendMessage` and an entry of `SendMessageBatch` carry it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outgoing {
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: Option<Attributes>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
    message_system_attributes: Option<Value>,
}

/// A message that was accepted, and what the answer says about it.
struct Accepted {
    message: NewMessage,
    bytes: usize,
    answer: Sent,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_message_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<String>,
}

impl Outgoing {
    fn accept(self, sender: &str) -> Result<Accepted, ApiError> {
        if self.message_deduplication_id.is_some() {
            return Err(ApiError::invalid("MessageDeduplicationId is for FIFO queues"));
        }
        if self.message_system_attributes.is_some() {
            return Err(ApiError::UnsupportedOperation("MessageSystemAttributes"));
        }
        let body = self.message_body.filter(|body| !body.is_empty()).ok_or(ApiError::Missing("MessageBody"))?;
        let delay_seconds = in_range("DelaySeconds", self.delay_seconds.unwrap_or(0), 0, DELAY_SECONDS_MAX)?;
        let attributes = self.message_attributes.unwrap_or_default();
        let bytes = message::check(&body, &attributes)?;
        let id = uuid::Uuid::new_v4().to_string();
        let answer = Sent {
            message_id: id.clone(),
            md5_of_message_body: message::body_md5(&body),
            md5_of_message_attributes: message::attributes_md5(&attributes),
        };
        let message = NewMessage {
            id,
            body,
            attributes_json: json!(attributes).to_string(),
            group_id: self.message_group_id,
            sender: sender.to_owned(),
            delay_ms: delay_seconds * 1000,
        };
        Ok(Accepted { message, bytes, answer })
    }
}

#[derive(Deserialize)]
struct SendMessage {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(flatten)]
    message: Outgoing,
}

fn send_message(queue: &Queue, sender: &str, request: SendMessage) -> Result<Value, ApiError> {
    let settings = request.of.find(queue)?;
    let accepted = request.message.accept(sender)?;
    queue.inner.store.send(&settings.name, queue.now_ms(), [&accepted.message])?;
    queue.announce(&settings.name);
    Ok(json!(accepted.answer))
}

#[derive(Deserialize)]
struct Batch<E> {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(rename = "Entries")]
    entries: Option<Vec<Entry<E>>>,
}

#[derive(Deserialize)]
struct Entry<E> {
    #[serde(rename = "Id")]
    id: Option<String>,
    #[serde(flatten)]
    content: E,
}

impl<E> Batch<E> {
    /// The entries by distinct, well-formed ids, in the request's order.
    fn entries(self) -> Result<Vec<(String, E)>, ApiError> {
        let entries = self.entries.ok_or(ApiError::Missing("Entries"))?;
        if entries.is_empty() {
            return Err(ApiError::EmptyBatchRequest);
        }
        if entries.len() > BATCH_MAX {
            return Err(ApiError::TooManyEntriesInBatchRequest);
        }
        let mut seen = BTreeSet::new();
        let mut by_id = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.id.ok_or(ApiError::Missing("Id"))?;
            if id.is_empty() || id.len() > 80 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
                return Err(ApiError::InvalidBatchEntryId);
            }
            if !seen.insert(id.clone()) {
                return Err(ApiError::BatchEntryIdsNotDistinct);
            }
            by_id.push((id, entry.content));
        }
        Ok(by_id)
    }
}

/// `Failed` of the answer to a batch.
fn failed(id: &str, error: &ApiError) -> Value {
    json!({ "Id": id, "Code": error.code(), "Message": error.to_string(), "SenderFault": error.is_senders_fault() })
}

fn send_message_batch(queue: &Queue, sender: &str, request: Batch<Outgoing>) -> Result<Value, ApiError> {
    let settings = request.of.find(queue)?;
    let (mut accepted, mut successful, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for (id, message) in request.entries()? {
        match message.accept(sender) {
            Ok(Accepted { message, bytes: of_message, answer }) => {
                accepted.push(message);
                bytes += of_message;
                let mut answer = json!(answer);
                answer["Id"] = json!(id);
                successful.push(answer);
            }
            Err(error) => refused.push(failed(&id, &error)),
        }
    }
    if bytes > MESSAGE_BYTES_MAX {
        return Err(ApiError::BatchRequestTooLong);
    }
    queue.inner.store.send(&settings.name, queue.now_ms(), &accepted)?;
    queue.announce(&settings.name);
    Ok(json!({ "Successful": successful, "Failed": refused }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveMessage {
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

async fn receive_message(queue: &Queue, request: ReceiveMessage) -> Result<Value, ApiError> {
    let settings = request.of.find(queue)?;
    let max = in_range("MaxNumberOfMessages", request.max_number_of_messages.unwrap_or(1), 1, 10)?;
    let visibility = match request.visibility_timeout {
        Some(seconds) => seconds_in("VisibilityTimeout", seconds, VISIBILITY_SECONDS_MAX)?,
        None => settings.visibility_timeout,
    };
    let wait = seconds_in("WaitTimeSeconds", request.wait_time_seconds.unwrap_or(0), WAIT_SECONDS_MAX)?;
    let until = Instant::now() + wait;
    let mut changed = queue.lane(&settings.name)?.changed.subscribe();
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
struct Receipt {
    receipt_handle: Option<String>,
}

impl Receipt {
    fn of(&self, queue: &str) -> Result<&str, ApiError> {
        let receipt = self.receipt_handle.as_deref().ok_or(ApiError::Missing("ReceiptHandle"))?;
        if is_receipt_of(queue, receipt) { Ok(receipt) } else { Err(ApiError::ReceiptHandleIsInvalid) }
    }
}

#[derive(Deserialize)]
struct DeleteMessage {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(flatten)]
    receipt: Receipt,
}

fn delete_message(queue: &Queue, request: &DeleteMessage) -> Result<Value, ApiError> {
    let name = &request.of.find(queue)?.name;
    queue.delete(name, [request.receipt.of(name)?])?;
    Ok(json!({}))
}

fn delete_message_batch(queue: &Queue, request: Batch<Receipt>) -> Result<Value, ApiError> {
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
struct ChangeMessageVisibility {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(flatten)]
    receipt: Receipt,
    visibility_timeout: Option<i64>,
}

fn change_message_visibility(queue: &Queue, request: &ChangeMessageVisibility) -> Result<Value, ApiError> {
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueUrl {
    queue_name: Option<String>,
}

fn get_queue_url(queue: &Queue, host: &str, request: GetQueueUrl) -> Result<Value, ApiError> {
    let name = request.queue_name.ok_or(ApiError::Missing("QueueName"))?;
    queue.lane(&name)?;
    Ok(json!({ "QueueUrl": Queue::url(&format!("http://{host}"), &name) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueAttributes {
    #[serde(flatten)]
    of: OfQueue,
    attribute_names: Option<Vec<String>>,
}

fn get_queue_attributes(queue: &Queue, request: GetQueueAttributes) -> Result<Value, ApiError> {
    let settings = request.of.find(queue)?;
    let depth = queue.depth(&settings.name)?;
    let mut all = BTreeMap::from([
        ("ApproximateNumberOfMessages", depth.visible.to_string()),
        ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
        ("DelaySeconds", "0".to_owned()),
        ("MaximumMessageSize", MESSAGE_BYTES_MAX.to_string()),
        ("QueueArn", arn(&settings.name)),
        ("ReceiveMessageWaitTimeSeconds", "0".to_owned()),
        ("VisibilityTimeout", settings.visibility_timeout.as_secs().to_string()),
    ]);
    if let Some(dead_letter_queue) = &settings.dead_letter_queue {
        let policy = json!({ "deadLetterTargetArn": arn(dead_letter_queue), "maxReceiveCount": settings.max_receive_count });
        all.insert("RedrivePolicy", policy.to_string());
    }
    let names = request.attribute_names.unwrap_or_default();
    if let Some(unknown) = names.iter().find(|name| *name != "All" && *name != "RedrivePolicy" && !all.contains_key(name.as_str())) {
        return Err(ApiError::InvalidAttributeName(unknown.clone()));
    }
    all.retain(|name, _| names.iter().any(|wanted| wanted == "All" || wanted == name));
    Ok(json!({ "Attributes": all }))
}

fn purge_queue(queue: &Queue, request: &OfQueue) -> Result<Value, ApiError> {
    let name = &request.find(queue)?.name;
    queue.inner.store.purge(name)?;
    queue.announce(name);
    Ok(json!({}))
}

fn in_range(parameter: &str, value: i64, min: i64, max: i64) -> Result<i64, ApiError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(ApiError::invalid(format!("value {value} for parameter {parameter} must be between {min} and {max}")))
    }
}

fn seconds_in(parameter: &str, value: i64, max: i64) -> Result<Duration, ApiError> {
    let seconds = in_range(parameter, value, 0, max)?;
    Ok(Duration::from_secs(seconds.unsigned_abs()))
}
