//! The HTTP API of `local`, as API Gateway behaves: `POST /v1/{action}` is one invocation of one function, in payload format 2.0. The HTTP
//! API's part of `docs/FIDELITY.md` lists what is modelled, with its source and test.
//!
//! Not promised: TLS, access logs, CORS (the template's parameter).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::{access_log_time, new_id, now_ms};
use crate::lambda::{Functions, InvokeError};
use crate::web_page;

/// The largest body, in bytes: 10 MB (page "Quotas for configuring and running an HTTP API").
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// How long the gateway waits for a function: 30 s (the same page).
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

const ROUTE: &str = "POST /v1/{action}";

/// One HTTP API with one route.
#[derive(Clone)]
struct HttpApi {
    functions: Functions,
    function: Arc<str>,
}

/// The clients' side: requests go to the function of this name.
pub fn router(functions: Functions, function: &str) -> Router {
    // Any other method of the path, and any other path below, is no route.
    let route = post(handle).fallback(no_route);
    Router::new()
        .route("/v1/{action}", route)
        .route("/v1/{action}/{*more}", axum::routing::any(no_route))
        .with_state(HttpApi { functions, function: function.into() })
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

async fn no_route() -> Response {
    message(StatusCode::NOT_FOUND, "Not Found")
}

async fn handle(State(api): State<HttpApi>, Path(action): Path<String>, request: Request) -> Response {
    if web_page::asks(request.headers()) {
        return web_page::REFUSED.into_response();
    }
    let (parts, body) = request.into_parts();
    let source = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(|| "127.0.0.1".to_owned(), |at| at.0.ip().to_string());
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let query: Vec<(String, String)> = Query::try_from_uri(&parts.uri).map(|Query(pairs)| pairs).unwrap_or_default();
    let event = event(&action, parts.uri.path(), parts.uri.query().unwrap_or_default(), &query, &parts.headers, &source, &body);
    // A task of its own: if the client goes away, the invocation goes on.
    let invocation = tokio::spawn(async move { api.functions.invoke(&api.function, Bytes::from(event.to_string())).await });
    match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
        Ok(Ok(Ok(answer))) => response(&answer).unwrap_or_else(|| message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")),
        Ok(Ok(Err(InvokeError::Throttled { .. }))) | Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Ok(Ok(Err(_)) | Err(_)) => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    }
}

/// What stands more than once is joined by commas; names of headers are in lower case (page "Create AWS Lambda proxy integrations for HTTP
/// APIs").
fn joined<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> BTreeMap<&'a str, String> {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in pairs {
        let joined = all.entry(name).or_default();
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&value);
    }
    all
}

/// The event, in the shape of the captured ones that `aws_lambda_events` ships (`example-apigw-v2-request-no-authorizer.json`).
fn event(action: &str, path: &str, raw_query: &str, query: &[(String, String)], headers: &HeaderMap, source: &str, body: &[u8]) -> Value {
    let now_ms = now_ms();
    let lossy = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let own = headers.iter().filter(|(name, _)| *name != header::CONNECTION).map(|(name, value)| (name.as_str(), lossy(value)));
    let added = [("x-forwarded-for", source.to_owned()), ("x-forwarded-port", "443".to_owned()), ("x-forwarded-proto", "https".to_owned())];
    let headers_joined = joined(own.chain(added));
    let content_type = headers.get(header::CONTENT_TYPE).map(lossy).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": ROUTE,
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": headers_joined,
        "pathParameters": {"action": action},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "local.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "local",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source,
                "userAgent": headers.get(header::USER_AGENT).map(lossy).unwrap_or_default(),
            },
            "requestId": new_id(),
            "routeKey": ROUTE,
            "stage": "$default",
            "time": access_log_time(now_ms),
            "timeEpoch": now_ms,
        },
    });
    if !query.is_empty() {
        event["queryStringParameters"] = json!(joined(query.iter().map(|(name, value)| (name.as_str(), value.clone()))));
    }
    // What is not said to be text is encoded.
    let is_text = ["text/", "application/json", "application/javascript", "application/xml"];
    let text = std::str::from_utf8(body).ok().filter(|_| is_text.iter().any(|kind| content_type.starts_with(kind)));
    (event["body"], event["isBase64Encoded"]) = match text {
        Some(text) => (json!(text), json!(false)),
        None => (json!(STANDARD.encode(body)), json!(true)),
    };
    event
}

