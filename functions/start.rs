//! What the start of several functions shares: the first connections, opened before the first event.

use std::future::Future;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConnectionId, ConversationId, UserId};
use lambda_runtime::LambdaEvent;

/// One event of a route, as the runtime hands it to the loop.
pub type RouteEvent = LambdaEvent<ApiGatewayWebsocketProxyRequest>;

/// Declares how a route starts: on which parts of the deployment its ports stand, what else it is given (a type and the method of
/// [`Environment`](crate::environment::Environment) that reads it), and which connections are opened, all at once, before the first event.
/// Each event goes to the `handle` of the same file, with the ports and what else was given.
macro_rules! route {
    (
        ports: $Backend:ty;
        given: $($Given:ident by $read:ident),*;
        opens: |$ports:ident| [$($ask:expr),*];
    ) => {
        /// The ports that it is given.
        pub type Ports = $Backend;

        /// What it is given.
        pub fn asks(env: &mut $crate::environment::Environment) -> ($crate::environment::PortsToBe<Ports>, $($Given,)*) {
            (env.ports(), $(env.$read(),)*)
        }

        /// Runs its loop.
        pub async fn run(env: $crate::environment::Environment) -> Result<(), lambda_runtime::Error> {
            let ($ports, $($read,)*) = &env.give(asks)?;
            let $ports = &$ports.make().await;
            tokio::join!($(async { $crate::start::open_connection($ask).await }),*);
            let answer = |event: $crate::start::RouteEvent| handle($ports, $($read,)* event.payload);
            lambda_runtime::run(lambda_runtime::service_fn(answer)).await
        }
    };
}

pub(crate) use route;

/// Opens a connection while the function starts: TLS takes longer than a whole warm send. `ask` asks for something that cannot exist.
/// What fails here fails again at the first event, and is logged there as what it is.
pub async fn open_connection<T>(ask: impl Future<Output = Result<T, Failure>>) {
    if let Err(failure) = ask.await {
        failure.log("no connection at the start");
    }
}

/// A conversation of no two users: no direct conversation's id is so short.
///
/// # Panics
/// Never: it is in the alphabet of conversation ids.
pub fn nowhere() -> ConversationId {
    ConversationId::new("-").expect("a conversation id")
}

/// Whoever has this id has no connection and no conversation at the start.
///
/// # Panics
/// Never: it has 1 to 128 bytes.
pub fn nobody() -> (UserId, ConnectionId) {
    (UserId::new("-").expect("a user id"), ConnectionId::new("-").expect("a connection id"))
}
