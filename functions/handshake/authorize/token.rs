//! Who is connecting: from the handshake's headers to an [`Identity`], or to a [`Refusal`] that says which rule the token breaks.
//!
//! Pure: the keys and the time are arguments. In order: [`presented`] finds the token, [`Token::parse`] refuses by size, form and
//! algorithm without a key, [`Token::verify`] checks the signature first and the claims after it.
//!
//! R1: no token text and no claim value is in any `Debug` or `Display` of this module, except in [`Identity`], which is verified.
//!
//! Not promised: revocation. A token is good until its `exp`, but no longer than [`TokenPolicy::life_max_s`] on one connection.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_protocol::limits::{TOKEN_BYTES_MAX, TOKEN_LEEWAY_S};
use chatlane_protocol::{DeviceId, SUBPROTOCOL, UnixMillis, UserId};
use jsonwebtoken::{Algorithm, crypto};
use serde_json::{Map, Value};

use super::jwks::{KeySet, SigningAlgorithm, VerificationKey};

/// What precedes the token in the list of subprotocols.
pub const SUBPROTOCOL_TOKEN_PREFIX: &str = "token.";

/// What precedes a ticket there.
pub const SUBPROTOCOL_TICKET_PREFIX: &str = "ticket.";

/// The latest time that is taken for one, in seconds since the Unix epoch: the end of the year 9999. A time in milliseconds, the usual
/// mistake, lies beyond it and is refused instead of being valid for thousands of years.
const TIME_S_MAX: u64 = 253_402_300_799;

/// Why nobody is let in. Carries nothing of the token; the arms are for the log and for tests, the client learns only "no".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Neither header has a token or a ticket.
    #[error("neither a token nor a ticket was presented")]
    Missing,
    /// More than one token or ticket, or different ones in the two headers.
    #[error("more than one token or ticket was presented")]
    SeveralTokens,
    /// A token or a ticket among the subprotocols, without [`SUBPROTOCOL`]: the gateway must have a name to echo that is not the token.
    #[error("a token or a ticket was offered as a subprotocol without {SUBPROTOCOL} beside it")]
    SubprotocolNotOffered,
    /// An `Authorization` header of another form than `Bearer <token>`.
    #[error("the Authorization header is not of the form `Bearer <token>`")]
    NotBearer,
    /// Over [`TOKEN_BYTES_MAX`].
    #[error("the token is larger than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// Not three base64url parts of which the first two are JSON objects, or a header field of the wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// An `alg` that is missing or not on the list, `none` among them.
    #[error("the token's algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// A `typ` that is not on the deployment's list: a token for another purpose (RFC 8725 §3.11).
    #[error("the token is of another type")]
    WrongType,
    /// A `crit` header: the issuer demands an extension, and none is understood here (RFC 7515 §4.1.11).
    #[error("the token demands an extension that is not understood")]
    CriticalExtension,
    /// The token names a key that the set does not have.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// The token names no key and the set has not exactly one for its algorithm, or it names one that is there more than once for it.
    #[error("the token does not name exactly one key")]
    AmbiguousKey,
    /// The token names a key of another algorithm.
    #[error("the token's algorithm is not that of the key it names")]
    KeyMismatch,
    /// The signature is not by the key.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// No `exp`, or one that is not a time.
    #[error("the token has no usable expiry time")]
    BadExpiry,
    /// `exp` and the leeway have passed.
    #[error("the token has expired")]
    Expired,
    /// An `nbf` that is not a time.
    #[error("the token's not-before time is not usable")]
    BadNotBefore,
    /// `nbf` is further ahead than the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// An `iat` that is not a time.
    #[error("the token's time of issue is not usable")]
    BadIssuedAt,
    /// `iat` is further ahead than the leeway.
    #[error("the token is issued in the future")]
    IssuedInFuture,
    /// `iss` is missing or another.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` does not contain the one required; or it is missing, and so is `client_id` or is another.
    #[error("the token is for another audience")]
    WrongAudience,
    /// The user claim is missing, not a string, or not a [`UserId`].
    #[error("the token's user claim is not a usable user id")]
    BadUser,
    /// The user claim is `email`, and the issuer does not say that it has verified the address: anybody may have given it.
    #[error("the token's address of mail is not verified")]
    EmailNotVerified,
    /// The `device` claim is not a UUID or not the device that the request names.
    #[error("the token is for another device")]
    WrongDevice,
}

/// The one thing that a handshake presents, not yet looked at. Its text is never to be logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// A token.
    Token(&'a str),
    /// A ticket.
    Ticket(&'a str),
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Ticket(_) => "Ticket(…)",
        })
    }
}

