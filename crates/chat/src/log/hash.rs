//! Hashes that entries carry: of a body, and of a sender.

use std::fmt;

use chatlane_protocol::{Body, Content, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The deployment's key for body hashes. Debug output hides it.
#[derive(Clone)]
pub struct DedupeKey([u8; 32]);

impl DedupeKey {
    /// Takes the 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DedupeKey(…)")
    }
}

/// The first 16 bytes of an HMAC-SHA-256 of a body. Keyed, so that a table dump without the key does not confirm a guessed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash(pub [u8; Self::BYTES]);

impl BodyHash {
    /// Its size.
    pub const BYTES: usize = 16;

    /// Of this body.
    ///
    /// # Panics
    /// Never: an HMAC key may have any length.
    pub fn of(body: &Body, key: &DedupeKey) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("an HMAC key may have any length");
        let (form, bytes) = match body.content() {
            Content::Text(text) => (b't', text.as_bytes()),
            Content::Data(data) => (b'd', data.as_slice()),
        };
        // Lengths first: no two bodies give the same bytes.
        mac.update(&(body.content_type().len() as u64).to_be_bytes());
        mac.update(body.content_type().as_bytes());
        mac.update(&[form]);
        mac.update(bytes);
        let whole = mac.finalize().into_bytes();
        let mut hash = [0; Self::BYTES];
        hash.copy_from_slice(&whole[..Self::BYTES]);
        Self(hash)
    }
}

/// The first 4 bytes of SHA-256 of a user id: who sent the last messages, small enough for every entry.
pub fn sender_hash(sender: &UserId) -> u32 {
    let whole = Sha256::digest(sender.as_str().as_bytes());
    u32::from_be_bytes([whole[0], whole[1], whole[2], whole[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_hash_tells_type_form_content_and_key_apart() {
        let key = DedupeKey::new([7; 32]);
        let body = |content_type: &str, content| Body::new(content_type, content).unwrap();
        let all = [
            BodyHash::of(&body("a", Content::Text("bc".into())), &key),
            BodyHash::of(&body("ab", Content::Text("c".into())), &key),
            BodyHash::of(&body("a", Content::Data(b"bc".to_vec())), &key),
            BodyHash::of(&body("a", Content::Text("bc".into())), &DedupeKey::new([8; 32])),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| other != one), "{index}");
        }
        assert_eq!(all[0], BodyHash::of(&body("a", Content::Text("bc".into())), &key));
    }

    #[test]
    fn the_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", DedupeKey::new([7; 32])), "DedupeKey(…)");
    }
}
