//! An entry of a log (L1).
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `s` | N | the seq: sort key |
//! | `e` | N | the epoch it was written in |
//! | `u` | S | the sender |
//! | `i` | S | the client message id |
//! | `t` | N | when it was accepted, ms |
//! | `k` | S | the kind: `c` created, `m` message with nothing to tell but the body; any other: its name on the wire, also of a later version |
//! | `m` | L of S | created: the members, ascending |
//! | `ct` | S | message: the content type |
//! | `x` | S | message: the content, if it is text |
//! | `d` | B | message: the content, if it is bytes |
//! | `W` | S | a kind that is neither: the text of the wire, one JSON object with its kind and what it says |
//! | `h` | B | `m` and `message`: the keyed hash of its first body: the name of the key, 4 bytes (missing in entries of before), and 16 bytes |
//! | `E` | L of N | `message`: the seqs of the entries that have edited it, ascending; missing: none has |
//! | `B` | N | `message` that was edited: the bytes of its edits' bodies, as JSON |
//! | `v` | N | the version of the facts, 1; a later one still has those below |
//! | `n` | N | countable messages so far |
//! | `mc` | N | the seq of the last change of membership |
//! | `sc` | N | the seq of the last change of settings; missing: there was none |
//! | `rm` | N | the seq of the last removal of a member, 0 if there was none |
//! | `p` | M | the [`policy`](super::policy) |
//! | `nm` | N | members |
//! | `no` | N | owners |
//! | `ms` | N | the sum of the members' hashes; missing in logs of before |
//! | `un` | N | the opener's messages so far, while the other has written nothing; else missing |
//! | `bk` | N | tokens in the bucket, in thousandths |
//! | `bt` | N | the clock of the bucket's writer, ms |
//! | `br` | B | the hashes of the last 16 senders, 4 bytes each, oldest first |
//!
//! A later version may add attributes. One whose name begins with a capital letter belongs to its entry. Any other is a fact: it is carried
//! into the next entry as it is, by a version that does not know it too (K1). A message that lacks its content or its hash, and a kind that is
//! not known, keeps its place, id and facts. So a message that answers something, mentions somebody or was edited is stored in the words of the
//! wire: a function of before tells them as they are.
//!
//! Table: log. Scope: one conversation; kept for ever. Written once, by `send` and `manage` under the condition that the slot is free, and by
//! `open` and `manage` as entry 1 of a new conversation. What a message says is updated by `send` in the transaction of an edit or of its
//! deletion, which takes the words of its edits too; nothing else ever is. Read by key (batch, and in a transaction), and by queries of one conversation up and down. The table's stream
//! tells `sweep` the keys of each.

use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, Update};
use chatlane_chat::log::admission::{Bucket, RECENT};
use chatlane_chat::log::hash::BodyHash;
use chatlane_chat::log::{CreatedEntry, Entry, Facts, Kind, LaterEntry, MessageEntry};
use chatlane_chat::ports::Failure;
use chatlane_protocol::frames::encode;
use chatlane_protocol::{Body, ClientMessageId, Content, ConversationId, EntryKind, Message, Seq, UserId};
use serde_json::Value;

use super::json::from_json;
use super::{Item, NEW, Read, kept, map, n, policy, s};

/// The version of the facts that this code writes.
const FACTS_VERSION: u64 = 1;

/// The key of a slot.
pub fn key(conversation: &ConversationId, seq: Seq) -> Item {
    map([("c", s(conversation.as_str())), ("s", n(seq))])
}

