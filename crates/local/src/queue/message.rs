//! A message: its parts, their limits, their digests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::api_error::ApiError;

/// Largest message, body and attributes together: 1 MiB; also the most that all messages of a batch may have together.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Longest delay of a message: 15 minutes (same page).
pub(super) const DELAY_SECONDS_MAX: i64 = 900;

/// Most attributes of a message (same page).
const ATTRIBUTES_MAX: usize = 10;

/// Message attributes by name; the order of the names is the order of the digest.
pub(super) type Attributes = BTreeMap<String, Attribute>;

/// One message attribute as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    /// `String`, `Number` or `Binary`, each optionally with a custom part after a dot.
    pub(super) data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) string_value: Option<String>,
    /// Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) binary_value: Option<String>,
}

/// A message on its way into the file, checked.
pub(super) struct NewMessage {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) attributes_json: String,
    pub(super) group_id: Option<String>,
    /// The sender's access key id.
    pub(super) sender: String,
    pub(super) delay_ms: i64,
}

/// A message as a receive returns it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) body: String,
    pub(super) attributes_json: String,
    pub(super) group_id: Option<String>,
    pub(super) sender: String,
    pub(super) sent_at_ms: i64,
    pub(super) receive_count: i64,
    pub(super) first_received_at_ms: i64,
    pub(super) dead_letter_source: Option<String>,
}

impl Received {
    /// The attributes that SQS itself gives a message, by name. All values are strings.
    ///
    /// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>, `MessageSystemAttributeNames`.
    pub(super) fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes = BTreeMap::from([
            ("ApproximateFirstReceiveTimestamp", self.first_received_at_ms.to_string()),
            ("ApproximateReceiveCount", self.receive_count.to_string()),
            ("SenderId", self.sender.clone()),
            ("SentTimestamp", self.sent_at_ms.to_string()),
        ]);
        attributes.extend(self.group_id.clone().map(|group| ("MessageGroupId", group)));
        attributes.extend(self.dead_letter_source.as_deref().map(|queue| ("DeadLetterQueueSourceArn", super::arn(queue))));
        attributes
    }

    /// The attributes that the sender gave it.
    pub(super) fn attributes(&self) -> Attributes {
        // Written by this program from the same type.
        serde_json::from_str(&self.attributes_json).unwrap_or_default()
    }
}

/// Checks a body and attributes and returns their size in bytes.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>, `MessageBody`, and
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
pub(super) fn check(body: &str, attributes: &Attributes) -> Result<usize, ApiError> {
    if !body.chars().all(is_allowed) {
        return Err(ApiError::InvalidMessageContents);
    }
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(ApiError::invalid(format!("a message has at most {ATTRIBUTES_MAX} attributes")));
    }
    let mut bytes = body.len();
    for (name, attribute) in attributes {
        let value = attribute.value().ok_or_else(|| ApiError::invalid(format!("message attribute '{name}' has no valid value")))?;
        if name.is_empty() || name.len() > 256 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            return Err(ApiError::invalid(format!("'{name}' is not a valid name of a message attribute")));
        }
        if let Value::String(text) = &value
            && !text.chars().all(is_allowed)
        {
            return Err(ApiError::InvalidMessageContents);
        }
        bytes += name.len() + attribute.data_type.len() + value.bytes().len();
    }
    if bytes > MESSAGE_BYTES_MAX {
        return Err(ApiError::invalid(format!("a message must be shorter than {MESSAGE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The characters that XML 1.0 allows, which is what SQS accepts.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// `MD5OfMessageBody` and `MD5OfBody`.
pub(super) fn body_md5(body: &str) -> String {
    format!("{:x}", md5::compute(body))
}

/// `MD5OfMessageAttributes`; none without attributes.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>, "Calculating the MD5
/// message digest for message attributes".
pub(super) fn attributes_md5(attributes: &Attributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut encoded = Vec::new();
    for (name, attribute) in attributes {
        // Every accepted attribute has a value.
        let Some(value) = attribute.value() else { continue };
        push_with_length(&mut encoded, name.as_bytes());
        push_with_length(&mut encoded, attribute.data_type.as_bytes());
        encoded.push(value.transport_type());
        push_with_length(&mut encoded, value.bytes());
    }
    Some(format!("{:x}", md5::compute(encoded)))
}

fn push_with_length(encoded: &mut Vec<u8>, part: &[u8]) {
    // A part is smaller than a message.
    encoded.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    encoded.extend(part);
}

enum Value {
    String(String),
    Binary(Vec<u8>),
}

impl Value {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::String(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    fn transport_type(&self) -> u8 {
        match self {
            Self::String(_) => 1,
            Self::Binary(_) => 2,
        }
    }
}

impl Attribute {
    /// The value that the data type calls for; none if it is missing, empty or malformed.
    fn value(&self) -> Option<Value> {
        match (self.data_type.split('.').next()?, &self.string_value, &self.binary_value) {
            ("String" | "Number", Some(text), None) if !text.is_empty() => Some(Value::String(text.clone())),
            ("Binary", None, Some(encoded)) => BASE64.decode(encoded).ok().filter(|bytes| !bytes.is_empty()).map(Value::Binary),
            _ => None,
        }
    }
}
