//! Route `refresh`: a new token keeps the connection. [`crate::handshake::authorize`] judges the token as that of a handshake;
//! [`chatlane_chat::requests::refresh`] prolongs the session.

use chatlane_aws::{Backend, Gateway, Users};
use chatlane_chat::Refused;
use chatlane_chat::ports::{Accounts, Clock, Connections, Failure, Meter, Outbound};
use chatlane_chat::requests::refresh;
use chatlane_protocol::request::{Exchange as _, exchange};
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::handshake::authorize::jwks::{FetchKeys, KeyAges, KeySource};
use crate::handshake::authorize::token::TokenPolicy;
use crate::handshake::authorize::{Denied, grant};
use crate::limit::UserLimit;
use crate::start::RouteEvent;
use crate::websocket::{Answered, Event, respond};

/// The ports that it is given.
pub type Ports = Backend<(), (), (), Users, (), Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, (String, TokenPolicy), UserLimit) {
    (env.ports(), env.issuer(), env.limit())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, (source, policy), limit) = &env.give(asks)?;
    let (ports, keys) = (&ports.make().await, &KeySource::from_setting(source, KeyAges::default())?);
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, keys, policy, limit, event.payload))).await
}

/// Answers one `refresh`.
pub async fn handle(
    ports: &(impl Connections + Outbound + Clock + Accounts + Meter),
    keys: &KeySource<impl FetchKeys>,
    policy: &TokenPolicy,
    limit: &UserLimit,
    event: Event,
) -> Answered {
    respond::<exchange::Refresh, _>(ports, limit, &event, async |user, mine, request| {
        let (granted_to, expires) = match grant(keys, policy, ports, request.token.as_str(), mine.device).await {
            Ok(granted) => granted,
            Err(Denied::Keys(_)) => return Err(Failure::unavailable("verify a token", "the issuer's keys cannot be had").into()),
            Err(_) => return Err(Refused::TokenRefused),
        };
        let done = refresh::refresh(ports, user, &mine.connection, &request.id, &granted_to, expires).await?;
        Ok(exchange::Refresh::frame(done.answer))
    })
    .await
}
