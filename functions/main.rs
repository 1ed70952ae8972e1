//! The `bootstrap` of every Chatlane function: `_HANDLER` says which one this process is.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        println!("This is the bootstrap of Chatlane's Lambda functions; to run Chatlane on this machine: cargo run -p chatlane-local");
        return ExitCode::FAILURE;
    }
    chatlane_functions::bootstrap(&std::env::var("_HANDLER").unwrap_or_default())
}