/// An entry's item.
pub fn item(entry: &Entry) -> Item {
    let facts = &entry.facts;
    let recent: Vec<u8> = facts.bucket.recent.iter().flat_map(|hash| hash.to_be_bytes()).collect();
    let mut item = key(&entry.conversation, entry.position.seq);
    item.extend(map([
        ("e", n(entry.position.epoch)),
        ("u", s(entry.sender.as_str())),
        ("i", s(entry.client_message_id.as_str())),
        ("t", n(entry.time)),
        ("v", n(FACTS_VERSION)),
        ("n", n(facts.count)),
        ("mc", n(facts.membership_changed)),
        ("rm", n(facts.removed)),
        ("p", AttributeValue::M(policy::item(&facts.policy))),
        ("nm", n(facts.members)),
        ("no", n(facts.owners)),
        ("bk", n(facts.bucket.tokens_milli)),
        ("bt", n(facts.bucket.time)),
        ("br", AttributeValue::B(Blob::new(recent))),
    ]));
    let settings_changed = Some(facts.settings_changed).filter(|seq| *seq > Seq::ZERO);
    let numbers = [("ms", facts.members_sum), ("un", facts.unanswered.map(u64::from)), ("sc", settings_changed.map(u64::from))];
    item.extend(map(numbers.into_iter().filter_map(|(name, number)| Some((name, n(number?))))));
    item.extend(kept::to_item(&facts.later));
    item.extend(match &entry.kind {
        Kind::Created(CreatedEntry { members }) => {
            map([("k", s("c")), ("m", AttributeValue::L(members.iter().map(|member| s(member.as_str())).collect()))])
        }
        Kind::Message(message) if !message.is_plain() => said(message),
        Kind::Message(MessageEntry { body, hash, .. }) => {
            let content = match body.content() {
                Content::Text(text) => ("x", s(text)),
                Content::Data(data) => ("d", AttributeValue::B(Blob::new(data.clone()))),
            };
            map([("k", s("m")), ("ct", s(body.content_type())), content, ("h", AttributeValue::B(Blob::new(hash_bytes(*hash))))])
        }
        // As a function of before reads it, and tells it (K1).
        Kind::GroupCreated(_) | Kind::Change(_) | Kind::Amendment(_) | Kind::Deleted => in_words(&entry.kind.to_wire()),
        // Only in tests and dumps: no use case makes one.
        Kind::Later(LaterEntry { kind, wire }) => {
            map([("k", Some(kind)), ("W", wire.as_ref())].into_iter().filter_map(|(name, text)| Some((name, s(text?)))))
        }
    });
    item
}

/// A kind in the words of the wire.
fn in_words(kind: &EntryKind) -> Item {
    let wire = encode(kind);
    let name = serde_json::from_str::<Value>(&wire).ok().and_then(|said| said["kind"].as_str().map(s));
    map([("k", name), ("W", Some(s(wire)))].into_iter().filter_map(|(name, text)| Some((name, text?))))
}

/// A message with more to tell than its body.
fn said(message: &MessageEntry) -> Item {
    let mut item = in_words(&message.to_wire());
    item.insert("h".to_owned(), AttributeValue::B(Blob::new(hash_bytes(message.hash))));
    if !message.edits.is_empty() {
        item.insert("E".to_owned(), AttributeValue::L(message.edits.iter().copied().map(n).collect()));
        item.insert("B".to_owned(), n(message.edits_bytes as u64));
    }
    item
}

/// The attributes of an entry that are no facts of a later version.
const KNOWN: [&str; 25] = [
    "c", "s", "e", "u", "i", "t", "k", "m", "ct", "x", "d", "h", "v", "n", "mc", "sc", "rm", "p", "nm", "no", "ms", "un", "bk", "bt", "br",
];

fn kind(read: &Read<'_>) -> Result<Kind, Failure> {
    let name = read.text("k")?;
    let known = match name.as_str() {
        "c" => created(read),
        "m" => message(read),
        _ => match read.text("W").ok().and_then(|wire| of_wire(&wire)) {
            Some(EntryKind::Message(message)) => said_message(read, message),
            wire => wire.and_then(Kind::of_wire),
        },
    };
    let later = || LaterEntry { kind: name, wire: read.text("W").ok() };
    Ok(known.unwrap_or_else(|| Kind::Later(later())))
}

