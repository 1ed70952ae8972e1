//! `created` and `group_created`: entry 1. Written by creation only, together with the rows of the members; nobody appends one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatlane_protocol::{ClientMessageId, ConversationId, EntryKind, GroupSettings, Seq, UnixMillis, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::log::admission::Bucket;
use crate::log::facts::{Facts, Kept, Policy};
use crate::log::hash::UserKey;

/// Entry 1 of a direct conversation: its members.
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
            settings_changed: Seq::ZERO,
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

/// Entry 1 of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCreatedEntry {
    /// In the order of their ids; at most 40. The sender is one of them, and the owner.
    pub members: Vec<UserId>,
    /// All of them; a title and metadata where there are any.
    pub settings: GroupSettings,
}

impl GroupCreatedEntry {
    /// With these members beside its creator.
    pub fn new(creator: &UserId, others: &[UserId], settings: GroupSettings) -> Self {
        let mut members: Vec<UserId> = others.iter().chain([creator]).cloned().collect();
        members.sort();
        members.dedup();
        let mut policy = Policy::GROUP;
        policy.set(&settings);
        let title = settings.title.filter(|title| !title.as_str().is_empty());
        let metadata = settings.metadata.filter(|metadata| !metadata.as_str().is_empty());
        Self { members, settings: GroupSettings { title, metadata, ..policy.settings() } }
    }

    /// What its writers may do.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::GROUP;
        policy.set(&self.settings);
        policy
    }

    /// The facts of such an entry, created at `now`.
    pub fn facts(&self, key: &UserKey, now: UnixMillis) -> Facts {
        let policy = self.policy();
        Facts {
            count: 0,
            membership_changed: Seq::FIRST,
            settings_changed: Seq::FIRST,
            removed: Seq::ZERO,
            members: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            owners: 1,
            members_sum: Some(key.sum(&self.members)),
            unanswered: None,
            bucket: Bucket::full(policy.admitted_per_s, now),
            policy,
            later: Kept::new(),
        }
    }

    /// As clients see it.
    pub fn to_wire(&self) -> EntryKind {
        EntryKind::GroupCreated { members: self.members.clone(), settings: self.settings.clone() }
    }
}

/// A deployment's key for the ids of conversations. Debug output hides it.
#[derive(Clone)]
pub struct IdKey([u8; 32]);

impl IdKey {
    /// Takes the 32 bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A letter, and the first 20 bytes of HMAC-SHA-256 over both parts, length-prefixed, in base64url.
    ///
    /// # Panics
    /// Never: an HMAC key may have any length; letters and base64url are in the alphabet of conversation ids.
    fn id(&self, letter: char, parts: [&str; 2]) -> ConversationId {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("an HMAC key may have any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let text = format!("{letter}{}", URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..20]));
        ConversationId::new(text).expect("letters and base64url are in the alphabet of conversation ids")
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(…)")
    }
}

/// The id of the direct conversation of two users: the same whoever asks, and nobody outside of the deployment can compute it (R1). Begins
/// with `d`.
pub fn direct_conversation(key: &IdKey, one: &UserId, other: &UserId) -> ConversationId {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    key.id('d', [first.as_str(), second.as_str()])
}

/// The id of the group that this user creates by an entry of this name: the same for every retry, and nobody outside of the deployment can
/// compute it (R1). Begins with `g`.
pub fn group_conversation(key: &IdKey, creator: &UserId, id: &ClientMessageId) -> ConversationId {
    key.id('g', [creator.as_str(), id.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: u8, one: &str, other: &str) -> ConversationId {
        let user = |name: &str| UserId::new(name).unwrap();
        direct_conversation(&IdKey::new([key; 32]), &user(one), &user(other))
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

    // holds: L2, R1
    #[test]
    fn a_group_has_one_id_for_each_creator_and_name() {
        let group = |key, creator: &str, name: &str| {
            group_conversation(&IdKey::new([key; 32]), &UserId::new(creator).unwrap(), &ClientMessageId::new(name).unwrap())
        };
        assert_eq!(group(7, "alice", "g-1"), group(7, "alice", "g-1"));
        assert!(group(7, "alice", "g-1").as_str().starts_with('g'));
        assert_ne!(group(7, "alice", "g-1"), group(7, "alice", "g-2"));
        assert_ne!(group(7, "alice", "g-1"), group(8, "alice", "g-1"));
        assert_ne!(group(7, "ab", "c"), group(7, "a", "bc"));
    }
}
