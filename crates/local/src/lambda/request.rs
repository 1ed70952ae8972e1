//! What an environment is asked to do, by the pool, by its process through the Runtime API, or by whoever kills it.

use axum::body::Bytes;
use tokio::sync::oneshot;

use super::InvokeError;

/// One event on its way. If the environment ends before the event is delivered, the reply is dropped unused.
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) event: Bytes,
    pub(super) reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

/// What the process gets for its request for an event.
pub(super) struct Delivery {
    pub(super) request_id: String,
    pub(super) event: Bytes,
    /// End of the function's time, milliseconds since 1970.
    pub(super) deadline_ms: u128,
    pub(super) function_arn: String,
}

/// What an environment is asked to do. It refuses a request by dropping the request's channel.
pub(super) enum Request {
    /// From the pool, only when the environment is new or was reported idle.
    Invoke(Invocation),
    /// The process asks for an event. Refused if it has not answered the one before.
    Next { delivery: oneshot::Sender<Delivery> },
    /// The process answers its event. Refused if it is not handling this request id.
    Answer { request_id: String, outcome: Result<Bytes, InvokeError>, accepted: oneshot::Sender<()> },
    /// Kill the process. The channel is kept until the process is gone, and then dropped.
    Kill { gone: oneshot::Sender<()> },
}
