//! What every test starts: a gateway on two loopback ports, functions made of closures, a client.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use chatlane_local::gateway::{Gateway, GatewayEvent, Settings, What};
use chatlane_local::lambda::{Functions, InvokeError};
use chatlane_tests_support::{Socket, patiently};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;

pub type Answer = Result<Value, InvokeError>;
type Script = Arc<dyn Fn(Value) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

pub fn allow(context: &Value) -> Value {
    json!({
        "principalId": "alice",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": ["execute-api:Invoke"], "Effect": "Allow", "Resource": ["*"]}],
        },
        "context": context,
    })
}

pub fn settings() -> Settings {
    let routes = [
        ("$connect", "connect"),
        ("$disconnect", "disconnect"),
        ("$default", "fallback"),
        ("hello", "hello"),
        ("send", "send"),
        ("ping", "ping"),
    ];
    Settings::new("dev", "authorize", routes)
}

pub fn failed() -> InvokeError {
    InvokeError::Crashed { reason: "on purpose".to_owned() }
}

pub fn throttled() -> InvokeError {
    InvokeError::Throttled { concurrency_max: 1 }
}

fn scripted(scripts: HashMap<&'static str, Script>, invocations: UnboundedSender<(String, Value)>) -> Functions {
    Functions::new(move |function, event| {
        let event: Value = serde_json::from_slice(&event).expect("events are JSON");
        let answer = scripts.get(function.as_str()).expect("a function with this name")(event.clone());
        let _test_over = invocations.send((function, event));
        async { Ok(Bytes::from(answer.await?.to_string())) }
    })
}

/// Functions before the gateway starts. Unless replaced: the authorizer lets alice in, `send` answers its body, the others answer nothing.
pub struct Scene {
    settings: Settings,
    scripts: HashMap<&'static str, Script>,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let mut scene = Self { settings, scripts: HashMap::new() }.on("authorize", async |_| Ok(allow(&json!({"device": "d1"}))));
        for function in ["connect", "disconnect", "fallback", "hello", "ping"] {
            scene = scene.on(function, async |_| Ok(json!({"statusCode": 200})));
        }
        scene.on("send", async |event| Ok(json!({"statusCode": 200, "body": event["body"]})))
    }

    /// Says what `function` does.
    pub fn on<F, Fut>(mut self, function: &'static str, script: F) -> Self
    where
        F: Fn(Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.scripts.insert(function, Arc::new(move |event| Box::pin(script(event))));
        self
    }

    /// `function` answers this as soon as it is told to.
    pub fn held(self, function: &'static str, answer: Value) -> (Self, Arc<Notify>) {
        let release = Arc::new(Notify::new());
        let held = release.clone();
        let script = move |_| {
            let (held, answer) = (held.clone(), answer.clone());
            async move {
                held.notified().await;
                Ok(answer)
            }
        };
        (self.on(function, script), release)
    }

    /// With one client, and the id of its connection.
    pub async fn connected(self) -> (Stack, Socket, String) {
        let mut stack = self.start().await;
        let client = stack.connect().await;
        let connection = stack.connection_id().await;
        (stack, client, connection)
    }

    pub async fn start(self) -> Stack {
        let (sender, invocations) = unbounded_channel();
        let gateway = Gateway::new(self.settings, scripted(self.scripts, sender));
        let events = gateway.observe();
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let management = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (clients_at, management_at) = (clients.local_addr().unwrap(), management.local_addr().unwrap());
        let router = gateway.management_router();
        let serving = gateway.clone();
        tokio::spawn(async move { serving.serve(clients).await });
        tokio::spawn(async move { axum::serve(management, router).await });
        Stack { gateway, clients_at, management_at, invocations, events }
    }
}

pub struct Stack {
    pub gateway: Gateway,
    clients_at: SocketAddr,
    management_at: SocketAddr,
    invocations: UnboundedReceiver<(String, Value)>,
    pub events: UnboundedReceiver<GatewayEvent>,
}

impl Stack {
    pub fn request(&self, path: &str) -> ClientRequestBuilder {
        ClientRequestBuilder::new(format!("ws://{}{path}", self.clients_at).parse().unwrap())
    }

    pub async fn connect(&self) -> Socket {
        Socket::open(self.request("/dev")).await.unwrap().0
    }

    /// The status that refuses the handshake at `path`.
    pub async fn refused(&self, path: &str) -> u16 {
        match Socket::open(self.request(path)).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("no HTTP answer: {error}"),
            Ok(_) => panic!("the handshake was accepted"),
        }
    }

    /// A request without an upgrade.
    pub async fn plain_get(&self, path: &str) -> axum::http::Response<hyper::body::Incoming> {
        http(self.clients_at, "GET", path, Bytes::new()).await
    }

    /// The next invocation, of any function.
    pub async fn invoked(&mut self) -> (String, Value) {
        patiently("an invocation", self.invocations.recv()).await.expect("the gateway lives")
    }

    /// The event of the next invocation of `function`; others are passed over.
    pub async fn event_of(&mut self, function: &str) -> Value {
        loop {
            let (invoked, event) = self.invoked().await;
            if invoked == function {
                return event;
            }
        }
    }

    /// The invocations up to now that were not looked at yet.
    pub fn invocations_so_far(&mut self) -> Vec<(String, Value)> {
        std::iter::from_fn(|| self.invocations.try_recv().ok()).collect()
    }

    /// Their functions.
    pub fn invoked_so_far(&mut self) -> Vec<String> {
        self.invocations_so_far().into_iter().map(|(function, _)| function).collect()
    }

    /// The id of the connection that is being opened.
    pub async fn connection_id(&mut self) -> String {
        text(&self.event_of("connect").await["requestContext"]["connectionId"])
    }

    pub async fn event(&mut self) -> GatewayEvent {
        patiently("an event", self.events.recv()).await.expect("the gateway lives")
    }

    /// Waits until the connection's `Closed` event; answers code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let What::Closed { code, reason } = self.event().await.what {
                return (code, reason);
            }
        }
    }

    pub async fn management(&self, method: &str, connection: &str, body: impl Into<Bytes>) -> Managed {
        let id = connection.replace('=', "%3D");
        self.management_at(method, &format!("/dev/@connections/{id}"), body).await
    }

    pub async fn management_at(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Managed {
        let response = http(self.management_at, method, path, body.into()).await;
        let status = response.status().as_u16();
        let error_type = response.headers().get("x-amzn-ErrorType").map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Managed { status, error_type, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    pub async fn post(&self, connection: &str, text: &str) -> u16 {
        self.management("POST", connection, text.to_owned()).await.status
    }
}

async fn http(address: SocketAddr, method: &str, path: &str, body: Bytes) -> axum::http::Response<hyper::body::Incoming> {
    let request = axum::http::Request::builder().method(method).uri(format!("http://{address}{path}")).body(Full::new(body)).unwrap();
    let client: HttpClient<_, Full<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
    patiently("an answer", client.request(request)).await.unwrap()
}

/// An answer of `@connections`.
#[derive(Debug)]
pub struct Managed {
    pub status: u16,
    pub error_type: Option<String>,
    pub body: Value,
}

impl Managed {
    pub fn error(&self) -> (u16, &str) {
        assert!(self.body["message"].is_string(), "an error has a message: {self:?}");
        (self.status, self.error_type.as_deref().expect("an error has its type in a header"))
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a string, not {value}")).to_owned()
}
