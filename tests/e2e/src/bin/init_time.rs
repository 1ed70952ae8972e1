//! From the start of a function's process to its first request for an event: what Lambda bills as INIT, without the download and the
//! sandbox. Chatlane's bootstrap beside the smallest function of the same runtime, in turns; printed, never judged. The bootstrap opens its
//! connections to the tables and the queue before it asks: here to a listener on this machine, without TLS, that refuses everything.
//!
//! Usage: `init_time BOOTSTRAP SMALLEST`, two release builds. `tests/run long` makes them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

/// Starts of each program; odd, so that one is in the middle.
const STARTS: usize = 21;

/// Lambda ends an INIT that takes longer ("Understanding the Lambda execution environment lifecycle").
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// What a role cannot start without: the variables that Lambda sets, and those of the template for `send`, which has the most to build.
const ENVIRONMENT: [(&str, &str); 14] = [
    ("_HANDLER", "send"),
    ("AWS_LAMBDA_FUNCTION_NAME", "send"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/send"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "init_time"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "init_time"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
    ("CHATLANE_LOG_TABLE", "log"),
    ("CHATLANE_CONVERSATIONS_TABLE", "conversations"),
    ("CHATLANE_FAN_OUT_QUEUE_URL", "http://127.0.0.1/000000000000/fan-out"),
    ("CHATLANE_EPOCH", "1"),
    ("CHATLANE_DEDUPE_KEY", "6c6f63616c6c6f63616c6c6f63616c6c6f63616c6c6f63616c6c6f63616c6c6f"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let programs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [bootstrap, smallest] = programs.as_slice() else { bail!("usage: init_time BOOTSTRAP SMALLEST") };
    let endpoint = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", endpoint.local_addr()?);
    tokio::spawn(refuse_everything(endpoint));
    let mut took = [vec![], vec![]];
    for _ in 0..STARTS {
        took[0].push(first_next(bootstrap, &url).await?);
        took[1].push(first_next(smallest, &url).await?);
    }
    let [mut of_bootstrap, mut of_smallest] = took;
    println!("init to first /next, median of {STARTS} starts (fastest … slowest):");
    report("bootstrap in the role send", bootstrap, &mut of_bootstrap)?;
    report("smallest lambda_runtime binary", smallest, &mut of_smallest)
}

/// Starts the program and waits until it asks for an event; the process is gone afterwards.
async fn first_next(program: &Path, endpoint: &str) -> anyhow::Result<Duration> {
    let runtime_api = TcpListener::bind("127.0.0.1:0").await?;
    let mut command = Command::new(program);
    command.env_clear().envs(ENVIRONMENT).env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr()?.to_string());
    command.env("AWS_ENDPOINT_URL", endpoint).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let began = Instant::now();
    let mut process = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
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

/// Answers every request of the SDK with a refusal that it does not repeat.
async fn refuse_everything(endpoint: TcpListener) {
    let router = axum::Router::new().fallback(|| async { axum::http::StatusCode::BAD_REQUEST });
    if let Err(error) = axum::serve(endpoint, router).await {
        eprintln!("the endpoint ended: {error}");
    }
}

fn report(name: &str, program: &Path, took: &mut [Duration]) -> anyhow::Result<()> {
    took.sort_unstable();
    let [fastest, median, slowest] = [0, took.len() / 2, took.len() - 1].map(|index| took[index].as_secs_f64() * 1e3);
    let bytes = u32::try_from(std::fs::metadata(program)?.len()).context("a binary below 4 GB")?;
    println!("{name:32}{median:7.1} ms ({fastest:.1} … {slowest:.1}), {:.2} MB", f64::from(bytes) / 1e6);
    Ok(())
}
