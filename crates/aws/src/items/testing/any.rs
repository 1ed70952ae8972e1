//! For tests: values of every kind that is stored.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chatlane_chat::log::admission::{Bucket, RECENT};
use chatlane_chat::log::hash::BodyHash;
use chatlane_chat::log::{
    AmendmentEntry, ChangeEntry, CreatedEntry, Entry, Facts, GroupCreatedEntry, Head, Kept, Kind, LaterEntry, MessageEntry, Policy, Role,
    SizeClass,
};
use chatlane_chat::ports::{Connection, InboxRow, Member, ReadCursor};
use chatlane_protocol::{
    Body, ClientMessageId, ConnectionId, Content, ConversationId, DeviceId, GroupMarks, GroupSettings, History, Metadata, Position, Prefs,
    Reacting, ReactionChange, ReactionKey, Seq, Title, UnixMillis, UserId,
};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::items::json::value_to_json;

/// Enough values to have met every form, the same in each run.
pub fn some<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..100).map(|_| strategy.new_tree(&mut runner).expect("a value").current()).collect()
}

pub fn user() -> impl Strategy<Value = UserId> {
    prop_oneof!["[a-z]{1,8}", "\\PC{1,32}", "[#%/|.@ü\u{0}]{1,20}"].prop_map(|text| UserId::new(text).unwrap())
}

pub fn conversation() -> impl Strategy<Value = ConversationId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| ConversationId::new(text).unwrap())
}

pub fn seq() -> impl Strategy<Value = Seq> {
    (0..=Seq::MAX.get()).prop_map(|number| Seq::try_from(number).unwrap())
}

pub fn time() -> impl Strategy<Value = UnixMillis> {
    (0..=UnixMillis::MAX.get()).prop_map(|number| UnixMillis::try_from(number).unwrap())
}

pub fn position() -> impl Strategy<Value = Position> {
    (any::<u32>(), seq()).prop_map(|(epoch, seq)| Position::new(epoch, seq))
}

pub fn device() -> impl Strategy<Value = DeviceId> {
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{11}[1-9a-f]".prop_map(|text| DeviceId::new(&text).unwrap())
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Member), Just(Role::Moderator), Just(Role::Admin), Just(Role::Owner)]
}

