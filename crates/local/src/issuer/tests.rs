use std::os::unix::fs::PermissionsExt;

use axum::body::Bytes;
use axum::http::{Request, Response};
use chatlane_tests_support::Folder;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

use super::*;
use crate::testing;

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
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    let now = SystemTime::now();
    let claims = claims(&issuer, &issuer.token("auth0|a#b/ü", Duration::from_mins(1), now));
    let now_s = now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert_eq!(claims["sub"], "auth0|a#b/ü");
    assert_eq!((&claims["iat"], &claims["nbf"], &claims["exp"]), (&json!(now_s), &json!(now_s), &json!(now_s + 60)));
}

#[test]
fn a_token_names_its_key_by_thumbprint() {
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    let header = decode_header(issuer.token("a", TOKEN_LIFETIME, SystemTime::now())).expect("a header");
    assert_eq!(header.alg, Algorithm::ES256);
    assert_eq!(header.kid, public_key(&issuer).thumbprint(ThumbprintHash::SHA256).ok());
    assert_eq!(header.kid.as_deref(), issuer.jwks()["keys"][0]["kid"].as_str());
}

#[test]
fn the_key_set_has_one_public_signing_key_and_no_private_part() {
    let folder = Folder::new();
    let jwks = Issuer::open(folder.path()).expect("an issuer").jwks();
    let key = &jwks["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("ES256"), &json!("sig")));
    assert_eq!((jwks["keys"].as_array().map(Vec::len), key.get("d")), (Some(1), None));
}

#[test]
fn the_key_is_made_once_and_only_its_owner_may_read_it() {
    let folder = Folder::new();
    let first = Issuer::open(folder.path()).expect("an issuer");
    let second = Issuer::open(folder.path()).expect("the same issuer");
    assert_eq!(first.jwks(), second.jwks());
    let mode = fs::metadata(folder.path().join(KEY_FILE)).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no unfinished file is left");
}

#[test]
fn two_folders_have_two_keys() {
    let (one, other) = (Folder::new(), Folder::new());
    assert_ne!(Issuer::open(one.path()).expect("an issuer").jwks(), Issuer::open(other.path()).expect("an issuer").jwks());
}

#[test]
fn any_claims_can_be_signed() {
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    let token = issuer.sign(&json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": 4_000_000_000_u64, "odd": [1] }));
    assert_eq!(claims(&issuer, &token)["odd"], json!([1]));
}

#[test]
fn a_key_file_that_is_no_key_is_an_error_that_says_what_to_do() {
    let folder = Folder::new();
    fs::write(folder.path().join(KEY_FILE), "no key").expect("a file");
    let error = Issuer::open(folder.path()).err().expect("no key");
    assert!(error.to_string().contains("delete it"), "{error}");
}

#[test]
fn a_key_that_cannot_be_read_or_written_is_an_error_that_names_it() {
    let folder = Folder::new();
    let error = Issuer::open(&folder.file("missing")).err().expect("no folder");
    assert!(error.to_string().starts_with("cannot write") && error.to_string().contains(KEY_FILE), "{error}");
    fs::create_dir(folder.path().join(KEY_FILE)).expect("a folder");
    let error = Issuer::open(folder.path()).err().expect("a folder is no file");
    assert!(error.to_string().starts_with("cannot read") && error.to_string().contains(KEY_FILE), "{error}");
}

#[tokio::test]
async fn the_key_set_is_served() {
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    let answer = get(&issuer, JWKS_PATH, &[("host", "127.0.0.1:7070")]).await;
    assert_eq!(serde_json::from_slice::<Value>(answer.body()).expect("JSON"), issuer.jwks());
}

#[tokio::test]
async fn a_token_is_served_as_text() {
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    for host in ["127.0.0.1:7070", "localhost", "[::1]:7070", "[::1]"] {
        let answer = get(&issuer, "/token?user=a%20b", &[("host", host)]).await;
        let token = std::str::from_utf8(answer.body()).expect("text");
        assert_eq!(claims(&issuer, token)["sub"], "a b", "{host}");
    }
}

#[tokio::test]
async fn a_web_page_gets_no_token() {
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    for headers in [
        &[("host", "127.0.0.1:7070"), ("origin", "https://example.com")][..],
        &[("host", "127.0.0.1:7070"), ("origin", "null")],
        &[("host", "rebound.example.com:7070")],
        &[("host", "localhost.example.com")],
        &[],
    ] {
        let answer = get(&issuer, "/token?user=a", headers).await;
        assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::FORBIDDEN, &b"web pages get no tokens\n"[..]), "{headers:?}");
    }
}

#[tokio::test]
async fn a_user_that_is_missing_empty_or_too_long_gets_no_token() {
    let folder = Folder::new();
    let issuer = Issuer::open(folder.path()).expect("an issuer");
    let long = format!("/token?user={}", "x".repeat(USER_BYTES_MAX + 1));
    for path in ["/token", "/token?user=", &long] {
        assert_eq!(get(&issuer, path, &[("host", "localhost")]).await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}
