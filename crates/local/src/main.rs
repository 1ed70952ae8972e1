//! `chatlane-local`: the runner, the functions' processes and the terminal chat in one program.

use std::process::ExitCode;

use chatlane_local::{command, lambda};
use clap::Parser as _;

fn main() -> ExitCode {
    // The runner started this process as a function: it runs the production bootstrap, which is in this executable so that one build
    // makes everything.
    if let (Ok(handler), Ok(_)) = (std::env::var("_HANDLER"), std::env::var("AWS_LAMBDA_RUNTIME_API")) {
        lambda::die_with_parent();
        return chatlane_functions::bootstrap(&handler);
    }
    let command = command::Command::parse();
    // Embedded DynamoDB warns of every refused condition, and those are part of normal work.
    let filter = tracing_subscriber::EnvFilter::new("warn,dynoxide=error");
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = runtime.block_on(command.execute());
    // A blocking read of the terminal cannot be cancelled. Nothing else is still running.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("chatlane-local: {error:#}");
    ExitCode::FAILURE
}