pub fn policy() -> impl Strategy<Value = Policy> {
    let size = prop_oneof![Just(SizeClass::Small), Just(SizeClass::Large)];
    let history = prop_oneof![Just(History::Joined), Just(History::All)];
    (any::<(bool, bool, u32)>(), role(), option::of(role()), option::of(role()), size, history).prop_map(
        |((closed, locked, admitted_per_s), send, add, manage, size, history)| Policy {
            history,
            closed,
            locked,
            send,
            add,
            manage,
            size,
            admitted_per_s,
            later: Kept::new(),
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    let bucket =
        (any::<u32>(), time(), any::<[u32; RECENT]>()).prop_map(|(tokens_milli, time, recent)| Bucket { tokens_milli, time, recent });
    let now = any::<(u64, u32, u32, Option<u64>, Option<u32>)>();
    (now, seq(), seq(), seq(), policy(), bucket).prop_map(
        |((count, members, owners, members_sum, unanswered), membership_changed, settings_changed, removed, policy, bucket)| Facts {
            count,
            membership_changed,
            settings_changed,
            removed,
            policy,
            members,
            owners,
            members_sum,
            unanswered,
            bucket,
            later: Kept::new(),
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let content = prop_oneof!["\\PC{1,20}".prop_map(Content::Text), vec(any::<u8>(), 1..20).prop_map(Content::Data)];
    ("[a-z]{1,8}/[a-z]{1,8}", content).prop_map(|(content_type, content)| Body::new(content_type, content).unwrap())
}

/// A message, plain or with more to tell.
fn message() -> BoxedStrategy<MessageEntry> {
    let hash = any::<(Option<[u8; BodyHash::KEY_ID_BYTES]>, [u8; BodyHash::BYTES])>().prop_map(|(key, hash)| BodyHash { key, hash });
    let edits = vec(seq(), 0..3).prop_map(|edits| (edits.len() * 1000, edits));
    let more = (option::of(seq()), vec(user(), 0..3), edits);
    (body(), hash, option::of(more))
        .prop_map(|(body, hash, more)| {
            let (reply_to, mentions, (edits_bytes, edits)) = more.unwrap_or_default();
            MessageEntry { body, hash, reply_to, mentions, edits, edits_bytes }
        })
        .boxed()
}

fn amendment() -> BoxedStrategy<AmendmentEntry> {
    let key = "[a-z👍]{1,8}".prop_map(|key| ReactionKey::new(key).unwrap());
    let change = prop_oneof![Just(ReactionChange::Add), Just(ReactionChange::Remove)];
    prop_oneof![
        (seq(), option::of(body())).prop_map(|(target, body)| AmendmentEntry::Edit { target, body }),
        seq().prop_map(|target| AmendmentEntry::Deletion { target }),
        (seq(), key, change).prop_map(|(target, key, change)| AmendmentEntry::Reaction(Reacting { target, key, change })),
    ]
    .boxed()
}

fn kind() -> BoxedStrategy<Kind> {
    prop_oneof![
        vec(user(), 0..4).prop_map(|members| Kind::Created(CreatedEntry { members })),
        message().prop_map(Kind::Message),
        amendment().prop_map(Kind::Amendment),
        Just(Kind::Deleted),
        (vec(user(), 0..4), settings()).prop_map(|(members, settings)| Kind::GroupCreated(GroupCreatedEntry { members, settings })),
        change().prop_map(Kind::Change),
        option::of("\\PC{0,20}").prop_map(|wire| Kind::Later(LaterEntry { kind: "later".to_owned(), wire })),
    ]
    .boxed()
}

/// Boxed, with the others: the stack of a test is small for so many strategies in one.
fn settings() -> BoxedStrategy<GroupSettings> {
    let texts = (option::of("\\PC{0,9}"), option::of("\\PC{0,9}"));
    let roles = (option::of(role()), option::of(role()), option::of(role()));
    let history = option::of(prop_oneof![Just(History::Joined), Just(History::All)]);
    (texts, roles, any::<Option<bool>>(), history)
        .prop_map(|((title, metadata), (send, add, manage), locked, history)| GroupSettings {
            title: title.map(|text| Title::new(text).unwrap()),
            metadata: metadata.map(|text| Metadata::new(text).unwrap()),
            send,
            add,
            manage,
            locked,
            history,
        })
        .boxed()
}

fn change() -> BoxedStrategy<ChangeEntry> {
    prop_oneof![
        vec(user(), 0..4).prop_map(ChangeEntry::Added),
        vec(user(), 0..4).prop_map(ChangeEntry::Removed),
        option::of(user()).prop_map(|successor| ChangeEntry::Left { successor }),
        (user(), role()).prop_map(|(user, role)| ChangeEntry::Role { user, role }),
        settings().prop_map(ChangeEntry::Settings),
        Just(ChangeEntry::Closed),
    ]
    .boxed()
}

/// An entry as this version writes it.
pub fn entry_of_now() -> impl Strategy<Value = Entry> {
    let id = "\\PC{1,16}".prop_map(|text| ClientMessageId::new(text).unwrap());
    (conversation(), position(), user(), id, time(), kind(), facts()).prop_map(
        |(conversation, position, sender, client_message_id, time, kind, facts)| Entry {
            conversation,
            position,
            sender,
            client_message_id,
            time,
            kind,
            facts,
        },
    )
}

/// An entry that may carry facts and a policy of a later version.
pub fn entry() -> impl Strategy<Value = Entry> {
    (entry_of_now(), kept(), kept()).prop_map(|(entry, later, of_policy)| {
        let policy = Policy { later: of_policy, ..entry.facts.policy };
        Entry { facts: Facts { policy, later, ..entry.facts }, ..entry }
    })
}

fn kept() -> impl Strategy<Value = Kept> {
    btree_map("z[a-z]{1,3}", value().prop_map(|value| value_to_json(&value).unwrap().to_string()), 0..3)
}

/// A value of any type.
pub fn value() -> impl Strategy<Value = AttributeValue> {
    let text = || "\\PC{0,8}";
    let bytes = || vec(any::<u8>(), 0..8).prop_map(Blob::new);
    let plain = prop_oneof![
        text().prop_map(AttributeValue::S),
        any::<u64>().prop_map(|number| AttributeValue::N(number.to_string())),
        bytes().prop_map(AttributeValue::B),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null(true)),
        vec(text(), 1..3).prop_map(AttributeValue::Ss),
        vec("[0-9]{1,9}", 1..3).prop_map(AttributeValue::Ns),
        vec(bytes(), 1..3).prop_map(AttributeValue::Bs),
    ];
    plain.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(AttributeValue::L), hash_map("[a-z]{1,3}", inner, 0..3).prop_map(AttributeValue::M),]
    })
}

pub fn head() -> impl Strategy<Value = Head> {
    let group = (any::<(u32, bool)>(), seq(), seq()).prop_map(|((members, large), membership_changed, settings_changed)| GroupMarks {
        members,
        membership_changed,
        settings_changed,
        large,
    });
    (position(), any::<u64>(), time(), option::of(group)).prop_map(|(position, count, time, group)| Head { position, count, time, group })
}

pub fn member() -> impl Strategy<Value = Member> {
    (user(), role(), seq(), seq()).prop_map(|(user, role, visible_from, version)| Member { user, role, visible_from, version })
}

fn prefs() -> BoxedStrategy<Prefs> {
    (any::<(u64, bool, bool, bool, bool)>(), option::of(time()))
        .prop_map(|((version, mentions, pinned, archived, unread), muted_until_ms)| Prefs {
            version,
            muted_until_ms,
            mentions,
            pinned,
            archived,
            unread,
        })
        .boxed()
}

pub fn row() -> impl Strategy<Value = InboxRow> {
    let read = (position(), any::<u64>()).prop_map(|(position, count)| ReadCursor { position, count });
    let read = prop_oneof![Just(ReadCursor::NONE), read];
    (
        conversation(),
        option::of(user()),
        member(),
        (read, option::of(position()), prefs(), option::of(seq())),
        btree_map(device(), position(), 0..3),
    )
        .prop_map(|(conversation, with, member, (read, shown, prefs, mentioned), delivered)| InboxRow {
            read,
            shown,
            prefs,
            mentioned,
            delivered,
            ..InboxRow::new(conversation, with, &member)
        })
}

pub fn session() -> impl Strategy<Value = Connection> {
    let connection = "[A-Za-z0-9=:#-]{1,20}".prop_map(|text| ConnectionId::new(text).unwrap());
    (connection, device(), time(), time()).prop_map(|(connection, device, connected_at, expires)| Connection {
        connection,
        device,
        connected_at,
        expires,
    })
}
