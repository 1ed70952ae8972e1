//! The keys that tokens are verified with: parsed once, kept with a maximum age, fetched as seldom as the rules allow.
//!
//! Limits: a key set of at most [`JWKS_BYTES_MAX`]; only keys that can verify ES256 or RS256 are kept; one fetch at a time and environment.
//! The time is an argument.
//!
//! Not promised: a key that the issuer withdraws stops working when the cached set is refreshed ([`KeyAges::fresh_ms`]), or, while the
//! issuer cannot be reached, at the hard limit ([`KeyAges::usable_ms`]); not at once.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chatlane_protocol::UnixMillis;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

/// The largest key set that is read, in bytes. Sets of the large identity providers are 1 to 4 KB.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;

/// While usable keys are held, two fetches are at least this far apart, in milliseconds, whatever asks for one: a token with an unknown
/// `kid`, which anybody can make, or an issuer that is down.
pub const REFETCH_INTERVAL_MS: u64 = 60_000;

/// The same while no usable keys are held: every connection is refused until a fetch succeeds, so it is tried sooner.
pub const EMPTY_RETRY_INTERVAL_MS: u64 = 1_000;

/// How long one fetch may take from the first packet to the last byte. Well below the function timeout (10 s), because
/// a user waits for the handshake and cached keys can still answer it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// The signature algorithms that are accepted. A closed list: the token chooses among these and nothing else (RFC 8725 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, modulus 2048 to 8192 bits.
    Rs256,
}

impl SigningAlgorithm {
    /// The algorithm of a JOSE `alg` value, if it is on the list. Exact, case-sensitive (RFC 7515 §4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

/// One public key, with the one algorithm that it verifies.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    kid: Option<String>,
    algorithm: SigningAlgorithm,
    key: DecodingKey,
}

impl VerificationKey {
    /// `None` for every key that cannot verify an ES256 or RS256 signature: another type or curve, an `alg`, `use` or `key_ops` that says
    /// otherwise, parameters that are not base64url. The type alone fixes the algorithm, so a public key is never taken for an HMAC secret.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let (algorithm, declared) = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                (SigningAlgorithm::Es256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::RSA(_) => (SigningAlgorithm::Rs256, KeyAlgorithm::RS256),
            _ => return None,
        };
        let common = &jwk.common;
        let fits = common.key_algorithm.is_none_or(|alg| alg == declared)
            && common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !fits {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { kid: common.key_id.clone(), algorithm, key })
    }

    /// Its name, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key as `jsonwebtoken` takes it.
    pub fn decoding_key(&self) -> &DecodingKey {
        &self.key
    }
}

/// The keys of an issuer that can verify a token, in the order of the document. Never empty.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
}

impl KeySet {
    /// Parses a JWK set (RFC 7517 §5). Keys that are not understood or not meant for ES256 or RS256 signatures are left out, as that
    /// section asks; several keys with one `kid` are all kept, for the token's verification to refuse.
    ///
    /// # Errors
    /// [`KeySetError`]: too large, not a JWK set, or no key left. An empty set counts as a mistake of the issuer's, not as a withdrawal of
    /// all keys.
    pub fn from_json(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        if json.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| KeySetError::NotAKeySet)?;
        let keys: Vec<_> = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(|jwk| VerificationKey::from_jwk(&jwk))
            .collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// Whether there is a key with this `kid`, compared byte by byte.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that verify this algorithm, with a `kid` or without.
    pub fn for_algorithm(&self, algorithm: SigningAlgorithm) -> impl Iterator<Item = &VerificationKey> {
        self.keys.iter().filter(move |key| key.algorithm == algorithm)
    }
}

/// Why bytes are not a usable key set. Carries none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More than [`JWKS_BYTES_MAX`].
    #[error("the key set is larger than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// Not a JSON object with an array `keys`.
    #[error("the key set is not a JSON object with an array `keys`")]
    NotAKeySet,
    /// A key set without a key for ES256 or RS256 signatures.
    #[error("the key set has no key for ES256 or RS256 signatures")]
    NoUsableKey,
}

