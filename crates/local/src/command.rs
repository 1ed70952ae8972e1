//! The command line: run the stack, or chat.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use chatlane_client::device::DeviceOptions;
use chatlane_functions::Function;
use chatlane_protocol::{DeviceId, Token, UserId};
use chatlane_terminal::{ChatOptions, Editor, chat};
use clap::{Args, Parser, Subcommand, ValueEnum};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::data_folder::DATA;
use crate::device_store;
use crate::embedded::Latency;
use crate::gateway::{LostDisconnects, Reorder};
use crate::issuer::{TOKEN_LIFETIME, TOKEN_PATH};
use crate::lambda::CONCURRENCY_MAX;
use crate::ops::Ops;
use crate::stack::{PORT, STAGE, Settings, Stack};
use crate::story::{self, Detail};

/// All of Chatlane on this machine.
#[derive(Debug, Parser)]
#[command(name = "chatlane-local", version, args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    does: Option<Does>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Does {
    /// Chat as NAME with a stack that runs in another terminal.
    Chat(Chat),
    /// Act as an operator.
    #[command(subcommand)]
    Ops(Ops),
}

/// Run the gateway, the functions, the tables and the queue.
#[derive(Debug, Args)]
struct Run {
    /// Port of the gateway; 0 takes any.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Folder for everything that survives a restart.
    #[arg(long, default_value = DATA)]
    data: PathBuf,
    /// Start over: delete the tables, queues and devices in the folder.
    #[arg(long)]
    fresh: bool,
    /// Close every connection after this many seconds, as the gateway does after 2 hours.
    #[arg(long, value_name = "SECONDS")]
    life: Option<u64>,
    /// Misbehave as AWS may, repeatably: frames overtake each other, some disconnect events are lost.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Let every request to a table, a queue or a socket take the time of AWS instead of this machine's.
    #[arg(long, value_name = "WHOSE")]
    latency: Option<Whose>,
    /// Most processes of one function at a time. AWS has 1,000 for all functions of an account, if you have not asked for more.
    #[arg(long, value_name = "NUMBER", default_value_t = CONCURRENCY_MAX)]
    concurrency: usize,
    /// Let users spend as much as they like, for load tests: nobody is charged or shut out.
    #[arg(long)]
    no_limit: bool,
    /// Print where the embedded endpoints listen, and the story of every frame; given twice, every AWS call too.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Whose latencies the requests have.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whose {
    /// Drawn from published quantiles, or from assumed ones where none are published; see docs/FIDELITY.md.
    Aws,
}

#[derive(Debug, Args)]
struct Chat {
    /// Who you are.
    name: String,
    /// Whom you write to first; alice and bob find each other.
    peer: Option<String>,
    /// Port of the gateway.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Folder of the stack; it also keeps this device over a restart.
    #[arg(long, default_value = DATA)]
    data: PathBuf,
}

impl Command {
    /// Does what the command line asks.
    ///
    /// # Errors
    /// One line for the user that says what to do.
    pub async fn execute(self) -> anyhow::Result<()> {
        match self.does {
            Some(Does::Chat(options)) => run_chat(options).await,
            Some(Does::Ops(ops)) => ops.execute().await,
            None => run_stack(self.run).await,
        }
    }
}

async fn run_stack(options: Run) -> anyhow::Result<()> {
    let began = Instant::now();
    let program = std::env::current_exe().context("cannot find this program's own file, which the functions run in")?;
    let mut settings = Settings {
        fresh: options.fresh,
        port: options.port,
        concurrency_max: options.concurrency.max(1),
        ..Settings::new(program, options.data)
    };
    if let Some(seconds) = options.life {
        settings.gateway.limits.life = Duration::from_secs(seconds);
    }
    if let Some(seed) = options.seed {
        settings.gateway.reorder = Reorder::seeded(seed);
        settings.gateway.lost_disconnects = Some(LostDisconnects { share: 0.2, seed });
    }
    if options.no_limit {
        settings.environment.insert("CHATLANE_BUDGET_UNITS_PER_S".to_owned(), "0".to_owned());
    }
    if let Some(Whose::Aws) = options.latency {
        settings.latency = Latency::Aws { seed: options.seed.unwrap_or_else(rand::random) };
    }
    let detail = match options.verbose {
        0 => Detail::Nothing,
        1 => Detail::Story,
        _ => Detail::EveryCall,
    };
    let lines = Arc::new(move |process: &str, line: &str| {
        if detail != Detail::Nothing {
            println!("  {process}: {line}");
        }
    });
    let stack = Stack::start(settings, lines).await?;
    if options.fresh {
        device_store::forget(stack.data())?;
    }
    let printing = story::print(&stack, detail);
    println!("{}", greeting(&stack, began.elapsed(), options.port, options.concurrency));
    if detail != Detail::Nothing {
        let urls = stack.endpoint_urls();
        println!(
            "embedded endpoints, for any AWS client: DynamoDB {}  SQS {}  @connections {}/{STAGE}\n",
            urls.dynamodb, urls.sqs, urls.connections
        );
    }

    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C")?,
        () = terminated() => {}
    }
    println!("\nstopping; everything is kept in {}", stack.data().display());
    printing.abort();
    stack.stop().await;
    Ok(())
}