/// A proxy answer of format 2.0.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyAnswer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// What the client gets; `None`: that is no answer of a proxy integration. (A function may answer without `statusCode`; ours never does.)
fn response(answer: &[u8]) -> Option<Response> {
    let answer: ProxyAnswer = serde_json::from_slice(answer).ok()?;
    let body = if answer.is_base64_encoded { STANDARD.decode(answer.body).ok()? } else { answer.body.into_bytes() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    for (name, value) in answer.headers {
        response.headers_mut().insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
    use axum::http::Method;

    use super::*;
    use crate::testing;

    /// The API in front of a function that answers so.
    fn api(answer: impl Fn(&Value) -> Result<Value, InvokeError> + Clone + Send + Sync + 'static) -> Router {
        let functions = Functions::new(move |_, event: Bytes| {
            let answered = answer(&serde_json::from_slice(&event).unwrap());
            std::future::ready(answered.map(|answer| Bytes::from(answer.to_string())))
        });
        router(functions, "http")
    }

    async fn ask(api: Router, method: Method, uri: &str, headers: &[(&str, &str)], body: &'static str) -> (u16, HeaderMap, String) {
        let address = testing::serve(api).await;
        let request =
            headers.iter().fold(Request::builder().method(method).uri(uri), |request, (name, value)| request.header(*name, *value));
        let response = testing::send(address, request.body(Bytes::from(body)).unwrap()).await.unwrap();
        (response.status().as_u16(), response.headers().clone(), String::from_utf8_lossy(response.body()).into_owned())
    }

    /// One that answers its event.
    fn echoing() -> Router {
        api(|event| Ok(json!({"statusCode": 200, "headers": {"x-it": "is"}, "body": event.to_string()})))
    }

    #[tokio::test]
    async fn a_request_is_an_event_of_format_2() {
        let headers = [("content-type", "application/json"), ("X-Two", "a"), ("x-two", "b")];
        let (status, said, body) = ask(echoing(), Method::POST, "/v1/sync?device=a&device=b&x=%20", &headers, "{}").await;
        assert_eq!((status, said["x-it"].to_str().unwrap()), (200, "is"));
        let event: ApiGatewayV2httpRequest = serde_json::from_str(&body).unwrap();
        assert_eq!(event.path_parameters.get("action").map(String::as_str), Some("sync"));
        assert_eq!(event.query_string_parameters.all("device").unwrap(), ["a", "b"]); // the crate splits what the gateway has joined
        assert_eq!(event.query_string_parameters.first("x"), Some(" "));
        assert_eq!(event.headers["x-two"], "a,b");
        assert_eq!((event.body.as_deref(), event.is_base64_encoded), (Some("{}"), false));
        assert_eq!(event.request_context.http.method, Method::POST);
        assert!(event.request_context.request_id.is_some());
    }

    #[tokio::test]
    async fn a_body_that_is_not_said_to_be_text_is_encoded_and_an_answer_may_be() {
        let (_, _, body) = ask(echoing(), Method::POST, "/v1/send", &[], "{}").await;
        let event: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("e30="), &json!(true)));
        let encoded = api(|_| Ok(json!({"statusCode": 401, "body": "aGk=", "isBase64Encoded": true})));
        let (status, _, body) = ask(encoded, Method::POST, "/v1/send", &[], "").await;
        assert_eq!((status, body.as_str()), (401, "hi"));
    }

    #[tokio::test]
    async fn what_is_no_route_is_not_found_and_what_fails_says_so() {
        for (method, uri) in [(Method::GET, "/v1/sync"), (Method::POST, "/v1/sync/more"), (Method::OPTIONS, "/v1/sync")] {
            let (status, _, body) = ask(echoing(), method, uri, &[], "").await;
            assert_eq!((status, body.as_str()), (404, r#"{"message":"Not Found"}"#), "{uri}");
        }
        let crashed = || Err(InvokeError::Crashed { reason: String::new() });
        let throttled = || Err(InvokeError::Throttled { concurrency_max: 1 });
        let (internal, unavailable) = (r#"{"message":"Internal Server Error"}"#, r#"{"message":"Service Unavailable"}"#);
        assert_eq!(ask(api(move |_| crashed()), Method::POST, "/v1/sync", &[], "").await.2, internal);
        assert_eq!(ask(api(|_| Ok(json!("what"))), Method::POST, "/v1/sync", &[], "").await.2, internal);
        let (status, _, body) = ask(api(move |_| throttled()), Method::POST, "/v1/sync", &[], "").await;
        assert_eq!((status, body.as_str()), (503, unavailable));
    }

    #[tokio::test]
    async fn a_web_page_of_this_machine_gets_no_answer() {
        let (status, ..) = ask(echoing(), Method::POST, "/v1/sync", &[("origin", "https://example.com")], "{}").await;
        assert_eq!(status, 403);
    }
}
