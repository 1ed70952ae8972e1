//! `created`: entry 1. Written by creation only, together with the rows of the members; nobody appends one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_protocol::{ConversationId, EntryKind, Seq, UnixMillis, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::log::admission::Bucket;
use crate::log::facts::{Facts, Kept, Policy};
use crate::log::hash::UserKey;

/// Entry 1: the members of the new conversation, in the order of their ids; at most 40.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedEntry {
    /// In the order of their ids.
    pub members: Vec<UserId>,
}

impl CreatedEntry {
    /// Of a direct conversation of these two.
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let mut members = vec![one.clone(), other.clone()];
        members.sort();
        Self { members }
    }

    /// The facts of entry 1 of a direct conversation, created at `now`.
    pub fn direct_facts(&self, key: &UserKey, now: UnixMillis) -> Facts {
        Facts {
            count: 0,
            membership_changed: Seq::FIRST,
            removed: Seq::ZERO,
            policy: Policy::DIRECT,
            members: 2,
            owners: 0,
            members_sum: Some(key.sum(&self.members)),
            unanswered: Some(0),
            bucket: Bucket::full(Policy::DIRECT.admitted_per_s, now),
            later: Kept::new(),
        }
    }

    /// The other one of two members.
    pub fn other_than(&self, user: &UserId) -> Option<&UserId> {
        self.members.iter().find(|member| *member != user)
    }

    /// Bytes beside what every entry has.
    pub fn stored_bytes(&self) -> usize {
        self.members.iter().map(|member| member.as_str().len()).sum()
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        EntryKind::Created { members: self.members.clone() }
    }
}

/// A deployment's key for the ids of direct conversations. Debug output hides it.
#[derive(Clone)]
pub struct PairKey([u8; 32]);

impl PairKey {
    /// Takes the 32 bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairKey(…)")
    }
}

/// The id of the direct conversation of two users: the same whoever asks, and nobody outside of the deployment can compute it (R1).
/// `d` and the first 20 bytes of HMAC-SHA-256 over both ids, sorted and length-prefixed, in base64url.
///
/// # Panics
/// Never: an HMAC key may have any length; `d` and base64url are in the alphabet of conversation ids.
pub fn direct_conversation(key: &PairKey, one: &UserId, other: &UserId) -> ConversationId {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("an HMAC key may have any length");
    for user in [first, second] {
        mac.update(&(user.as_str().len() as u64).to_be_bytes());
        mac.update(user.as_str().as_bytes());
    }
    let text = format!("d{}", URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..20]));
    ConversationId::new(text).expect("`d` and base64url are in the alphabet of conversation ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: u8, one: &str, other: &str) -> ConversationId {
        let user = |name: &str| UserId::new(name).unwrap();
        direct_conversation(&PairKey::new([key; 32]), &user(one), &user(other))
    }

    #[test]
    fn a_direct_conversation_has_one_id_whoever_asks() {
        assert_eq!(id(7, "alice", "bob"), id(7, "bob", "alice"));
        assert_eq!(id(7, "alice", "bob").as_str().len(), 28);
    }

    #[test]
    fn ids_that_run_into_each_other_give_different_conversations() {
        assert_ne!(id(7, "ab", "c"), id(7, "a", "bc"));
    }

    // holds: R1
    #[test]
    fn who_lacks_the_key_computes_another_id() {
        assert_ne!(id(7, "alice", "bob"), id(8, "alice", "bob"));
    }
}
