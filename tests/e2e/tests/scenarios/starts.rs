//! Each function's process, from its start to its first request for an event.

use chatlane_functions::Function;
use chatlane_tests_e2e::program;
use chatlane_tests_e2e::start::{first_next, refusing_endpoint};

/// What a function asks for is what the template gives it: `functions/function.rs` has the test.
#[tokio::test]
async fn every_function_starts_with_the_environment_that_the_template_gives_it() {
    let endpoint = refusing_endpoint().await.unwrap();
    for function in Function::ALL {
        if let Err(error) = first_next(&program(), *function, &endpoint).await {
            panic!("{}: {error}", function.name());
        }
    }
}
