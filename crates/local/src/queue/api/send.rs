//! How messages come into a queue: `SendMessage` and its batch.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Batch, OfQueue, failed, in_range};
use crate::queue::Queue;
use crate::queue::api_error::ApiError;
use crate::queue::message::{self, Attributes, DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX, NewMessage};

/// A message as `SendMessage` and an entry of `SendMessageBatch` carry it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Outgoing {
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
pub(super) struct SendMessage {
    #[serde(flatten)]
    of: OfQueue,
    #[serde(flatten)]
    message: Outgoing,
}

pub(super) fn send_message(queue: &Queue, sender: &str, request: SendMessage) -> Result<Value, ApiError> {
    let settings = request.of.find(queue)?;
    let accepted = request.message.accept(sender)?;
    queue.inner.store.send(&settings.name, queue.now_ms(), [&accepted.message])?;
    queue.announce(&settings.name);
    Ok(json!(accepted.answer))
}

pub(super) fn send_message_batch(queue: &Queue, sender: &str, request: Batch<Outgoing>) -> Result<Value, ApiError> {
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
