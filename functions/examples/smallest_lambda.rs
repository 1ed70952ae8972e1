//! The smallest function that `lambda_runtime` makes: what `init_time` measures Chatlane's bootstrap beside.
//!
//! An example of `functions`, so that it is built from what the bootstrap is built from; nothing deploys it.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async { Ok::<_, Error>(event.payload) })).await
}
