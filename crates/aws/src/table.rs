//! The tables: keys, attributes, and how each kind of item is written and read. Nothing else in the workspace knows them.
//!
//! | table | key | items |
//! |---|---|---|
//! | log | `c` conversation, `s` seq (N) | one entry each, written once |
//! | conversations | `c` conversation, `k` `meta` \| `head` \| `member#<user>` | settings · begun position · one member |
//! | inboxes | `u` user, `c` conversation | one conversation of one user |
//! | users | `u` user, `k` `sessions` | one attribute `c:<connection>` per live connection |
//!
//! Names are one or two letters: they are paid for in every item, and a quiet message must fit one write unit (1 KB). Users are
//! percent-encoded in keys, so that no character of theirs can end a key part.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chatlane_chat::admission::{Bucket, RECENT};
use chatlane_chat::entry::{BodyHash, Entry, Facts, Kind, Policy, Role, SizeClass};
use chatlane_chat::ports::{InboxRow, Member, Session, Unavailable};
use chatlane_protocol::{Body, ClientMessageId, ConnectionId, Content, ConversationId, DeviceId, Position, Seq, UnixMillis, UserId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The names of the deployment's tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Entries.
    pub log: String,
    /// `meta`, `head` and members of each conversation.
    pub conversations: String,
    /// Conversations of each user.
    pub inboxes: String,
    /// Sessions of each user.
    pub users: String,
}

/// One item.
pub type Item = HashMap<String, AttributeValue>;

/// The version of the facts that this code writes.
const FACTS_VERSION: u64 = 1;

/// The sort key of a conversation's settings.
pub const META: &str = "meta";
/// The sort key of a conversation's begun position.
pub const HEAD: &str = "head";
/// The start of a member's sort key.
pub const MEMBER_PREFIX: &str = "member#";
/// The sort key of a user's connections.
pub const SESSIONS: &str = "sessions";
/// The start of a connection's attribute.
const CONNECTION_PREFIX: &str = "c:";

const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'@');

