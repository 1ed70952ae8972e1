use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use super::*;

const NOW_S: u64 = 1_700_000_000;
const DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";
const OTHER_DEVICE: &str = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002";

static EC: LazyLock<EcdsaKeyPair> = LazyLock::new(fresh_ec);
static STRANGER: LazyLock<EcdsaKeyPair> = LazyLock::new(fresh_ec);
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn fresh_ec() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ec_jwk(pair: &EcdsaKeyPair, kid: &str) -> Value {
    // An uncompressed point: 4, then the two coordinates (SEC 1 §2.3.3).
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y) })
}

fn rsa_jwk(kid: &str) -> Value {
    let public = RSA.public_key();
    let n = base64url(public.modulus().big_endian_without_leading_zero());
    let e = base64url(public.exponent().big_endian_without_leading_zero());
    json!({ "kty": "RSA", "kid": kid, "n": n, "e": e })
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::from_json(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// `ec` and `rsa`, the keys that good tokens are signed with.
fn issuer_keys() -> KeySet {
    key_set(&[ec_jwk(&EC, "ec"), rsa_jwk("rsa")])
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()))
}

fn signed_by(pair: &EcdsaKeyPair, message: &str) -> String {
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", base64url(signature))
}

fn es256(header: &Value, claims: &Value) -> String {
    signed_by(&EC, &message(header, claims))
}

fn rs256(header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", base64url(signature))
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": "ec" })
}

fn claims() -> Value {
    json!({ "iss": "https://issuer.example/", "aud": "chat", "sub": "alice", "exp": NOW_S + 3600 })
}

/// The good value with one field set, or removed by `null`.
fn with(mut good: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        good.as_object_mut().unwrap().remove(name);
    } else {
        good[name] = value;
    }
    good
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: "https://issuer.example/".into(),
        audience: "chat".into(),
        types: TokenPolicy::types(TokenPolicy::DEFAULT_TYPES),
        user_claim: TokenPolicy::DEFAULT_USER_CLAIM.into(),
        life_max_s: 86_400,
    }
}

