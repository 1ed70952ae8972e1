//! The one layer that requests to every embedded endpoint pass.
//!
//! For each request: refuse it if a web page asks, read it whole, find out who calls what, apply holds, pass it to the endpoint, read the answer whole, apply holds,
//! notify the observers, answer. With [`Latency`], the way to the endpoint and back takes time. The layer has an HTTP server of its own,
//! because a lost answer must close the connection without a byte.
//!
//! A request that has arrived takes effect also if its caller hangs up or dies meanwhile, as at AWS. The one exception is the Runtime
//! API's `Next`: a long poll of a dead process must not swallow an invocation, so it ends with its connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::call::{Call, Caller, Fate, Service, access_key_id};
use super::capacity::Units;
use super::hold::{Answer, At, Hold, Matching, Traps, Verdict};
use super::latency::{Delays, Latency};
use super::record::Recording;
use crate::observers::Observers;
use crate::web_page;

/// Longest request body. 16 MB is the most that any of the services takes (`DynamoDB`'s `BatchWriteItem`).
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Pause after a failed accept (no file descriptor left), so that it does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The layer. Clones are the same layer: one set of holds and recordings for all endpoints.
#[derive(Clone, Default)]
pub struct Endpoints {
    traps: Arc<Traps>,
    observers: Arc<Observers<Call>>,
    delays: Option<Delays>,
}

impl Endpoints {
    /// A layer without holds and recordings, at the speed of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::with_latency(Latency::Local)
    }

    /// A layer without holds and recordings, in which requests take this much longer.
    #[must_use]
    pub fn with_latency(latency: Latency) -> Self {
        Self { traps: Arc::default(), observers: Arc::default(), delays: Delays::new(latency) }
    }

    /// Catches the next `count` requests that fit, at the given point. Holds on the same request: the oldest catches.
    pub fn hold(&self, matching: Matching, at: At, count: usize) -> Hold {
        self.traps.set(matching, at, count)
    }

    /// Records every call that finishes from now on, while the recording lives. Unbounded: meant for tests.
    pub fn record(&self) -> Recording {
        Recording::new(self.observe())
    }

    /// Every call that finishes from now on. Unbounded: the receiver must be read or dropped.
    #[must_use]
    pub fn observe(&self) -> UnboundedReceiver<Call> {
        self.observers.add()
    }

    /// Serves `router` as `service` on `listener` (HTTP/1.1, keep-alive) until `shutdown` ends; then every connection is closed at once.
    pub async fn serve(&self, service: Service, listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
        let exchange = Exchange { endpoints: self.clone(), service, router: TowerToHyperService::new(router) };
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_closed) = connections.join_next() => {}
                accepted = listener.accept() => exchange.accept(accepted, &mut connections).await,
            }
        }
        connections.shutdown().await;
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Unanswered;

/// The endpoint's own answer, read whole.
struct Answered {
    response: Response<Bytes>,
    units: Units,
}

#[derive(Clone)]
struct Exchange {
    endpoints: Endpoints,
    service: Service,
    router: TowerToHyperService<Router>,
}

