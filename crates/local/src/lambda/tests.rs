//! The test plays the runtime: the processes are `cat`, which lives until its input ends, and the test speaks the Runtime API in their
//! name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::{Request as HttpRequest, StatusCode, response::Parts};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::request::Request;
use super::{FunctionSettings, InvocationEnded, InvokeError, Lambda, LambdaSettings};
use crate::testing;

/// Long enough never to end in a test that is about something else.
const LONG: Duration = Duration::from_mins(10);
/// For tests that wait for the end of it.
const SHORT: Duration = Duration::from_millis(50);

struct Runtime {
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Runtime {
    async fn call(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (Parts, Bytes) {
        let request = HttpRequest::builder().method(method).uri(format!("/{path}")).body(body.into()).expect("a request");
        testing::send(self.address, request).await.expect("an answer").into_parts()
    }

    /// Takes the next event as `caller` and returns its request id and itself.
    async fn next(&self, caller: &str) -> (String, Bytes) {
        let (parts, event) = self.call("GET", &format!("{caller}/2018-06-01/runtime/invocation/next"), "").await;
        assert_eq!(parts.status, StatusCode::OK, "{event:?}");
        (parts.headers["lambda-runtime-aws-request-id"].to_str().expect("an id").to_owned(), event)
    }

    async fn post(&self, caller: &str, path: &str, body: impl Into<Bytes>) -> (StatusCode, Value) {
        let (parts, body) = self.call("POST", &format!("{caller}/2018-06-01/runtime/{path}"), body).await;
        (parts.status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn answer(&self, caller: &str, request_id: &str, answer: &str) {
        let (status, _) = self.post(caller, &format!("invocation/{request_id}/response"), answer.to_owned()).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    /// Takes one event as `caller` and answers with it.
    async fn echo(&self, caller: &str) {
        let (request_id, event) = self.next(caller).await;
        self.answer(caller, &request_id, std::str::from_utf8(&event).expect("text")).await;
    }
}

fn echo() -> FunctionSettings {
    FunctionSettings { timeout: LONG, concurrency_max: 2, ..FunctionSettings::new("echo") }
}

async fn serve_program(program: &str, init_timeout: Duration, function: FunctionSettings, lines: super::LineSink) -> (Lambda, Runtime) {
    let (listener, address) = testing::port().await;
    let settings = LambdaSettings { program: program.into(), runtime_api: address.to_string(), init_timeout, functions: vec![function] };
    let lambda = Lambda::new(settings, lines);
    let router = lambda.router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
    (lambda, Runtime { address, server })
}

async fn serve(function: FunctionSettings) -> (Lambda, Runtime) {
    serve_program("cat", LONG, function, Arc::new(|_, _| ())).await
}

/// Runs one invocation on `caller`, from start to end.
async fn invoke_on(lambda: &Lambda, runtime: &Runtime, caller: &str, event: &'static str) {
    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from(event)), runtime.echo(caller));
    assert_eq!(answer, Ok(Bytes::from(event)));
}

async fn next_report(reports: &mut mpsc::UnboundedReceiver<InvocationEnded>) -> (String, bool, Result<(), InvokeError>) {
    let ended = reports.recv().await.expect("a report");
    assert_eq!(ended.function, "echo");
    (ended.caller, ended.cold, ended.outcome)
}

/// How many environments there are: starting, busy or idle.
fn environments(lambda: &Lambda) -> usize {
    lambda.pool.environments(None).len()
}

fn killed() -> InvokeError {
    InvokeError::Crashed { reason: "it was killed".to_owned() }
}

#[tokio::test]
async fn an_event_reaches_the_process_with_its_headers_and_the_answer_comes_back() {
    let (lambda, runtime) = serve(echo()).await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from("\"hi\"")), async {
        let (parts, event) = runtime.call("GET", "echo-1/2018-06-01/runtime/invocation/next", "").await;
        let header = |name: &str| parts.headers[name].to_str().expect("text").to_owned();
        assert_eq!(event, "\"hi\"");
        assert_eq!(header("lambda-runtime-invoked-function-arn"), "arn:aws:lambda:us-east-1:000000000000:function:echo");
        assert!(header("lambda-runtime-deadline-ms").parse::<u128>().expect("a number") >= now_ms + LONG.as_millis());
        let trace = header("lambda-runtime-trace-id");
        assert!(trace.starts_with("Root=1-") && trace.len() == "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0".len(), "{trace}");
        runtime.answer("echo-1", &header("lambda-runtime-aws-request-id"), "\"ho\"").await;
    });

    assert_eq!(answer, Ok(Bytes::from("\"ho\"")));
}

#[tokio::test]
async fn an_idle_environment_is_used_again_and_only_its_first_invocation_is_cold() {
    let (lambda, runtime) = serve(echo()).await;
    let mut reports = lambda.observe();

    invoke_on(&lambda, &runtime, "echo-1", "1").await;
    invoke_on(&lambda, &runtime, "echo-1", "2").await;

    assert_eq!(next_report(&mut reports).await, ("echo-1".to_owned(), true, Ok(())));
    assert_eq!(next_report(&mut reports).await, ("echo-1".to_owned(), false, Ok(())));
    assert_eq!(environments(&lambda), 1);
}

#[tokio::test]
async fn concurrent_events_get_an_environment_each_until_the_limit_throttles() {
    let (lambda, runtime) = serve(echo()).await;

    let (first, second, third, ()) = tokio::join!(
        lambda.invoke("echo", Bytes::from("1")),
        lambda.invoke("echo", Bytes::from("2")),
        lambda.invoke("echo", Bytes::from("3")),
        async {
            runtime.echo("echo-1").await;
            runtime.echo("echo-2").await;
        }
    );

    assert_eq!((first, second), (Ok(Bytes::from("1")), Ok(Bytes::from("2"))));
    assert_eq!(third, Err(InvokeError::Throttled { concurrency_max: 2 }));
    assert_eq!(environments(&lambda), 2);
}

#[tokio::test]
async fn of_two_idle_environments_the_one_that_was_busy_last_is_used() {
    let (lambda, runtime) = serve(echo()).await;
    let _both = tokio::join!(lambda.invoke("echo", Bytes::from("1")), lambda.invoke("echo", Bytes::from("2")), async {
        runtime.echo("echo-2").await;
        runtime.echo("echo-1").await;
    });

    invoke_on(&lambda, &runtime, "echo-1", "3").await;
}

#[tokio::test]
async fn a_function_that_exceeds_its_timeout_is_killed_and_its_number_is_not_used_again() {
    let (lambda, runtime) = serve(FunctionSettings { timeout: SHORT, ..echo() }).await;
    let mut reports = lambda.observe();

    let (answer, _) = tokio::join!(lambda.invoke("echo", Bytes::from("1")), runtime.next("echo-1"));

    assert_eq!(answer, Err(InvokeError::TimedOut { after: SHORT }));
    assert_eq!(next_report(&mut reports).await, ("echo-1".to_owned(), true, Err(InvokeError::TimedOut { after: SHORT })));
    assert_eq!(environments(&lambda), 0);
    let (_, (_, event)) = tokio::join!(lambda.invoke("echo", Bytes::from("2")), runtime.next("echo-2"));
    assert_eq!(event, "2");
}

#[tokio::test]
async fn a_process_that_answers_and_never_asks_again_is_killed_at_the_timeout() {
    // Two orders of magnitude more than the two answers in here need.
    let timeout = Duration::from_secs(2);
    let (lambda, runtime) = serve(FunctionSettings { timeout, concurrency_max: 1, ..echo() }).await;
    invoke_on(&lambda, &runtime, "echo-1", "1").await;

    // The event is waiting for echo-1 when that is killed, and goes to its successor. While the successor does not exist, asking is
    // refused.
    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from("2")), async {
        loop {
            let (parts, _) = runtime.call("GET", "echo-2/2018-06-01/runtime/invocation/next", "").await;
            if parts.status == StatusCode::OK {
                let request_id = parts.headers["lambda-runtime-aws-request-id"].to_str().expect("an id");
                return runtime.answer("echo-2", request_id, "\"second\"").await;
            }
        }
    });

    assert_eq!(answer, Ok(Bytes::from("\"second\"")));
}

