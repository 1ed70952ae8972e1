//! The start of a function's process, up to its first request for an event.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chatlane_functions::Function;
use chatlane_functions::environment::Environment;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

/// Lambda ends an INIT that takes longer ("Understanding the Lambda execution environment lifecycle").
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// What Lambda sets.
const LAMBDA: [(&str, &str); 7] = [
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/chatlane"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "start"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "start"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
];

/// The environment of a function: what Lambda sets, and what the function asks for, with values that a deployment could have.
pub fn environment(function: Function, endpoint: &str) -> Vec<(String, String)> {
    let mut env = Environment::new([]);
    function.ask(&mut env);
    let value = |name: &str| match name {
        "CHATLANE_JWKS" => String::new(), // one of the two
        "CHATLANE_JWKS_URL" => format!("{endpoint}/jwks.json"),
        "CHATLANE_FAN_OUT_QUEUE_URL" => format!("{endpoint}/000000000000/fan-out"),
        "CHATLANE_CONNECTIONS_ENDPOINT" => endpoint.to_owned(),
        "CHATLANE_MAX_TOKEN_LIFE_S" | "CHATLANE_BUDGET_UNITS_PER_S" | "CHATLANE_BUDGET_BURST_UNITS" => "7200".to_owned(),
        name => name.to_lowercase(),
    };
    let asked = env.asked().iter().map(|name| (name.clone(), value(name)));
    let lambda = LAMBDA.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let named = ["_HANDLER", "AWS_LAMBDA_FUNCTION_NAME"].map(|name| (name.to_owned(), function.name().to_owned()));
    asked.chain(lambda).chain(named).collect()
}

/// A server that answers every request of the SDK with a refusal that it does not repeat; its address.
///
/// # Errors
/// There is no free port.
pub async fn refusing_endpoint() -> anyhow::Result<String> {
    let endpoint = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", endpoint.local_addr()?);
    let router = axum::Router::new().fallback(|| async { axum::http::StatusCode::BAD_REQUEST });
    tokio::spawn(async { axum::serve(endpoint, router).await });
    Ok(url)
}

/// Starts `program` as this function and waits until it asks for an event; the process is gone afterwards.
///
/// # Errors
/// It ends instead, or asks for something else, or does not ask within the time that Lambda gives it.
pub async fn first_next(program: &Path, function: Function, endpoint: &str) -> anyhow::Result<Duration> {
    let runtime_api = TcpListener::bind("127.0.0.1:0").await?;
    let mut command = Command::new(program);
    command.env_clear().envs(environment(function, endpoint)).env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr()?.to_string());
    command.env("AWS_ENDPOINT_URL", endpoint).stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    let began = Instant::now();
    let mut process = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
    let _alive = process.stdin.take(); // a function of the local runner ends with its standard input
    let request = async {
        let (socket, _) = runtime_api.accept().await?;
        let (mut connection, mut line) = (BufReader::new(socket), String::new());
        connection.read_line(&mut line).await?;
        Ok::<_, std::io::Error>((line, began.elapsed(), connection))
    };
    // The connection stays open until the process is gone: it waits for its event, and has nothing to complain of.
    let (line, took, _connection) = tokio::select! {
        request = timeout(INIT_LIMIT, request) => request.with_context(|| format!("no request within {INIT_LIMIT:?}"))??,
        ended = process.wait() => bail!("{} ended instead of asking for an event: {}", program.display(), ended?),
    };
    process.kill().await?;
    ensure!(line.starts_with("GET /2018-06-01/runtime/invocation/next "), "the first request was {line:?}");
    Ok(took)
}
