//! Which function this process is, and what that one needs.

use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::sqs::SqsEvent;
use chatlane_aws::{Gateway, Queue, SdkConfig, Store, sdk_config};
use chatlane_chat::ports::{Memberships as _, MessageLog as _, Sessions as _, Unavailable};
use chatlane_protocol::{ConnectionId, ConversationId, UserId};
use futures_util::future::join;
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::authorize::jwks::{KeyAges, KeySource};
use crate::authorize::token::TokenPolicy;
use crate::environment::{Environment, SystemClock};
use crate::{ack, authorize, connect, disconnect, fallback, fan_out, hello, history, open, ping, probe, read, refresh, send, sync};

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
    /// Route `sync`.
    Sync,
    /// Route `history`.
    History,
    /// Route `probe`.
    Probe,
    /// Route `ack`.
    Ack,
    /// Route `read`.
    Read,
    /// Route `refresh`.
    Refresh,
    /// Route `ping`.
    Ping,
    /// Route `$default`.
    Fallback,
    /// The queue's worker.
    FanOut,
}

impl Role {
    /// All of them, in the order of a message's way.
    pub const ALL: [Self; 15] = [
        Self::Authorize,
        Self::Connect,
        Self::Disconnect,
        Self::Hello,
        Self::Open,
        Self::Send,
        Self::Sync,
        Self::History,
        Self::Probe,
        Self::Ack,
        Self::Read,
        Self::Refresh,
        Self::Ping,
        Self::Fallback,
        Self::FanOut,
    ];

    /// Its name: the function's handler, its folder, its process.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Hello => "hello",
            Self::Open => "open",
            Self::Send => "send",
            Self::Sync => "sync",
            Self::History => "history",
            Self::Probe => "probe",
            Self::Ack => "ack",
            Self::Read => "read",
            Self::Refresh => "refresh",
            Self::Ping => "ping",
            Self::Fallback => "fallback",
            Self::FanOut => "fan_out",
        }
    }

    /// The environment variables that the function reads, beside the settings for tests and those of the SDK: what the template gives it.
    pub const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Authorize => {
                &["CHATLANE_JWKS", "CHATLANE_JWKS_URL", "CHATLANE_JWT_AUDIENCE", "CHATLANE_JWT_ISSUER", "CHATLANE_JWT_USER_CLAIM"]
            }
            Self::Connect => &[],
            Self::Disconnect => &["CHATLANE_USERS_TABLE"],
            Self::Fallback => &["CHATLANE_CONNECTIONS_ENDPOINT", "CHATLANE_USERS_TABLE"],
            Self::Hello => &[
                "CHATLANE_CONNECTIONS_ENDPOINT",
                "CHATLANE_CONVERSATIONS_TABLE",
                "CHATLANE_EPOCH",
                "CHATLANE_INBOXES_TABLE",
                "CHATLANE_LOG_TABLE",
                "CHATLANE_USERS_TABLE",
            ],
            Self::Open | Self::Sync | Self::Probe => &[
                "CHATLANE_CONNECTIONS_ENDPOINT",
                "CHATLANE_CONVERSATIONS_TABLE",
                "CHATLANE_EPOCH",
                "CHATLANE_FAN_OUT_QUEUE_URL",
                "CHATLANE_INBOXES_TABLE",
                "CHATLANE_LOG_TABLE",
                "CHATLANE_USERS_TABLE",
            ],
            Self::Send => &[
                "CHATLANE_CONNECTIONS_ENDPOINT",
                "CHATLANE_CONVERSATIONS_TABLE",
                "CHATLANE_DEDUPE_KEY",
                "CHATLANE_EPOCH",
                "CHATLANE_FAN_OUT_QUEUE_URL",
                "CHATLANE_LOG_TABLE",
                "CHATLANE_USERS_TABLE",
            ],
            Self::Ack | Self::Read => {
                &["CHATLANE_CONNECTIONS_ENDPOINT", "CHATLANE_EPOCH", "CHATLANE_INBOXES_TABLE", "CHATLANE_LOG_TABLE", "CHATLANE_USERS_TABLE"]
            }
            Self::History => &["CHATLANE_CONNECTIONS_ENDPOINT", "CHATLANE_INBOXES_TABLE", "CHATLANE_LOG_TABLE", "CHATLANE_USERS_TABLE"],
            Self::Refresh => &[
                "CHATLANE_CONNECTIONS_ENDPOINT",
                "CHATLANE_JWKS",
                "CHATLANE_JWKS_URL",
                "CHATLANE_JWT_AUDIENCE",
                "CHATLANE_JWT_ISSUER",
                "CHATLANE_JWT_USER_CLAIM",
                "CHATLANE_USERS_TABLE",
            ],
            Self::Ping => {
                &["CHATLANE_CONNECTIONS_ENDPOINT", "CHATLANE_CONVERSATIONS_TABLE", "CHATLANE_INBOXES_TABLE", "CHATLANE_USERS_TABLE"]
            }
            Self::FanOut => &[
                "CHATLANE_CONNECTIONS_ENDPOINT",
                "CHATLANE_CONVERSATIONS_TABLE",
                "CHATLANE_FAN_OUT_QUEUE_URL",
                "CHATLANE_LOG_TABLE",
                "CHATLANE_USERS_TABLE",
            ],
        }
    }

    /// The role of a `_HANDLER`.
    pub fn from_handler(handler: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == handler)
    }
}