fn device(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

fn at_ms(ms: u64) -> UnixMillis {
    UnixMillis::try_from(ms).unwrap()
}

fn verify_with(keys: &KeySet, token: &str) -> Result<Identity, Refusal> {
    Token::parse(token)?.verify(keys, &policy(), None, at_ms(NOW_S * 1000))
}

fn verify(token: &str) -> Result<Identity, Refusal> {
    verify_with(&issuer_keys(), token)
}

#[test]
fn a_good_token_of_either_algorithm_names_its_user_and_expiry() {
    let identity = Identity { user: UserId::new("alice").unwrap(), device: None, expires_s: NOW_S + 3600 };
    assert_eq!(verify(&es256(&header(), &claims())), Ok(identity.clone()));
    let rsa = json!({ "alg": "RS256", "kid": "rsa" });
    assert_eq!(verify(&rs256(&rsa, &claims())), Ok(identity));
}

// holds: R1
#[test]
fn a_claim_that_breaks_a_rule_is_refused_by_that_rule() {
    let table = [
        ("exp", Value::Null, Refusal::BadExpiry),
        ("exp", json!("1700003600"), Refusal::BadExpiry),
        ("exp", json!(-1), Refusal::BadExpiry),
        ("exp", json!(-0.5), Refusal::BadExpiry),
        ("exp", json!(1e300), Refusal::BadExpiry),
        ("exp", json!(u64::MAX), Refusal::BadExpiry),
        ("exp", json!((NOW_S + 3600) * 1000), Refusal::BadExpiry),
        ("exp", json!(0), Refusal::Expired),
        ("exp", json!(NOW_S - 61), Refusal::Expired),
        ("nbf", json!("soon"), Refusal::BadNotBefore),
        ("nbf", json!(NOW_S * 1000), Refusal::BadNotBefore),
        ("nbf", json!(NOW_S + 61), Refusal::NotYetValid),
        ("iat", json!("now"), Refusal::BadIssuedAt),
        ("iat", json!(NOW_S * 1000), Refusal::BadIssuedAt),
        ("iat", json!(NOW_S + 61), Refusal::IssuedInFuture),
        ("iss", Value::Null, Refusal::WrongIssuer),
        ("iss", json!("https://issuer.example"), Refusal::WrongIssuer),
        ("iss", json!(["https://issuer.example/"]), Refusal::WrongIssuer),
        ("aud", Value::Null, Refusal::WrongAudience),
        ("aud", json!("chat2"), Refusal::WrongAudience),
        ("aud", json!([]), Refusal::WrongAudience),
        ("aud", json!(["mail", 7]), Refusal::WrongAudience),
        ("aud", json!({ "chat": true }), Refusal::WrongAudience),
        ("sub", Value::Null, Refusal::BadUser),
        ("sub", json!(42), Refusal::BadUser),
        ("sub", json!(["alice"]), Refusal::BadUser),
        ("sub", json!(""), Refusal::BadUser),
        ("sub", json!("u".repeat(129)), Refusal::BadUser),
        ("sub", json!("ü".repeat(65)), Refusal::BadUser),
        ("device", json!("my phone"), Refusal::WrongDevice),
        ("device", json!(7), Refusal::WrongDevice),
    ];
    for (name, value, refusal) in table {
        let token = es256(&header(), &with(claims(), name, value.clone()));
        assert_eq!(verify(&token), Err(refusal), "{name}: {value}");
    }
}

#[test]
fn a_claim_that_is_null_is_not_a_claim_that_is_missing() {
    for (name, refusal) in [
        ("exp", Refusal::BadExpiry),
        ("nbf", Refusal::BadNotBefore),
        ("iat", Refusal::BadIssuedAt),
        ("aud", Refusal::WrongAudience),
        ("device", Refusal::WrongDevice),
    ] {
        let mut claims = claims();
        claims[name] = Value::Null;
        assert_eq!(verify(&es256(&header(), &claims)), Err(refusal), "{name}");
    }
}

#[test]
fn a_claim_within_the_rules_is_accepted() {
    let table = [
        ("exp", json!(NOW_S - 59)),
        ("exp", json!(253_402_300_799_u64)),
        ("nbf", json!(NOW_S + 59)),
        ("nbf", json!(0)),
        ("iat", json!(NOW_S + 59)),
        ("iat", json!(NOW_S - 1_000_000)),
        ("aud", json!(["mail", "chat"])),
        ("sub", json!("auth0|a#b/ü")),
        ("sub", json!("u".repeat(128))),
    ];
    for (name, value) in table {
        let claims = with(claims(), name, value.clone());
        let identity = verify(&es256(&header(), &claims)).unwrap_or_else(|refusal| panic!("{name}: {value}: {refusal}"));
        assert_eq!(identity.user.as_str(), claims["sub"]);
        assert_eq!(Some(identity.expires_s), claims["exp"].as_u64());
    }
    let fractional = es256(&header(), &with(claims(), "exp", json!(1_700_000_000.9)));
    assert_eq!(verify(&fractional).unwrap().expires_s, NOW_S);
}

#[test]
fn the_leeway_of_all_times_is_60_s_to_the_millisecond() {
    let issued = es256(&header(), &with(claims(), "iat", json!(NOW_S)));
    let issued = |ms| Token::parse(&issued).unwrap().verify(&issuer_keys(), &policy(), None, at_ms(ms)).map(|_| ());
    assert_eq!((issued(NOW_S * 1000 - 60_001), issued(NOW_S * 1000 - 60_000)), (Err(Refusal::IssuedInFuture), Ok(())));
    let timed = es256(&header(), &with(with(claims(), "exp", json!(NOW_S)), "nbf", json!(NOW_S)));
    let token = Token::parse(&timed).unwrap();
    let at = |ms| token.verify(&issuer_keys(), &policy(), None, at_ms(ms)).map(|identity| identity.expires_s);
    assert_eq!(at(NOW_S * 1000 - 60_001), Err(Refusal::NotYetValid));
    assert_eq!(at(NOW_S * 1000 - 60_000), Ok(NOW_S));
    assert_eq!(at(NOW_S * 1000 + 59_999), Ok(NOW_S));
    assert_eq!(at(NOW_S * 1000 + 60_000), Err(Refusal::Expired));
    assert_eq!(at(UnixMillis::MAX.get()), Err(Refusal::Expired));
    assert_eq!(at(0), Err(Refusal::NotYetValid));
}

// holds: R1
#[test]
fn only_the_two_algorithms_are_allowed() {
    let unsigned = message(&json!({ "alg": "none" }), &claims()) + ".";
    assert_eq!(verify(&unsigned), Err(Refusal::AlgorithmNotAllowed));
    for alg in ["none", "None", "HS256", "es256", "ES384", "RS512", "PS256", "EdDSA", ""] {
        let token = es256(&with(header(), "alg", json!(alg)), &claims());
        assert_eq!(verify(&token), Err(Refusal::AlgorithmNotAllowed), "{alg}");
    }
    assert_eq!(verify(&es256(&with(header(), "alg", Value::Null), &claims())), Err(Refusal::AlgorithmNotAllowed));
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let message = message(&json!({ "alg": "HS256", "kid": "rsa" }), &claims());
    let public = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, RSA.public_key().as_ref());
    let forged = format!("{message}.{}", base64url(aws_lc_rs::hmac::sign(&public, message.as_bytes())));
    assert_eq!(verify(&forged), Err(Refusal::AlgorithmNotAllowed));
}

