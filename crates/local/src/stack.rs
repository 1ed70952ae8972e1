//! The stack: embedded endpoints, functions in child processes, the gateway in front.
//!
//! Who talks to whom, all on loopback: clients → gateway → Lambda → (Runtime API) → child process → (AWS SDK) → `DynamoDB`, SQS,
//! `@connections`; queue → event source mapping → Lambda, and so from the log's stream. Each endpoint has a listener of its own, and every request of a child process
//! passes [`Endpoints`].

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use axum::serve::ListenerExt as _;
use chatlane_aws::items::{TABLES, TableForm};
use chatlane_functions::Function;
use chatlane_functions::environment::Environment;
use chatlane_protocol::Action;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::data_folder::{DataFolder, Places};
use crate::embedded::{Dynamo, Endpoints, Latency, Service, after_hand_over};
use crate::gateway::{self, Gateway};
use crate::http_api;
use crate::issuer::{AUDIENCE, ISSUER, Issuer, JWKS_PATH};
use crate::lambda::{CONCURRENCY_MAX, FunctionSettings, INIT_TIMEOUT, Lambda, LambdaSettings, LineSink};
use crate::queue::{EventSource, EventSourceSettings, Queue, QueueSettings};
use crate::stream_source::{StreamSource, StreamSourceSettings};

/// The stage that clients connect to.
pub const STAGE: &str = "dev";

/// The queue of delivery tasks.
pub const FAN_OUT_QUEUE: &str = "fan-out";

/// The queue for tasks that were tried too often.
pub const DEAD_LETTER_QUEUE: &str = "fan-out-dead-letter";

/// The queue that is told which records of the log's stream were given up.
pub const SWEEP_FAILURES_QUEUE: &str = "sweep-failures";

/// The port of the gateway, if no other is asked for.
pub const PORT: u16 = 7070;

/// What can be chosen. Everything else is set as in the template.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The executable that the functions run in: `chatlane-local` itself.
    pub program: PathBuf,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Delete the tables and queues that are there.
    pub fresh: bool,
    /// The gateway's port; 0: any.
    pub port: u16,
    /// How long a message stays hidden after a receive. Template: 60 s.
    pub visibility_timeout: Duration,
    /// How often a task is tried before it goes to the dead-letter queue. Template: 10.
    pub max_receive_count: u32,
    /// So long what is stored is gathered before the sweeper looks whether it is delivered. Template: 60 s.
    pub sweep_window: Duration,
    /// Most processes of one function.
    pub concurrency_max: usize,
    /// Further environment variables of all functions, such as `CHATLANE_ADMISSION`; they win over those of the template.
    pub environment: BTreeMap<String, String>,
    /// Whether requests to the embedded endpoints take the time of this machine or that of AWS.
    pub latency: Latency,
    /// The gateway's limits and misbehaviour.
    pub gateway: gateway::Settings,
}

impl Settings {
    /// The defaults, with functions in `program` and data in `data`.
    pub fn new(program: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        let others = [("$connect", Function::Connect), ("$disconnect", Function::Disconnect), ("$default", Function::Fallback)];
        // A request's function has the name of its action.
        let by_socket = Action::ALL.iter().filter(|action| action.is_by_socket());
        let requests = by_socket.map(|action| (action.name(), Function::answering(*action).name()));
        let routes = others.map(|(key, function)| (key, function.name())).into_iter().chain(requests);
        Self {
            program: program.into(),
            data: data.into(),
            fresh: false,
            port: PORT,
            visibility_timeout: Duration::from_mins(1),
            max_receive_count: 10,
            sweep_window: Duration::from_mins(1),
            concurrency_max: CONCURRENCY_MAX,
            environment: BTreeMap::new(),
            latency: Latency::Local,
            gateway: gateway::Settings::new(STAGE, Function::Authorize.name(), routes),
        }
    }
}

/// Where the embedded endpoints listen, for tools and tests that call them as any AWS client does. No path, no slash at the end.
#[derive(Clone, Debug)]
pub struct EndpointUrls {
    /// `DynamoDB`.
    pub dynamodb: String,
    /// SQS.
    pub sqs: String,
    /// `@connections`; the stage is its path.
    pub connections: String,
}

/// A running stack.
pub struct Stack {
    address: SocketAddr,
    urls: EndpointUrls,
    folder: DataFolder,
    endpoints: Endpoints,
    dynamo: Dynamo,
    queue: Queue,
    lambda: Lambda,
    gateway: Gateway,
    issuer: Issuer,
    event_source: EventSource,
    stream_source: StreamSource,
    servers: JoinSet<()>,
    shut_down: watch::Sender<bool>,
}

