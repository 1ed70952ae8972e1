//! Tokens, in a handshake and in a `refresh`: the sample's, signed by a new key.

use std::sync::Arc;

use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequestTypeRequest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_chat::testing::builders::user;
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_functions::Function;
use chatlane_functions::handshake::authorize;
use chatlane_functions::handshake::authorize::jwks::{FetchError, FetchKeys, JwksUrl, KeyAges, KeyCache, KeySet, KeySource};
use chatlane_functions::handshake::authorize::token::TokenPolicy;
use chatlane_functions::limit::UserLimit;
use chatlane_functions::routes::refresh;
use serde_json::{Value, json};

use super::{
    CONNECTED_AT_MS, TOKEN_MS, alice, answered, is_closed, is_unavailable, sample, saying, serve, socket_event, time, try_serve, world,
    world_until,
};

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Nothing, when the samples' socket was accepted.
fn at_the_start() -> Faulty {
    Faulty::new(time(CONNECTED_AT_MS))
}

/// An issuer's key set with one new key, and this much of a token (header and payload) signed with that key.
fn signed(unsigned: &str) -> (KeySet, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    // An uncompressed point: 4, then the two coordinates (SEC 1 §2.3.3).
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "2026-11", "x": base64url(x), "y": base64url(y)});
    let keys = KeySet::from_json(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    let signature = pair.sign(&SystemRandom::new(), unsigned.as_bytes()).unwrap();
    (keys, format!("{unsigned}.{}", base64url(signature)))
}

/// The sample's token, signed.
pub fn signed_sample() -> (KeySet, String) {
    let event: Value = sample(Function::Authorize);
    let offered = event["headers"]["Sec-WebSocket-Protocol"].as_str().unwrap();
    signed(offered.strip_prefix("chatlane.v1, token.").unwrap().rsplit_once('.').unwrap().0)
}

/// The sample's token with this changed, signed.
pub fn signed_with(change: &Value) -> (KeySet, String) {
    let mut claims = json!({"iss": "https://login.example.com/", "aud": "chat", "sub": "alice", "exp": 1_795_003_600});
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let header = json!({"alg": "ES256", "kid": "2026-11"});
    signed(&format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string())))
}

pub fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: "https://login.example.com/".to_owned(),
        audience: "chat".to_owned(),
        types: TokenPolicy::types(TokenPolicy::DEFAULT_TYPES),
        user_claim: TokenPolicy::DEFAULT_USER_CLAIM.to_owned(),
        life_max_s: 86_400,
    }
}

pub fn inline(keys: KeySet) -> KeySource<JwksUrl> {
    KeySource::Inline(Arc::new(keys))
}

/// What `refresh` answers to this token.
fn refreshed<F: FetchKeys>(store: &Faulty, ms: u64, keys: &KeySource<F>, token: &str) -> Value {
    let body = json!({"action": "refresh", "id": "1", "token": token}).to_string();
    let event = saying(Function::Refresh, &body);
    store.memory.clock.set(time(CONNECTED_AT_MS + ms));
    answered(&block_on(refresh::handle(store, keys, &policy(), &UserLimit::new(None), event)).unwrap())
}

fn expires_ms(store: &Faulty) -> u64 {
    store.memory.state().sessions[&user("alice")][&alice().connection].expires.get() - CONNECTED_AT_MS
}

#[test]
fn a_new_token_prolongs_the_connection_by_what_it_grants() {
    let store = world_until(1000);
    let (keys, token) = signed_sample();
    let answer = refreshed(&store, 0, &inline(keys), &token);
    assert_eq!(answer, json!({"type": "refresh", "id": "1", "expires_ms": CONNECTED_AT_MS + TOKEN_MS}));
    assert_eq!(expires_ms(&store), TOKEN_MS);

    let (keys, later) = signed_with(&json!({"exp": 1_795_007_200, "device": alice().device}));
    assert_eq!(refreshed(&store, 0, &inline(keys), &later)["expires_ms"], CONNECTED_AT_MS + 7_260_000);
    // The function that is asked next goes by it.
    assert_eq!(serve(&store, 7_259_999, Function::Ping, socket_event(Function::Ping))["type"], "ping");
    assert!(try_serve(&store, 7_260_000, Function::Ping, socket_event(Function::Ping)).unwrap().body.is_empty());
}

#[test]
fn a_token_is_good_for_a_day_at_most_whatever_it_says() {
    let store = world_until(1000);
    let (keys, token) = signed_with(&json!({"exp": 253_402_300_799_u64}));
    assert_eq!(refreshed(&store, 0, &inline(keys.clone()), &token)["expires_ms"], CONNECTED_AT_MS + 86_400_000);
    let mut event: Value = sample(Function::Authorize);
    event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!([format!("chatlane.v1, token.{token}")]);
    let verdict = block_on(authorize::handle(&at_the_start(), &inline(keys), &policy(), serde_json::from_value(event).unwrap()));
    let verdict = serde_json::to_value(verdict.unwrap()).unwrap();
    assert_eq!(verdict["context"]["expires"], json!((CONNECTED_AT_MS + 86_400_000).to_string()));
}

