//! A message: its parts, their limits, its digest.

use std::collections::BTreeMap;

use super::api_error::ApiError;

/// Largest message: 1 MiB.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Longest delay of a message: 15 minutes (same page).
pub(super) const DELAY_SECONDS_MAX: i64 = 900;

/// Most messages of one receive, and of one event of a function without a batch window (same page).
pub(super) const BATCH_MAX: i64 = 10;

/// A message on its way into the file, checked.
pub(super) struct NewMessage {
    pub(super) id: String,
    pub(super) body: String,
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
    pub(super) sender: String,
    pub(super) sent_at_ms: i64,
    pub(super) receive_count: i64,
    pub(super) first_received_at_ms: i64,
}

impl Received {
    /// The attributes that SQS itself gives a message, by name. All values are strings.
    ///
    /// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>, `MessageSystemAttributeNames`.
    pub(super) fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("ApproximateFirstReceiveTimestamp", self.first_received_at_ms.to_string()),
            ("ApproximateReceiveCount", self.receive_count.to_string()),
            ("SenderId", self.sender.clone()),
            ("SentTimestamp", self.sent_at_ms.to_string()),
        ])
    }
}

/// Checks the characters and the length of a body.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>, `MessageBody`.
pub(super) fn check(body: &str) -> Result<(), ApiError> {
    if !body.chars().all(is_allowed) {
        return Err(ApiError::InvalidMessageContents);
    }
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(ApiError::Invalid(format!("a message must be shorter than {MESSAGE_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Checks a message group id: 1 to 128 letters, digits and punctuation marks.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>, `MessageGroupId`.
pub(super) fn check_group(id: &str) -> Result<(), ApiError> {
    let is_one = (1..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
    if is_one {
        Ok(())
    } else {
        Err(ApiError::Invalid("MessageGroupId can only include alphanumeric and punctuation characters".to_owned()))
    }
}

/// The characters that XML 1.0 allows, which is what SQS accepts.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// `MD5OfMessageBody` and `MD5OfBody`.
pub(super) fn body_md5(body: &str) -> String {
    format!("{:x}", md5::compute(body))
}
