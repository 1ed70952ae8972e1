//! An entry as it is stored, with the running facts that make further reads unnecessary.

use std::fmt;

use chatlane_protocol::{Body, ClientMessageId, Content, ConversationId, Position, Seq, UnixMillis, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::log::admission::Bucket;

/// One item of the log. Written once, under "no such item", and never moved (L1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose lane.
    pub conversation: ConversationId,
    /// Its place and the epoch it was written in.
    pub position: Position,
    /// Who wrote it.
    pub sender: UserId,
    /// The sender's name for it (L2).
    pub client_message_id: ClientMessageId,
    /// The writer's clock.
    pub time: UnixMillis,
    /// What it is.
    pub kind: Kind,
    /// About the log up to and including this entry.
    pub facts: Facts,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entry 1: the members of the new conversation, in the order of their ids.
    Created {
        /// At most 40.
        members: Vec<UserId>,
    },
    /// A message.
    Message {
        /// As the sender gave it.
        body: Body,
        /// Of the first body; tells a retry from a second message under the same id. Outlives edits.
        hash: BodyHash,
    },
    /// Of a later version of this code, met after a roll-back: it keeps its place, its id and its facts. Never written.
    Later,
}

/// Running facts about the log up to an entry. Each writer computes them from the tail that it has to read anyway, so no send reads
/// `meta`, unread counts are differences, and admission is exact across all Lambdas without a further write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Countable messages so far. Never goes down.
    pub count: u64,
    /// Seq of the last change of membership.
    pub membership_changed: Seq,
    /// Seq of the last removal of a member; 0 if there was none.
    pub removed: Seq,
    /// What a writer may do.
    pub policy: Policy,
    /// Number of members.
    pub members: u32,
    /// Number of owners; 0 in a direct conversation.
    pub owners: u32,
    /// Admission.
    pub bucket: Bucket,
}

/// What a writer needs of the conversation's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nothing is appended any more.
    pub closed: bool,
    /// Only owners and admins append.
    pub locked: bool,
    /// The lowest role that may send.
    pub send: Role,
    /// The lowest role that may add members; `None`: nobody.
    pub add: Option<Role>,
    /// The lowest role that may change settings and roles; `None`: nobody.
    pub manage: Option<Role>,
    /// How it is delivered.
    pub size: SizeClass,
    /// Messages per second that are admitted for long; the burst is 2.5 seconds of it.
    pub admitted_per_s: u32,
}

/// How a conversation is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeClass {
    /// Up to 200 members: one read of the members per task.
    Small,
    /// By an index of who is online.
    Large,
}

/// What a member may do. Ordered: a later one may all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads and, where the policy allows, sends.
    Member,
    /// Keeps order.
    Moderator,
    /// Manages members and settings.
    Admin,
    /// All of it; a group always has one.
    Owner,
}

impl Policy {
    /// Of a direct conversation: both send, nobody joins, leaves or manages.
    pub const DIRECT: Self = Self {
        closed: false,
        locked: false,
        send: Role::Member,
        add: None,
        manage: None,
        size: SizeClass::Small,
        admitted_per_s: chatlane_protocol::limits::ADMISSION_PER_S,
    };

    /// M1: whether a member of this role may append a message.
    pub fn permits_sending(&self, role: Role) -> bool {
        !self.closed && role >= self.send && (!self.locked || role >= Role::Admin)
    }
}

impl Entry {
    /// Whether this is the entry that `sender` named `id` (L2).
    pub fn is_from(&self, sender: &UserId, id: &ClientMessageId) -> bool {
        self.sender == *sender && self.client_message_id == *id
    }

    /// About the bytes that the entry takes in the log: what a reader pays for.
    pub fn stored_bytes(&self) -> usize {
        const FACTS_AND_NUMBERS: usize = 220;
        let content = match &self.kind {
            Kind::Created { members } => members.iter().map(|member| member.as_str().len()).sum(),
            Kind::Later => 0,
            Kind::Message { body, .. } => {
                let content = match body.content() {
                    Content::Text(text) => text.len(),
                    Content::Data(data) => data.len(),
                };
                body.content_type().len() + content + BodyHash::BYTES
            }
        };
        FACTS_AND_NUMBERS + self.conversation.as_str().len() + self.sender.as_str().len() + self.client_message_id.as_str().len() + content
    }

    /// As clients see it.
    pub fn to_wire(&self) -> chatlane_protocol::Entry {
        chatlane_protocol::Entry {
            position: self.position,
            sender: self.sender.clone(),
            client_message_id: self.client_message_id.clone(),
            time_ms: self.time,
            count: self.facts.count,
            kind: match &self.kind {
                Kind::Created { members } => chatlane_protocol::EntryKind::Created { members: members.clone() },
                Kind::Message { body, .. } => chatlane_protocol::EntryKind::Message { body: body.clone() },
                Kind::Later => chatlane_protocol::EntryKind::Unknown,
            },
        }
    }
}

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

/// The id of the direct conversation of two users: the same whoever asks, and nothing that a stranger could use (R1).
/// `d` and the first 20 bytes of SHA-256 over both ids, sorted and length-prefixed, in base64url.
///
/// # Panics
/// Never: `d` and base64url are in the alphabet of conversation ids.
pub fn direct_conversation(one: &UserId, other: &UserId) -> ConversationId {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    let mut hash = Sha256::new();
    for user in [first, second] {
        hash.update((user.as_str().len() as u64).to_be_bytes());
        hash.update(user.as_str().as_bytes());
    }
    let text = format!("d{}", URL_SAFE_NO_PAD.encode(&hash.finalize()[..20]));
    ConversationId::new(text).expect("`d` and base64url are in the alphabet of conversation ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn a_direct_conversation_has_one_id_whoever_asks() {
        assert_eq!(direct_conversation(&user("alice"), &user("bob")), direct_conversation(&user("bob"), &user("alice")));
        assert_eq!(direct_conversation(&user("alice"), &user("bob")).as_str().len(), 28);
    }

    #[test]
    fn ids_that_run_into_each_other_give_different_conversations() {
        assert_ne!(direct_conversation(&user("ab"), &user("c")), direct_conversation(&user("a"), &user("bc")));
    }

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
    fn a_policy_permits_by_role_lock_and_closing() {
        let policy = Policy::DIRECT;
        assert!(policy.permits_sending(Role::Member));
        assert!(!Policy { closed: true, ..policy }.permits_sending(Role::Owner));
        assert!(!Policy { locked: true, ..policy }.permits_sending(Role::Moderator));
        assert!(Policy { locked: true, ..policy }.permits_sending(Role::Admin));
        assert!(!Policy { send: Role::Moderator, ..policy }.permits_sending(Role::Member));
    }

    #[test]
    fn the_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", DedupeKey::new([7; 32])), "DedupeKey(…)");
    }
}
