//! The tables: keys, attributes, and how each kind of item is written and read. Nothing else in the workspace knows them.
//!
//! | table | key | items |
//! |---|---|---|
//! | log | `c` conversation, `s` seq (N) | one entry each, written once |
//! | conversations | `c` conversation, `k` `meta` \| `head` \| `member#<user>` | settings · begun position with its count and time · one member |
//! | inboxes | `u` user, `c` conversation | one conversation of one user: read cursor `r` with its count `rn`, one delivered cursor `d:<device>` per device |
//! | users | `u` user, `k` `sessions` | one attribute `c:<connection>` per live connection |
//!
//! A cursor is one number, epoch × 10¹⁶ + seq, so that one comparison in a condition orders it as [`Position`] does: a seq is below 2⁵³ and
//! so below 10¹⁶, and of the 38 digits that a `DynamoDB` number keeps (developer guide, "Supported data types and naming rules") it needs 26.
//!
//! Names are one or two letters: they are paid for in every item, and a quiet message must fit one write unit (1 KB). Users are
//! percent-encoded in keys, so that no character of theirs can end a key part.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chatlane_chat::log::admission::{Bucket, RECENT};
use chatlane_chat::log::entry::{BodyHash, Entry, Facts, Kind, Policy, Role, SizeClass};
use chatlane_chat::ports::{Head, InboxRow, Member, ReadCursor, Session, Unavailable};
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
/// The start of a device's delivered cursor.
const DELIVERED_PREFIX: &str = "d:";

/// What an epoch weighs in a cursor.
const EPOCH_WEIGHT: u128 = 10_u128.pow(16);

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

/// The key of one conversation in a user's inbox.
pub fn inbox_key(user: &UserId, conversation: &ConversationId) -> Item {
    map([("u", s(user_key(user))), ("c", s(conversation.as_str()))])
}

/// The key of a user's sessions.
pub fn sessions_key(user: &UserId) -> Item {
    map([("u", s(user_key(user))), ("k", s(SESSIONS))])
}

/// The attribute of a connection within its user's sessions.
pub fn connection_attribute(connection: &ConnectionId) -> String {
    format!("{CONNECTION_PREFIX}{connection}")
}

/// The attribute of a device's delivered cursor: the prefix and 32 hexadecimal digits.
pub fn delivered_attribute(device: DeviceId) -> String {
    format!("{DELIVERED_PREFIX}{}", device.to_string().replace('-', ""))
}

/// The device of such an attribute.
fn delivered_device(name: &str) -> Option<DeviceId> {
    let hex = name.strip_prefix(DELIVERED_PREFIX)?;
    let hyphenated = format!("{}-{}-{}-{}-{}", hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?);
    DeviceId::new(&hyphenated).ok()
}

/// A position as one number that compares as the position does.
pub fn cursor(position: Position) -> AttributeValue {
    AttributeValue::N((u128::from(position.epoch) * EPOCH_WEIGHT + u128::from(position.seq.get())).to_string())
}

