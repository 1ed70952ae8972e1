//! Who does not get in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chatlane_local::issuer::{AUDIENCE, ISSUER, Issuer};
use chatlane_protocol::DeviceId;
use chatlane_tests_e2e::{Device, DeviceError};
use serde_json::{Value, json};

use super::scene::Scene;

/// Good claims of alice, to be made worse.
fn claims() -> Value {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "nbf": now_s, "exp": now_s + 3600 })
}

fn changed(field: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    match value.into() {
        Value::Null => drop(claims.as_object_mut().expect("an object").remove(field)),
        value => claims[field] = value,
    }
    claims
}

/// A token with this header and a signature that is none.
fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

async fn status(url: &str, headers: &[(&'static str, &str)]) -> u16 {
    match Device::connect_with(url, DeviceId::from(uuid::Uuid::new_v4()), headers).await {
        Ok(_) => 101,
        Err(DeviceError::Handshake(status)) => status,
        Err(other) => panic!("{other:?}"),
    }
}

/// One for each thing that the authorizer looks at; all the rules are the functions' own tests.
// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_breaks_a_rule_is_403() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let issuer = scene.stack.issuer().clone();
    let now_s = claims()["nbf"].as_u64().expect("a time");
    let folder = std::env::temp_dir().join(format!("chatlane-other-issuer-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let other = Issuer::open(&folder).unwrap().sign(&claims());
    std::fs::remove_dir_all(&folder).unwrap();
    let good = issuer.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let key = issuer.jwks()["keys"][0]["kid"].clone();
    let of_other: Vec<&str> = other.split('.').collect();

    let sign = |claims: Value| issuer.sign(&claims);
    let device = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";
    let rows = [
        ("expired 61 s and more ago", sign(changed("exp", now_s - 120))),
        ("not yet valid", sign(changed("nbf", now_s + 3600))),
        ("another audience", sign(changed("aud", "chess"))),
        ("another issuer", sign(changed("iss", "http://localhost/mallory"))),
        ("without user", sign(changed("sub", Value::Null))),
        ("of another device", sign(changed("device", "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002"))),
        ("9 KB", sign(changed("more", "x".repeat(9 * 1024)))),
        ("the key of another issuer under our key's name", format!("{}.{}.{}", parts[0], of_other[1], of_other[2])),
        ("alg none, no signature", unsigned(&json!({ "alg": "none", "kid": key }), &claims(), "")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
    ];
    let url = format!("{}?device={device}", scene.stack.url());
    for (name, token) in rows {
        let (protocols, bearer) = (format!("chatlane.v1, token.{token}"), format!("Bearer {token}"));
        for headers in [[("Sec-WebSocket-Protocol", protocols.as_str())], [("Authorization", bearer.as_str())]] {
            assert_eq!(scene.harmless(name, async |_| status(&url, &headers).await).await, 403, "{name} in {}", headers[0].0);
        }
    }
    scene.goes_on(0, before).await;
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_one_token_and_one_device_is_403() {
    let mut scene = Scene::new().await;
    let before = scene.alice.frames().len();
    let (good, other) = (scene.stack.token("alice", Duration::from_hours(1)), scene.stack.token("bob", Duration::from_hours(1)));
    let base = scene.stack.url();
    let device = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";
    let url = format!("{base}?device={device}");
    let protocol = |value: String| vec![("Sec-WebSocket-Protocol", value)];
    let fine = || protocol(format!("chatlane.v1, token.{good}"));
    let rows = [
        ("no token", url.clone(), vec![], 403),
        ("chatlane.v1 alone", url.clone(), protocol("chatlane.v1".into()), 403),
        ("a token without chatlane.v1", url.clone(), protocol(format!("token.{good}")), 403),
        ("two tokens", url.clone(), protocol(format!("chatlane.v1, token.{good}, token.{other}")), 403),
        ("the same token twice", url.clone(), protocol(format!("chatlane.v1, token.{good}, token.{good}")), 403),
        ("two subprotocol headers", url.clone(), [fine(), protocol(format!("token.{other}"))].concat(), 403),
        ("another token in each header", url.clone(), [fine(), vec![("Authorization", format!("Bearer {other}"))]].concat(), 403),
        ("another scheme", url.clone(), vec![("Authorization", "Basic YWxpY2U6c2VjcmV0".into())], 403),
        ("a bare token", url.clone(), vec![("Authorization", good.clone())], 403),
        ("a token in the URL", format!("{url}&token={good}"), vec![], 403),
        ("no device", base.clone(), fine(), 403),
        ("an empty device", format!("{base}?device="), fine(), 403),
        ("no UUID", format!("{base}?device=alices-phone"), fine(), 403),
        ("a UUID without hyphens", format!("{base}?device={}", device.replace('-', "")), fine(), 403),
        ("the nil UUID", format!("{base}?device=00000000-0000-0000-0000-000000000000"), fine(), 403),
        ("two devices", format!("{url}&device=3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002"), fine(), 403),
        ("the same device twice", format!("{url}&device={device}"), fine(), 403),
        ("another stage", url.replace("/dev", "/prod"), fine(), 403),
        ("a URL over 4096 characters", format!("{url}&x={}", "x".repeat(4096)), fine(), 414),
    ];
    for (name, url, headers, expected) in rows {
        let headers: Vec<_> = headers.iter().map(|(header, value)| (*header, value.as_str())).collect();
        assert_eq!(scene.harmless(name, async |_| status(&url, &headers).await).await, expected, "{name}");
    }
    scene.goes_on(0, before).await;
}
