//! One request to an embedded endpoint, as the endpoint saw it.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde_json::Value;

/// The endpoint that a request reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Embedded `DynamoDB`; operations are `PutItem`, `Query`, ….
    DynamoDb,
    /// The embedded queue; operations are `SendMessage`, ….
    Sqs,
    /// `@connections`; operations are `PostToConnection`, `DeleteConnection`, `GetConnection`.
    Connections,
    /// The Lambda Runtime API; operations are `Next`, `Response`, `Error`.
    Runtime,
}

/// Which process called: its access key id, `<function>-<number>`, e.g. `send-3`. Anything else (a developer's CLI) keeps its own key id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(pub String);

impl Caller {
    /// The function's name: `send` of `send-3`.
    pub fn function(&self) -> &str {
        self.0.rsplit_once('-').map_or(self.0.as_str(), |(function, _)| function)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The access key id of a Signature Version 4 header: `AWS4-HMAC-SHA256 Credential=<id>/<date>/…`.
pub(crate) fn access_key_id(headers: &HeaderMap) -> Option<&str> {
    let (_, scope) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once("Credential=")?;
    scope.split('/').next().filter(|id| !id.is_empty())
}

/// How far one request got. Only tests cause a fate other than [`Fate::Answered`] (see [`Hold`](super::Hold)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It took effect and its caller was sent the endpoint's answer, which may be an error.
    Answered,
    /// It never reached the endpoint; its connection was closed.
    RequestLost,
    /// It took effect; its connection was closed without an answer. `status` and `answer` are what the endpoint had said.
    AnswerLost,
    /// It never reached the endpoint; the caller was sent a test's answer.
    Refused,
    /// It took effect; the caller was sent a test's answer. `status` and `answer` are the test's, the units the endpoint's.
    Replaced,
}

/// One request and what became of it. Bodies are kept here for tests and the story; they are never logged.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who called.
    pub caller: Caller,
    /// Where the request arrived.
    pub service: Service,
    /// The operation in the service's own words.
    pub operation: String,
    /// The request if it is JSON, else `Null`. For `@connections`: `{"ConnectionId": …, "Data": "<text>"}`.
    pub request: Value,
    /// How far it got.
    pub fate: Fate,
    /// HTTP status of the answer; 0 if there is none (yet).
    pub status: u16,
    /// The answer if it is JSON, else `Null`; `Null` too while there is none.
    pub answer: Value,
    /// Write capacity units that `DynamoDB` would charge for it (also for a refused conditional write); 0 elsewhere.
    pub write_units: f64,
    /// Read capacity units; 0 elsewhere.
    pub read_units: f64,
    /// Arrival to answer.
    pub took: Duration,
}
