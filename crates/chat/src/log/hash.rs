//! Hashes that entries carry: of a body, of a sender, of all members.

use std::fmt;

use chatlane_protocol::{Body, Content, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// A deployment's key for the hashes of bodies, and its name, which every hash carries. Debug output hides the key.
#[derive(Clone)]
pub struct BodyKey {
    key: [u8; 32],
    id: [u8; BodyHash::KEY_ID_BYTES],
}

impl BodyKey {
    /// Takes the 32 bytes. The name is the start of their SHA-256, which tells nothing of a random key.
    pub fn new(key: [u8; 32]) -> Self {
        let mut id = [0; BodyHash::KEY_ID_BYTES];
        id.copy_from_slice(&Sha256::digest(key)[..BodyHash::KEY_ID_BYTES]);
        Self { key, id }
    }
}

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyKey(…)")
    }
}

/// The first 16 bytes of an HMAC-SHA-256 of a body, and which key made it. Keyed, so that a table dump without the key does not confirm a
/// guessed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash {
    /// The name of the key; `None` in hashes of before there were names.
    pub key: Option<[u8; Self::KEY_ID_BYTES]>,
    /// The hash.
    pub hash: [u8; Self::BYTES],
}

impl BodyHash {
    /// The size of the hash.
    pub const BYTES: usize = 16;

    /// The size of the key's name.
    pub const KEY_ID_BYTES: usize = 4;

    /// Of this body.
    ///
    /// # Panics
    /// Never: an HMAC key may have any length.
    pub fn of(body: &Body, key: &BodyKey) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.key).expect("an HMAC key may have any length");
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
        Self { key: Some(key.id), hash }
    }

    /// Whether these may be hashes of one body. Under two keys nobody can tell: then the client message id alone decides.
    pub fn may_be_of_the_same_body_as(&self, other: &Self) -> bool {
        self.key != other.key || self.hash == other.hash
    }
}

/// A deployment's key for the hashes of users. Keyed, so that nobody chooses ids by which two users, or two lists of them, become alike.
/// Debug output hides it.
#[derive(Clone)]
pub struct UserKey([u8; 32]);

impl UserKey {
    /// Takes the 32 bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The first 8 bytes of HMAC-SHA-256 of a user id.
    ///
    /// # Panics
    /// Never: an HMAC key may have any length.
    fn hash(&self, user: &UserId) -> [u8; 8] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("an HMAC key may have any length");
        mac.update(user.as_str().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        first
    }

    /// The sum, modulo 2⁶⁴, of the hashes of these users: two lists of members with the same number and the same sum are the same.
    pub fn sum<'a>(&self, members: impl IntoIterator<Item = &'a UserId>) -> u64 {
        members.into_iter().map(|member| u64::from_be_bytes(self.hash(member))).fold(0, u64::wrapping_add)
    }

    /// The first 4 bytes of a user's hash: who sent the last messages, small enough for every entry.
    pub fn sender(&self, sender: &UserId) -> u32 {
        let [a, b, c, d, ..] = self.hash(sender);
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(content_type: &str, content: Content) -> Body {
        Body::new(content_type, content).unwrap()
    }

    #[test]
    fn a_body_hash_tells_type_form_and_content_apart() {
        let key = BodyKey::new([7; 32]);
        let of = |content_type: &str, content: Content| BodyHash::of(&body(content_type, content), &key);
        let all = [of("a", Content::Text("bc".into())), of("ab", Content::Text("c".into())), of("a", Content::Data(b"bc".to_vec()))];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| !one.may_be_of_the_same_body_as(other)), "{index}");
        }
        assert!(all[0].may_be_of_the_same_body_as(&of("a", Content::Text("bc".into()))));
    }

    #[test]
    fn a_sum_tells_members_apart_whatever_their_order() {
        let key = UserKey::new([7; 32]);
        let [a, b, c] = ["a", "b", "c"].map(|name| UserId::new(name).unwrap());
        assert_eq!(key.sum([&a, &b]), key.sum([&b, &a]));
        assert_ne!(key.sum([&a, &b]), key.sum([&a, &c]));
        assert_ne!(key.sum([&a, &b]), UserKey::new([8; 32]).sum([&a, &b]));
        assert_eq!(key.sum([&a, &b]).wrapping_sub(key.sum([&a])), key.sum([&b]));
    }

    #[test]
    fn hashes_under_two_keys_tell_nothing_of_their_bodies() {
        let text = |text: &str, key: &BodyKey| BodyHash::of(&body("a", Content::Text(text.into())), key);
        let (one, other) = (BodyKey::new([7; 32]), BodyKey::new([8; 32]));
        assert_ne!(text("x", &one).hash, text("x", &other).hash);
        assert!(text("x", &one).may_be_of_the_same_body_as(&text("y", &other)));
        let nameless = BodyHash { key: None, ..text("x", &one) };
        assert!(nameless.may_be_of_the_same_body_as(&text("y", &one)) && text("y", &one).may_be_of_the_same_body_as(&nameless));
    }
}