/// What a handshake presents, from `Sec-WebSocket-Protocol: chatlane.v1, token.<jwt>` or `…, ticket.<ticket>` (any order, other subprotocols
/// ignored) or `Authorization: Bearer <jwt>`, or the same token in both. Of a header that was sent several times the caller passes all values,
/// joined by commas (RFC 9110 §5.3).
///
/// # Errors
/// [`Refusal::Missing`], [`Refusal::SeveralTokens`], [`Refusal::SubprotocolNotOffered`], [`Refusal::NotBearer`].
pub fn presented<'a>(sec_websocket_protocol: Option<&'a str>, authorization: Option<&'a str>) -> Result<Presented<'a>, Refusal> {
    let offered = sec_websocket_protocol.map(offered).transpose()?.flatten();
    let bearer = authorization.map(bearer_token).transpose()?.map(Presented::Token);
    match (offered, bearer) {
        (None, None) => Err(Refusal::Missing),
        (Some(offered), Some(bearer)) if offered != bearer => Err(Refusal::SeveralTokens),
        (Some(presented), _) | (None, Some(presented)) => Ok(presented),
    }
}

fn offered(header: &str) -> Result<Option<Presented<'_>>, Refusal> {
    let offers = || header.split(',').map(|offer| offer.trim_matches([' ', '\t']));
    let mut presented = offers().filter_map(|offer| {
        let token = offer.strip_prefix(SUBPROTOCOL_TOKEN_PREFIX).map(Presented::Token);
        token.or_else(|| offer.strip_prefix(SUBPROTOCOL_TICKET_PREFIX).map(Presented::Ticket))
    });
    let Some(first) = presented.next() else { return Ok(None) };
    if presented.next().is_some() {
        return Err(Refusal::SeveralTokens);
    }
    if offers().any(|offer| offer == SUBPROTOCOL) { Ok(Some(first)) } else { Err(Refusal::SubprotocolNotOffered) }
}

/// The token of an `Authorization: Bearer <jwt>`.
///
/// # Errors
/// [`Refusal::NotBearer`].
pub fn bearer_token(header: &str) -> Result<&str, Refusal> {
    let (scheme, token) = header.trim_matches([' ', '\t']).split_once(' ').ok_or(Refusal::NotBearer)?;
    // Schemes are case-insensitive (RFC 9110 §11.1).
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start_matches(' ')) } else { Err(Refusal::NotBearer) }
}

/// What a deployment requires of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// `iss` must equal this.
    pub issuer: String,
    /// `aud` must be this or an array that contains it. A token without `aud` may have it in `client_id`, as access tokens of Cognito do; the
    /// JWT authorizers of API Gateway have the same rule.
    pub audience: String,
    /// What `typ` may be, without `application/`, in any case (RFC 7515 §4.1.9). A token without `typ` is taken.
    pub types: Vec<String>,
    /// How long a token is good from when it is presented, in seconds, whatever its `exp` says: nobody can take it back.
    pub life_max_s: u64,
    /// The claim that holds the user id; [`TokenPolicy::DEFAULT_USER_CLAIM`] unless configured. A top-level name, taken literally.
    pub user_claim: String,
}

impl TokenPolicy {
    /// The user claim of a deployment that names no other.
    pub const DEFAULT_USER_CLAIM: &str = "sub";

    /// The types of a deployment that names no others: any token, and access tokens (RFC 9068 §2.1).
    pub const DEFAULT_TYPES: &str = "JWT,at+jwt";

    /// The longest life of a token in a deployment that names no other: a day.
    pub const DEFAULT_LIFE_MAX_S: u64 = 86_400;

    /// The names of a list with commas.
    pub fn types(list: &str) -> Vec<String> {
        list.split(',').map(|name| name.trim().to_owned()).collect()
    }

    /// Whether `typ` is one of those.
    fn takes_type(&self, typ: &str) -> bool {
        const PREFIX: &str = "application/";
        let bare = match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
            _ => typ,
        };
        self.types.iter().any(|taken| taken.eq_ignore_ascii_case(bare))
    }
}

/// Who connects, as a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The value of the user claim.
    pub user: UserId,
    /// The device of the request, or else of the token; they are the same if both name one, `None` if neither does.
    pub device: Option<DeviceId>,
    /// The token's `exp`, in whole seconds since the Unix epoch, without the leeway.
    pub expires_s: u64,
}

