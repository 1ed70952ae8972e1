//! The process of a function, from its start to its end: the production bootstrap, which the local runner starts too.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::environment::Environment;
use crate::function::Function;

/// Runs the function that `handler` names, on a runtime of one thread: an environment handles one event at a time.
pub fn bootstrap(handler: &str) -> ExitCode {
    log();
    let Some(function) = Function::from_handler(handler) else {
        eprintln!(
            "_HANDLER is `{handler}`, which is none of: {}",
            Function::ALL.iter().map(|function| function.name()).collect::<Vec<_>>().join(", ")
        );
        return ExitCode::FAILURE;
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{handler}: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(function.run(Environment::of_process())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{handler}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The level and the form that Lambda's logging settings ask for. The level is that of our own crates: at the levels of debugging the
/// runtime logs whole events and the SDK whole requests, with tokens and bodies in them (R1). Of the runtime only the spans are kept that
/// give each line its request id.
fn log() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default();
    let level = if level.is_empty() { "info".to_owned() } else { level.to_lowercase() };
    let ours = ["chatlane_functions", "chatlane_chat", "chatlane_aws"].map(|name| format!("{name}={level}"));
    let filter = EnvFilter::builder().parse_lossy(format!("warn,lambda_runtime::layers::trace=info,{}", ours.join(",")));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false).without_time();
    if std::env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json")) {
        lines.json().init();
    } else {
        lines.init();
    }
}