#[test]
fn a_signature_by_another_key_or_over_another_text_is_refused() {
    let good = es256(&header(), &claims());
    let (text, signature) = good.rsplit_once('.').unwrap();
    let mallory = message(&header(), &with(claims(), "sub", json!("mallory")));
    let table = [
        signed_by(&STRANGER, text),
        format!("{mallory}.{signature}"),
        format!("{text}."),
        format!("{text}.{}", base64url([0; 64])),
        // 60 of the 64 bytes.
        format!("{text}.{}", &signature[..80]),
    ];
    for forged in table {
        assert_eq!(verify(&forged), Err(Refusal::BadSignature), "{forged}");
    }
}

#[test]
fn a_key_inside_the_token_is_not_used() {
    let mut header = header();
    header["jwk"] = ec_jwk(&STRANGER, "ec");
    header["jku"] = json!("https://stranger.example/jwks.json");
    assert_eq!(verify(&signed_by(&STRANGER, &message(&header, &claims()))), Err(Refusal::BadSignature));
}

#[test]
fn a_named_key_must_be_there_once_and_of_the_tokens_algorithm() {
    let named = |kid: &str| es256(&with(header(), "kid", json!(kid)), &claims());
    assert_eq!(verify(&named("EC")), Err(Refusal::UnknownKey));
    assert_eq!(verify(&named("")), Err(Refusal::UnknownKey));
    assert_eq!(verify(&named("rsa")), Err(Refusal::KeyMismatch));
    let twice = key_set(&[ec_jwk(&EC, "ec"), ec_jwk(&STRANGER, "ec")]);
    assert_eq!(verify_with(&twice, &named("ec")), Err(Refusal::AmbiguousKey));
    // The type of the key tells two of one name apart (RFC 7517 §4.5).
    let both_types = key_set(&[ec_jwk(&EC, "ec"), rsa_jwk("ec")]);
    assert!(verify_with(&both_types, &named("ec")).is_ok());
    assert!(verify_with(&both_types, &rs256(&json!({ "alg": "RS256", "kid": "ec" }), &claims())).is_ok());
}