/// A token of the right form and an allowed algorithm. Its signature is not checked yet: nothing in it is believed but the name of the key.
pub struct Token<'a> {
    algorithm: SigningAlgorithm,
    kid: Option<String>,
    typ: Option<String>,
    /// `header.payload`, as signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'a> Token<'a> {
    /// Reads the header of a JWS in compact form. Keys and addresses inside the header (`jwk`, `jku`, `x5u` …) are never used.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] before anything is read, [`Refusal::Malformed`], [`Refusal::AlgorithmNotAllowed`],
    /// [`Refusal::CriticalExtension`].
    pub fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Malformed)?;
        if payload.contains('.') {
            return Err(Refusal::Malformed);
        }
        let header = json_object(header)?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => SigningAlgorithm::from_name(name).ok_or(Refusal::AlgorithmNotAllowed)?,
            Some(_) => return Err(Refusal::Malformed),
            None => return Err(Refusal::AlgorithmNotAllowed),
        };
        if header.contains_key("crit") {
            return Err(Refusal::CriticalExtension);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::Malformed),
        };
        Ok(Self { algorithm, kid: text("kid")?, typ: text("typ")?, message, payload, signature })
    }

    /// The key that the token names, for [`super::jwks::KeySource::keys_for`].
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Checks the signature, then the claims, at `now`, for a request that names `device`.
    ///
    /// # Errors
    /// The first rule that is broken, as a [`Refusal`].
    pub fn verify(&self, keys: &KeySet, policy: &TokenPolicy, device: Option<DeviceId>, now: UnixMillis) -> Result<Identity, Refusal> {
        if self.typ.as_ref().is_some_and(|typ| !policy.takes_type(typ)) {
            return Err(Refusal::WrongType);
        }
        let key = self.key(keys)?;
        let algorithm = match self.algorithm {
            SigningAlgorithm::Es256 => Algorithm::ES256,
            SigningAlgorithm::Rs256 => Algorithm::RS256,
        };
        // An error here, other than `false`, is a signature that is not base64url: the key's family is the algorithm's.
        let signed =
            crypto::verify(self.signature, self.message.as_bytes(), key.decoding_key(), algorithm).map_err(|_| Refusal::Malformed)?;
        if !signed {
            return Err(Refusal::BadSignature);
        }
        // Of a claim that is there twice the last one counts (RFC 7519 §4). Only the issuer can have put it there.
        identity(&json_object(self.payload)?, policy, device, now)
    }

    fn key<'k>(&self, keys: &'k KeySet) -> Result<&'k VerificationKey, Refusal> {
        let kid = self.kid();
        if kid.is_some_and(|kid| !keys.has(kid)) {
            return Err(Refusal::UnknownKey);
        }
        // Keys of different types may share a `kid` (RFC 7517 §4.5).
        let mut fitting = keys.for_algorithm(self.algorithm).filter(|key| kid.is_none() || key.kid() == kid);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) if kid.is_some() => Err(Refusal::KeyMismatch),
            _ => Err(Refusal::AmbiguousKey),
        }
    }
}

/// The rules for the claims of a token whose signature is right. All time rules have a leeway of [`TOKEN_LEEWAY_S`]; times are compared
/// in milliseconds.
fn identity(claims: &Map<String, Value>, policy: &TokenPolicy, device: Option<DeviceId>, now: UnixMillis) -> Result<Identity, Refusal> {
    let expires_s = claims.get("exp").and_then(time_s).ok_or(Refusal::BadExpiry)?;
    // "On or after" the time it must not be accepted (RFC 7519 §4.1.4), hence not `>`.
    if now.get() >= (expires_s + TOKEN_LEEWAY_S) * 1000 {
        return Err(Refusal::Expired);
    }
    if let Some(not_before) = claims.get("nbf") {
        let not_before_s = time_s(not_before).ok_or(Refusal::BadNotBefore)?;
        if now.get() < not_before_s.saturating_sub(TOKEN_LEEWAY_S) * 1000 {
            return Err(Refusal::NotYetValid);
        }
    }
    if let Some(issued_at) = claims.get("iat") {
        let issued_at_s = time_s(issued_at).ok_or(Refusal::BadIssuedAt)?;
        if now.get() < issued_at_s.saturating_sub(TOKEN_LEEWAY_S) * 1000 {
            return Err(Refusal::IssuedInFuture);
        }
    }
    if claims.get("iss").and_then(Value::as_str) != Some(&policy.issuer) {
        return Err(Refusal::WrongIssuer);
    }
    let for_us = |audience: &Value| audience.as_str() == Some(&policy.audience);
    let addressed = match claims.get("aud").or_else(|| claims.get("client_id")) {
        Some(Value::Array(audiences)) => audiences.iter().any(for_us),
        Some(audience) => for_us(audience),
        None => false,
    };
    if !addressed {
        return Err(Refusal::WrongAudience);
    }
    let user = claims.get(&policy.user_claim).and_then(Value::as_str).and_then(|id| UserId::new(id).ok()).ok_or(Refusal::BadUser)?;
    let verified = claims.get("email_verified").is_some_and(|verified| *verified == true || *verified == "true");
    if policy.user_claim == "email" && !verified {
        return Err(Refusal::EmailNotVerified);
    }
    let bound = match claims.get("device") {
        None => None,
        Some(claim) => Some(claim.as_str().and_then(|id| DeviceId::new(id).ok()).ok_or(Refusal::WrongDevice)?),
    };
    if let (Some(bound), Some(asked)) = (bound, device)
        && bound != asked
    {
        return Err(Refusal::WrongDevice);
    }
    Ok(Identity { user, device: device.or(bound), expires_s })
}

/// A `NumericDate` (RFC 7519 §2) in whole seconds; a fraction is dropped. `None` unless a number from 0 to [`TIME_S_MAX`].
fn time_s(claim: &Value) -> Option<u64> {
    let whole = claim.as_u64().or_else(|| {
        let fractional = claim.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` drops the fraction and saturates; what is too large is refused below"
        )]
        (fractional >= 0.0).then_some(fractional as u64)
    });
    whole.filter(|whole| *whole <= TIME_S_MAX)
}

/// A base64url part without padding that is a JSON object. `serde_json` stops at 128 levels.
fn json_object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}

#[cfg(test)]
mod tests;
