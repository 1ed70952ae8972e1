//! The errors of the SQS API, as JSON clients see them.
//!
//! Sources: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html> (each operation's errors),
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>, and for the shape
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-json-api-responses.html>.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::QueueError;

/// Of every answer, errors too.
pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Why a request, or one entry of a batch, is refused. `Display` is the `message` of the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    #[error("The request must contain the parameter {0}.")]
    Missing(&'static str),
    #[error("One or more parameters are invalid. Reason: {0}.")]
    Invalid(String),
    #[error("Invalid characters found. Allowed are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.")]
    InvalidMessageContents,
    #[error("The input receipt handle is invalid.")]
    ReceiptHandleIsInvalid,
    #[error("The message is not in flight.")]
    MessageNotInflight,
    #[error("There should be at least one entry in the request.")]
    EmptyBatchRequest,
    #[error("A batch has at most 10 entries.")]
    TooManyEntriesInBatchRequest,
    #[error("The messages of a batch must together be shorter than 1048576 bytes.")]
    BatchRequestTooLong,
    #[error("The ids of the entries are not distinct.")]
    BatchEntryIdsNotDistinct,
    #[error("An entry's id has 1 to 80 letters, digits, hyphens and underscores.")]
    InvalidBatchEntryId,
    #[error("Unknown Attribute {0}.")]
    InvalidAttributeName(String),
    #[error("{0} is not supported for this queue.")]
    UnsupportedOperation(&'static str),
    #[error("The operation {0} is not valid for this endpoint.")]
    UnknownOperation(String),
    #[error("{0}")]
    Serialization(serde_json::Error),
    #[error("The queue's file could not be used.")]
    Internal(#[source] rusqlite::Error),
}

impl ApiError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    /// (status, shape in `__type`, code of the older query protocol, which the SDKs match on when it is there).
    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        let (shape, code) = match self {
            Self::QueueDoesNotExist => ("com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
            Self::Missing(_) => ("com.amazon.coral.service#MissingRequiredParameterException", "MissingParameter"),
            Self::Invalid(_) => ("com.amazon.coral.service#InvalidParameterValueException", "InvalidParameterValue"),
            Self::InvalidMessageContents => ("com.amazonaws.sqs#InvalidMessageContents", "InvalidMessageContents"),
            Self::ReceiptHandleIsInvalid => ("com.amazonaws.sqs#ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
            Self::MessageNotInflight => ("com.amazonaws.sqs#MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"),
            Self::EmptyBatchRequest => ("com.amazonaws.sqs#EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
            Self::TooManyEntriesInBatchRequest => {
                ("com.amazonaws.sqs#TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
            }
            Self::BatchRequestTooLong => ("com.amazonaws.sqs#BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"),
            Self::BatchEntryIdsNotDistinct => {
                ("com.amazonaws.sqs#BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
            }
            Self::InvalidBatchEntryId => ("com.amazonaws.sqs#InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
            Self::InvalidAttributeName(_) => ("com.amazonaws.sqs#InvalidAttributeName", "InvalidAttributeName"),
            Self::UnsupportedOperation(_) => ("com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
            Self::UnknownOperation(_) => {
                return (StatusCode::NOT_FOUND, "com.amazon.coral.service#UnknownOperationException", "InvalidAction");
            }
            Self::Serialization(_) => ("com.amazon.coral.service#SerializationException", "MalformedInput"),
            Self::Internal(_) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, "com.amazonaws.sqs#InternalFailure", "InternalError");
            }
        };
        (StatusCode::BAD_REQUEST, shape, code)
    }

    /// `Code` of a failed entry in the answer to a batch.
    pub(super) fn code(&self) -> &'static str {
        self.parts().2
    }

    /// Whether the sender can do something about it.
    pub(super) fn is_senders_fault(&self) -> bool {
        self.parts().0.is_client_error()
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unknown { .. } => Self::QueueDoesNotExist,
            QueueError::File(source) => source.into(),
        }
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Internal(source)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, shape, code) = self.parts();
        let fault = if self.is_senders_fault() { "Sender" } else { "Receiver" };
        let headers = [("content-type", CONTENT_TYPE.to_owned()), ("x-amzn-query-error", format!("{code};{fault}"))];
        (status, headers, json!({ "__type": shape, "message": self.to_string() }).to_string()).into_response()
    }
}