/// Opens the connection to the tables while the function starts: TLS takes longer than a whole warm send. `read` asks for something that
/// cannot exist. What fails here fails again, and is told, at the first event.
async fn open_tables<T>(read: impl Future<Output = Result<T, Unavailable>>) {
    if let Err(unavailable) = read.await {
        tracing::warn!("no connection at the start: {unavailable}");
    }
}

/// The same for the queue.
async fn open_queue(queue: &Queue) {
    if let Err(unavailable) = queue.open_connection().await {
        tracing::warn!("no connection at the start: {unavailable}");
    }
}

/// Whose tokens are taken.
fn issuer(env: &mut Environment) -> (String, TokenPolicy) {
    let source = env.text_or("CHATLANE_JWKS", "");
    let source = if source.is_empty() { env.text("CHATLANE_JWKS_URL") } else { source };
    let policy = TokenPolicy {
        issuer: env.text("CHATLANE_JWT_ISSUER"),
        audience: env.text("CHATLANE_JWT_AUDIENCE"),
        user_claim: env.text_or("CHATLANE_JWT_USER_CLAIM", TokenPolicy::DEFAULT_USER_CLAIM),
    };
    (source, policy)
}

/// What every route of the WebSocket API needs. The environment is read to its end here: what is missing in it ends the start.
async fn behind_the_gateway(role: Role, mut env: Environment) -> Result<(Store, Gateway, SdkConfig), Error> {
    let (tables, endpoint) = (env.tables(role.variables()), env.text("CHATLANE_CONNECTIONS_ENDPOINT"));
    env.finish()?;
    let config = sdk_config().await;
    Ok((Store::new(&config, tables), Gateway::new(&config, &endpoint), config))
}

/// The same for a route that may queue a delivery.
async fn with_a_queue(role: Role, mut env: Environment) -> Result<(Store, Gateway, Queue), Error> {
    let url = env.text("CHATLANE_FAN_OUT_QUEUE_URL");
    let (store, gateway, config) = behind_the_gateway(role, env).await?;
    Ok((store, gateway, Queue::new(&config, url)))
}

type Route = LambdaEvent<ApiGatewayWebsocketProxyRequest>;

/// The loop of the one function that is no route and reads no table.
async fn run_authorizer(mut env: Environment) -> Result<(), Error> {
    let (source, policy) = &issuer(&mut env);
    env.finish()?;
    let keys = &KeySource::from_setting(source, KeyAges::default())?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>| async move {
        Ok::<_, Error>(authorize::handle(keys, policy, &SystemClock, event.payload).await)
    }))
    .await
}

