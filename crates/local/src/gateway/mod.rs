//! The WebSocket gateway of `local`, as API Gateway behaves.
//!
//! A socket is opened at `GET /{stage}` once the authorizer and `$connect` have answered; every text message is one concurrent invocation
//! of the function that its `action` selects; functions write to sockets through `@connections`. The gateway's part of `docs/FIDELITY.md`
//! lists what is modelled, with its source and test.
//!
//! Not promised: TLS, signatures (every management request is accepted), order between the frames of one connection, delivery of posts.

mod authorizer;
mod clock;
mod closing;
mod connection;
mod dispatch;
mod event;
mod handshake;
mod management;
mod observe;
mod reorder;
mod session;
mod settings;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;

use closing::Closing;
use connection::Connections;
use handshake::NewConnections;
use observe::Observers;

pub use observe::{FrameSource, GatewayEvent};
pub use settings::{DisconnectEvents, Limits, Reorder, Settings};

/// The Lambda functions behind the gateway.
pub trait Functions: Send + Sync + 'static {
    /// Invokes `function` with an event (JSON) and waits for its answer (JSON). Each call is an invocation of its own; calls overlap.
    fn invoke(&self, function: &str, event: Bytes) -> impl Future<Output = Result<Bytes, FunctionError>> + Send;
}

/// Why an invocation has no answer, as far as the gateway can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// Lambda refused to start it (429): it did not run.
    #[error("the invocation was throttled")]
    Throttled,
    /// It was started and gave no result: timeout, crash, or an error that the handler returned.
    #[error("the invocation failed")]
    Failed,
}

/// One WebSocket API with one stage. Clones are the same gateway.
#[derive(Debug)]
pub struct Gateway<F> {
    shared: Arc<Shared<F>>,
}

#[derive(Debug)]
struct Shared<F> {
    settings: Settings,
    functions: F,
    connections: Arc<Connections>,
    observers: Observers,
    new_connections: Mutex<NewConnections>,
}

impl<F> Clone for Gateway<F> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<F: Functions> Gateway<F> {
    /// A gateway without listeners: hand its routers to them, or call [`Gateway::serve`].
    pub fn new(settings: Settings, functions: F) -> Self {
        let new_connections = Mutex::new(NewConnections::new(&settings.limits));
        let shared = Shared { settings, functions, connections: Arc::default(), observers: Observers::default(), new_connections };
        Self { shared: Arc::new(shared) }
    }

    /// The clients' side: the upgrade at `/{stage}`. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, over a server
    /// that supports upgrades; without connect info every client seems to come from 127.0.0.1.
    pub fn client_router(&self) -> Router {
        Router::new().route("/{stage}", any(handshake::upgrade::<F>)).with_state(self.clone())
    }

    /// The functions' side: `POST`, `GET` and `DELETE /{stage}/@connections/{id}`, id percent-encoded. Errors are restJson: the type in
    /// the header `x-amzn-ErrorType`, a `message` in the body.
    pub fn management_router(&self) -> Router {
        management::router(&self.shared.settings, self.shared.connections.clone())
    }

    /// Serves [`Gateway::client_router`] on `listener` until the future is dropped. Open sockets stay open: see [`Gateway::stop`].
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        // A small frame must not wait for the acknowledgement of the one before it; a socket that refuses the option is only slower.
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        axum::serve(listener, self.client_router().into_make_service_with_connect_info::<SocketAddr>()).await
    }

    /// Every [`GatewayEvent`] from now on, in the order in which the gateway saw them, without loss (the channel is unbounded).
    pub fn observe(&self) -> UnboundedReceiver<GatewayEvent> {
        self.shared.observers.add()
    }

    /// Makes a connection half-open, as if its peer had lost power: nothing more is read from its socket or written to it, while posts to
    /// it are still accepted (and lost) until the idle timer, its life, a `DELETE` or [`Gateway::stop`] ends it. `false` if it is not open.
    pub fn freeze(&self, connection: &str) -> bool {
        self.shared.connections.find(connection).is_some_and(|connection| connection.freeze())
    }

    /// Refuses new connections (503), closes every socket with 1001 and waits until all have ended and their `$disconnect` has been tried;
    /// a delayed `$disconnect` is given up.
    pub async fn stop(&self) {
        self.shared.connections.close_all(&Closing::going_away()).await;
    }
}

impl<F: Functions> Shared<F> {
    /// Starts one invocation at once and returns a future of its outcome. The integration timeout ends only the waiting. The invocation goes
    /// on, so it has a task of its own.
    fn invoke(self: &Arc<Self>, function: &str, event: Bytes) -> impl Future<Output = Result<Bytes, FunctionError>> + Send + use<F> {
        let (shared, function) = (self.clone(), function.to_owned());
        let integration_timeout = self.settings.limits.integration_timeout;
        let invocation = tokio::spawn(async move { shared.functions.invoke(&function, event).await });
        async move {
            match tokio::time::timeout(integration_timeout, invocation).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_panicked)) => Err(FunctionError::Failed),
                Err(_elapsed) => Err(FunctionError::Failed),
            }
        }
    }

    fn may_open_now(&self) -> bool {
        self.new_connections.lock().unwrap_or_else(PoisonError::into_inner).admit(tokio::time::Instant::now())
    }
}
