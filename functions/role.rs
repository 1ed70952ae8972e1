//! Which function this process is, and what that one needs.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::sqs::SqsEvent;
use chatlane_aws::{Gateway, Queue, Store, sdk_config};
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::authorize::jwks::{KeyAges, KeySource};
use crate::authorize::token::TokenPolicy;
use crate::environment::{Environment, SystemClock};
use crate::{authorize, connect, disconnect, fallback, fan_out, hello, open, ping, send};

/// A Lambda function of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The `$connect` authorizer.
    Authorize,
    /// Route `$connect`.
    Connect,
    /// Route `$disconnect`.
    Disconnect,
    /// Route `hello`.
    Hello,
    /// Route `open`.
    Open,
    /// Route `send`.
    Send,
    /// Route `ping`.
    Ping,
    /// Route `$default`.
    Fallback,
    /// The queue's worker.
    FanOut,
}

impl Role {
    /// All of them, in the order of a message's way.
    pub const ALL: [Self; 9] =
        [Self::Authorize, Self::Connect, Self::Disconnect, Self::Hello, Self::Open, Self::Send, Self::Ping, Self::Fallback, Self::FanOut];

    /// Its name: the function's handler, its folder, its process.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Hello => "hello",
            Self::Open => "open",
            Self::Send => "send",
            Self::Ping => "ping",
            Self::Fallback => "fallback",
            Self::FanOut => "fan_out",
        }
    }

    /// The role of a `_HANDLER`.
    pub fn from_handler(handler: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == handler)
    }
}

type Route = LambdaEvent<ApiGatewayWebsocketProxyRequest>;

/// Runs the function's loop until its process is ended. Clients are built once, here. Returns only an error of the start.
pub async fn run(role: Role) -> Result<(), Error> {
    let mut env = Environment::of_process();
    let clock = SystemClock;
    match role {
        Role::Authorize => {
            let source = env.text_or("CHATLANE_JWKS", "");
            let source = if source.is_empty() { env.text("CHATLANE_JWKS_URL") } else { source };
            let policy = TokenPolicy {
                issuer: env.text("CHATLANE_JWT_ISSUER"),
                audience: env.text("CHATLANE_JWT_AUDIENCE"),
                user_claim: env.text_or("CHATLANE_JWT_USER_CLAIM", TokenPolicy::DEFAULT_USER_CLAIM),
            };
            env.finish()?;
            let keys = KeySource::from_setting(&source, KeyAges::default())?;
            let (keys, policy) = (&keys, &policy);
            lambda_runtime::run(service_fn(|event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>| async move {
                Ok::<_, Error>(authorize::handle(keys, policy, &clock, event.payload).await)
            }))
            .await
        }
        Role::Connect => lambda_runtime::run(service_fn(|event: Route| async move { connect::handle(&event.payload) })).await,
        Role::Ping => lambda_runtime::run(service_fn(|event: Route| async move { ping::handle(&clock, &event.payload) })).await,
        Role::Fallback => lambda_runtime::run(service_fn(|event: Route| async move { fallback::handle(&clock, &event.payload) })).await,
        Role::Disconnect => {
            let tables = env.tables();
            env.finish()?;
            let store = &Store::new(&sdk_config().await, tables);
            lambda_runtime::run(service_fn(|event: Route| disconnect::handle(store, event.payload))).await
        }
        Role::Hello => {
            let (tables, settings, endpoint) = (env.tables(), &env.settings_without_key(), env.text("CHATLANE_CONNECTIONS_ENDPOINT"));
            env.finish()?;
            let config = sdk_config().await;
            let (store, gateway) = (&Store::new(&config, tables), &Gateway::new(&config, &endpoint));
            let entropy = &RandomState::new();
            lambda_runtime::run(service_fn(|event: Route| {
                let mut hasher = entropy.build_hasher();
                hasher.write(event.context.request_id.as_bytes());
                hello::handle(store, gateway, &clock, settings, hasher.finish(), event.payload)
            }))
            .await
        }
        Role::Open => {
            let (tables, settings, url) = (env.tables(), &env.settings_without_key(), env.text("CHATLANE_FAN_OUT_QUEUE_URL"));
            env.finish()?;
            let config = sdk_config().await;
            let (store, queue) = (&Store::new(&config, tables), &Queue::new(&config, url));
            lambda_runtime::run(service_fn(|event: Route| open::handle(store, queue, &clock, settings, event.payload))).await
        }
        Role::Send => {
            let (tables, settings, url) = (env.tables(), &env.settings(), env.text("CHATLANE_FAN_OUT_QUEUE_URL"));
            env.finish()?;
            let config = sdk_config().await;
            let (store, queue) = (&Store::new(&config, tables), &Queue::new(&config, url));
            lambda_runtime::run(service_fn(|event: Route| send::handle(store, queue, &clock, settings, event.payload))).await
        }
        Role::FanOut => {
            let (tables, url) = (env.tables(), env.text("CHATLANE_FAN_OUT_QUEUE_URL"));
            let endpoint = env.text("CHATLANE_CONNECTIONS_ENDPOINT");
            env.finish()?;
            let config = sdk_config().await;
            let (store, queue, gateway) = (&Store::new(&config, tables), &Queue::new(&config, url), &Gateway::new(&config, &endpoint));
            lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
                Ok::<_, Error>(fan_out::handle(store, queue, gateway, &clock, event.payload).await)
            }))
            .await
        }
    }
}