/// Gets the issuer's key set as it is now. One attempt: when to ask again is [`KeyCache`]'s decision.
pub trait FetchKeys {
    /// The key set, or why it could not be had.
    fn fetch(&self) -> impl Future<Output = Result<KeySet, FetchError>> + Send;
}

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, a broken one, or no complete answer in time.
    #[error("the issuer's key set could not be fetched")]
    Unreachable(#[source] reqwest::Error),
    /// An answer other than 200. Redirects are not followed.
    #[error("the issuer answered the request for its key set with status {0}")]
    Status(u16),
    /// A 200 whose body is not a usable key set.
    #[error("the issuer's answer is not a usable key set")]
    KeySet(#[from] KeySetError),
}

/// An issuer's JWKS address.
#[derive(Clone, Debug)]
pub struct JwksUrl {
    client: reqwest::Client,
    url: Url,
}

impl JwksUrl {
    /// A source that reads `url` at every [`FetchKeys::fetch`]: at most 3 s and [`JWKS_BYTES_MAX`] each, no redirects.
    ///
    /// # Errors
    /// [`KeySourceError`]: not a URL, or neither https nor http to this machine. Over plain http anybody on the way could put in their own key.
    pub fn new(url: &str) -> Result<Self, KeySourceError> {
        Self::with_timeout(url, FETCH_TIMEOUT)
    }

    fn with_timeout(url: &str, timeout: Duration) -> Result<Self, KeySourceError> {
        let url = Url::parse(url).map_err(|_| KeySourceError::NotAUrl)?;
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            // Fetches are minutes apart and the environment is frozen in between: a kept connection would be a dead one.
            .pool_max_idle_per_host(0);
        let client = match url.scheme() {
            "https" => client,
            // The local runner's issuer and tests: neither a proxy nor the machine's certificates have a part in it.
            "http" if is_this_machine(&url) => client.no_proxy().tls_certs_only([]),
            _ => return Err(KeySourceError::NotHttps),
        };
        let client = client.build().map_err(KeySourceError::Client)?;
        Ok(Self { client, url })
    }

    async fn body(&self) -> Result<Vec<u8>, FetchError> {
        // The address may hold a secret of the issuer's; errors end in the log.
        let unreachable = |error: reqwest::Error| FetchError::Unreachable(error.without_url());
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(unreachable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            // Counted while it arrives: a declared length may be missing or wrong.
            if body.len() + chunk.len() > JWKS_BYTES_MAX {
                return Err(KeySetError::TooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl FetchKeys for JwksUrl {
    async fn fetch(&self) -> Result<KeySet, FetchError> {
        Ok(KeySet::from_json(&self.body().await?)?)
    }
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// How long a fetched key set serves, in milliseconds since the fetch was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAges {
    /// The maximum age: an older set is fetched again before it is used. Below [`REFETCH_INTERVAL_MS`] it acts as that.
    pub fresh_ms: u64,
    /// The hard limit: when fetching fails, a set serves up to this age. Not below `fresh_ms`.
    pub usable_ms: u64,
}

impl Default for KeyAges {
    /// Ten minutes, and an hour for an outage: the first bounds how long a withdrawn key works, the second how long where the issuer cannot
    /// be reached. After that nobody can connect: handshakes fail, clients come back with the same token.
    fn default() -> Self {
        Self { fresh_ms: 10 * 60_000, usable_ms: 60 * 60_000 }
    }
}

/// No keys to verify a token with; nobody can be let in. A fault of the deployment or of its issuer, not of the token.
#[derive(Debug, thiserror::Error)]
pub enum KeysUnavailable {
    /// Nothing usable is cached and the fetch failed just now.
    #[error("no usable keys are cached and fetching them failed")]
    Fetch(#[from] FetchError),
    /// Nothing usable is cached and the last attempt is less than [`EMPTY_RETRY_INTERVAL_MS`] ago.
    #[error("no usable keys are cached and the last attempt to fetch them has only just failed")]
    JustFailed,
}

/// Where keys come from: a fixed set, or a fetched one with an age.
#[derive(Debug)]
pub enum KeySource<F> {
    /// Given with the deployment; changes with the next deployment.
    Inline(Arc<KeySet>),
    /// Fetched from the issuer.
    Cached(KeyCache<F>),
}

impl KeySource<JwksUrl> {
    /// The source that a setting names: the JWK set itself (the text begins with `{`) or its URL.
    ///
    /// # Errors
    /// [`KeySourceError`]; nothing is fetched here.
    pub fn from_setting(setting: &str, ages: KeyAges) -> Result<Self, KeySourceError> {
        let setting = setting.trim();
        if setting.starts_with('{') {
            Ok(Self::Inline(Arc::new(KeySet::from_json(setting.as_bytes())?)))
        } else {
            Ok(Self::Cached(KeyCache::new(JwksUrl::new(setting)?, ages)))
        }
    }
}

impl<F: FetchKeys> KeySource<F> {
    /// The keys to verify a token with that names `kid`, at `now`. See [`KeyCache::keys_for`]; an inline set is always the answer itself.
    ///
    /// # Errors
    /// [`KeysUnavailable`], never for an inline set.
    pub async fn keys_for(&self, kid: Option<&str>, now: UnixMillis) -> Result<Arc<KeySet>, KeysUnavailable> {
        match self {
            Self::Inline(keys) => Ok(Arc::clone(keys)),
            Self::Cached(cache) => cache.keys_for(kid, now).await,
        }
    }
}

/// Why a setting names no source of keys. Carries none of its text.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The setting begins like a JWK set and is none that can be used.
    #[error("the key setting is an inline key set that cannot be used")]
    Inline(#[from] KeySetError),
    /// Neither a JWK set nor a URL.
    #[error("the key setting is neither a JWK set nor a URL")]
    NotAUrl,
    /// A URL that anybody on the way could answer.
    #[error("the key set's URL must be https, or http to this machine")]
    NotHttps,
    /// The HTTPS client could not be made, for instance without root certificates on the machine.
    #[error("the HTTPS client for the key set could not be made")]
    Client(#[source] reqwest::Error),
}

/// The issuer's key set as last fetched.
///
/// Fetches only inside a call, never in the background: a frozen environment would resume that work inside a later invocation.
#[derive(Debug)]
pub struct KeyCache<F> {
    fetcher: F,
    ages: KeyAges,
    /// Held during a fetch, so that concurrent callers wait for one fetch instead of starting their own.
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    held: Option<Held>,
    /// Set before a fetch is begun: an attempt whose invocation is cut off counts too.
    attempted: Option<UnixMillis>,
}

#[derive(Clone, Debug)]
struct Held {
    keys: Arc<KeySet>,
    fetched: UnixMillis,
}

impl<F: FetchKeys> KeyCache<F> {
    /// An empty cache; the first call fetches.
    pub fn new(fetcher: F, ages: KeyAges) -> Self {
        Self { fetcher, ages, state: Mutex::default() }
    }

    /// The key set to verify a token with that names `kid` (`None`: it names no key), at `now`. Fetches at most once a call, when nothing
    /// usable is held, the set held is over its maximum age, or it has no key named `kid`; while usable keys are held, at most once in
    /// [`REFETCH_INTERVAL_MS`]. The answer may still lack `kid`. A clock that steps back counts as time that has passed.
    ///
    /// # Errors
    /// [`KeysUnavailable`] if nothing usable is held and none could be fetched.
    pub async fn keys_for(&self, kid: Option<&str>, now: UnixMillis) -> Result<Arc<KeySet>, KeysUnavailable> {
        let mut state = self.state.lock().await;
        let age_ms = |held: &Held| now.get().abs_diff(held.fetched.get());
        let usable = state.held.clone().filter(|held| age_ms(held) < self.ages.usable_ms);
        let serves = usable.as_ref().is_some_and(|held| age_ms(held) < self.ages.fresh_ms && kid.is_none_or(|kid| held.keys.has(kid)));
        let interval_ms = if usable.is_some() { REFETCH_INTERVAL_MS } else { EMPTY_RETRY_INTERVAL_MS };
        let due = state.attempted.is_none_or(|at| now.get().abs_diff(at.get()) >= interval_ms);

        if serves || !due {
            return usable.map(|held| held.keys).ok_or(KeysUnavailable::JustFailed);
        }
        state.attempted = Some(now);
        match (self.fetcher.fetch().await, usable) {
            (Ok(keys), _) => {
                let keys = Arc::new(keys);
                state.held = Some(Held { keys: Arc::clone(&keys), fetched: now });
                Ok(keys)
            }
            (Err(error), Some(held)) => {
                tracing::warn!(
                    error = %error,
                    cause = error.source().map(tracing::field::display),
                    age_ms = age_ms(&held),
                    usable_ms = self.ages.usable_ms,
                    "the issuer's keys could not be refreshed; the cached ones are used"
                );
                Ok(held.keys)
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
