//! The errors of the SQS API, as JSON clients see them.
//!
//! Sources: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html> (each operation's errors),
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>, and for the shape
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-json-api-responses.html>.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::QueueError;

/// Why a request is refused. `Display` is the `message` of the answer.
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
    #[error("{0} is not supported here.")]
    Unsupported(String),
    #[error("{0}")]
    Serialization(serde_json::Error),
    #[error("The queue's file could not be used.")]
    Internal(#[source] rusqlite::Error),
}

impl ApiError {
    /// (status, shape in `__type`, code of the older query protocol, which the SDKs match on when it is there).
    pub(super) fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        let (shape, code) = match self {
            Self::QueueDoesNotExist => ("com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
            Self::Missing(_) => ("com.amazon.coral.service#MissingRequiredParameterException", "MissingParameter"),
            Self::Invalid(_) => ("com.amazon.coral.service#InvalidParameterValueException", "InvalidParameterValue"),
            Self::InvalidMessageContents => ("com.amazonaws.sqs#InvalidMessageContents", "InvalidMessageContents"),
            Self::Unsupported(_) => ("com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
            Self::Serialization(_) => ("com.amazon.coral.service#SerializationException", "MalformedInput"),
            Self::Internal(_) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, "com.amazonaws.sqs#InternalFailure", "InternalError");
            }
        };
        (StatusCode::BAD_REQUEST, shape, code)
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
        let fault = if status.is_client_error() { "Sender" } else { "Receiver" };
        let body = json!({ "__type": shape, "message": self.to_string() }).to_string();
        (status, [("x-amzn-query-error", format!("{code};{fault}"))], body).into_response()
    }
}