/// Waits for a SIGTERM.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!("cannot wait for SIGTERM: {error}");
            std::future::pending::<()>().await;
        }
    }
}

fn greeting(stack: &Stack, took: Duration, asked_port: u16, concurrency: usize) -> String {
    let port = stack.address().port();
    let other_port = if asked_port == PORT { String::new() } else { format!(" --port {port}") };
    let data = stack.data();
    let other_data = if data == Path::new(DATA) { String::new() } else { format!(" --data {}", data.display()) };
    let device = DeviceId::from(uuid::Uuid::new_v4());
    format!(
        "Chatlane on this machine · {functions} Lambda functions as real processes · DynamoDB, SQS embedded · data in {data} (delete it to start over)
gateway  {url}        ready in {seconds:.1} s

Paste into a second terminal:   cargo run -q -p chatlane-local -- chat alice{other_port}{other_data}
and into a third:               cargo run -q -p chatlane-local -- chat bob{other_port}{other_data}
Any WebSocket client, as carol: npx -y wscat -c '{url}?device={device}' -s chatlane.v1 -s token.{token}
                                then type {{\"action\":\"hello\",\"id\":\"1\",\"v\":1}}
A token for anybody:            curl '{tokens}?user=dave&seconds=3600'
The same without a socket:      curl 'http://127.0.0.1:{port}/v1/hello?device={device}' -H 'authorization: Bearer TOKEN' \\
                                     -H 'content-type: application/json' -d '{{\"action\":\"hello\",\"id\":\"1\",\"v\":1}}'
Each function runs in {concurrency} processes at most (--concurrency); what is too much for them gets 429 or `Too Many Requests`.
Ctrl-C stops it. -v prints the story of every frame, -vv every AWS call.",
        tokens = format_args!("http://127.0.0.1:{port}{TOKEN_PATH}"),
        functions = Function::ALL.len(),
        data = data.display(),
        url = stack.url(),
        seconds = took.as_secs_f64(),
        token = stack.token("carol", TOKEN_LIFETIME),
    )
}

async fn run_chat(options: Chat) -> anyhow::Result<()> {
    let user = UserId::new(options.name.as_str())?;
    let peer = options.peer.map(UserId::new).transpose()?;
    // The token says which stack answers. While none answers, a user whose device is here can read, and write messages that are sent later.
    let store = match fetch_token(options.port, &user).await {
        Ok(token) => device_store::open(&options.data, &token, &user)?,
        Err(error) => device_store::last(&options.data, &user)?.ok_or(error)?,
    };
    let port = options.port;
    let options = ChatOptions { device: DeviceOptions::new(format!("ws://127.0.0.1:{port}/{STAGE}"), &store), peer, cut_at: None };
    let tokens = move || {
        let user = user.clone();
        async move { fetch_token(port, &user).await.map_err(Into::into) }
    };
    let Some((mut editor, input, output)) = Editor::open().context("cannot use this terminal")? else {
        let input = tokio::io::BufReader::new(tokio::io::stdin());
        let options = ChatOptions { cut_at: Editor::cut_at(), ..options };
        return Ok(chat(options, store, tokens, input, std::io::stdout()).await?);
    };
    tokio::select! {
        chatted = chat(options, store, tokens, input, output) => chatted?,
        () = editor.left() => {}
        () = terminated() => {} // and the terminal is as it was
    }
    Ok(())
}

/// A token of the development issuer that the stack runs.
async fn fetch_token(port: u16, user: &UserId) -> anyhow::Result<Token> {
    let user = utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC);
    let uri = format!("http://127.0.0.1:{port}{TOKEN_PATH}?user={user}").parse()?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(uri).await.with_context(|| format!("no Chatlane on port {port}: start it with cargo run -p chatlane-local"))?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("what listens on port {port} gives no token ({status}): is it Chatlane? choose its port with --port");
    }
    Ok(Token::new(String::from_utf8(text.to_vec())?)?)
}
