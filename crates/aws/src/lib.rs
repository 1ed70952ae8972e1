//! The production backend: Chatlane's ports on `DynamoDB`, SQS and the WebSocket gateway's `@connections`.
//!
//! The only crate that names an AWS SDK. [`items`] is the one place that knows attributes; `store` turns ports into requests to
//! `DynamoDB`, [`queue`] to SQS, [`outbound`] to the gateway. The parameters of [`Backend`] are the parts of a deployment that a function
//! is given. No rule lives here: what a refused condition means is for `chatlane-chat` to say. Not promised: retries beyond the SDK's own
//! three attempts, of posts one (a caller repeats with the same ids), caches of any kind.

mod backend;
mod failure;
pub mod items;
mod meter;
pub mod outbound;
pub mod queue;
mod store;

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_dynamodb::config::Credentials;

pub use outbound::Gateway;
pub use queue::Queue;

pub use backend::{Backend, Clients, Clocks, Conversations, Inboxes, Log, Part, Parts, Resource, Store, Users};

/// How the SDK is set up for every client: from the environment (region, credentials, `AWS_ENDPOINT_URL_*`), with the time budget of a
/// chat message. The SDK's own defaults start to retry after one second, which alone would break it.
pub async fn sdk_config() -> SdkConfig {
    within_budget().load().await
}

/// The same for tools that a person uses, with a profile of the AWS tools where one is named.
pub async fn sdk_config_of(profile: Option<&str>) -> SdkConfig {
    match profile {
        Some(profile) => within_budget().profile_name(profile).load().await,
        None => sdk_config().await,
    }
}

/// The same for tools and tests against embedded endpoints: everything at this URL, signed with this access key id (the endpoints know
/// callers by it, and check no signature). Nothing is read from the environment.
pub async fn sdk_config_at(endpoint: &str, access_key_id: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key_id, "local", None, None, "static");
    within_budget().region(Region::from_static("us-east-1")).credentials_provider(credentials).endpoint_url(endpoint).load().await
}

/// The same without its time limits: for tests of what is answered, on machines that may be slow.
#[must_use]
pub fn without_time_limits(config: &SdkConfig) -> SdkConfig {
    config.to_builder().timeout_config(TimeoutConfig::disabled()).build()
}

fn within_budget() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(25)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_millis(500))
                .operation_attempt_timeout(Duration::from_secs(1))
                .operation_timeout(Duration::from_secs(4))
                .build(),
        )
}