#[tokio::test]
async fn a_killed_process_fails_its_invocation_and_the_next_one_starts_a_new_process() {
    let (lambda, runtime) = serve(echo()).await;

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from("1")), async {
        runtime.next("echo-1").await;
        assert!(lambda.kill("echo-1").await);
        assert_eq!(environments(&lambda), 0);
    });

    assert_eq!(answer, Err(killed()));
    assert!(!lambda.kill("echo-1").await, "it is gone");
    assert!(!lambda.kill("nonsense").await, "it never was");
    invoke_on(&lambda, &runtime, "echo-2", "2").await;
}

#[tokio::test]
async fn an_event_that_a_dead_warm_environment_never_took_goes_to_another() {
    let (lambda, runtime) = serve(FunctionSettings { concurrency_max: 1, ..echo() }).await;
    invoke_on(&lambda, &runtime, "echo-1", "1").await;

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from("2")), async {
        lambda.kill("echo-1").await;
        while environments(&lambda) == 0 {
            tokio::task::yield_now().await;
        }
        runtime.echo("echo-2").await;
    });

    assert_eq!(answer, Ok(Bytes::from("2")));
}

#[tokio::test]
async fn an_event_whose_request_was_given_up_waits_for_the_next_request() {
    let (lambda, runtime) = serve(echo()).await;

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from("1")), async {
        let (delivery, given_up) = oneshot::channel();
        drop(given_up);
        assert!(lambda.pool.send("echo-1", Request::Next { delivery }));
        runtime.echo("echo-1").await;
    });

    assert_eq!(answer, Ok(Bytes::from("1")));
}

