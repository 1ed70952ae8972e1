//! `Outbound` on `chatlane_aws::Gateway` and the local gateway's `@connections`.

use axum::http::StatusCode;
use chatlane_aws::{Backend, Resource, sdk_config_at};
use chatlane_chat::ports::{Failure, Outbound as _, PostOutcome};
use chatlane_local::embedded::{At, Endpoints, Matching, Service};
use chatlane_local::gateway::{Gateway, GatewayEvent, Settings, What};
use chatlane_local::lambda::Functions;
use chatlane_protocol::{ConnectionId, DeviceId};
use chatlane_tests_e2e::{Device, Refusing, part_on, patiently};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::embedded::{CALLER, serve};

/// Let everybody in.
fn doorman() -> Functions {
    Functions::new(async |function, _| {
        let allowed = json!({ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*" });
        let answer = match function.as_str() {
            "authorize" => json!({ "principalId": "alice", "policyDocument": { "Version": "2012-10-17", "Statement": [allowed] } }),
            _ => json!({ "statusCode": 200 }),
        };
        Ok(answer.to_string().into())
    })
}

struct Bench {
    outbound: Backend<(), (), (), (), (), chatlane_aws::Gateway>,
    endpoints: Endpoints,
    url: String,
    events: UnboundedReceiver<GatewayEvent>,
}

impl Bench {
    async fn new() -> Self {
        let gateway = Gateway::new(Settings::new("dev", "authorize", [("$default", "fallback")]), doorman());
        let events = gateway.observe();
        let endpoints = Endpoints::new();
        let management = serve(&endpoints, Service::Connections, gateway.management_router()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/dev", listener.local_addr().unwrap());
        tokio::spawn(gateway.serve(listener));
        let outbound = part_on(&sdk_config_at(&management, CALLER).await, [(Resource::Gateway, format!("{management}/dev"))]);
        Self { outbound, endpoints, url, events }
    }

    /// A client, and the gateway's id of its connection, which ends in `=`.
    async fn client(&mut self) -> (Device, ConnectionId) {
        let device = Device::connect_with(&self.url, DeviceId::from(uuid::Uuid::new_v4()), &[]).await.unwrap();
        let opened = patiently("the connection is told", self.events.recv()).await;
        let Some(GatewayEvent { connection, what: What::Opened { .. }, .. }) = opened else { panic!("{opened:?}") };
        (device, ConnectionId::new(connection).unwrap())
    }

    /// Waits until the gateway knows that a connection is closed.
    async fn closed(&mut self) {
        patiently("a connection is closed", async { while !matches!(self.events.recv().await.unwrap().what, What::Closed { .. }) {} })
            .await;
    }
}

#[tokio::test]
async fn a_posted_frame_arrives_as_it_is() {
    let mut bench = Bench::new().await;
    let (device, connection) = bench.client().await;
    let frame = json!({ "type": "entries", "text": "\u{0}\"ü😀", "long": "x".repeat(30_000) });
    assert_eq!(bench.outbound.post(&connection, &frame.to_string()).await, PostOutcome::Posted);
    assert_eq!(device.until("the frame comes", |frames| frames.first().cloned()).await, Some(frame));
}

#[tokio::test]
async fn a_connection_that_is_closed_or_never_was_is_gone() {
    let mut bench = Bench::new().await;
    let (device, connection) = bench.client().await;
    device.close().await;
    bench.closed().await;
    for connection in [connection, ConnectionId::new("L0SM9cOFvHcCIhw=").unwrap(), ConnectionId::new("a/b?c#d%2F=").unwrap()] {
        assert_eq!(bench.outbound.post(&connection, "{}").await, PostOutcome::Gone, "{connection}");
        assert_eq!(bench.outbound.close(&connection).await, PostOutcome::Gone, "{connection}");
    }
}

#[tokio::test]
async fn a_connection_is_closed_behind_what_was_posted_to_it() {
    let mut bench = Bench::new().await;
    let (device, connection) = bench.client().await;
    assert_eq!(bench.outbound.post(&connection, r#"{"n":1}"#).await, PostOutcome::Posted);
    assert_eq!(bench.outbound.close(&connection).await, PostOutcome::Posted);
    assert_eq!(device.until("the frame comes", |frames| frames.first().cloned()).await, Some(json!({ "n": 1 })));
    bench.closed().await;
    assert_eq!(bench.outbound.close(&connection).await, PostOutcome::Gone);
}

#[tokio::test]
async fn failures_leave_the_outcome_unknown_and_throttles_and_refusals_do_not() {
    let mut bench = Bench::new().await;
    let (_device, connection) = bench.client().await;
    let outcomes: [fn(Failure) -> PostOutcome; 3] = [PostOutcome::Throttled, PostOutcome::Unknown, PostOutcome::Refused];
    let [throttled, unknown, refused] = outcomes;
    for (status, code, expected) in [
        (StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", throttled),
        (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", throttled),
        (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerException", unknown),
        (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", unknown),
        (StatusCode::BAD_REQUEST, "BadRequestException", unknown),
        (StatusCode::FORBIDDEN, "ForbiddenException", refused),
        (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", refused),
    ] {
        let recording = bench.endpoints.record();
        let _refusing =
            Refusing::with(bench.endpoints.hold(Matching::service(Service::Connections), At::Request, usize::MAX), status, code);
        let outcomes = [bench.outbound.post(&connection, "{}").await, bench.outbound.close(&connection).await];
        let because = |attempted| expected(Failure::unavailable(attempted, code));
        assert_eq!(outcomes, [because("post to a connection"), because("close a connection")]);
        assert_eq!(recording.calls().len(), 2, "each is tried once, whatever the answer");
    }
}

#[tokio::test]
async fn a_post_without_an_answer_has_an_unknown_outcome_and_may_have_arrived() {
    let mut bench = Bench::new().await;
    let (device, connection) = bench.client().await;
    let mut hold = bench.endpoints.hold(Matching::service(Service::Connections), At::Answer, 3); // it would catch another attempt
    let mut caught = vec![];
    let unanswered = async {
        loop {
            caught.push(hold.caught().await); // it ends by the SDK's own timeout
        }
    };
    let outcome = tokio::select! {
        outcome = bench.outbound.post(&connection, r#"{"n":1}"#) => outcome,
        () = unanswered => unreachable!("it holds for ever"),
    };
    assert_eq!(outcome, PostOutcome::Unknown(Failure::unavailable("post to a connection", "timed out")));
    assert_eq!(caught.len(), 1);
    assert_eq!(device.until("it arrived all the same", |frames| frames.first().cloned()).await, Some(json!({ "n": 1 })));
}