/// The conversation of an item that has one in its key.
pub fn conversation_of(item: &Item) -> Result<ConversationId, Unavailable> {
    Read { item, what: "read a key" }.conversation()
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
        conversation: read.conversation()?,
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
pub fn head_item(conversation: &ConversationId, head: Head) -> Item {
    let mut item = conversation_key(conversation, HEAD);
    item.extend(map([("e", n(head.position.epoch)), ("s", n(head.position.seq)), ("n", n(head.count)), ("t", n(head.time))]));
    item
}

/// A head's item. One of an earlier version has neither count nor time until its next entry.
pub fn read_head(item: &Item) -> Result<Head, Unavailable> {
    let read = Read { item, what: "read a head" };
    Ok(Head {
        position: read.position()?,
        count: if item.contains_key("n") { read.number("n")? } else { 0 },
        time: if item.contains_key("t") { read.time("t")? } else { UnixMillis::ZERO },
    })
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

/// The item of a conversation in the inbox of a new member: without cursors. `with` is the other member of a direct conversation.
pub fn inbox_item(conversation: &ConversationId, with: Option<&UserId>, member: &Member) -> Item {
    let mut item = inbox_key(&member.user, conversation);
    item.extend(map([("f", n(member.visible_from))]));
    item.extend(map(with.map(|with| ("w", s(with.as_str())))));
    item
}

/// An inbox item as a row.
pub fn read_inbox(item: &Item) -> Result<InboxRow, Unavailable> {
    let read = Read { item, what: "read an inbox row" };
    let with = if item.contains_key("w") { Some(UserId::new(read.text("w")?).map_err(|_| read.bad("w"))?) } else { None };
    let cursor =
        if item.contains_key("r") { ReadCursor { position: read.cursor("r")?, count: read.number("rn")? } } else { ReadCursor::NONE };
    let mut delivered = BTreeMap::new();
    for name in item.keys().filter(|name| name.starts_with(DELIVERED_PREFIX)) {
        delivered.insert(delivered_device(name).ok_or_else(|| read.bad(DELIVERED_PREFIX))?, read.cursor(name)?);
    }
    Ok(InboxRow { conversation: read.conversation()?, with, visible_from: read.seq("f")?, read: cursor, delivered })
}

/// The value of a connection's attribute.
pub fn session_value(session: &Session) -> AttributeValue {
    AttributeValue::M(map([("d", s(session.device.to_string())), ("a", n(session.connected_at)), ("x", n(session.expires))]))
}

/// The attribute by which `DynamoDB` removes sessions items that nobody uses any more, in seconds since 1970.
pub const TTL: &str = "ttl";

/// When a sessions item may go.
pub fn ttl(item: &Item) -> Option<u64> {
    item.get(TTL)?.as_n().ok()?.parse().ok()
}

/// All connections in a sessions item.
pub fn read_sessions(item: &Item) -> Result<Vec<Session>, Unavailable> {
    let connections = item.iter().filter_map(|(name, value)| Some((name.strip_prefix(CONNECTION_PREFIX)?, value)));
    connections.map(|(connection, value)| session_of(connection, value)).collect()
}

/// One connection in a sessions item.
pub fn read_session(item: &Item, connection: &ConnectionId) -> Result<Option<Session>, Unavailable> {
    item.get(&connection_attribute(connection)).map(|value| session_of(connection.as_str(), value)).transpose()
}

fn session_of(connection: &str, value: &AttributeValue) -> Result<Session, Unavailable> {
    let what = "read a session";
    let item = value.as_m().map_err(|_| Unavailable::new(what, "a connection's attribute is not as it was written"))?;
    let read = Read { item, what };
    Ok(Session {
        connection: ConnectionId::new(connection).map_err(|_| read.bad(CONNECTION_PREFIX))?,
        device: DeviceId::new(&read.text("d")?).map_err(|_| read.bad("d"))?,
        connected_at: read.time("a")?,
        expires: read.time("x")?,
    })
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

    fn value(&self, name: &str) -> Result<&AttributeValue, Unavailable> {
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

    fn conversation(&self) -> Result<ConversationId, Unavailable> {
        ConversationId::new(self.text("c")?).map_err(|_| self.bad("c"))
    }

    fn cursor(&self, name: &str) -> Result<Position, Unavailable> {
        let number: Option<u128> = self.value(name)?.as_n().ok().and_then(|text| text.parse().ok());
        let position = number.and_then(|number| {
            let seq = Seq::try_from(u64::try_from(number % EPOCH_WEIGHT).ok()?).ok()?;
            Some(Position::new(u32::try_from(number / EPOCH_WEIGHT).ok()?, seq))
        });
        position.ok_or_else(|| self.bad(name))
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
        assert!(conversation_of(&map([("c", s("#"))])).unwrap_err().to_string().contains("`c`"));
    }

    #[test]
    fn a_cursor_orders_as_its_position_does_and_has_26_digits_at_most() {
        let number = |epoch, seq| cursor(Position::new(epoch, seq)).as_n().unwrap().parse::<u128>().unwrap();
        let ascending = [number(0, Seq::ZERO), number(0, Seq::MAX), number(1, Seq::ZERO), number(1, Seq::FIRST), number(9, Seq::MAX)];
        assert!(ascending.is_sorted_by(|one, other| one < other), "{ascending:?}");
        assert_eq!(number(7, Seq::FIRST), 70_000_000_000_000_001);
        assert_eq!(number(u32::MAX, Seq::MAX).to_string().len(), 26);
    }

    #[test]
    fn a_cursor_that_is_no_position_is_named_by_its_attribute() {
        let row = |name: &'static str, value| {
            let mut item = map([("u", s("alice")), ("c", s("d1")), ("f", n(1u64))]);
            item.extend(map([(name, value), ("rn", n(0u64))]));
            read_inbox(&item).unwrap_err().to_string()
        };
        let number = |text: &str| AttributeValue::N(text.to_owned());
        // A text; a fraction; a seq above 2^53 - 1; an epoch above 32 bits.
        for bad in [s("1"), number("1.5"), number("9007199254740992"), number("42949672960000000000000001")] {
            assert!(row("r", bad.clone()).contains("`r`"), "{bad:?}");
            let device = "d:3f0c2f642d0f4a1c9a470f8f2a4cf001";
            assert!(row(device, bad.clone()).contains(device), "{bad:?}");
        }
        for bad in ["d:", "d:3f0c", "d:3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001", "d:ü0c2f642d0f4a1c9a470f8f2a4cf001"] {
            assert!(row(bad, n(1u64)).contains("`d:`"), "{bad}");
        }
        let mut without_count = map([("u", s("alice")), ("c", s("d1")), ("f", n(1u64)), ("r", n(1u64))]);
        assert!(read_inbox(&without_count).unwrap_err().to_string().contains("`rn`"));
        without_count.remove("r");
        assert_eq!(read_inbox(&without_count).unwrap().read, ReadCursor::NONE);
    }

    #[test]
    fn a_head_of_an_earlier_version_has_neither_count_nor_time() {
        let position = Position::new(1, Seq::FIRST);
        let item = map([("c", s("d1")), ("k", s(HEAD)), ("e", n(1u64)), ("s", n(1u64))]);
        assert_eq!(read_head(&item).unwrap(), Head { position, ..Head::default() });
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