#[tokio::test]
async fn a_process_that_ends_before_its_first_event_or_cannot_be_started_fails_the_invocation() {
    for (program, expected) in [("false", "it ended with exit status: 1"), ("/nowhere/at-all", "/nowhere/at-all could not be started")] {
        let (lambda, _runtime) = serve_program(program, LONG, echo(), Arc::new(|_, _| ())).await;

        let answer = lambda.invoke("echo", Bytes::new()).await;

        assert!(matches!(&answer, Err(InvokeError::Crashed { reason }) if reason.starts_with(expected)), "{answer:?}");
        assert_eq!(environments(&lambda), 0);
    }
}

#[tokio::test]
async fn a_process_that_never_asks_for_an_event_is_killed_at_the_init_timeout() {
    let (lambda, _runtime) = serve_program("cat", SHORT, echo(), Arc::new(|_, _| ())).await;
    let mut reports = lambda.observe();

    let answer = lambda.invoke("echo", Bytes::new()).await;

    let crashed = Err(InvokeError::Crashed { reason: "it did not ask for an event within the init time".to_owned() });
    assert_eq!(answer, crashed);
    assert_eq!(next_report(&mut reports).await, ("echo-1".to_owned(), true, crashed.map(|_: Bytes| ())));
}

#[tokio::test]
async fn an_error_of_the_function_leaves_its_environment_usable() {
    let (lambda, runtime) = serve(echo()).await;

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::new()), async {
        let (request_id, _) = runtime.next("echo-1").await;
        let report = json!({"errorType": "Unavailable", "errorMessage": "try again"}).to_string();
        let (status, body) = runtime.post("echo-1", &format!("invocation/{request_id}/error"), report).await;
        assert_eq!((status, body), (StatusCode::ACCEPTED, json!({"status": "OK"})));
    });

    assert_eq!(answer, Err(InvokeError::Handled { error_type: "Unavailable".to_owned(), message: "try again".to_owned() }));
    invoke_on(&lambda, &runtime, "echo-1", "2").await;
}

#[tokio::test]
async fn an_answer_over_six_megabytes_is_refused_and_fails_the_invocation() {
    let (lambda, runtime) = serve(echo()).await;

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::new()), async {
        let (request_id, _) = runtime.next("echo-1").await;
        let path = format!("invocation/{request_id}/response");
        let (status, body) = runtime.post("echo-1", &path, vec![b' '; 6 * 1024 * 1024 + 1]).await;
        assert_eq!((status, &body["errorType"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("Function.ResponseSizeTooLarge")));
        // The invocation is over: its id is no longer known, whatever the size.
        let (status, body) = runtime.post("echo-1", &path, vec![b' '; 6 * 1024 * 1024 + 1]).await;
        assert_eq!((status, &body["errorType"]), (StatusCode::BAD_REQUEST, &json!("InvalidRequestID")));
    });

    assert!(matches!(answer, Err(InvokeError::Handled { error_type, .. }) if error_type == "Function.ResponseSizeTooLarge"));
}

