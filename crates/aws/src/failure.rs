//! SDK errors as [`Failure`]: what failed, never what was in the request or the answer (R1).

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use chatlane_chat::ports::Failure;

/// `attempted` failed: keeps the service's error code, or how the SDK failed to get one.
pub fn unavailable<E: ProvideErrorMetadata, R>(attempted: &'static str, error: &SdkError<E, R>) -> Failure {
    let cause = match error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or("an error without a code"),
        SdkError::TimeoutError(_) => "timed out",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "timed out while connecting",
        SdkError::DispatchFailure(_) => "no connection, or it was lost",
        SdkError::ResponseError(_) => "the answer could not be read",
        _ => "the request could not be made",
    };
    Failure::unavailable(attempted, cause)
}
