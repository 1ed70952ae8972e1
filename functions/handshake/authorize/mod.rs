//! The `$connect` authorizer: who may open a connection.
//!
//! Allows with the caller's identity as context, which API Gateway replays on every frame of the connection; or denies, which the
//! client sees as 403 without a reason: it gets a new token, or ticket. The reason is logged by its name, never with the token. Where the
//! issuer's keys or the tickets cannot be had it fails, which the client sees as 500: it comes back.

pub mod jwks;
pub mod token;

use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequestTypeRequest;
use chatlane_aws::{Backend, Users};
use chatlane_chat::ports::{Clock, Failure, Tickets};
use chatlane_chat::requests::ticket::redeem;
use chatlane_protocol::limits::TOKEN_LEEWAY_S;
use chatlane_protocol::{DeviceId, TicketText, UnixMillis, UserId};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::Serialize;

use crate::environment::{Environment, PortsToBe};
use crate::websocket::header;
use jwks::{FetchKeys, KeyAges, KeySource, KeysUnavailable};
use token::{Identity, Presented, Refusal, Token, TokenPolicy, presented};

/// The authorizer's answer, in the gateway's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    principal_id: String,
    policy_document: PolicyDocument,
    context: Context,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

/// What every later event of the connection carries, as strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// When the token's time is over, leeway included, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Why a handshake was denied.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The token breaks a rule.
    #[error(transparent)]
    Token(#[from] Refusal),
    /// No key can be had to check it: ours to mend, not the client's.
    #[error("the issuer's keys cannot be had")]
    Keys(#[source] KeysUnavailable),
    /// The query has no `device`, or more than one, or it is no UUID.
    #[error("the query parameter `device` is not one UUID")]
    Device,
    /// It was used, or its time is over, or it is another device's, or none at all.
    #[error("the ticket is not good")]
    Ticket,
    /// The tickets cannot be had: ours to mend.
    #[error("the tickets cannot be had")]
    Tickets(#[source] Failure),
}

/// Nobody can be judged.
#[derive(Debug, thiserror::Error)]
#[error("nobody can connect: {0}")]
pub struct Unjudged(String);

/// The gateway answers the client 500; the log has this.
impl From<Unjudged> for Diagnostic {
    fn from(error: Unjudged) -> Self {
        Self { error_type: "Unjudged".to_owned(), error_message: error.to_string() }
    }
}

/// The ports that it is given.
pub type Ports = Backend<(), (), (), Users>;

/// What it is given: the tickets, the source of the issuer's keys, and the rules for tokens.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, (String, TokenPolicy)) {
    (env.ports(), env.issuer())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, (source, policy)) = &env.give(asks)?;
    let (ports, keys) = (&ports.make().await, &KeySource::from_setting(source, KeyAges::default())?);
    lambda_runtime::run(service_fn(|event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>| async move {
        handle(ports, keys, policy, event.payload).await
    }))
    .await
}

/// Judges one handshake. An error: the issuer's keys or the tickets cannot be had, so nobody is judged.
pub async fn handle<F: FetchKeys>(
    ports: &(impl Tickets + Clock),
    keys: &KeySource<F>,
    policy: &TokenPolicy,
    event: ApiGatewayCustomAuthorizerRequestTypeRequest,
) -> Result<Verdict, Unjudged> {
    let resource = event.method_arn.clone().unwrap_or_default();
    match identify(ports, keys, policy, &event).await {
        Ok((user, expires, device)) => Ok(allow(user, expires, device, resource)),
        Err(denied @ (Denied::Keys(_) | Denied::Tickets(_))) => {
            let causes: Vec<String> =
                std::iter::successors(Some(&denied as &dyn std::error::Error), |cause| cause.source()).map(ToString::to_string).collect();
            let unjudged = Unjudged(causes.join(": "));
            tracing::error!("{unjudged}");
            Err(unjudged)
        }
        Err(denied @ (Denied::Token(_) | Denied::Device | Denied::Ticket)) => {
            tracing::info!("a handshake was denied: {denied}");
            Ok(verdict("nobody".to_owned(), "Deny", resource, Context::default()))
        }
    }
}

async fn identify<F: FetchKeys>(
    ports: &(impl Tickets + Clock),
    keys: &KeySource<F>,
    policy: &TokenPolicy,
    event: &ApiGatewayCustomAuthorizerRequestTypeRequest,
) -> Result<(UserId, UnixMillis, DeviceId), Denied> {
    let value = |name| header(&event.multi_value_headers, &event.headers, name);
    let (protocols, authorization) = (value("sec-websocket-protocol"), value("authorization"));
    let presented = presented(protocols.as_deref(), authorization.as_deref())?;
    let devices = event.multi_value_query_string_parameters.all("device").or_else(|| event.query_string_parameters.all("device"));
    let device = the_device(devices.as_deref())?;
    let (user, expires) = match presented {
        Presented::Token(token) => grant(keys, policy, ports, token, device).await?,
        Presented::Ticket(ticket) => {
            let ticket = TicketText::new(ticket).map_err(|_| Denied::Ticket)?;
            redeem(ports, &ticket, device).await.map_err(Denied::Tickets)?.ok_or(Denied::Ticket)?
        }
    };
    Ok((user, expires, device))
}

/// The device that a query names.
pub fn the_device(named: Option<&[&str]>) -> Result<DeviceId, Denied> {
    match named {
        Some([device]) => DeviceId::new(device).map_err(|_| Denied::Device),
        Some(_) | None => Err(Denied::Device),
    }
}

/// What a token grants to a device: as whom, and until when, leeway included. Shared by the handshake, `refresh` and HTTPS.
pub async fn grant<F: FetchKeys, C: Clock>(
    keys: &KeySource<F>,
    policy: &TokenPolicy,
    clock: &C,
    token: &str,
    device: DeviceId,
) -> Result<(UserId, UnixMillis), Denied> {
    let token = Token::parse(token)?;
    let now = clock.now();
    let keys = keys.keys_for(token.kid(), now).await.map_err(Denied::Keys)?;
    let Identity { user, expires_s, .. } = token.verify(&keys, policy, Some(device), now)?;
    let expires_ms = expires_s.saturating_add(TOKEN_LEEWAY_S).saturating_mul(1000);
    let longest = now.plus_ms(policy.life_max_s.saturating_mul(1000));
    Ok((user, UnixMillis::try_from(expires_ms).unwrap_or(UnixMillis::MAX).min(longest)))
}

fn allow(user: UserId, expires: UnixMillis, device: DeviceId, resource: String) -> Verdict {
    let user = String::from(user);
    let context = Context { user: Some(user.clone()), device: Some(device.to_string()), expires: Some(expires.to_string()) };
    verdict(user, "Allow", resource, context)
}

fn verdict(principal_id: String, effect: &'static str, resource: String, context: Context) -> Verdict {
    let statement = [Statement { action: "execute-api:Invoke", effect, resource }];
    Verdict { principal_id, policy_document: PolicyDocument { version: "2012-10-17", statement }, context }
}
