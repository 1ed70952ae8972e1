//! What the tests of several modules need: a server for the rest of the test, and the client's side of the wire.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, Response, uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::embedded::{Endpoints, Service};

/// A free port of this machine.
pub async fn port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Serves `router` for the rest of the test.
pub async fn serve(router: Router) -> SocketAddr {
    let (listener, address) = port().await;
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// Serves `router` behind the layer for the rest of the test.
pub async fn serve_behind(endpoints: &Endpoints, service: Service, router: Router) -> SocketAddr {
    let (listener, address) = port().await;
    let endpoints = endpoints.clone();
    tokio::spawn(async move { endpoints.serve(service, listener, router, std::future::pending()).await });
    address
}

/// Sends on a connection of its own. The answer, or `None` if the connection was closed without a whole one.
pub async fn send(address: SocketAddr, mut request: Request<Bytes>) -> Option<Response<Bytes>> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    (uri.scheme, uri.authority) = (Some(uri::Scheme::HTTP), address.to_string().parse().ok());
    *request.uri_mut() = uri.try_into().expect("a URI");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request.map(Full::new)).await.ok()?.into_parts();
    Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
}

/// An AWS JSON request as the SDK of process `caller` sends it, e.g. `target` = `DynamoDB_20120810.PutItem`.
pub fn aws_json(caller: &str, target: &str, body: &Value) -> Request<Bytes> {
    let signature = format!("AWS4-HMAC-SHA256 Credential={caller}/20260101/us-east-1/any/aws4_request, SignedHeaders=host, Signature=0");
    Request::post("/")
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20260101T000000Z")
        .header("x-amz-target", target)
        .header("authorization", signature)
        .body(body.to_string().into())
        .expect("a valid request")
}
