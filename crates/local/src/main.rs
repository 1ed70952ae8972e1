//! `chatlane-local`: the runner, the functions' processes and the terminal chat in one program.

use std::process::ExitCode;

use chatlane_functions::Role;
use chatlane_local::{command, lambda};
use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    // Started by the runner in a function's role: the production bootstrap, in this executable so that one build makes everything.
    if let (Ok(handler), Ok(_)) = (std::env::var("_HANDLER"), std::env::var("AWS_LAMBDA_RUNTIME_API")) {
        return run_function(&handler);
    }
    let command = command::Command::parse();
    // A refused condition is everyday business, and embedded DynamoDB warns of each.
    let filter = tracing_subscriber::EnvFilter::new("warn,dynoxide=error");
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = runtime.block_on(command.execute());
    // A blocking read of the terminal cannot be cancelled; nothing else is left.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run_function(handler: &str) -> ExitCode {
    lambda::die_with_parent();
    let Some(role) = Role::from_handler(handler) else {
        eprintln!("there is no function `{handler}`");
        return ExitCode::FAILURE;
    };
    lambda_log();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(chatlane_functions::run(role)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{handler}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The functions' log, one line an event, to the standard error that the runner reads. `INFO`, as deployed, unless `RUST_LOG` says
/// otherwise (the production bootstrap's subscriber reads it too).
fn lambda_log() {
    let levels = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("chatlane-local: {error:#}");
    ExitCode::FAILURE
}
