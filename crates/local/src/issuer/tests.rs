use std::os::unix::fs::PermissionsExt;

use axum::body::Bytes;
use axum::http::{Request, Response};
use chatlane_tests_support::Folder;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

use super::*;
use crate::testing;

/// With a key of its own.
fn issuer() -> Issuer {
    Issuer::open(Folder::new().path()).expect("an issuer")
}

fn public_key(issuer: &Issuer) -> Jwk {
    serde_json::from_value(issuer.jwks()["keys"][0].clone()).expect("a JWK")
}

/// The claims of a token that is good by the issuer's key set.
fn claims(issuer: &Issuer, token: &str) -> Value {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_nbf = true;
    let key = DecodingKey::from_jwk(&public_key(issuer)).expect("a key");
    decode::<Value>(token, &key, &validation).expect("a good token").claims
}

async fn get(issuer: &Issuer, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let address = testing::serve(issuer.router()).await;
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    testing::send(address, request.body(Bytes::new()).expect("a request")).await.expect("an answer")
}

#[test]
fn a_token_is_good_by_the_key_set() {
    let issuer = issuer();
    let now = SystemTime::now();
    let claims = claims(&issuer, &issuer.token("auth0|a#b/ü", Duration::from_mins(1), now));
    let now_s = now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert_eq!(claims["sub"], "auth0|a#b/ü");
    assert_eq!((&claims["iat"], &claims["nbf"], &claims["exp"]), (&json!(now_s), &json!(now_s), &json!(now_s + 60)));
}

#[test]
fn a_token_names_the_one_key_of_the_set_by_thumbprint_and_that_has_no_private_part() {
    let issuer = issuer();
    let header = decode_header(issuer.token("a", TOKEN_LIFETIME, SystemTime::now())).expect("a header");
    let jwks = issuer.jwks();
    let mut key = jwks["keys"][0].clone();
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1));
    assert!(key["x"].take().is_string() && key["y"].take().is_string());
    let kid = public_key(&issuer).thumbprint(ThumbprintHash::SHA256).expect("a thumbprint");
    assert_eq!((header.alg, header.kid.as_ref()), (Algorithm::ES256, Some(&kid)));
    assert_eq!(key, json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": null, "y": null }));
}

#[test]
fn the_key_is_made_once_and_only_its_owner_may_read_it() {
    let folder = Folder::new();
    let [first, second] = [(); 2].map(|()| Issuer::open(folder.path()).expect("an issuer").jwks());
    assert_eq!(first, second);
    assert_ne!(first, issuer().jwks());
    let mode = fs::metadata(folder.path().join(KEY_FILE)).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no unfinished file is left");
}

#[test]
fn a_key_that_is_none_or_cannot_be_read_or_written_is_an_error_that_names_it() {
    let folder = Folder::new();
    let refused = |path: &Path| Issuer::open(path).err().expect("no key").to_string();
    let missing = refused(&folder.file("missing"));
    assert!(missing.starts_with("cannot write") && missing.contains(KEY_FILE), "{missing}");
    let file = folder.path().join(KEY_FILE);
    fs::write(&file, "no key").expect("a file");
    let none = refused(folder.path());
    assert!(none.contains(KEY_FILE) && none.contains("delete it"), "{none}");
    fs::remove_file(&file).expect("it is there");
    fs::create_dir(&file).expect("a folder");
    let unreadable = refused(folder.path());
    assert!(unreadable.starts_with("cannot read") && unreadable.contains(KEY_FILE), "{unreadable}");
}

#[tokio::test]
async fn the_key_set_is_served() {
    let issuer = issuer();
    let answer = get(&issuer, JWKS_PATH, &[("host", "127.0.0.1:7070")]).await;
    assert_eq!(serde_json::from_slice::<Value>(answer.body()).expect("JSON"), issuer.jwks());
}

#[tokio::test]
async fn a_token_is_served_as_text() {
    let issuer = issuer();
    for host in ["127.0.0.1:7070", "localhost", "[::1]:7070", "[::1]"] {
        let answer = get(&issuer, "/token?user=a%20b", &[("host", host)]).await;
        let token = std::str::from_utf8(answer.body()).expect("text");
        assert_eq!(claims(&issuer, token)["sub"], "a b", "{host}");
    }
}

#[tokio::test]
async fn a_web_page_gets_no_token() {
    let issuer = issuer();
    for headers in [
        &[("host", "127.0.0.1:7070"), ("origin", "https://example.com")][..],
        &[("host", "127.0.0.1:7070"), ("origin", "null")],
        &[("host", "rebound.example.com:7070")],
        &[("host", "localhost.example.com")],
        &[("host", "")],
    ] {
        let answer = get(&issuer, "/token?user=a", headers).await;
        assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::FORBIDDEN, &b"web pages get no answer\n"[..]), "{headers:?}");
    }
}

#[tokio::test]
async fn a_user_that_is_missing_empty_or_too_long_gets_no_token() {
    let issuer = issuer();
    let long = format!("/token?user={}", "x".repeat(USER_BYTES_MAX + 1));
    for path in ["/token", "/token?user=", &long] {
        assert_eq!(get(&issuer, path, &[("host", "localhost")]).await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}