/// The kind that these words are, if this version writes them as they are here: what a later one has added is kept otherwise (K1).
fn of_wire(wire: &str) -> Option<EntryKind> {
    let said: Value = serde_json::from_str(wire).ok()?;
    let kind: EntryKind = serde_json::from_value(said.clone()).ok()?;
    let again: Value = serde_json::from_str(&encode(&kind)).ok()?;
    (again == said).then_some(kind)
}

fn said_message(read: &Read<'_>, Message { body, reply_to, mentions, edited, .. }: Message) -> Option<Kind> {
    let edits = read.optional("E", Read::value).ok()?.map_or(Ok(&vec![]), AttributeValue::as_l).ok().cloned()?;
    let edits = edits.iter().map(|seq| Seq::try_from(seq.as_n().ok()?.parse::<u64>().ok()?).ok()).collect::<Option<Vec<_>>>()?;
    let hash = hash_of(&read.bytes("h").ok()?)?;
    let edits_bytes = read.optional("B", Read::number).ok()?.unwrap_or_default();
    let message = MessageEntry { body, hash, reply_to, mentions, edits, edits_bytes: usize::try_from(edits_bytes).ok()? };
    (message.edits.last() == edited.as_ref()).then_some(Kind::Message(message))
}

fn created(read: &Read<'_>) -> Option<Kind> {
    let members = read.value("m").ok()?.as_l().ok()?;
    let members = members.iter().map(|member| UserId::new(member.as_s().ok()?.as_str()).ok()).collect::<Option<_>>()?;
    Some(Kind::Created(CreatedEntry { members }))
}

fn message(read: &Read<'_>) -> Option<Kind> {
    let content = if read.has("d") { Content::Data(read.bytes("d").ok()?) } else { Content::Text(read.text("x").ok()?) };
    let body = Body::new(read.text("ct").ok()?, content).ok()?;
    let hash = hash_of(&read.bytes("h").ok()?)?;
    Some(Kind::Message(MessageEntry { body, hash, reply_to: None, mentions: vec![], edits: vec![], edits_bytes: 0 }))
}

/// An item as an entry.
pub fn read(item: &Item) -> Result<Entry, Failure> {
    let read = Read::of(item, "read an entry");
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
        sender: read.user("u")?,
        client_message_id: ClientMessageId::new(read.text("i")?).map_err(|_| read.bad("i"))?,
        time: read.time("t")?,
        kind: kind(&read)?,
        facts: Facts {
            count: read.number("n")?,
            membership_changed: read.seq("mc")?,
            settings_changed: read.optional("sc", Read::seq)?.unwrap_or(Seq::ZERO),
            removed: read.seq("rm")?,
            policy: policy::read(read.map("p")?)?,
            members: read.small("nm")?,
            owners: read.small("no")?,
            members_sum: read.optional("ms", Read::number)?,
            unanswered: read.optional("un", Read::small)?,
            bucket: Bucket { tokens_milli: read.small("bk")?, time: read.time("bt")?, recent },
            later: kept::of_item(item, "read an entry", |name| KNOWN.contains(&name) || name.starts_with(char::is_uppercase))?,
        },
    })
}

/// A hash behind the name of its key, if it has one.
fn hash_bytes(BodyHash { key, hash }: BodyHash) -> Vec<u8> {
    key.iter().flatten().chain(&hash).copied().collect()
}

fn hash_of(bytes: &[u8]) -> Option<BodyHash> {
    let (key, hash) = bytes.split_at_checked(bytes.len().checked_sub(BodyHash::BYTES)?)?;
    let key = if key.is_empty() { None } else { Some(key.try_into().ok()?) };
    Some(BodyHash { key, hash: hash.try_into().ok()? })
}

/// The slot of an item or a key.
pub fn seq(item: &Item) -> Result<Seq, Failure> {
    Read::of(item, "read a slot").seq("s")
}

