//! The `bootstrap` of every Chatlane function: `_HANDLER` says which one this process is.

use std::process::ExitCode;

use chatlane_functions::{Role, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        println!("This is the bootstrap of Chatlane's Lambda functions; to run Chatlane on this machine: cargo run -p chatlane-local");
        return ExitCode::FAILURE;
    }
    lambda_runtime::tracing::init_default_subscriber();
    let handler = std::env::var("_HANDLER").unwrap_or_default();
    let Some(role) = Role::from_handler(&handler) else {
        eprintln!("_HANDLER is `{handler}`, which is none of: {}", Role::ALL.map(Role::name).join(", "));
        return ExitCode::FAILURE;
    };
    match Box::pin(run(role)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", role.name());
            ExitCode::FAILURE
        }
    }
}