impl Stack {
    /// Starts everything. Clients may connect when this returns; a function's first process starts with its first event.
    ///
    /// # Errors
    /// One line that says what to do: the port is taken, the folder is in use or not ours.
    pub async fn start(settings: Settings, lines: LineSink) -> anyhow::Result<Self> {
        // The port first: if it is taken, nothing is deleted.
        let clients = listen(settings.port).await.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow!("port {} is taken: stop what listens there, or choose another one with --port", settings.port)
            }
            _ => anyhow!("cannot listen on port {}: {error}; choose another one with --port", settings.port),
        })?;
        let folder = DataFolder::open(&settings.data, settings.fresh)?;
        let address = clients.local_addr()?;
        let issuer = Issuer::open(folder.path())?;
        let dynamo = Dynamo::open(Some(&folder.dynamodb())).await?;
        for (definition, ttl) in tables() {
            dynamo.create_table(&definition, ttl)?;
        }
        let log_stream = dynamo.stream("log")?;
        let queue = Queue::open(&folder.queue(), queues(&settings))?;

        let endpoints = Endpoints::with_latency(settings.latency);
        let (dynamodb, sqs) = (listen(0).await?, listen(0).await?);
        let (connections, runtime) = (listen(0).await?, listen(0).await?);
        let at = Addresses {
            dynamodb: url(&dynamodb)?,
            sqs: url(&sqs)?,
            connections: url(&connections)?,
            runtime_api: runtime.local_addr()?.to_string(),
            jwks: format!("http://{address}{JWKS_PATH}"),
        };
        let functions: Vec<FunctionSettings> = Function::ALL
            .iter()
            .map(|function| FunctionSettings {
                environment: environment(*function, &at, &settings.environment),
                concurrency_max: settings.concurrency_max,
                ..FunctionSettings::new(function.name())
            })
            .collect();
        Places { dynamodb: at.dynamodb.clone(), connections: format!("{}/{STAGE}", at.connections) }.write(&folder)?;
        let urls = EndpointUrls { dynamodb: at.dynamodb, sqs: at.sqs, connections: at.connections };
        let lambda = Lambda::new(
            LambdaSettings { program: settings.program, runtime_api: at.runtime_api, init_timeout: INIT_TIMEOUT, functions },
            lines,
        );
        let gateway = Gateway::new(settings.gateway, lambda.functions());

        let (shut_down, stopping) = watch::channel(false);
        let mut servers = JoinSet::new();
        let routers = [
            (Service::DynamoDb, dynamodb, dynamo.router()),
            (Service::Sqs, sqs, queue.router()),
            (Service::Connections, connections, gateway.management_router()),
            (Service::Runtime, runtime, lambda.router()),
        ];
        for (service, listener, router) in routers {
            let (endpoints, mut stopping) = (endpoints.clone(), stopping.clone());
            servers.spawn(async move {
                let stopped = async move {
                    let _ended = stopping.wait_for(|stop| *stop).await;
                };
                endpoints.serve(service, listener, router, stopped).await;
            });
        }
        let https = http_api::router(lambda.functions(), Function::Http.name());
        let router = gateway.client_router().merge(issuer.router()).merge(https);
        servers.spawn(async move {
            let clients = clients.tap_io(|socket| drop(socket.set_nodelay(true)));
            let served = axum::serve(clients, router.into_make_service_with_connect_info::<SocketAddr>()).await;
            if let Err(error) = served {
                tracing::error!("the gateway's listener failed: {error}");
            }
        });
        let mapping = EventSourceSettings {
            queue: FAN_OUT_QUEUE.to_owned(),
            function: Function::FanOut.name().to_owned(),
            concurrency_max: settings.concurrency_max,
        };
        let event_source = EventSource::start(&queue, mapping, after_hand_over(lambda.functions(), settings.latency))?;
        let mapping = StreamSourceSettings {
            function: Function::Sweep.name().to_owned(),
            window: settings.sweep_window,
            batch_max: 10_000,
            retries_max: 5,
            failures: SWEEP_FAILURES_QUEUE.to_owned(),
        };
        let stream_source = StreamSource::start(log_stream, mapping, lambda.functions(), queue.clone());
        Ok(Self {
            address,
            urls,
            folder,
            endpoints,
            dynamo,
            queue,
            lambda,
            gateway,
            issuer,
            event_source,
            stream_source,
            servers,
            shut_down,
        })
    }

    /// Where clients connect: `ws://127.0.0.1:7070/dev`.
    pub fn url(&self) -> String {
        format!("ws://{}/{STAGE}", self.address)
    }

    /// The gateway's address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// A token for a user, valid for `lifetime` from now.
    pub fn token(&self, user: &str, lifetime: Duration) -> String {
        self.issuer.token(user, lifetime, SystemTime::now())
    }

    /// The issuer, for tokens with other claims.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The embedded endpoints, whose requests from child processes can be recorded and held.
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where the embedded endpoints listen.
    pub const fn endpoint_urls(&self) -> &EndpointUrls {
        &self.urls
    }

    /// The functions' processes.
    pub const fn lambda(&self) -> &Lambda {
        &self.lambda
    }

    /// The queues.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The gateway.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Ends everything: closes sockets with 1001, then ends processes and endpoints and closes the files. What was acknowledged is kept.
    pub async fn stop(self) {
        self.gateway.stop().await;
        self.event_source.stop().await;
        self.stream_source.stop().await;
        self.lambda.shut_down().await;
        self.shut_down.send_replace(true);
        let mut servers = self.servers;
        servers.shutdown().await;
        self.dynamo.close().await;
    }
}

async fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

fn url(listener: &TcpListener) -> std::io::Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

struct Addresses {
    dynamodb: String,
    sqs: String,
    connections: String,
    runtime_api: String,
    jwks: String,
}

/// What the template gives each function, with this machine's addresses.
fn environment(function: Function, at: &Addresses, further: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let value = |name: &str| match name {
        "CHATLANE_LOG_TABLE" => "log".to_owned(),
        "CHATLANE_CONVERSATIONS_TABLE" => "conversations".to_owned(),
        "CHATLANE_INBOXES_TABLE" => "inboxes".to_owned(),
        "CHATLANE_USERS_TABLE" => "users".to_owned(),
        "CHATLANE_FAN_OUT_QUEUE_URL" => Queue::url(&at.sqs, FAN_OUT_QUEUE),
        "CHATLANE_CONNECTIONS_ENDPOINT" => format!("{}/{STAGE}", at.connections),
        "CHATLANE_JWKS_URL" => at.jwks.clone(),
        "CHATLANE_JWT_ISSUER" => ISSUER.to_owned(),
        "CHATLANE_JWT_AUDIENCE" => AUDIENCE.to_owned(),
        "CHATLANE_JWT_TYPES" => "JWT,at+jwt".to_owned(),
        "CHATLANE_JWT_USER_CLAIM" => "sub".to_owned(),
        "CHATLANE_MAX_TOKEN_LIFE_S" => "86400".to_owned(),
        "CHATLANE_BUDGET_UNITS_PER_S" => "400".to_owned(),
        "CHATLANE_BUDGET_BURST_UNITS" => "120000".to_owned(),
        _ => String::new(), // empty: not given
    };
    let mut env = Environment::new([]);
    function.ask(&mut env);
    let own = env.asked().iter().map(|name| (name.clone(), value(name)));
    let endpoints = [("AWS_ENDPOINT_URL_DYNAMODB", &at.dynamodb), ("AWS_ENDPOINT_URL_SQS", &at.sqs)];
    let endpoints = endpoints.map(|(name, url)| (name.to_owned(), url.clone()));
    own.chain(endpoints).chain(further.clone()).collect()
}

fn queues(settings: &Settings) -> [QueueSettings; 3] {
    let queue = |name: &str, dead_letter_queue: Option<&str>| QueueSettings {
        name: name.to_owned(),
        visibility_timeout: settings.visibility_timeout,
        max_receive_count: settings.max_receive_count,
        dead_letter_queue: dead_letter_queue.map(ToOwned::to_owned),
    };
    [queue(FAN_OUT_QUEUE, Some(DEAD_LETTER_QUEUE)), queue(DEAD_LETTER_QUEUE, None), queue(SWEEP_FAILURES_QUEUE, None)]
}

/// The tables of the template, each as a `CreateTable` request with its time-to-live attribute, named as the functions' variables name
/// them.
pub fn tables() -> [(Value, Option<&'static str>); 4] {
    TABLES.map(|TableForm { name, partition, sort, sort_type, ttl }| {
        let definition = json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{ "AttributeName": partition, "KeyType": "HASH" }, { "AttributeName": sort, "KeyType": "RANGE" }],
            "AttributeDefinitions": [
                { "AttributeName": partition, "AttributeType": "S" },
                { "AttributeName": sort, "AttributeType": sort_type },
            ],
        });
        (definition, ttl)
    })
}