/// Runs the function's loop until its process is ended. Clients are built once, here. Returns only an error of the start.
pub async fn run(role: Role) -> Result<(), Error> {
    let mut env = Environment::of_process();
    let clock = SystemClock;
    let nowhere = ConversationId::new("-")?; // of no two users
    match role {
        Role::Authorize => run_authorizer(env).await,
        Role::Connect => lambda_runtime::run(service_fn(|event: Route| async move { connect::handle(&event.payload) })).await,
        Role::Disconnect => {
            let tables = env.tables(role.variables());
            env.finish()?;
            let store = &Store::new(&sdk_config().await, tables);
            lambda_runtime::run(service_fn(|event: Route| disconnect::handle(store, event.payload))).await
        }
        Role::Fallback => {
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            lambda_runtime::run(service_fn(|event: Route| fallback::handle(store, gateway, &clock, event.payload))).await
        }
        Role::Refresh => {
            let (source, policy) = &issuer(&mut env);
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            let keys = &KeySource::from_setting(source, KeyAges::default())?;
            lambda_runtime::run(service_fn(|event: Route| refresh::handle(keys, policy, store, gateway, &clock, event.payload))).await
        }
        Role::Ping => {
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            open_tables(store.session(&UserId::new("-")?, &ConnectionId::new("-")?)).await;
            Box::pin(lambda_runtime::run(service_fn(|event: Route| ping::handle(store, gateway, &clock, event.payload)))).await
        }
        Role::Hello => {
            let settings = &env.settings_without_key();
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            open_tables(store.inbox(&UserId::new("-")?, None, 1)).await;
            let entropy = &RandomState::new();
            lambda_runtime::run(service_fn(|event: Route| {
                let mut hasher = entropy.build_hasher();
                hasher.write(event.context.request_id.as_bytes());
                hello::handle(store, gateway, &clock, settings, hasher.finish(), event.payload)
            }))
            .await
        }
        Role::Open => {
            let settings = &env.settings_without_key();
            let (store, gateway, queue) = &with_a_queue(role, env).await?;
            Box::pin(join(open_tables(store.last(&nowhere)), open_queue(queue))).await;
            lambda_runtime::run(service_fn(|event: Route| open::handle(store, queue, gateway, &clock, settings, event.payload))).await
        }
        Role::Send => {
            let settings = &env.settings();
            let (store, gateway, queue) = &with_a_queue(role, env).await?;
            Box::pin(join(open_tables(store.last(&nowhere)), open_queue(queue))).await;
            lambda_runtime::run(service_fn(|event: Route| send::handle(store, queue, gateway, &clock, settings, event.payload))).await
        }
        Role::Sync => {
            let settings = &env.settings_without_key();
            let (store, gateway, queue) = &with_a_queue(role, env).await?;
            Box::pin(open_tables(store.last(&nowhere))).await;
            Box::pin(lambda_runtime::run(service_fn(|event: Route| sync::handle(store, queue, gateway, &clock, settings, event.payload))))
                .await
        }
        Role::History => {
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            Box::pin(open_tables(store.last(&nowhere))).await;
            lambda_runtime::run(service_fn(|event: Route| history::handle(store, gateway, &clock, event.payload))).await
        }
        Role::Probe => {
            let settings = &env.settings_without_key();
            let (store, gateway, queue) = &with_a_queue(role, env).await?;
            Box::pin(open_tables(store.last(&nowhere))).await;
            Box::pin(lambda_runtime::run(service_fn(|event: Route| probe::handle(store, queue, gateway, &clock, settings, event.payload))))
                .await
        }
        Role::Ack => {
            let settings = &env.settings_without_key();
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            Box::pin(open_tables(store.last(&nowhere))).await;
            lambda_runtime::run(service_fn(|event: Route| ack::handle(store, gateway, &clock, settings, event.payload))).await
        }
        Role::Read => {
            let settings = &env.settings_without_key();
            let (store, gateway, _) = &behind_the_gateway(role, env).await?;
            Box::pin(open_tables(store.last(&nowhere))).await;
            lambda_runtime::run(service_fn(|event: Route| read::handle(store, gateway, &clock, settings, event.payload))).await
        }
        Role::FanOut => {
            let (tables, url) = (env.tables(role.variables()), env.text("CHATLANE_FAN_OUT_QUEUE_URL"));
            let endpoint = env.text("CHATLANE_CONNECTIONS_ENDPOINT");
            env.finish()?;
            let config = sdk_config().await;
            let (store, queue, gateway) = (&Store::new(&config, tables), &Queue::new(&config, url), &Gateway::new(&config, &endpoint));
            Box::pin(join(open_tables(store.last(&nowhere)), gateway.open_connection())).await;
            lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
                Ok::<_, Error>(fan_out::handle(store, queue, gateway, &clock, event.payload).await)
            }))
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names between a function's `Handler:` in the template and the next one's.
    fn given_by_the_template(role: Role) -> BTreeSet<&'static str> {
        const TEMPLATE: &str = include_str!("../infra/template.yaml");
        let handler = format!("      Handler: {}\n", role.name());
        let (_, rest) = TEMPLATE.split_once(&handler).expect("the template has every function");
        let function = rest.split_once("AWS::Serverless::Function").map_or(rest, |(function, _)| function);
        let names = function.lines().filter_map(|line| line.trim().split_once(':').map(|(name, _)| name));
        names.filter(|name| name.starts_with("CHATLANE_")).collect()
    }

    #[test]
    fn each_function_is_given_the_variables_that_it_reads_and_no_others() {
        for role in Role::ALL {
            assert_eq!(given_by_the_template(role), role.variables().iter().copied().collect(), "{}", role.name());
        }
    }

    #[test]
    fn a_role_is_found_by_its_handler() {
        for role in Role::ALL {
            assert_eq!(Role::from_handler(role.name()), Some(role));
        }
        assert_eq!(Role::from_handler("sweep"), None);
    }
}