#[test]
fn a_token_without_kid_needs_exactly_one_key_for_its_algorithm() {
    let unnamed = es256(&with(header(), "kid", Value::Null), &claims());
    assert!(verify(&unnamed).is_ok(), "one of two keys fits");
    assert!(verify(&rs256(&json!({ "alg": "RS256" }), &claims())).is_ok());
    assert_eq!(Token::parse(&unnamed).unwrap().kid(), None);
    let two = key_set(&[ec_jwk(&EC, "a"), ec_jwk(&STRANGER, "b")]);
    assert_eq!(verify_with(&two, &unnamed), Err(Refusal::AmbiguousKey));
    let none = key_set(&[rsa_jwk("rsa")]);
    assert_eq!(verify_with(&none, &unnamed), Err(Refusal::AmbiguousKey));
}

#[test]
fn a_token_of_another_type_is_refused_and_one_without_a_type_is_taken() {
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        assert!(verify(&es256(&with(header(), "typ", json!(typ)), &claims())).is_ok(), "{typ}");
    }
    assert!(verify(&es256(&with(header(), "typ", Value::Null), &claims())).is_ok());
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "", "at", "application/", "text/at+jwt", "JWT,at+jwt"] {
        assert_eq!(verify(&es256(&with(header(), "typ", json!(typ)), &claims())), Err(Refusal::WrongType), "{typ}");
    }
    let only = TokenPolicy { types: TokenPolicy::types("at+jwt, x"), ..policy() };
    let verdict = |typ: &str| {
        let token = es256(&with(header(), "typ", json!(typ)), &claims());
        Token::parse(&token).unwrap().verify(&issuer_keys(), &only, None, at_ms(NOW_S * 1000)).map(|_| ())
    };
    assert_eq!(["at+jwt", "x", "JWT"].map(verdict), [Ok(()), Ok(()), Err(Refusal::WrongType)]);
}

/// Tokens as a user pool of Cognito makes them (developer guide, "Understanding user pool JSON web tokens"): an id token says for whom it is
/// in `aud`, an access token in `client_id`.
#[test]
fn the_tokens_of_a_cognito_user_pool_are_taken() {
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let common = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "iss": "https://issuer.example/", "exp": NOW_S + 3600, "iat": NOW_S, "auth_time": NOW_S,
        "jti": "j", "origin_jti": "o", "event_id": "e", "cognito:groups": ["g"],
    });
    let access = with(with(common.clone(), "client_id", json!("chat")), "token_use", json!("access"));
    let access = with(with(access, "scope", json!("openid")), "username", json!("alice"));
    let id = with(with(common, "aud", json!("chat")), "token_use", json!("id"));
    let id = with(with(id, "cognito:username", json!("alice")), "email_verified", json!(true));
    for claims in [&access, &id] {
        assert_eq!(verify(&rs256(&header, claims)).unwrap().user.as_str(), "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
    }
    // Of another client of the same pool.
    for claims in [with(access.clone(), "client_id", json!("mail")), with(access, "aud", json!("mail")), with(id, "aud", json!("mail"))] {
        assert_eq!(verify(&rs256(&header, &claims)), Err(Refusal::WrongAudience), "{claims}");
    }
}

#[test]
fn an_address_of_mail_names_a_user_only_where_the_issuer_has_verified_it() {
    let by_mail = TokenPolicy { user_claim: "email".into(), ..policy() };
    let verdict = |verified: Value| {
        let token = es256(&header(), &with(with(claims(), "email", json!("alice@example.com")), "email_verified", verified));
        Token::parse(&token).unwrap().verify(&issuer_keys(), &by_mail, None, at_ms(NOW_S * 1000)).map(|identity| identity.user)
    };
    for verified in [json!(true), json!("true")] {
        assert_eq!(verdict(verified), Ok(UserId::new("alice@example.com").unwrap()));
    }
    for unverified in [Value::Null, json!(false), json!("false"), json!(1), json!("yes")] {
        assert_eq!(verdict(unverified.clone()), Err(Refusal::EmailNotVerified), "{unverified}");
    }
}

#[test]
fn an_extension_that_the_token_demands_is_refused() {
    for crit in [json!(["b64"]), json!([]), json!(7)] {
        assert_eq!(verify(&es256(&with(header(), "crit", crit), &claims())), Err(Refusal::CriticalExtension));
    }
    let mut null = header();
    null["crit"] = Value::Null;
    assert_eq!(verify(&es256(&null, &claims())), Err(Refusal::CriticalExtension));
}

