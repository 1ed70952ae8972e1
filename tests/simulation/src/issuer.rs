//! The identity provider: real tokens, verified by the real authorizer. Keys and signatures are the only thing here that is not of the
//! seed; nothing of them can be seen in a run.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_functions::handshake::authorize::jwks::{JwksUrl, KeySet, KeySource};
use chatlane_functions::handshake::authorize::token::TokenPolicy;
use chatlane_protocol::{Token, UserId};
use serde_json::json;

const ISSUER: &str = "https://login.example.com/";

struct Issuer {
    pair: EcdsaKeyPair,
    keys: Arc<KeySet>,
}

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the machine has entropy");
        // An uncompressed point: 4, then the two coordinates (SEC 1 §2.3.3).
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y}]});
        let keys = Arc::new(KeySet::from_json(set.to_string().as_bytes()).expect("a key set"));
        Issuer { pair, keys }
    })
}

/// A token of this user until `exp_s`, in seconds since 1970.
pub(crate) fn token(user: &UserId, exp_s: u64) -> Token {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"1"}"#);
    let claims = json!({"iss": ISSUER, "aud": "chat", "sub": user, "exp": exp_s});
    let unsigned = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = issuer().pair.sign(&SystemRandom::new(), unsigned.as_bytes()).expect("the machine has entropy");
    Token::new(format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))).expect("short enough")
}

pub(crate) fn keys() -> KeySource<JwksUrl> {
    KeySource::Inline(Arc::clone(&issuer().keys))
}

pub(crate) fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: ISSUER.to_owned(),
        audience: "chat".to_owned(),
        types: TokenPolicy::types(TokenPolicy::DEFAULT_TYPES),
        user_claim: TokenPolicy::DEFAULT_USER_CLAIM.to_owned(),
        life_max_s: TokenPolicy::DEFAULT_LIFE_MAX_S,
    }
}
