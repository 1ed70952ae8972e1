//! The SQS endpoint: AWS JSON 1.0, and of standard queues what this repository asks for: `SendMessage`, `ReceiveMessage`,
//! `GetQueueAttributes`. Any other operation, parameter or attribute is refused (`UnsupportedOperation`), never ignored.
//!
//! Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::error;

use super::api_error::ApiError;
use super::message::{self, BATCH_MAX, DELAY_SECONDS_MAX, NewMessage};
use super::{Queue, QueueSettings, arn};
use crate::embedded::access_key_id;

pub(super) fn router(queue: Queue) -> Router {
    // The layer in front has the limit for bodies.
    Router::new().fallback(handle).layer(DefaultBodyLimit::disable()).with_state(queue)
}

async fn handle(State(queue): State<Queue>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = answer(&queue, &headers, &body);
    if let Err(ApiError::Internal(error)) = &answer {
        error!(%error, "the queue's file could not be used");
    }
    let answer = answer.map_or_else(ApiError::into_response, |value| (StatusCode::OK, value.to_string()).into_response());
    let request_id = uuid::Uuid::new_v4().to_string();
    ([(header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.0"), ("x-amzn-requestid", &request_id)], answer).into_response()
}

/// Answers one request; the body of the answer is JSON.
pub(super) fn answer(queue: &Queue, headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match target {
        "AmazonSQS.SendMessage" => {
            let request = Parameters::read(body, &["MessageBody", "DelaySeconds", "MessageGroupId"])?;
            send_message(queue, access_key_id(headers).unwrap_or("anonymous"), request)
        }
        "AmazonSQS.ReceiveMessage" => receive_message(queue, &Parameters::read(body, &["MaxNumberOfMessages"])?),
        "AmazonSQS.GetQueueAttributes" => get_queue_attributes(queue, &Parameters::read(body, &["AttributeNames"])?),
        _ => Err(ApiError::Unsupported(target.to_owned())),
    }
}

/// The parameters of all operations.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Parameters {
    queue_url: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_group_id: Option<String>,
    max_number_of_messages: Option<i64>,
    attribute_names: Option<Vec<String>>,
}

impl Parameters {
    /// Reads a request that may have a queue's URL and `offered`.
    fn read(body: &[u8], offered: &[&str]) -> Result<Self, ApiError> {
        let request: Map<String, Value> = serde_json::from_slice(body).map_err(ApiError::Serialization)?;
        match request.keys().find(|name| *name != "QueueUrl" && !offered.contains(&name.as_str())) {
            Some(other) => Err(ApiError::Unsupported(other.clone())),
            None => serde_json::from_value(request.into()).map_err(ApiError::Serialization),
        }
    }

    /// The settings of the queue that the URL's last segment names. Host and account are not compared: the URL may have been made for
    /// another port of this machine.
    fn queue<'q>(&self, queue: &'q Queue) -> Result<&'q QueueSettings, ApiError> {
        let url = self.queue_url.as_deref().ok_or(ApiError::Missing("QueueUrl"))?;
        Ok(&queue.named(url.rsplit('/').next().unwrap_or_default())?.settings)
    }
}

fn send_message(queue: &Queue, sender: &str, request: Parameters) -> Result<Value, ApiError> {
    let settings = request.queue(queue)?;
    let body = request.message_body.filter(|body| !body.is_empty()).ok_or(ApiError::Missing("MessageBody"))?;
    message::check(&body)?;
    request.message_group_id.as_deref().map_or(Ok(()), message::check_group)?;
    let delay_seconds = in_range("DelaySeconds", request.delay_seconds.unwrap_or(0), 0, DELAY_SECONDS_MAX)?;
    let id = uuid::Uuid::new_v4().to_string();
    let answer = json!({ "MessageId": id, "MD5OfMessageBody": message::body_md5(&body) });
    let message = NewMessage { id, body, sender: sender.to_owned(), delay_ms: delay_seconds * 1000 };
    queue.inner.store.send(&settings.name, queue.now_ms(), &message)?;
    queue.announce(&settings.name);
    Ok(answer)
}

fn receive_message(queue: &Queue, request: &Parameters) -> Result<Value, ApiError> {
    let settings = request.queue(queue)?;
    let max = in_range("MaxNumberOfMessages", request.max_number_of_messages.unwrap_or(1), 1, BATCH_MAX)?;
    let received = queue.receive(&settings.name, max)?;
    let messages = received.iter().map(|message| {
        let md5 = message::body_md5(&message.body);
        json!({ "MessageId": message.id, "ReceiptHandle": message.receipt, "Body": message.body, "MD5OfBody": md5 })
    });
    // Without messages the answer has no list, as SQS answers it.
    Ok(if received.is_empty() { json!({}) } else { json!({ "Messages": messages.collect::<Vec<_>>() }) })
}

fn get_queue_attributes(queue: &Queue, request: &Parameters) -> Result<Value, ApiError> {
    let settings = request.queue(queue)?;
    let mut names = request.attribute_names.iter().flatten();
    match names.find(|name| *name != "QueueArn") {
        Some(other) => Err(ApiError::Unsupported(other.clone())),
        None => Ok(json!({ "Attributes": { "QueueArn": arn(&settings.name) } })),
    }
}

fn in_range(parameter: &str, value: i64, min: i64, max: i64) -> Result<i64, ApiError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(ApiError::Invalid(format!("value {value} for parameter {parameter} must be between {min} and {max}")))
    }
}