#[test]
fn a_token_over_8_kb_is_refused_before_it_is_parsed() {
    assert_eq!(verify(&"x".repeat(9 * 1024)), Err(Refusal::TooLarge));
    let padded = |bytes: usize| es256(&header(), &with(claims(), "padding", json!("x".repeat(bytes))));
    assert_eq!(verify(&padded(9 * 1024)), Err(Refusal::TooLarge));
    // Base64url has no length of 8192 for every rest; the largest that fits and the smallest that does not are found by growing.
    let lengths: Vec<_> = (5900..6000).map(|bytes| (padded(bytes).len(), verify(&padded(bytes)).is_ok())).collect();
    assert!(lengths.iter().all(|(length, accepted)| *accepted == (*length <= TOKEN_BYTES_MAX)));
    assert!(lengths.iter().any(|(_, accepted)| *accepted) && lengths.iter().any(|(_, accepted)| !accepted));
}

#[test]
fn a_token_that_is_not_three_base64url_json_objects_is_malformed() {
    let good = es256(&header(), &claims());
    let parts: Vec<_> = good.split('.').collect();
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    let signed = |head: &str, body: &str| signed_by(&EC, &format!("{head}.{body}"));
    let deep = base64url(format!("{}{}", "{\"a\":".repeat(200), "}".repeat(200)));
    let table = [
        String::new(),
        ".".into(),
        "..".into(),
        head.into(),
        format!("{head}.{body}"),
        format!("{good}.{signature}"),
        format!(".{body}.{signature}"),
        format!("%%%.{body}.{signature}"),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{signature}, Bearer {good}"),
        format!("{head}.{body}.sïgnature"),
        signed(head, "%%%"),
        signed(head, ""),
        signed(head, &base64url("[]")),
        signed(head, &base64url("not json")),
        signed(head, &base64url([0xff, 0xfe])),
        signed(head, &deep),
        signed(&deep, body),
        signed(&base64url("[]"), body),
        signed(&base64url(r#"{"alg":7}"#), body),
        signed(&base64url(r#"{"alg":"ES256","kid":7}"#), body),
        signed(&base64url(r#"{"alg":"ES256","kid":null}"#), body),
        signed(&base64url(r#"{"alg":"ES256","typ":7}"#), body),
    ];
    for bad in table {
        assert_eq!(verify(&bad), Err(Refusal::Malformed), "{bad}");
    }
}

#[test]
fn the_user_claim_is_configurable_and_taken_literally() {
    let token = es256(&header(), &with(claims(), "https://issuer.example/user", json!("bob")));
    let by = |user_claim: &str| {
        let policy = TokenPolicy { user_claim: user_claim.into(), ..policy() };
        Token::parse(&token).unwrap().verify(&issuer_keys(), &policy, None, at_ms(NOW_S * 1000)).map(|identity| identity.user)
    };
    assert_eq!(by("https://issuer.example/user"), Ok(UserId::new("bob").unwrap()));
    assert_eq!(by("email"), Err(Refusal::BadUser));
}

#[test]
fn a_token_for_one_device_is_good_for_that_device_only() {
    let free = es256(&header(), &claims());
    let bound = es256(&header(), &with(claims(), "device", json!(DEVICE.to_uppercase())));
    let for_device = |token: &str, asked: Option<&str>| {
        Token::parse(token)
            .unwrap()
            .verify(&issuer_keys(), &policy(), asked.map(device), at_ms(NOW_S * 1000))
            .map(|identity| identity.device)
    };
    assert_eq!(for_device(&free, None), Ok(None));
    assert_eq!(for_device(&free, Some(DEVICE)), Ok(Some(device(DEVICE))));
    assert_eq!(for_device(&bound, Some(DEVICE)), Ok(Some(device(DEVICE))));
    assert_eq!(for_device(&bound, None), Ok(Some(device(DEVICE))));
    assert_eq!(for_device(&bound, Some(OTHER_DEVICE)), Err(Refusal::WrongDevice));
}

#[test]
fn a_handshake_presents_exactly_one_token_or_ticket() {
    let (token, ticket) = (Ok(Presented::Token("a.b.c")), Ok(Presented::Ticket("abc")));
    let table = [
        (Some("chatlane.v1, token.a.b.c"), None, token),
        (Some("token.a.b.c,chatlane.v1"), None, token),
        (Some("chatlane.v2,\tchatlane.v1 , token.a.b.c , soap"), None, token),
        (None, Some("Bearer a.b.c"), token),
        (None, Some("bearer  a.b.c "), token),
        (Some("chatlane.v1"), Some("Bearer a.b.c"), token),
        (Some("soap"), Some("Bearer a.b.c"), token),
        (Some("chatlane.v1, token.a.b.c"), Some("Bearer a.b.c"), token),
        (Some("chatlane.v1, ticket.abc"), None, ticket),
        (Some("ticket.abc,chatlane.v1"), None, ticket),
        (None, None, Err(Refusal::Missing)),
        (Some(""), None, Err(Refusal::Missing)),
        (Some("chatlane.v1"), None, Err(Refusal::Missing)),
        (Some("chatlane.v1, tokena.b.c"), None, Err(Refusal::Missing)),
        (Some("chatlane.v1, token.a.b.c, token.a.b.d"), None, Err(Refusal::SeveralTokens)),
        (Some("chatlane.v1, token.a.b.c, token.a.b.c"), None, Err(Refusal::SeveralTokens)),
        (Some("chatlane.v1, token.a.b.c, ticket.abc"), None, Err(Refusal::SeveralTokens)),
        (Some("chatlane.v1, ticket.abc, ticket.abc"), None, Err(Refusal::SeveralTokens)),
        (Some("chatlane.v1, token.a.b.c"), Some("Bearer a.b.d"), Err(Refusal::SeveralTokens)),
        (Some("chatlane.v1, ticket.abc"), Some("Bearer abc"), Err(Refusal::SeveralTokens)),
        (Some("token.a.b.c"), None, Err(Refusal::SubprotocolNotOffered)),
        (Some("ticket.abc"), None, Err(Refusal::SubprotocolNotOffered)),
        (Some("chatlane.v10, token.a.b.c"), None, Err(Refusal::SubprotocolNotOffered)),
        (Some("token.a.b.c"), Some("Bearer a.b.c"), Err(Refusal::SubprotocolNotOffered)),
        (None, Some("a.b.c"), Err(Refusal::NotBearer)),
        (None, Some(""), Err(Refusal::NotBearer)),
        (None, Some("Bearer"), Err(Refusal::NotBearer)),
        (None, Some("Basic YTpi"), Err(Refusal::NotBearer)),
        (Some("chatlane.v1, token.a.b.c"), Some("Basic YTpi"), Err(Refusal::NotBearer)),
    ];
    for (subprotocols, authorization, expected) in table {
        assert_eq!(presented(subprotocols, authorization), expected, "{subprotocols:?} {authorization:?}");
    }
}

#[test]
fn an_empty_token_is_presented_and_then_refused() {
    assert_eq!(presented(Some("chatlane.v1, token."), None), Ok(Presented::Token("")));
    assert_eq!(Token::parse("").unwrap_err(), Refusal::Malformed);
}

// holds: R1
#[test]
fn neither_a_presented_token_nor_a_parsed_one_shows_its_text() {
    let text = es256(&header(), &claims());
    let authorization = format!("Bearer {text}");
    let (presented, token) = (presented(None, Some(&authorization)).unwrap(), Token::parse(&text).unwrap());
    assert_eq!(format!("{presented:?} {token:?}"), "Token(…) Token { algorithm: Es256, .. }");
    assert_eq!(format!("{:?}", Presented::Ticket("abc")), "Ticket(…)");
    assert_eq!(Refusal::TooLarge.to_string(), "the token is larger than 8192 bytes");
}
