//! The SQS endpoint: AWS JSON 1.0, standard queues. Here are the way from an HTTP request to its operation and back, what several
//! operations share, and the operations on a queue as a whole; messages come in by [`send`] and go out by [`receive`].
//!
//! Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>. What is not modelled is refused
//! (`UnsupportedOperation`, `UnknownOperationException`), never ignored.

mod receive;
mod send;

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::error;

use super::api_error::{ApiError, CONTENT_TYPE};
use super::message::MESSAGE_BYTES_MAX;
use super::{Queue, QueueSettings, arn};
use receive::{change_message_visibility, delete_message, delete_message_batch, receive_message};
use send::{send_message, send_message_batch};

/// Entries of a batch and messages of a receive: at most 10.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>.
pub(super) const BATCH_MAX: usize = 10;

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
        Ok(&queue.named(url.rsplit('/').next().unwrap_or_default())?.settings)
    }
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueUrl {
    queue_name: Option<String>,
}

fn get_queue_url(queue: &Queue, host: &str, request: GetQueueUrl) -> Result<Value, ApiError> {
    let name = request.queue_name.ok_or(ApiError::Missing("QueueName"))?;
    queue.named(&name)?;
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