// holds: R1
#[test]
fn a_token_that_breaks_a_rule_or_is_anothers_is_refused_and_the_connection_stays_as_it_was() {
    for change in [
        json!({"sub": "bob"}),
        json!({"device": "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002"}),
        json!({"aud": "mail"}),
        json!({"iss": "https://login.example.org/"}),
        json!({"exp": 1_794_999_000}),
        json!({"nbf": 1_795_003_000}),
    ] {
        let store = world_until(TOKEN_MS);
        let (keys, token) = signed_with(&change);
        let answer = refreshed(&store, 0, &inline(keys), &token);
        assert_eq!((&answer["code"], &answer["retryable"]), (&json!("token_refused"), &json!(false)), "{change}");
        assert_eq!((expires_ms(&store), is_closed(&store)), (TOKEN_MS, false), "{change}");
    }
    let store = world_until(TOKEN_MS);
    let (_, token) = signed_sample();
    let of_another_key = signed_sample().0;
    for garbage in [token.as_str(), "e30.e30.e30", "x", "a.b.c.d"] {
        let answer = refreshed(&store, 0, &inline(of_another_key.clone()), garbage);
        assert_eq!((&answer["id"], &answer["code"]), (&json!("1"), &json!("token_refused")), "{garbage}");
        assert!(!answer.to_string().contains(garbage) || garbage == "x", "a token is never repeated");
    }
}

#[test]
fn a_refresh_before_hello_says_hello_first() {
    let (keys, token) = signed_sample();
    assert_eq!(refreshed(&world(), 0, &inline(keys), &token)["code"], "resync");
}

#[tokio::test]
async fn the_authorizer_fails_where_the_keys_cannot_be_had_and_judges_nobody() {
    let ports = at_the_start();
    let mut event: Value = sample(Function::Authorize);
    let keys = KeySource::Cached(KeyCache::new(Down, KeyAges::default()));
    let failed = authorize::handle(&ports, &keys, &policy(), serde_json::from_value(event.clone()).unwrap()).await;
    assert_eq!(
        failed.unwrap_err().to_string(),
        "nobody can connect: the issuer's keys cannot be had: no usable keys are cached and fetching them failed: the issuer answered the request for its key set with status 503"
    );
    // What needs no key to be judged is denied.
    event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!(["chatlane.v1"]);
    let denied = authorize::handle(&ports, &keys, &policy(), serde_json::from_value(event).unwrap()).await;
    assert_eq!(serde_json::to_value(denied.unwrap()).unwrap()["policyDocument"]["Statement"][0]["Effect"], "Deny");
}

/// An issuer that is down.
pub struct Down;

impl FetchKeys for Down {
    async fn fetch(&self) -> Result<KeySet, FetchError> {
        Err(FetchError::Status(503))
    }
}

#[test]
fn a_refresh_that_cannot_be_judged_or_written_is_unavailable() {
    let (keys, token) = signed_sample();
    let store = world_until(1000);
    is_unavailable(&refreshed(&store, 0, &KeySource::Cached(KeyCache::new(Down, KeyAges::default())), &token));
    store.on("prolong", Fault::RequestLost);
    is_unavailable(&refreshed(&store, 0, &inline(keys), &token));
    assert_eq!(expires_ms(&store), 1000);
}

async fn verdict(keys: KeySet, event: ApiGatewayCustomAuthorizerRequestTypeRequest) -> Value {
    serde_json::to_value(authorize::handle(&at_the_start(), &inline(keys), &policy(), event).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_authorizer_gives_the_context_that_the_other_samples_carry() {
    let (keys, token) = signed_sample();
    let mut event: ApiGatewayCustomAuthorizerRequestTypeRequest = sample(Function::Authorize);
    for headers in [&mut event.headers, &mut event.multi_value_headers] {
        headers.insert("sec-websocket-protocol", format!("chatlane.v1, token.{token}").parse().unwrap());
    }
    let verdict = verdict(keys, event).await;

    let statement = &verdict["policyDocument"]["Statement"][0];
    assert_eq!((&statement["Effect"], &statement["Action"]), (&json!("Allow"), &json!("execute-api:Invoke")));
    assert_eq!(statement["Resource"], sample::<Value>(Function::Authorize)["methodArn"]);

    let mut carried = verdict["context"].clone();
    carried["principalId"] = verdict["principalId"].clone();
    assert_eq!(carried, sample::<Value>(Function::Send)["requestContext"]["authorizer"]);
}

#[tokio::test]
async fn the_authorizer_denies_the_sample_as_it_stands_because_nobody_signed_it() {
    let verdict = verdict(signed_sample().0, sample(Function::Authorize)).await;
    assert_eq!(verdict["policyDocument"]["Statement"][0]["Effect"], "Deny");
    assert_eq!((&verdict["principalId"], &verdict["context"]), (&json!("nobody"), &json!({})));
}

#[tokio::test]
async fn the_authorizer_denies_a_handshake_without_exactly_one_device_and_one_token() {
    const DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";
    let (keys, token) = signed_sample();
    let offer = format!("chatlane.v1, token.{token}");
    let effect = async |offers: &[&str], devices: &[&str]| {
        let mut event: Value = sample(Function::Authorize);
        event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!(offers);
        event["queryStringParameters"] = devices.last().map_or(json!({}), |device| json!({"device": device}));
        event["multiValueQueryStringParameters"] = if devices.is_empty() { json!({}) } else { json!({"device": devices}) };
        let verdict = verdict(keys.clone(), serde_json::from_value(event).unwrap()).await;
        verdict["policyDocument"]["Statement"][0]["Effect"].clone()
    };
    assert_eq!(effect(&[&offer], &[DEVICE]).await, "Allow");
    for devices in [
        &[][..],
        &[""],
        &["3f0c"],
        &["alices-phone"],
        &["3f0c2f642d0f4a1c9a470f8f2a4cf001"],
        &["00000000-0000-0000-0000-000000000000"],
        &[DEVICE, "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002"],
        &[DEVICE, DEVICE],
    ] {
        assert_eq!(effect(&[&offer], devices).await, "Deny", "{devices:?}");
    }
    for offers in [&["chatlane.v1"][..], &[&offer, &offer], &[&offer, "token.a.b.c"]] {
        assert_eq!(effect(offers, &[DEVICE]).await, "Deny", "{offers:?}");
    }
}