/// The slot that a record of the log's stream tells of: its keys, in the JSON of an event.
pub fn slot(keys: &Value) -> Result<(ConversationId, Seq), Failure> {
    let attempted = "read a record of the log";
    let key = from_json(keys).ok_or_else(|| Failure::unreadable(attempted, "its keys are no item"))?;
    let read = Read::of(&key, attempted);
    Ok((read.conversation()?, read.seq("s")?))
}

/// Entries from `from` upward, ascending.
pub fn query_from(query: QueryFluentBuilder, conversation: &ConversationId, from: Seq) -> QueryFluentBuilder {
    of(query, conversation).key_condition_expression("c = :c AND s >= :s").expression_attribute_values(":s", n(from))
}

/// Entries below `before` (`None`: from the end), descending.
pub fn query_back(query: QueryFluentBuilder, conversation: &ConversationId, before: Option<Seq>) -> QueryFluentBuilder {
    let query = of(query, conversation).scan_index_forward(false);
    match before {
        Some(before) => query.key_condition_expression("c = :c AND s < :s").expression_attribute_values(":s", n(before)),
        None => query.key_condition_expression("c = :c"),
    }
}

fn of(query: QueryFluentBuilder, conversation: &ConversationId) -> QueryFluentBuilder {
    query.expression_attribute_values(":c", s(conversation.as_str()))
}