/// A text value.
pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number value.
pub fn n(number: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

fn map(pairs: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> Item {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A user as a part of a key: up to 384 bytes.
pub fn user_key(user: &UserId) -> String {
    utf8_percent_encode(user.as_str(), KEEP).to_string()
}

/// The key of an entry.
pub fn entry_key(conversation: &ConversationId, seq: Seq) -> Item {
    map([("c", s(conversation.as_str())), ("s", n(seq))])
}

/// The key of a conversation's item.
pub fn conversation_key(conversation: &ConversationId, kind: &str) -> Item {
    map([("c", s(conversation.as_str())), ("k", s(kind))])
}

/// The key of a member's item.
pub fn member_key(conversation: &ConversationId, user: &UserId) -> Item {
    conversation_key(conversation, &format!("{MEMBER_PREFIX}{}", user_key(user)))
}

/// The key of a user's sessions.
pub fn sessions_key(user: &UserId) -> Item {
    map([("u", s(user_key(user))), ("k", s(SESSIONS))])
}

/// The attribute of a connection within its user's sessions.
pub fn connection_attribute(connection: &ConnectionId) -> String {
    format!("{CONNECTION_PREFIX}{connection}")
}

/// An entry's item.
pub fn entry_item(entry: &Entry) -> Item {
    let facts = &entry.facts;
    let recent: Vec<u8> = facts.bucket.recent.iter().flat_map(|hash| hash.to_be_bytes()).collect();
    let mut item = entry_key(&entry.conversation, entry.position.seq);
    item.extend(map([
        ("e", n(entry.position.epoch)),
        ("u", s(entry.sender.as_str())),
        ("i", s(entry.client_message_id.as_str())),
        ("t", n(entry.time)),
        ("v", n(FACTS_VERSION)),
        ("n", n(facts.count)),
        ("mc", n(facts.membership_changed)),
        ("rm", n(facts.removed)),
        ("p", AttributeValue::M(policy_map(&facts.policy))),
        ("nm", n(facts.members)),
        ("no", n(facts.owners)),
        ("bk", n(facts.bucket.tokens_milli)),
        ("bt", n(facts.bucket.time)),
        ("br", AttributeValue::B(Blob::new(recent))),
    ]));
    item.extend(match &entry.kind {
        Kind::Later => Item::new(),
        Kind::Created { members } => {
            map([("k", s("c")), ("m", AttributeValue::L(members.iter().map(|member| s(member.as_str())).collect()))])
        }
        Kind::Message { body, hash } => {
            let content = match body.content() {
                Content::Text(text) => ("x", s(text)),
                Content::Data(data) => ("d", AttributeValue::B(Blob::new(data.clone()))),
            };
            map([("k", s("m")), ("ct", s(body.content_type())), content, ("h", AttributeValue::B(Blob::new(hash.0)))])
        }
    });
    item
}

/// An item of the log as an entry.
pub fn read_entry(item: &Item) -> Result<Entry, Unavailable> {
    let read = Read { item, what: "read an entry" };
    let kind = match read.text("k")?.as_str() {
        "c" => {
            let members = read.value("m")?.as_l().map_err(|_| read.bad("m"))?;
            let member = |value: &AttributeValue| UserId::new(value.as_s().cloned().unwrap_or_default()).map_err(|_| read.bad("m"));
            Kind::Created { members: members.iter().map(member).collect::<Result<_, _>>()? }
        }
        "m" => {
            let content = if item.contains_key("d") { Content::Data(read.bytes("d")?) } else { Content::Text(read.text("x")?) };
            let body = Body::new(read.text("ct")?, content).map_err(|_| read.bad("ct"))?;
            let hash = read.bytes("h")?.try_into().map_err(|_| read.bad("h"))?;
            Kind::Message { body, hash: BodyHash(hash) }
        }
        _ => Kind::Later,
    };
    // A later version of the facts still has what this one needs, or its attributes are missing below.
    if read.number("v")? < FACTS_VERSION {
        return Err(read.bad("v"));
    }
    let mut recent = [0; RECENT];
    for (slot, bytes) in recent.iter_mut().zip(read.bytes("br")?.chunks_exact(4)) {
        *slot = u32::from_be_bytes(bytes.try_into().map_err(|_| read.bad("br"))?);
    }
    Ok(Entry {
        conversation: ConversationId::new(read.text("c")?).map_err(|_| read.bad("c"))?,
        position: read.position()?,
        sender: UserId::new(read.text("u")?).map_err(|_| read.bad("u"))?,
        client_message_id: ClientMessageId::new(read.text("i")?).map_err(|_| read.bad("i"))?,
        time: read.time("t")?,
        kind,
        facts: Facts {
            count: read.number("n")?,
            membership_changed: read.seq("mc")?,
            removed: read.seq("rm")?,
            policy: read_policy(read.value("p")?.as_m().map_err(|_| read.bad("p"))?)?,
            members: read.small("nm")?,
            owners: read.small("no")?,
            bucket: Bucket { tokens_milli: read.small("bk")?, time: read.time("bt")?, recent },
        },
    })
}

/// Only what differs from the commonest policy is written: a direct conversation's map is 14 bytes.
fn policy_map(policy: &Policy) -> Item {
    let mut item = map([("r", n(policy.admitted_per_s))]);
    if policy.closed {
        item.extend(map([("c", AttributeValue::Bool(true))]));
    }
    if policy.locked {
        item.extend(map([("l", AttributeValue::Bool(true))]));
    }
    if policy.size == SizeClass::Large {
        item.extend(map([("z", AttributeValue::Bool(true))]));
    }
    let roles = [("s", Some(policy.send)), ("a", policy.add), ("g", policy.manage)];
    item.extend(map(roles.into_iter().filter_map(|(name, role)| Some((name, s(role_letter(role?)))))));
    item
}

fn read_policy(item: &Item) -> Result<Policy, Unavailable> {
    let read = Read { item, what: "read a policy" };
    let flag = |name: &str| item.contains_key(name);
    let role = |name: &'static str| if flag(name) { read.role(name).map(Some) } else { Ok(None) };
    Ok(Policy {
        closed: flag("c"),
        locked: flag("l"),
        send: read.role("s")?,
        add: role("a")?,
        manage: role("g")?,
        size: if flag("z") { SizeClass::Large } else { SizeClass::Small },
        admitted_per_s: read.small("r")?,
    })
}

const fn role_letter(role: Role) -> &'static str {
    match role {
        Role::Member => "m",
        Role::Moderator => "o",
        Role::Admin => "a",
        Role::Owner => "w",
    }
}

/// The item that says that a conversation exists.
pub fn meta_item(entry: &Entry) -> Item {
    let mut item = conversation_key(&entry.conversation, META);
    item.extend(map([("t", n(entry.time))]));
    item
}

/// The item of a conversation's begun position.
pub fn head_item(conversation: &ConversationId, head: Position) -> Item {
    let mut item = conversation_key(conversation, HEAD);
    item.extend(map([("e", n(head.epoch)), ("s", n(head.seq))]));
    item
}

/// A head's item as a position.
pub fn read_head(item: &Item) -> Result<Position, Unavailable> {
    Read { item, what: "read a head" }.position()
}

/// A member's item.
pub fn member_item(conversation: &ConversationId, member: &Member) -> Item {
    let mut item = member_key(conversation, &member.user);
    item.extend(map([
        ("u", s(member.user.as_str())),
        ("r", s(role_letter(member.role))),
        ("f", n(member.visible_from)),
        ("v", n(member.version)),
    ]));
    item
}

/// A member's item as a row.
pub fn read_member(item: &Item) -> Result<Member, Unavailable> {
    let read = Read { item, what: "read a member" };
    Ok(Member {
        user: UserId::new(read.text("u")?).map_err(|_| read.bad("u"))?,
        role: read.role("r")?,
        visible_from: read.seq("f")?,
        version: read.seq("v")?,
    })
}

/// The item of one conversation in a user's inbox; `visible_from` as in the member's row.
pub fn inbox_item(user: &UserId, row: &InboxRow, visible_from: Seq) -> Item {
    let mut item = map([("u", s(user_key(user))), ("c", s(row.conversation.as_str())), ("f", n(visible_from))]);
    if let Some(with) = &row.with {
        item.extend(map([("w", s(with.as_str()))]));
    }
    item
}

/// An inbox item as a row.
pub fn read_inbox(item: &Item) -> Result<InboxRow, Unavailable> {
    let read = Read { item, what: "read an inbox row" };
    let with = if item.contains_key("w") { Some(UserId::new(read.text("w")?).map_err(|_| read.bad("w"))?) } else { None };
    Ok(InboxRow { conversation: ConversationId::new(read.text("c")?).map_err(|_| read.bad("c"))?, with })
}

/// The value of a connection's attribute.
pub fn session_value(session: &Session) -> AttributeValue {
    AttributeValue::M(map([("d", s(session.device.to_string())), ("a", n(session.connected_at)), ("x", n(session.expires))]))
}

/// All connections in a sessions item.
pub fn read_sessions(item: &Item) -> Result<Vec<Session>, Unavailable> {
    let connections = item.iter().filter_map(|(name, value)| Some((name.strip_prefix(CONNECTION_PREFIX)?, value)));
    let session = |(connection, value): (&str, &AttributeValue)| {
        let bad = |_| Unavailable::new("read a session", "a connection's attribute is not as it was written");
        let item = value.as_m().map_err(bad)?;
        let read = Read { item, what: "read a session" };
        Ok(Session {
            connection: ConnectionId::new(connection).map_err(|_| read.bad("c:"))?,
            device: DeviceId::new(&read.text("d")?).map_err(|_| read.bad("d"))?,
            connected_at: read.time("a")?,
            expires: read.time("x")?,
        })
    };
    connections.map(session).collect()
}

/// Reads attributes; an item that is not as this module writes it is somebody else's doing and is said so, by attribute, without values.
struct Read<'a> {
    item: &'a Item,
    what: &'static str,
}

impl Read<'_> {
    fn bad(&self, name: &str) -> Unavailable {
        Unavailable::new(self.what, format!("attribute `{name}` is missing or not as it was written"))
    }

    fn value(&self, name: &'static str) -> Result<&AttributeValue, Unavailable> {
        self.item.get(name).ok_or_else(|| self.bad(name))
    }

    fn text(&self, name: &'static str) -> Result<String, Unavailable> {
        self.value(name)?.as_s().cloned().map_err(|_| self.bad(name))
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, Unavailable> {
        self.value(name)?.as_b().map(|blob| blob.as_ref().to_vec()).map_err(|_| self.bad(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, Unavailable> {
        self.value(name)?.as_n().ok().and_then(|text| text.parse().ok()).ok_or_else(|| self.bad(name))
    }

    fn small(&self, name: &'static str) -> Result<u32, Unavailable> {
        u32::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    fn seq(&self, name: &'static str) -> Result<Seq, Unavailable> {
        Seq::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    fn time(&self, name: &'static str) -> Result<UnixMillis, Unavailable> {
        UnixMillis::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    fn position(&self) -> Result<Position, Unavailable> {
        Ok(Position::new(self.small("e")?, self.seq("s")?))
    }

    fn role(&self, name: &'static str) -> Result<Role, Unavailable> {
        match self.text(name)?.as_str() {
            "m" => Ok(Role::Member),
            "o" => Ok(Role::Moderator),
            "a" => Ok(Role::Admin),
            "w" => Ok(Role::Owner),
            _ => Err(self.bad(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_user_can_end_a_key_part() {
        let key = user_key(&UserId::new("auth0|a#b/ü%").unwrap());
        assert_eq!(key, "auth0%7Ca%23b%2F%C3%BC%25");
        assert_ne!(user_key(&UserId::new("a%23").unwrap()), user_key(&UserId::new("a#").unwrap()));
        assert!(user_key(&UserId::new("ü".repeat(64)).unwrap()).len() <= 384);
    }

    #[test]
    fn an_item_that_is_not_as_written_is_named_by_its_attribute() {
        let item = map([("c", s("d1")), ("s", n(1u64))]);
        assert_eq!(read_entry(&item).unwrap_err().to_string(), "read an entry: attribute `k` is missing or not as it was written");
        let item = map([("k", s("m")), ("x", s("text"))]);
        assert!(read_entry(&item).unwrap_err().to_string().contains("`ct`"));
        let item = map([("e", s("x")), ("s", n(1u64))]);
        assert!(read_head(&item).unwrap_err().to_string().contains("`e`"));
        let item = map([("u", s("alice")), ("r", s("?"))]);
        assert!(read_member(&item).unwrap_err().to_string().contains("`r`"));
        let item = map([("c:x", s("nothing"))]);
        assert!(read_sessions(&item).is_err());
    }

    #[test]
    fn an_entry_of_a_later_version_keeps_its_place_its_id_and_its_facts() {
        use chatlane_chat::testing::builders::{conversation, entry};
        let written = entry(&conversation("d1"), 7, "alice");
        let mut item = entry_item(&written);
        item.extend(map([("k", s("reaction")), ("v", n(9u64)), ("zz", s("new"))]));
        assert_eq!(read_entry(&item).unwrap(), Entry { kind: Kind::Later, ..written.clone() });

        let mut older = entry_item(&written);
        older.extend(map([("v", n(0u64))]));
        assert!(read_entry(&older).unwrap_err().to_string().contains("`v`"));
    }
}
