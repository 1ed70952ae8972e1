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
use connection::{Connection, Connections};
use handshake::NewConnections;

use crate::lambda::{Functions, InvokeError};
use crate::observers::Observers;

pub(crate) use clock::{access_log_time, now_ms};
pub(crate) use event::new_id;
pub use observe::{FrameSource, GatewayEvent, What};
pub use settings::{Limits, LostDisconnects, Reorder, Settings};

/// One WebSocket API with one stage. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    settings: Settings,
    functions: Functions,
    connections: Arc<Connections>,
    observers: Observers<GatewayEvent>,
    new_connections: Mutex<NewConnections>,
}

impl Gateway {
    /// A gateway without listeners: hand its routers to them, or call [`Gateway::serve`].
    pub fn new(settings: Settings, functions: Functions) -> Self {
        let new_connections = Mutex::new(NewConnections::new(&settings.limits));
        Self(Arc::new(Shared { settings, functions, connections: Arc::default(), observers: Observers::default(), new_connections }))
    }

    /// The clients' side: the upgrade at `/{stage}`. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, over a server
    /// that supports upgrades; without connect info every client seems to come from 127.0.0.1.
    pub fn client_router(&self) -> Router {
        Router::new().route("/{stage}", any(handshake::upgrade)).with_state(self.clone())
    }

    /// The functions' side: `POST`, `GET` and `DELETE /{stage}/@connections/{id}`, id percent-encoded. Errors are restJson: the type in
    /// the header `x-amzn-ErrorType`, a `message` in the body.
    pub fn management_router(&self) -> Router {
        management::router(self.clone())
    }

    /// Serves [`Gateway::client_router`] on `listener` until the future is dropped. Open sockets stay open: see [`Gateway::stop`].
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        // A small frame must not wait for the acknowledgement of the one before it; a socket that refuses the option is only slower.
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        axum::serve(listener, self.client_router().into_make_service_with_connect_info::<SocketAddr>()).await
    }

    /// Every [`GatewayEvent`] from now on, in the order in which the gateway saw them, without loss (the channel is unbounded).
    pub fn observe(&self) -> UnboundedReceiver<GatewayEvent> {
        self.0.observers.add()
    }

    /// Refuses new connections (503), closes every socket with 1001 and waits until all have ended and their `$disconnect` has been tried.
    pub async fn stop(&self) {
        self.0.connections.close_all(&Closing::going_away()).await;
    }
}

impl Shared {
    /// Starts one invocation at once and returns a future of its outcome. The integration timeout ends only the waiting. The invocation
    /// goes on, so it has a task of its own.
    fn invoke(self: &Arc<Self>, function: &str, event: Bytes) -> impl Future<Output = Result<Bytes, InvokeError>> + Send + use<> {
        let (functions, function) = (self.functions.clone(), function.to_owned());
        let after = self.settings.limits.integration_timeout;
        let invocation = tokio::spawn(async move { functions.invoke(&function, event).await });
        async move {
            match tokio::time::timeout(after, invocation).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(panicked)) => Err(InvokeError::Crashed { reason: panicked.to_string() }),
                Err(_elapsed) => Err(InvokeError::TimedOut { after }),
            }
        }
    }

    fn may_open_now(&self) -> bool {
        self.new_connections.lock().unwrap_or_else(PoisonError::into_inner).admit(tokio::time::Instant::now())
    }

    /// Tells the observers what happened on a connection.
    fn notify(&self, connection: &Connection, what: impl FnOnce() -> What) {
        self.observers.notify(|| GatewayEvent {
            connection: connection.id().to_owned(),
            user: connection.authorized.principal.clone(),
            what: what(),
        });
    }
}
