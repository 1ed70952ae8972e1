//! The test's side of the wire: a bare HTTP/1.1 client, one connection each, that notices when it is closed.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Endpoints, Service};

/// Serves `router` behind the layer for the rest of the test.
pub async fn serve(endpoints: &Endpoints, service: Service, router: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let endpoints = endpoints.clone();
    tokio::spawn(async move { endpoints.serve(service, listener, router, std::future::pending()).await });
    address
}

/// One connection. Dropping it closes it.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    io: JoinHandle<()>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("a listener");
        let (sender, io) = handshake(TokioIo::new(socket)).await.expect("no bytes are exchanged yet");
        Self {
            sender,
            io: tokio::spawn(async {
                io.await.ok();
            }),
        }
    }

    /// The answer, or `None` if the connection was closed without a whole one.
    pub async fn send(&mut self, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let (head, body) = self.sender.send_request(request.map(Full::new)).await.ok()?.into_parts();
        Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.io.abort();
    }
}

/// Sends on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Bytes>) -> Option<Response<Bytes>> {
    Connection::open(address).await.send(request).await
}

/// An AWS JSON request as the SDK of process `caller` sends it, e.g. `target` = `DynamoDB_20120810.PutItem`.
pub fn aws_json(caller: &str, target: &str, body: &Value) -> Request<Bytes> {
    Request::post("/")
        .header("host", "localhost")
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20260101T000000Z")
        .header("x-amz-target", target)
        .header("authorization", signature(caller))
        .body(body.to_string().into())
        .expect("a valid request")
}

/// The header of Signature Version 4, with a signature that nobody checks.
pub fn signature(caller: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={caller}/20260101/us-east-1/any/aws4_request, SignedHeaders=host, Signature=0")
}
