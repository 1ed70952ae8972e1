//! What all functions of a deployment share: a secret, from which their keys derive, and the epoch. Both stand in one item beside the
//! data, so that a restored or copied set of tables keeps its ids and its hashes, and a restore raises the epoch where the data is.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::log::hash::{BodyKey, UserKey};
use crate::log::kinds::created::IdKey;

/// The epoch of a deployment that was never restored.
pub const EPOCH_FIRST: u32 = 1;

/// What one item of the data says of its deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Made once, by a random draw of the function that started first; never changed.
    pub secret: Secret,
    /// What new entries carry. A restore or a failover raises it above all values used before, before any function sees the data.
    pub epoch: u32,
}

/// 32 random bytes. Debug output hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; Self::BYTES]);

impl Secret {
    /// Its size.
    pub const BYTES: usize = 32;

    /// The key for one purpose: HMAC-SHA-256 of its label under the secret. Who has one key knows neither the secret nor another key.
    ///
    /// # Panics
    /// Never: an HMAC key may have any length.
    fn key(&self, label: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("an HMAC key may have any length");
        mac.update(label.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The keys of a deployment. Their labels are part of what is stored: under another label everything would have another id or hash.
#[derive(Clone, Debug)]
pub struct Keys {
    /// For the hashes of bodies.
    pub bodies: BodyKey,
    /// For the ids of direct conversations.
    pub pairs: IdKey,
    /// For the ids of groups.
    pub groups: IdKey,
    /// For the hashes of users.
    pub users: UserKey,
}

impl Keys {
    /// Derived from the secret.
    pub fn of(secret: &Secret) -> Self {
        Self {
            bodies: BodyKey::new(secret.key("chatlane body hash")),
            pairs: IdKey::new(secret.key("chatlane direct conversation")),
            groups: IdKey::new(secret.key("chatlane group")),
            users: UserKey::new(secret.key("chatlane member")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_and_its_keys_are_not_in_debug_output() {
        let secret = Secret([7; Secret::BYTES]);
        let text = format!("{secret:?} {:?} {:?}", Keys::of(&secret), Deployment { secret: secret.clone(), epoch: 1 });
        assert!(!text.contains('7') && text.contains("Secret(…)"), "{text}");
    }

    #[test]
    fn each_key_is_another_one_and_each_secret_has_its_own() {
        let secret = |byte| Secret([byte; Secret::BYTES]);
        assert_ne!(secret(1).key("a"), secret(1).key("b"));
        assert_ne!(secret(1).key("a"), secret(2).key("a"));
    }
}
