//! The `$connect` authorizer: who may open a connection.
//!
//! Allows with the caller's identity as context, which API Gateway replays on every frame of the connection; or denies, which the
//! client sees as 403 without a reason: it gets a new token. The reason is logged by its name, never with the token. Where the issuer's keys
//! cannot be had it fails, which the client sees as 500: it comes back with the same token.

pub mod jwks;
pub mod token;

use std::error::Error as _;

use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequestTypeRequest;
use chatlane_chat::ports::Clock;
use chatlane_protocol::limits::TOKEN_LEEWAY_S;
use chatlane_protocol::{DeviceId, UnixMillis, UserId};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::Serialize;

use crate::environment::{Environment, SystemClock};
use crate::websocket::header;
use jwks::{FetchKeys, KeyAges, KeySource, KeysUnavailable};
use token::{Identity, Refusal, Token, TokenPolicy, presented_token};

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
}

/// The gateway answers the client 500; the log has this.
impl From<KeysUnavailable> for Diagnostic {
    fn from(error: KeysUnavailable) -> Self {
        Self { error_type: "KeysUnavailable".to_owned(), error_message: error.to_string() }
    }
}

/// What it is given: the source of the issuer's keys, and the rules for tokens.
pub fn asks(env: &mut Environment) -> (String, TokenPolicy) {
    env.issuer()
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (source, policy) = &env.give(asks)?;
    let keys = &KeySource::from_setting(source, KeyAges::default())?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>| async move {
        handle(keys, policy, &SystemClock, event.payload).await
    }))
    .await
}

/// Judges one handshake. An error: the issuer's keys cannot be had, so nobody is judged.
pub async fn handle<F: FetchKeys, C: Clock>(
    keys: &KeySource<F>,
    policy: &TokenPolicy,
    clock: &C,
    event: ApiGatewayCustomAuthorizerRequestTypeRequest,
) -> Result<Verdict, KeysUnavailable> {
    let resource = event.method_arn.clone().unwrap_or_default();
    match identify(keys, policy, clock, &event).await {
        Ok((user, expires, device)) => Ok(allow(user, expires, device, resource)),
        Err(Denied::Keys(cause)) => {
            let causes: Vec<String> = std::iter::successors(cause.source(), |&cause| cause.source()).map(ToString::to_string).collect();
            tracing::error!("nobody can connect: {cause}: {}", causes.join(": "));
            Err(cause)
        }
        Err(denied @ (Denied::Token(_) | Denied::Device)) => {
            tracing::info!("a handshake was denied: {denied}");
            Ok(verdict("nobody".to_owned(), "Deny", resource, Context::default()))
        }
    }
}

async fn identify<F: FetchKeys, C: Clock>(
    keys: &KeySource<F>,
    policy: &TokenPolicy,
    clock: &C,
    event: &ApiGatewayCustomAuthorizerRequestTypeRequest,
) -> Result<(UserId, UnixMillis, DeviceId), Denied> {
    let value = |name| header(&event.multi_value_headers, &event.headers, name);
    let (protocols, authorization) = (value("sec-websocket-protocol"), value("authorization"));
    let presented = presented_token(protocols.as_deref(), authorization.as_deref())?;
    let devices = event.multi_value_query_string_parameters.all("device").or_else(|| event.query_string_parameters.all("device"));
    let device = match devices.as_deref() {
        Some([device]) => DeviceId::new(device).map_err(|_| Denied::Device)?,
        Some(_) | None => return Err(Denied::Device),
    };
    let (user, expires) = grant(keys, policy, clock, presented.token(), device).await?;
    Ok((user, expires, device))
}

/// What a token grants to a device: as whom, and until when, leeway included. Shared by the handshake and by `refresh`.
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