#[tokio::test]
async fn requests_that_the_state_forbids_are_refused() {
    let (lambda, runtime) = serve(echo()).await;

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::from("1")), async {
        let (request_id, _) = runtime.next("echo-1").await;

        let (parts, body) = runtime.call("GET", "echo-1/2018-06-01/runtime/invocation/next", "").await;
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "it owes an answer");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["errorType"], "InvalidStateTransition");

        let (status, body) = runtime.post("echo-1", "invocation/another/response", "1").await;
        assert_eq!((status, &body["errorType"]), (StatusCode::BAD_REQUEST, &json!("InvalidRequestID")));

        for (method, path) in [("GET", "invocation/next"), ("POST", "invocation/1/response")] {
            let (parts, _) = runtime.call(method, &format!("echo-7/2018-06-01/runtime/{path}"), "").await;
            assert_eq!(parts.status, StatusCode::FORBIDDEN, "no environment {path}");
        }
        runtime.answer("echo-1", &request_id, "1").await;
    });

    assert_eq!(answer, Ok(Bytes::from("1")));
}

#[tokio::test]
async fn a_process_sees_its_functions_variables_and_those_of_aws_and_nothing_else() {
    let (lines, mut written) = mpsc::unbounded_channel();
    let sink = Arc::new(move |caller: &str, line: &str| {
        let _closed = lines.send((caller.to_owned(), line.to_owned()));
    });
    let environment = BTreeMap::from([("CHATLANE_LOG_TABLE", "1"), ("AWS_REGION", "mars")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let (lambda, runtime) = serve_program("env", LONG, FunctionSettings { environment, ..echo() }, sink).await;

    let answer = lambda.invoke("echo", Bytes::new()).await;

    assert!(matches!(answer, Err(InvokeError::Crashed { .. })), "`env` ends without asking for the event");
    drop((lambda, runtime.server.abort()));
    let mut variables = BTreeMap::new();
    while let Some((caller, line)) = written.recv().await {
        assert_eq!(caller, "echo-1");
        let (name, value) = line.split_once('=').expect("NAME=value");
        variables.insert(name.to_owned(), value.to_owned());
    }
    let expected = [
        ("AWS_ACCESS_KEY_ID", "echo-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_FUNCTION_NAME", "echo"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/echo"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "echo-1"),
        ("AWS_LAMBDA_RUNTIME_API", &format!("http://{}/echo-1", runtime.address)),
        ("AWS_REGION", "us-east-1"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("CHATLANE_LOG_TABLE", "1"),
        ("_HANDLER", "echo"),
    ];
    assert_eq!(variables, BTreeMap::from(expected.map(|(k, v)| (k.to_owned(), v.to_owned()))));
}

#[tokio::test]
async fn an_unknown_function_is_refused_and_shutting_down_kills_every_process_and_refuses_all() {
    let (lambda, runtime) = serve(echo()).await;
    let unknown = lambda.invoke("nobody", Bytes::new()).await;
    assert_eq!(unknown, Err(InvokeError::UnknownFunction { function: "nobody".to_owned() }));

    let (answer, ()) = tokio::join!(lambda.invoke("echo", Bytes::new()), async {
        runtime.next("echo-1").await;
        lambda.shut_down().await;
    });

    assert_eq!(answer, Err(killed()));
    assert_eq!(environments(&lambda), 0);
    assert_eq!(lambda.invoke("echo", Bytes::new()).await, Err(InvokeError::ShutDown));
}

#[tokio::test]
async fn the_processes_of_a_dropped_service_are_killed() {
    let (alive, gone) = oneshot::channel::<()>();
    // The pipes of a process hold the sink; it is dropped when the last of them is closed.
    let sink = Arc::new(move |_: &str, _: &str| assert!(!alive.is_closed()));
    let (lambda, runtime) = serve_program("cat", LONG, echo(), sink).await;
    invoke_on(&lambda, &runtime, "echo-1", "1").await;

    drop(lambda);
    runtime.server.abort();

    assert!(gone.await.is_err());
}
