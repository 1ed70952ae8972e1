//! The development token issuer: an identity provider for one machine.
//!
//! It signs ES256 tokens with a key that is made once and kept in the data folder, and serves the public half as a JWKS. The `authorize`
//! function knows nothing else of it. Anybody who can reach the loopback interface gets a token for any name, except web pages: requests
//! that a browser sends for a page are refused. Never run it where strangers can connect.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::web_page;

/// `iss` of every token.
pub const ISSUER: &str = "http://localhost/chatlane-local";

/// `aud` of every token.
pub const AUDIENCE: &str = "chatlane";

/// Where the key set is served.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// Where tokens are served.
pub const TOKEN_PATH: &str = "/token";

/// How long a token from the `/token` path is valid: one day.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(24);

/// Longest user name, as everywhere in Chatlane.
const USER_BYTES_MAX: usize = 128;

const KEY_FILE: &str = "issuer-key.pkcs8";

/// The issuer. Clones share the key.
#[derive(Clone)]
pub struct Issuer(Arc<Keys>);

struct Keys {
    signing: EncodingKey,
    /// Its id is the RFC 7638 thumbprint.
    public: Jwk,
}

impl Issuer {
    /// Reads the key in `folder`, or makes one (mode 0600) if there is none. Tokens stay valid over a restart.
    ///
    /// # Errors
    /// The key file cannot be read or written, or holds no P-256 key.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(KEY_FILE);
        let pkcs8 = match fs::read(&path) {
            Ok(pkcs8) => pkcs8,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_key(&path).with_context(|| format!("cannot write the issuer's key {}", path.display()))?
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read the issuer's key {}", path.display())),
        };
        let signing = EncodingKey::from_ec_der(&pkcs8);
        let mut public = Jwk::from_encoding_key(&signing, Algorithm::ES256).with_context(|| {
            format!("{} holds no P-256 key: delete it, and the next start makes a new key (old tokens are refused then)", path.display())
        })?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        Ok(Self(Arc::new(Keys { signing, public })))
    }

    /// The JSON Web Key Set (RFC 7517) with the one public key.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.0.public] })
    }

    /// A token for `user`, valid from `now` for `lifetime` (whole seconds): `iss`, `aud`, `sub`, `iat`, `nbf`, `exp`.
    pub fn token(&self, user: &str, lifetime: Duration, now: SystemTime) -> String {
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let until_s = now_s.saturating_add(lifetime.as_secs());
        self.sign(&json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now_s, "nbf": now_s, "exp": until_s }))
    }

    /// A signed token with exactly these claims, so that tests can make bad ones.
    ///
    /// # Panics
    /// Never: the key was checked when it was opened.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.0.public.common.key_id.clone(), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.0.signing).expect("the key was checked when it was opened")
    }

    /// `GET` [`JWKS_PATH`] answers the key set, `GET` [`TOKEN_PATH`]`?user=NAME` a token as text, with `&seconds=N` one that lives so long.
    ///
    /// It answers 403 if the request has an `Origin` (a page of another site asks) or a `Host` that is not this machine (a page asks whose
    /// own name points here), and 400 for a user that is missing, empty or longer than 128 bytes.
    pub fn router(&self) -> Router {
        Router::new().route(JWKS_PATH, get(serve_jwks)).route(TOKEN_PATH, get(serve_token)).with_state(self.clone())
    }
}

/// Makes a key and writes it to `path`. A crash leaves the whole file or none, because it is renamed into place.
fn make_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let pkcs8 = pair.to_pkcs8v1()?;
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(pkcs8.as_ref())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    Ok(pkcs8.as_ref().to_vec())
}

/// The longest life of a token that is asked for: a year.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

async fn serve_jwks(State(issuer): State<Issuer>) -> Json<Value> {
    Json(issuer.jwks())
}

#[derive(Deserialize)]
struct TokenQuery {
    user: String,
    /// How long the token lives.
    seconds: Option<u64>,
}

async fn serve_token(
    State(issuer): State<Issuer>,
    headers: HeaderMap,
    Query(TokenQuery { user, seconds }): Query<TokenQuery>,
) -> Result<String, (StatusCode, &'static str)> {
    if web_page::asks(&headers) {
        return Err(web_page::REFUSED);
    }
    if user.is_empty() || user.len() > USER_BYTES_MAX {
        return Err((StatusCode::BAD_REQUEST, "a user has 1 to 128 bytes\n"));
    }
    let lifetime = seconds.map_or(TOKEN_LIFETIME, |seconds| Duration::from_secs(seconds.min(SECONDS_MAX)));
    Ok(issuer.token(&user, lifetime, SystemTime::now()))
}

#[cfg(test)]
mod tests;