impl Exchange {
    /// Serves an accepted connection in a task of `connections`.
    async fn accept(&self, accepted: io::Result<(TcpStream, SocketAddr)>, connections: &mut JoinSet<()>) {
        match accepted {
            Ok((socket, _)) => {
                // Small answers must not wait for the peer's delayed acknowledgement. A socket that refuses the option is only slower.
                socket.set_nodelay(true).ok();
                let exchange = self.clone();
                let answer = service_fn(move |request| exchange.clone().answer(request));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
                connections.spawn(async {
                    // An error is a caller that hung up, or a lost answer.
                    connection.await.ok();
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an embedded endpoint could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Unanswered> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        if web_page::asks(&head.headers) {
            let (status, body) = web_page::REFUSED;
            return Ok(Answer { status, headers: HeaderMap::new(), body: body.into() }.into());
        }
        // Too long, or the caller hung up in the middle.
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(|_| Unanswered)?.to_bytes();
        let arrival = Arrival::new(self.service, &head, body, arrived);
        if self.service == Service::Runtime && arrival.operation == "Next" {
            return self.exchange(arrival, head).await;
        }
        // A task of its own goes on when the connection ends. A panic of the endpoint closes the connection.
        tokio::spawn(self.exchange(arrival, head)).await.unwrap_or(Err(Unanswered))
    }

    async fn exchange(self, arrival: Arrival, head: Parts) -> Result<Response<Full<Bytes>>, Unanswered> {
        let Endpoints { traps, observers, delays } = &self.endpoints;
        let notify = |fate: Fate, status: u16, body: &[u8], units: Units| observers.notify(|| arrival.call(fate, status, body, units));
        match traps.pass(At::Request, || arrival.call(Fate::Answered, 0, &[], Units::default())).await {
            Verdict::Release => {}
            Verdict::Lose => {
                notify(Fate::RequestLost, 0, &[], Units::default());
                return Err(Unanswered);
            }
            Verdict::Answer(answer) => {
                notify(Fate::Refused, answer.status.as_u16(), &answer.body, Units::default());
                return Ok(answer.into());
            }
        }
        let delay = delays.as_ref().map(|delays| delays.of(self.service, &arrival.operation));
        let Answered { response, units } = match delay {
            None => self.reach(head, arrival.body.clone()).await?,
            Some(delay) => {
                let began = Instant::now();
                tokio::time::sleep(delay / 2).await;
                let reached = Instant::now();
                let answered = self.reach(head, arrival.body.clone()).await?;
                // From the beginning, so that the timer's grain is added once and not twice.
                tokio::time::sleep_until((began + delay + reached.elapsed()).into()).await;
                answered
            }
        };
        let status = response.status().as_u16();
        match traps.pass(At::Answer, || arrival.call(Fate::Answered, status, response.body(), units)).await {
            Verdict::Release => {
                notify(Fate::Answered, status, response.body(), units);
                Ok(response.map(Full::new))
            }
            Verdict::Lose => {
                notify(Fate::AnswerLost, status, response.body(), units);
                Err(Unanswered)
            }
            Verdict::Answer(answer) => {
                notify(Fate::Replaced, answer.status.as_u16(), &answer.body, units);
                Ok(answer.into())
            }
        }
    }

    /// Passes the request on and reads the answer whole.
    async fn reach(&self, head: Parts, body: Bytes) -> Result<Answered, Unanswered> {
        let request = Request::from_parts(head, Body::from(body));
        let response: Result<_, Infallible> = self.router.call(request).await;
        let Ok(response) = response;
        let (mut head, body) = response.into_parts();
        let units = head.extensions.remove().unwrap_or_default();
        let body = body.collect().await.map_err(|_| Unanswered)?.to_bytes();
        Ok(Answered { response: Response::from_parts(head, body), units })
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

/// A request that arrived. Its [`Call`] is made only when somebody asks: bodies are parsed for nobody otherwise.
struct Arrival {
    service: Service,
    caller: Caller,
    operation: String,
    /// The last part of the path of `@connections/{id}`, decoded.
    connection: Option<String>,
    body: Bytes,
    arrived: Instant,
}

impl Arrival {
    fn new(service: Service, head: &Parts, body: Bytes, arrived: Instant) -> Self {
        Self {
            service,
            caller: caller(service, &head.uri, &head.headers),
            operation: operation(service, &head.method, &head.uri, &head.headers).to_owned(),
            connection: connection(service, &head.uri),
            body,
            arrived,
        }
    }

    /// The call so far; the status is 0 while there is no answer.
    fn call(&self, fate: Fate, status: u16, answer: &[u8], units: Units) -> Call {
        let json = |bytes| serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let request = match &self.connection {
            Some(id) => json!({ "ConnectionId": id, "Data": String::from_utf8_lossy(&self.body) }),
            None => json(&self.body),
        };
        Call {
            caller: self.caller.clone(),
            service: self.service,
            operation: self.operation.clone(),
            request,
            fate,
            status,
            answer: json(answer),
            write_units: units.write,
            read_units: units.read,
            took: self.arrived.elapsed(),
        }
    }
}

/// The access key id of the signature; for the Runtime API, which is not signed, the first part of the path, where
/// `AWS_LAMBDA_RUNTIME_API` put it. Whoever shows neither is `anonymous`.
fn caller(service: Service, uri: &Uri, headers: &HeaderMap) -> Caller {
    let name = if service == Service::Runtime { uri.path().split('/').nth(1) } else { access_key_id(headers) };
    Caller(name.filter(|name| !name.is_empty()).unwrap_or("anonymous").to_owned())
}

/// The operation in the service's own words; `Unknown` for one that the service does not have.
fn operation<'a>(service: Service, method: &Method, uri: &Uri, headers: &'a HeaderMap) -> &'a str {
    match service {
        // AWS JSON: `X-Amz-Target: DynamoDB_20120810.PutItem`.
        Service::DynamoDb | Service::Sqs => {
            let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
            target.and_then(|target| target.rsplit_once('.')).map_or("Unknown", |(_, operation)| operation)
        }
        Service::Connections => match *method {
            Method::POST => "PostToConnection",
            Method::DELETE => "DeleteConnection",
            Method::GET => "GetConnection",
            _ => "Unknown",
        },
        Service::Runtime => match uri.path() {
            path if path.ends_with("/invocation/next") => "Next",
            path if path.ends_with("/response") => "Response",
            path if path.ends_with("/error") => "Error",
            _ => "Unknown",
        },
    }
}

fn connection(service: Service, uri: &Uri) -> Option<String> {
    let (_, id) = uri.path().rsplit_once('/').filter(|_| service == Service::Connections)?;
    Some(percent_decode_str(id).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests;
