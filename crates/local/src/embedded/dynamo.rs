//! Embedded `DynamoDB`: dynoxide over one `SQLite` file, behind a router that counts what AWS would charge.
//!
//! The layer [`Endpoints`](super::Endpoints) serves that router. dynoxide's own HTTP server listens on a loopback address of its own behind it.
//! Each answer carries its [`Units`] as a response extension. What dynoxide models and where it deviates from AWS is in
//! `docs/FIDELITY.md`.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::routing::any;
use dynoxide::{Database, DynoxideError};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::capacity::{Metered, Units};
use super::stream::Stream;

/// How often expired items are removed. dynoxide's server does not do it by itself (3.2.0: only `Database::sweep_ttl` does). AWS may take
/// days, and no code may depend on when it happens.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A running embedded `DynamoDB`. Dropping it stops it too, without waiting.
pub struct Dynamo {
    database: Database,
    /// None in memory.
    file: Option<PathBuf>,
    front: Front,
    stopping: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Dynamo {
    /// Opens or creates the database file, or an empty database in memory, and starts to serve it.
    ///
    /// A write is in the file when it is answered: the state survives `kill -9`. One process at a time may have the file open.
    ///
    /// # Errors
    /// The file cannot be opened or is no database; no loopback port is free.
    pub async fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let database = match path {
            Some(path) => {
                let name = path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8: choose another data folder", path.display()))?;
                Database::new(name).with_context(|| format!("cannot open the database {name}"))?
            }
            None => Database::memory().context("cannot make a database in memory")?,
        };
        let listener = hidden_listener().await.context("no loopback port is free for the database")?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let server = format!("http://{}/", listener.local_addr()?).parse()?;
        let front = Front { client: Client::builder(TokioExecutor::new()).build(connector), server };
        let (stopping, stop) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, database.clone(), stop.clone()));
        tasks.spawn(sweep(database.clone(), stop));
        Ok(Self { database, file: path.map(Path::to_owned), front, stopping, tasks })
    }

    /// The endpoint: AWS JSON 1.0 as the SDK speaks it, each answer with its [`Units`] as an extension. A request must have a signature,
    /// which is not verified.
    pub fn router(&self) -> Router {
        // The SDK sends everything to `/`. The layer in front has the limit for bodies.
        Router::new().route("/", any(forward)).layer(DefaultBodyLimit::disable()).with_state(self.front.clone())
    }

    /// Creates a table from the JSON of a `CreateTable` request, and turns its time to live on for `ttl_attribute`. What exists already
    /// stays as it is.
    ///
    /// # Errors
    /// The definition is refused, or a table of that name exists with another key schema or another TTL attribute (another version made
    /// it: delete the data folder).
    pub fn create_table(&self, definition: &Value, ttl_attribute: Option<&str>) -> anyhow::Result<()> {
        let name = definition.get("TableName").and_then(Value::as_str).unwrap_or_default();
        match self.database.create_table(parse(definition.clone())?) {
            Ok(_) => {}
            Err(DynoxideError::ResourceInUseException(_)) => {
                let table = self.database.describe_table(parse(json!({ "TableName": name }))?)?.table;
                if serde_json::to_value(&table.key_schema)? != definition["KeySchema"] {
                    bail!("the table {name} exists with other keys: delete the data folder to start over");
                }
            }
            Err(error) => return Err(error).with_context(|| format!("cannot create the table {name:?}")),
        }
        if let Some(attribute) = ttl_attribute {
            let request = json!({ "TableName": name, "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true } });
            self.database
                .update_time_to_live(parse(request)?)
                .with_context(|| format!("cannot turn on time to live of the table {name}"))?;
        }
        Ok(())
    }

    /// The stream of a table (`KEYS_ONLY`), which is turned on if it is not: it tells what is written from then on.
    ///
    /// # Errors
    /// There is no such table, or the tables are in memory.
    pub fn stream(&self, table: &str) -> anyhow::Result<Stream> {
        let file = self.file.as_ref().ok_or_else(|| anyhow!("a database in memory has no streams"))?;
        let described = self.database.describe_table(parse(json!({ "TableName": table }))?)?.table;
        if described.stream_specification.is_none_or(|stream| !stream.stream_enabled) {
            let on = json!({ "StreamEnabled": true, "StreamViewType": "KEYS_ONLY" });
            self.database.update_table(parse(json!({ "TableName": table, "StreamSpecification": on }))?)?;
        }
        Stream::open(file, table).with_context(|| format!("cannot open the stream of the table {table}"))
    }

    /// Stops and waits until requests under way are answered and the file is closed.
    pub async fn close(mut self) {
        self.stopping.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn parse<T: DeserializeOwned>(request: Value) -> anyhow::Result<T> {
    serde_json::from_value(request).context("not a request that DynamoDB takes")
}

/// Waits until the [`Dynamo`] is stopped or dropped.
async fn stopped(mut stop: watch::Receiver<bool>) {
    stop.wait_for(|stopping| *stopping).await.ok();
}

/// dynoxide answers every web page, and takes nothing but a TCP listener. So it gets an address of this machine that no page can guess, where
/// the system has more than one (Linux has 2²⁴).
async fn hidden_listener() -> io::Result<TcpListener> {
    let [one, two, three] = rand::random();
    match TcpListener::bind((Ipv4Addr::new(127, one, two, three), 0)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}

async fn serve(listener: TcpListener, database: Database, stop: watch::Receiver<bool>) {
    if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, stopped(stop)).await {
        tracing::error!(error, "embedded DynamoDB stopped: restart the runner");
    }
}

async fn sweep(database: Database, stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stopped(stop));
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = ticks.tick() => {}
        }
        let database = database.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            tracing::error!(%error, "expired items could not be removed from embedded DynamoDB");
        }
    }
}

/// The way to dynoxide's own server.
#[derive(Clone)]
struct Front {
    client: Client<HttpConnector, Full<Bytes>>,
    server: Uri,
}

impl Front {
    async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> anyhow::Result<Response<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.server.clone();
        *request.headers_mut() = headers;
        let (head, body) = self.client.request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// Passes one request on to dynoxide and its answer back; see [`Metered`] for what is added and taken out on the way.
async fn forward(State(front): State<Front>, method: Method, mut headers: HeaderMap, mut body: Bytes) -> Response<Body> {
    let metered = operation(&headers).zip(serde_json::from_slice(&body).ok());
    let metered = metered.and_then(|(operation, request)| Metered::new(operation, request));
    if let Some(metered) = &metered {
        body = metered.request.to_string().into();
    }
    for name in [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let Ok(response) = front.send(method, headers, body).await else {
        return internal_error("embedded DynamoDB does not answer");
    };

    let (mut head, mut body) = response.into_parts();
    // The checksum fits the body before it was changed. Without the header, the SDK checks none.
    for name in ["content-length", "transfer-encoding", "connection", "x-amz-crc32"] {
        head.headers.remove(name);
    }
    if let Some((metered, mut answer)) = metered.zip(serde_json::from_slice(&body).ok()) {
        head.extensions.insert::<Units>(metered.settle(&mut answer));
        body = answer.to_string().into();
    }
    Response::from_parts(head, Body::from(body))
}

fn operation(headers: &HeaderMap) -> Option<&str> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.rsplit_once('.').map(|(_, operation)| operation)
}

/// `DynamoDB`'s own 500, which the SDK retries.
fn internal_error(message: &str) -> Response<Body> {
    let error = json!({ "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": message });
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

#[cfg(test)]
mod tests;