/// Puts the entry into its slot if that is free; a refusal answers the occupant.
pub fn put(put: PutItemFluentBuilder, entry: &Entry) -> PutItemFluentBuilder {
    put.set_item(Some(item(entry)))
        .condition_expression(NEW)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

/// Makes of a message what this kind is, if it is still as it was read; in a transaction.
pub fn becomes(was: &Entry, kind: &Kind) -> UpdateBuilder {
    let (mut before, after) = (item(was), item(&Entry { kind: kind.clone(), ..was.clone() }));
    let update = Update::builder().set_key(Some(key(&was.conversation, was.position.seq)));
    // What says what a message is, in any form.
    let (kept, gone): (Vec<&str>, Vec<&str>) =
        ["k", "W", "E", "B", "ct", "x", "d", "h"].into_iter().partition(|name| after.contains_key(*name));
    let set: Vec<String> = kept.iter().map(|name| format!("{name} = :{name}")).collect();
    let update = update.update_expression(format!("SET {} REMOVE {}", set.join(", "), gone.join(", ")));
    let update = after
        .into_iter()
        .filter(|(name, _)| kept.contains(&name.as_str()))
        .fold(update, |update, (name, value)| update.expression_attribute_values(format!(":{name}"), value));
    // Only edits and a deletion change it: the kind and the edits are the version of what it says.
    let update = before.remove("k").into_iter().fold(update, |update, kind| update.expression_attribute_values(":was", kind));
    match before.remove("E") {
        Some(edits) => update.condition_expression("k = :was AND E = :edits").expression_attribute_values(":edits", edits),
        None => update.condition_expression("k = :was AND attribute_not_exists(E)"),
    }
}

/// Takes the words of an edit of the message `target`; in a transaction.
pub fn without_words(conversation: &ConversationId, seq: Seq, target: Seq) -> UpdateBuilder {
    let words = in_words(&EntryKind::Edit { target, body: None });
    Update::builder()
        .set_key(Some(key(conversation, seq)))
        .update_expression("SET W = :W")
        .condition_expression("k = :k")
        .set_expression_attribute_values(Some(words.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect()))
}

/// The same in a transaction.
pub fn create(entry: &Entry) -> PutBuilder {
    Put::builder()
        .set_item(Some(item(entry)))
        .condition_expression(NEW)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::items::json::to_json;
    use crate::items::testing::{any, form};

    fn written() -> Entry {
        builders::entry(&builders::conversation("d1"), 7, "alice")
    }

    /// Without one of these an entry has another kind; without the last two it is one of before.
    const NOT_NEEDED: [&str; 11] = ["m", "W", "E", "B", "ct", "x", "d", "h", "ms", "un", "sc"];

    #[test]
    fn every_attribute_is_documented_and_each_that_is_needed_is_missed() {
        form::is_documented(include_str!("entry.rs"), any::some(any::entry_of_now()).iter().map(item));
        for item in any::some(any::entry_of_now()).iter().map(item) {
            form::is_needed(&item, &NOT_NEEDED, read);
        }
        assert_eq!(seq(&key(&written().conversation, written().position.seq)).unwrap(), written().position.seq);
    }

    #[test]
    fn a_bad_attribute_is_named() {
        let mut item = item(&written());
        item.remove("k");
        assert_eq!(read(&item).unwrap_err().to_string(), "read an entry: attribute `k` is missing or not as it was written");
        for (name, bad) in [("v", n(0u64)), ("s", n(u64::MAX)), ("u", s("")), ("p", s("none")), ("ms", s("")), ("un", n(u64::MAX))] {
            let mut item = super::item(&written());
            item.insert(name.to_owned(), bad);
            assert!(read(&item).unwrap_err().to_string().contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_record_of_the_log_tells_a_slot() {
        let Entry { conversation, position, .. } = written();
        let keys = to_json(&key(&conversation, position.seq));
        assert_eq!(slot(&keys).unwrap(), (conversation, position.seq));
        for (bad, part) in [(json!([]), "no item"), (json!({}), "`c`"), (json!({ "c": keys["c"] }), "`s`")] {
            let error = slot(&bad).unwrap_err().to_string();
            assert!(error.starts_with("read a record of the log") && error.contains(part), "{error}");
        }
    }

    // holds: K1
    #[test]
    fn an_entry_without_a_part_of_what_it_says_keeps_its_place_its_id_and_its_facts() {
        let bytes = |count| AttributeValue::B(Blob::new(vec![7; count]));
        for (name, bad) in [
            ("x", None),
            ("ct", None),
            ("ct", Some(s(""))),
            ("h", None),
            ("h", Some(bytes(15))),
            ("h", Some(bytes(19))),
            ("h", Some(s("text"))),
        ] {
            let mut item = item(&written());
            item.remove(name);
            item.extend(bad.map(|bad| (name.to_owned(), bad)));
            let kind = Kind::Later(LaterEntry { kind: "m".to_owned(), wire: None });
            assert_eq!(read(&item).unwrap(), Entry { kind, ..written() }, "{name}");
        }
        let created = Kind::Created(CreatedEntry { members: vec![written().sender] });
        let mut item = item(&Entry { kind: created, ..written() });
        item.insert("m".to_owned(), AttributeValue::L(vec![s("")]));
        let kind = Kind::Later(LaterEntry { kind: "c".to_owned(), wire: None });
        assert_eq!(read(&item).unwrap(), Entry { kind, ..written() });
    }

    // holds: K1
    #[test]
    fn an_entry_of_a_later_version_keeps_what_it_says_and_its_facts() {
        let mut later = item(&written());
        let wire = r#"{"kind":"reaction","to":4}"#;
        later.extend(map([("k", s("reaction")), ("W", s(wire)), ("T", n(4u64)), ("v", n(9u64)), ("zz", s("new"))]));
        let read = read(&later).unwrap();
        assert_eq!(read.kind, Kind::Later(LaterEntry { kind: "reaction".to_owned(), wire: Some(wire.to_owned()) }));
        assert_eq!(read.facts, Facts { later: [("zz".to_owned(), r#"{"S":"new"}"#.to_owned())].into(), ..written().facts });
        // What this code writes next has the fact, and nothing that is the entry's own.
        let next = item(&Entry { facts: read.facts, ..written() });
        assert_eq!(next.get("zz"), Some(&s("new")));
        assert!(!next.contains_key("T") && !next.contains_key("W"), "{next:?}");
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(entry in any::entry()) {
            prop_assert_eq!(read(&item(&entry)).unwrap(), entry);
        }
    }
}
