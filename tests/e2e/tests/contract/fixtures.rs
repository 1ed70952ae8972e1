//! Items and queue tasks of every generation (`tests/fixtures/README.md`): each is read as the values here, and the newest is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chatlane_aws::Store;
use chatlane_aws::items::json::to_json;
use chatlane_aws::items::{self, Item, inbox, meta};
use chatlane_chat::Refused;
use chatlane_chat::deployment::Deployment;
use chatlane_chat::log::admission::{Bucket, RECENT};
use chatlane_chat::log::append::{Appended, Appender};
use chatlane_chat::log::draft::Draft;
use chatlane_chat::log::hash::{BodyHash, BodyKey};
use chatlane_chat::log::reactions::{Reacted, Reactions};
use chatlane_chat::log::{
    AmendmentEntry, ChangeEntry, CreatedEntry, Entry, Facts, GroupCreatedEntry, Head, Kept, Kind, LaterEntry, MessageEntry, Policy, Role,
    SizeClass,
};
use chatlane_chat::ports::{
    Accounts as _, Advance, Amendment, Amendments as _, Amends, Change, Connection, Connections as _, Created, Creation, Creations as _,
    Deployments as _, Description, FanOutQueue as _, Heads as _, InboxRow, Inboxes as _, Joining, Member, Memberships as _,
    MessageLog as _, Put, ReadBound, ReadCursor, RowChange, Span, last,
};
use chatlane_chat::ports::{Gate, Holder, TicketHash, Tickets as _};
use chatlane_chat::testing::builders::{
    connection, conversation, creation, deployment, description, device, entry, facts, head, joining, member, message_id, place, position,
    seq, session, settings, start, task, text, user,
};
use chatlane_chat::workers::task::{Task, Undelivered};
use chatlane_protocol::{
    Body, Content, GroupSettings, History, Metadata, Position, Reacting, ReactionChange, ReactionKey, Seq, TicketText, Title, UnixMillis,
    UserId,
};
use chatlane_tests_e2e::dynamodb;
use serde_json::{Value, json};

use crate::embedded::Backend;
use crate::queue::Bench;
use generations::generations;

#[path = "../../../fixtures/generations.rs"]
mod generations;

const LAST: Position = Position::new(u32::MAX, Seq::MAX);

/// Has characters that a key does not.
fn odd() -> UserId {
    user("auth0|a#b/ü")
}

/// With as many tokens as a full bucket had when these were first written.
fn full(mut entry: Entry) -> Entry {
    if entry.facts.bucket == Bucket::full(Policy::DIRECT.admitted_per_s, start()) {
        entry.facts.bucket.tokens_milli = 50_000;
    }
    entry
}

/// Between them they have every role; the owner is alone and so has no other.
fn creations() -> [Creation; 3] {
    let of_roles = |mut creation: Creation, roles: &[Role], number: u64| {
        let conversation = creation.entry.conversation.clone();
        for (one, role) in creation.members.iter_mut().zip(roles) {
            let member = Member { role: *role, visible_from: seq(number), version: seq(number), ..one.member.clone() };
            *one = joining(&conversation, one.row.with.as_ref(), &member);
        }
        creation
    };
    let alone = Kind::Created(CreatedEntry { members: vec![user("alice")] });
    let group = creation(&conversation("g-1"), &user("alice"), &user("bob"));
    let facts = Facts { members: 1, owners: 1, ..facts(1) };
    let members = vec![joining(&conversation("g-1"), None, &member(&user("alice")))];
    let group = Creation { entry: Entry { kind: alone, facts, ..group.entry }, members, ..group };
    let creations = [
        of_roles(creation(&conversation("d-1"), &user("alice"), &odd()), &[Role::Member, Role::Moderator], 1),
        of_roles(creation(&conversation("d-2"), &user("bob"), &user("carol")), &[Role::Admin, Role::Admin], 7),
        of_roles(group, &[Role::Owner], 1),
    ];
    creations.map(|creation| Creation { entry: full(creation.entry), ..creation })
}

/// All but the first of each conversation.
fn messages() -> [Entry; 6] {
    let of_body = |entry: Entry, body: Body| Entry { kind: Kind::Message(MessageEntry::new(body, &settings().keys.bodies)), ..entry };
    let of_policy = |number: u64, policy: Policy| {
        let mut recent = [0; RECENT];
        recent[RECENT - 2..].copy_from_slice(&[1_030_883_304, 735_577_801]);
        let bucket = Bucket { tokens_milli: 49_123, time: start().plus_ms(number), recent };
        let facts = Facts { membership_changed: seq(2), removed: seq(1), policy, members: 200, owners: 2, bucket, ..facts(number) };
        Entry { time: start().plus_ms(number), facts, ..entry(&conversation("g-1"), number, "alice") }
    };
    let bucket = Bucket { tokens_milli: u32::MAX, time: UnixMillis::MAX, recent: [u32::MAX; RECENT] };
    let value = to_json(&meta::item(&conversation("last"), start(), &Description::default()))["t"].to_string();
    let later = || Kept::from([("zz".to_owned(), value.clone())]);
    let policy = Policy { admitted_per_s: u32::MAX, later: later(), ..Policy::DIRECT };
    let facts = Facts {
        count: u64::MAX,
        membership_changed: Seq::MAX,
        settings_changed: Seq::ZERO,
        removed: Seq::MAX,
        policy,
        members: u32::MAX,
        owners: u32::MAX,
        members_sum: Some(u64::MAX),
        unanswered: Some(u32::MAX),
        bucket,
        later: later(),
    };
    let messages = [
        of_body(entry(&conversation("d-1"), 2, "alice"), text("Grüße 😀\n\"second\" line")),
        of_body(entry(&conversation("d-1"), 3, odd().as_str()), Body::new("image/png", Content::Data(vec![0, 127, 255])).unwrap()),
        of_policy(2, Policy { locked: true, add: Some(Role::Member), manage: Some(Role::Owner), ..Policy::DIRECT }),
        of_policy(3, Policy { send: Role::Moderator, add: Some(Role::Admin), size: SizeClass::Large, admitted_per_s: 7, ..Policy::DIRECT }),
        of_policy(4, Policy { closed: true, manage: Some(Role::Admin), ..Policy::DIRECT }),
        Entry { position: LAST, time: UnixMillis::MAX, facts, ..entry(&conversation("last"), 1, "alice") },
    ];
    messages.map(full)
}

/// A read is acknowledged too: two devices of alice, one of the other.
fn advances() -> [(UserId, u8, Advance); 3] {
    let read = ReadCursor { position: position(2), count: 1 };
    [
        (
            user("alice"),
            1,
            Advance { delivered: Some(position(3)), read: Some(read), dropped: vec![], shown: chatlane_chat::ports::Shown::Follows },
        ),
        (user("alice"), 2, Advance { delivered: Some(LAST), ..Advance::default() }),
        (odd(), 3, Advance { delivered: Some(position(2)), ..Advance::default() }),
    ]
}

fn sessions() -> [(UserId, Connection); 3] {
    let later = Connection { device: device(2), connected_at: start().plus_ms(5), expires: start().plus_ms(7_000_000), ..session("a-2") };
    [(user("alice"), session("L0SM9cOFvHcCIhw=")), (user("alice"), later), (odd(), session("o-1"))]
}

/// A connection that was admitted and has not said hello.
fn noted() -> Connection {
    Connection { device: device(4), ..session("n-1") }
}

/// A gate, in 2100.
const SHUT: Gate = Gate { until: UnixMillis::MAX, times: 3 };

/// The entry as a generation has it: before generation 2 there was no sum of members, no count of what is unanswered, and nothing of a later
/// version; before generation 1 a hash did not name its key, and the key was given by hand.
fn as_of(generation: usize, mut entry: Entry) -> Entry {
    if generation < 2 {
        let policy = Policy { later: Kept::new(), ..entry.facts.policy };
        entry.facts = Facts { policy, members_sum: None, unanswered: None, later: Kept::new(), ..entry.facts };
    }
    match entry.kind {
        Kind::Message(MessageEntry { body, .. }) if generation == 0 => {
            let hash = BodyHash { key: None, ..BodyHash::of(&body, &BodyKey::new([7; 32])) };
            Entry { kind: Kind::Message(MessageEntry { hash, ..MessageEntry::new(body, &BodyKey::new([7; 32])) }), ..entry }
        }
        _ => entry,
    }
}

const GROUP: &str = "g-2";

/// A group of its own users, and all changes there are, each of the entry after the one before.
fn group() -> (Creation, Vec<Change>) {
    let (lane, erin) = (conversation(GROUP), user("erin"));
    let settings = GroupSettings { title: Some(Title::new("Grüße 😀").unwrap()), send: Some(Role::Member), ..GroupSettings::default() };
    let created = GroupCreatedEntry::new(&erin, &[user("frank")], settings);
    let joins = |name: &str, number: u64, role: Role| {
        let member = Member { role, visible_from: seq(number), version: seq(number), ..member(&user(name)) };
        let read = ReadCursor { position: position(number), count: 0 };
        Joining::of_group(&lane, member, read)
    };
    let facts = created.facts(&self::settings().keys.users, start());
    let first = Entry { kind: Kind::GroupCreated(created), facts: facts.clone(), ..entry(&lane, 1, "erin") };
    let members = vec![joins("erin", 1, Role::Owner), joins("frank", 1, Role::Member)];
    let creation = Creation { entry: first, members, description: description("Grüße 😀", ""), a_day_max: 9 };
    let change = |number: u64, kind: ChangeEntry, rows: Vec<RowChange>| {
        let policy = Policy { history: History::All, ..Policy::GROUP };
        let facts = Facts { membership_changed: seq(number), settings_changed: seq(number), policy, ..facts.clone() };
        Change { entry: Entry { kind: Kind::Change(kind), facts, ..entry(&lane, number, "erin") }, rows, description: None }
    };
    let (grace, frank) = (joins("grace", 2, Role::Member), joins("frank", 1, Role::Member).member);
    let admin = Member { role: Role::Admin, version: seq(3), ..frank.clone() };
    let leave = |member: &Member, number| RowChange::Leave {
        member: member.clone(),
        spans: vec![Span { from: member.visible_from, end: position(number) }],
    };
    let set = GroupSettings {
        locked: Some(false),
        history: Some(History::All),
        metadata: Some(Metadata::new("{}").unwrap()),
        ..GroupSettings::default()
    };
    let changes = vec![
        change(2, ChangeEntry::Added(vec![user("grace")]), vec![RowChange::Join(grace.clone())]),
        change(3, ChangeEntry::Role { user: user("frank"), role: Role::Admin }, vec![RowChange::Role { member: admin, was: seq(1) }]),
        Change { description: Some(description("Grüße 😀", "{}")), ..change(4, ChangeEntry::Settings(set), vec![]) },
        change(5, ChangeEntry::Removed(vec![user("grace")]), vec![leave(&grace.member, 5)]),
        change(6, ChangeEntry::Left { successor: None }, vec![]),
        change(7, ChangeEntry::Closed, vec![]),
    ];
    (creation, changes)
}

async fn assert_group_written(store: &Store) {
    let (lane, (creation, changes)) = (conversation(GROUP), group());
    let log: Vec<Entry> = std::iter::once(creation.entry).chain(changes.into_iter().map(|change| change.entry)).collect();
    assert_eq!(store.read(&lane, Seq::FIRST, ReadBound::entries(9)).await.unwrap(), log);
    assert_eq!(store.descriptions(std::slice::from_ref(&lane)).await.unwrap(), [Some(description("Grüße 😀", "{}"))]);
    let all = store.memberships(&lane, &["erin", "frank", "grace"].map(user)).await.unwrap();
    let known: Vec<_> =
        all.iter().map(|one| (one.member.as_ref().map(|member| (member.role, member.version)), one.spans.clone())).collect();
    let spans = vec![Span { from: seq(2), end: position(5) }];
    assert_eq!(known, [(Some((Role::Owner, seq(1))), vec![]), (Some((Role::Admin, seq(3))), vec![]), (None, spans)]);
    let rows = store.inbox_rows(&user("frank"), &[lane]).await.unwrap();
    assert_eq!(rows.into_iter().next().unwrap().unwrap().unwrap().role, Role::Admin);
}

/// A ticket that was not used.
fn ticket() -> (TicketHash, Holder) {
    let hash = TicketHash::of(&TicketText::new("t".repeat(43)).unwrap());
    let (expires, until) = (start().plus_ms(3_600_000), start().plus_ms(30_000));
    (hash, Holder { user: odd(), device: device(1), expires, until })
}

const AMENDED: &str = "a-1";

/// What frank has written, and what was done to it, each in the slot behind the one before: a reply that mentions somebody; an edit of it;
/// reactions to it, one of which goes; and a message that is edited and deleted.
fn amended() -> (Creation, Vec<Entry>, Vec<Amendment>) {
    let (lane, frank, key) = (conversation(AMENDED), user("frank"), settings().keys.bodies);
    let creation = creation(&lane, &frank, &user("grace"));
    let said = |number, kind| Entry { kind, ..entry(&lane, number, "frank") };
    let message = |number, message| said(number, Kind::Message(message));
    let reply =
        MessageEntry { reply_to: Some(seq(1)), mentions: vec![odd(), user("grace")], ..MessageEntry::new(text("Grüße 😀"), &key) };
    let (reply, plain) = (message(2, reply), message(3, MessageEntry::new(text("secret"), &key)));
    let edit = |was: &Entry, number, body: Body| {
        let Kind::Message(message) = &was.kind else { panic!("a message") };
        let becomes = message.edited(body.clone(), seq(number));
        let entry = said(number, Kind::Amendment(AmendmentEntry::Edit { target: was.position.seq, body: Some(body) }));
        let edited = Entry { kind: Kind::Message(becomes.clone()), ..was.clone() };
        (Amendment { entry, amends: Amends::Edit { was: was.clone(), becomes } }, edited)
    };
    let react = |number, what: &str, change, was: &Reacted| {
        let reacting = Reacting { target: seq(2), key: ReactionKey::new(what).unwrap(), change };
        let all = was.all.clone().unwrap_or_default().behind(&reacting, u64::MAX, seq(number));
        let mut own = was.own.clone();
        let _ = if change == ReactionChange::Add { own.insert(reacting.key.clone()) } else { own.remove(&reacting.key) };
        let (entry, now) =
            (said(number, Kind::Amendment(AmendmentEntry::Reaction(reacting))), Reacted { all: Some(all.clone()), own: own.clone() });
        (Amendment { entry, amends: Amends::Reaction { target: seq(2), was: was.clone(), all, own } }, now)
    };
    let (edit_4, _) = edit(&reply, 4, Body::new("image/png", Content::Data(vec![0, 255])).unwrap());
    let (react_5, was) = react(5, "👍", ReactionChange::Add, &Reacted::default());
    let (react_6, was) = react(6, "+1", ReactionChange::Add, &was);
    let (react_7, _) = react(7, "+1", ReactionChange::Remove, &was);
    let (edit_8, edited) = edit(&plain, 8, text("secret too"));
    let deletion = said(9, Kind::Amendment(AmendmentEntry::Deletion { target: seq(3) }));
    let deletion = Amendment { entry: deletion, amends: Amends::Deletion { was: edited, edits: vec![seq(8)] } };
    (creation, vec![reply, plain], vec![edit_4, react_5, react_6, react_7, edit_8, deletion])
}

async fn assert_amended_written(store: &Store, generation: usize) {
    let (lane, (creation, messages, amendments)) = (conversation(AMENDED), amended());
    let mut log: Vec<Entry> =
        std::iter::once(creation.entry).chain(messages).chain(amendments.iter().map(|amendment| amendment.entry.clone())).collect();
    let Amends::Edit { becomes, .. } = &amendments[0].amends else { panic!("an edit") };
    // Before generation 11 a message did not say how large its edits are.
    let edits_bytes = if generation < 11 { 0 } else { becomes.edits_bytes };
    log[1].kind = Kind::Message(MessageEntry { edits_bytes, ..becomes.clone() });
    log[2].kind = Kind::Deleted;
    log[7].kind = Kind::Amendment(AmendmentEntry::Edit { target: seq(3), body: None });
    assert_eq!(store.read(&lane, Seq::FIRST, ReadBound::entries(99)).await.unwrap(), log);
    let Amends::Reaction { all, own, .. } = &amendments[3].amends else { panic!("a reaction") };
    let reacted = Reacted { all: Some(all.clone()), own: own.clone() };
    assert_eq!(store.reacted(&lane, &user("frank"), seq(2)).await.unwrap(), reacted);
    let closed = Reactions { to: seq(9), closed: true, ..Reactions::default() };
    assert_eq!(store.reactions(&lane, seq(1), seq(9)).await.unwrap(), [(seq(2), all.clone()), (seq(3), closed)]);
}

/// All of it, by each of the store's ways to write.
async fn write(store: &Store) {
    assert_eq!(store.found(&deployment()).await.unwrap(), deployment());
    for creation in creations() {
        assert_eq!(store.create(&creation).await.unwrap(), Created::New);
    }
    for message in messages() {
        assert_eq!(store.put(&message).await.unwrap(), Put::Stored);
    }
    let (creation, changes) = group();
    assert_eq!(store.create(&creation).await.unwrap(), Created::New);
    for change in changes {
        assert_eq!(store.change(&change).await.unwrap(), Put::Stored);
    }
    let (creation, messages, amendments) = amended();
    assert_eq!(store.create(&creation).await.unwrap(), Created::New);
    for message in messages {
        assert_eq!(store.put(&message).await.unwrap(), Put::Stored);
    }
    for amendment in amendments {
        assert_eq!(store.amend(&amendment).await.unwrap(), Put::Stored);
    }
    assert_eq!(store.raise_head(&conversation("d-1"), head(3)).await.unwrap(), Position::ZERO);
    for (user, number, to) in advances() {
        store.advance(&user, &conversation("d-1"), device(number), to).await.unwrap().expect("a member");
    }
    for (user, session) in sessions() {
        let shorter = Connection { expires: start().plus_ms(1000), ..session.clone() };
        store.register(&user, &shorter, start()).await.unwrap();
        assert_eq!(store.prolong(&user, &session.connection, session.expires).await.unwrap(), Some(session));
    }
    assert_eq!(store.admit(&odd(), &noted(), start()).await.unwrap(), (Gate::default(), vec![noted()]));
    assert!(store.shut(&odd(), Gate::default(), SHUT).await.unwrap().is_some());
    assert_eq!(store.charge(&odd(), 7, 500, 1, start()).await.unwrap(), BTreeMap::from([(7, 500)]));
    let (ticket, holder) = ticket();
    store.keep_ticket(&ticket, holder).await.unwrap();
}

/// What [`write`] wrote, or an earlier version of it.
async fn assert_written(store: &Store, generation: usize) {
    assert_eq!(store.deployment().await.unwrap(), (generation > 0).then(deployment));
    let all = ReadBound::entries(usize::MAX);
    for creation in creations() {
        let id = &creation.entry.conversation;
        assert_eq!(store.members(id).await.unwrap(), creation.members.iter().map(|one| one.member.clone()).collect::<Vec<_>>());
        let messages = messages().into_iter().filter(|message| message.conversation == *id).map(|message| as_of(generation, message));
        let log: Vec<Entry> = std::iter::once(as_of(generation, creation.entry.clone())).chain(messages).collect();
        assert_eq!(store.read(id, Seq::FIRST, all).await.unwrap(), log);
        assert_eq!(store.create(&creation).await.unwrap(), Created::Exists);
    }
    let [.., highest] = messages();
    assert_eq!(last(store, &conversation("last")).await.unwrap(), Some(as_of(generation, highest)));
    let ids = ["d-1", "d-2", "g-1"].map(conversation);
    assert_eq!(store.heads(&ids).await.unwrap(), [head(3), Head::default(), Head::default()]);

    let row = |id: &str, with: Option<UserId>, from: u64, role: Role| {
        // Before generation 4 a row did not say when the membership was written, and before generation 8 not the role.
        let version = if generation < 4 { Seq::FIRST } else { seq(from) };
        let role = if generation < 8 { Role::Member } else { role };
        InboxRow::new(conversation(id), with, &Member { visible_from: seq(from), version, role, ..member(&user("alice")) })
    };
    let [(alice, _, first), (_, _, second), (other, _, third)] = advances();
    let delivered = BTreeMap::from([(device(1), first.delivered.unwrap()), (device(2), second.delivered.unwrap())]);
    let direct = InboxRow { read: first.read.unwrap(), delivered, ..row("d-1", Some(odd()), 1, Role::Member) };
    assert_eq!(store.inbox(&alice, None, 9).await.unwrap(), [direct, row("g-1", None, 1, Role::Owner)].map(place));
    let delivered = BTreeMap::from([(device(3), third.delivered.unwrap())]);
    assert_eq!(
        store.inbox(&other, None, 9).await.unwrap(),
        [InboxRow { delivered, ..row("d-1", Some(alice.clone()), 1, Role::Moderator) }].map(place)
    );
    assert_eq!(store.inbox(&user("bob"), None, 9).await.unwrap(), [row("d-2", Some(user("carol")), 7, Role::Admin)].map(place));

    let is_new = generation >= 5;
    assert_eq!(store.gate(&other).await.unwrap(), if is_new { SHUT } else { Gate::default() });
    let (_, all_noted) = store.admit(&other, &noted(), UnixMillis::MAX).await.unwrap();
    assert_eq!(all_noted, [noted()]);
    let spent = store.charge(&other, 8, 1, 1, start()).await.unwrap();
    assert_eq!(spent, if is_new { BTreeMap::from([(7, 500), (8, 1)]) } else { BTreeMap::from([(8, 1)]) });

    if generation >= 8 {
        assert_group_written(store).await;
    }
    if generation >= 9 {
        assert_amended_written(store, generation).await;
    }
    let (ticket, holder) = ticket();
    assert_eq!(store.redeem(&ticket, &holder.device, start()).await.unwrap(), (generation >= 12).then_some(holder));
    let mut found = store.of_users(&[alice, other]).await.unwrap();
    found.sort_by_key(|(user, session)| (user.clone(), session.connected_at));
    assert_eq!(found, sessions());
}

/// What this version reads and does not write.
async fn assert_accepted(store: &Store) {
    let all = ReadBound::entries(usize::MAX);
    let kind = |kind: &str| Kind::Later(LaterEntry { kind: kind.to_owned(), wire: None });
    let later = |number, sender, name: &str| as_of(0, full(Entry { kind: kind(name), ..entry(&conversation("later"), number, sender) }));
    let mut log = store.read(&conversation("later"), Seq::FIRST, all).await.unwrap();
    let kept: Vec<Kept> = log.iter_mut().map(|entry| std::mem::take(&mut entry.facts.later)).collect();
    assert_eq!(log, [later(1, "alice", "reaction"), later(2, "bob", "edit")]);
    assert_eq!(kept.iter().map(|kept| kept.keys().collect::<Vec<_>>()).collect::<Vec<_>>(), [vec![], vec!["zz"]]);
    let earlier = Head { position: position(5), ..Head::default() };
    assert_eq!(store.heads(&[conversation("earlier")]).await.unwrap(), [earlier]);
}

/// The items of each table in the order of their keys, one a line.
async fn dump(backend: &Backend) -> String {
    let mut text = String::from("{");
    for (table, keys) in [("log", ["c", "s"]), ("conversations", ["c", "k"]), ("inboxes", ["u", "c"]), ("users", ["u", "k"])] {
        let mut items = dynamodb(&backend.url, "Scan", &json!({ "TableName": table })).await["Items"].as_array().cloned().unwrap();
        items.sort_by_key(|item| keys.map(|key| item[key].to_string()));
        let items: Vec<String> = items.iter().map(Value::to_string).collect();
        write!(text, "{}\n\"{table}\": [\n{}\n]", if text == "{" { "" } else { "," }, items.join(",\n")).unwrap();
    }
    text + "\n}\n"
}

async fn load(backend: &Backend, items: &str) {
    let tables: BTreeMap<String, Vec<Value>> = serde_json::from_str(items).unwrap();
    for (table, items) in tables {
        for item in items {
            dynamodb(&backend.url, "PutItem", &json!({ "TableName": table, "Item": item })).await;
        }
    }
}

#[tokio::test]
async fn items_of_every_generation_are_read_and_those_of_the_newest_are_written() {
    let backend = Backend::embedded().await;
    write(&backend.store).await;
    for (generation, items) in generations("items.json", &dump(&backend).await) {
        let backend = Backend::embedded().await;
        load(&backend, &items).await;
        assert_written(&backend.store, generation).await;
    }
    let backend = Backend::embedded().await;
    load(&backend, include_str!("../../../fixtures/generation-0/accepted.json")).await;
    assert_accepted(&backend.store).await;
}

/// An older function meets what a later one has stored (K1): it reads all of it, appends behind it, and drops nothing.
// holds: K1
#[tokio::test]
async fn what_a_later_version_has_added_is_read_and_stays() {
    let (backend, lane) = (Backend::embedded().await, conversation("kept"));
    let store = &backend.store;
    load(&backend, include_str!("../../../fixtures/generation-2/accepted.json")).await;
    let stored = async |key: Item, table: &str| {
        dynamodb(&backend.url, "GetItem", &json!({ "TableName": table, "Key": to_json(&key) })).await["Item"].clone()
    };

    let told: Vec<Value> = store.read(&lane, Seq::FIRST, ReadBound::entries(9)).await.unwrap().iter().map(|e| json!(e.to_wire())).collect();
    assert_eq!(told.iter().map(|entry| &entry["kind"]).collect::<Vec<_>>(), ["created", "edit", "unknown"]);
    assert_eq!(
        (&told[1]["body"]["text"], &told[1]["sender"], &told[2]["client_message_id"]),
        (&json!("other"), &json!("bob"), &json!("alice-3"))
    );

    let append = async |who: &str, id: &str, anchor| {
        let (settings, who) = (settings(), user(who));
        let kind = MessageEntry::new(text(id), &settings.keys.bodies);
        Appender::new(store, &settings, &lane, &who)
            .append(&Draft { client_message_id: message_id(id), anchor: position(anchor), kind })
            .await
    };
    // An own id in an entry that nobody here can read is used up.
    assert!(matches!(append("alice", "alice-3", 2).await, Ok(Appended::Duplicate(entry)) if entry.position == position(3)));
    assert!(matches!(append("alice", "alice-4", 2).await, Ok(Appended::New(entry)) if entry.position == position(4)));
    assert!(matches!(append("bob", "bob-5", 4).await, Err(Refused::Forbidden)), "a role that nobody here knows may read");
    let [before, after] = [stored(items::entry::key(&lane, seq(3)), "log").await, stored(items::entry::key(&lane, seq(4)), "log").await];
    for fact in ["zz", "p"] {
        assert!(before[fact].is_object() && before[fact] == after[fact], "{fact}: {after}");
    }

    let head = stored(items::head::key(&lane), "conversations").await;
    assert_eq!(store.raise_head(&lane, self::head(4)).await.unwrap(), position(2));
    assert_eq!(stored(items::head::key(&lane), "conversations").await["zz"], head["zz"]);
    assert_eq!(store.found(&Deployment { epoch: 9, ..deployment() }).await.unwrap(), deployment());
    assert!(stored(items::deployment::key(), "conversations").await["switches"].is_object());
}

#[tokio::test]
async fn tasks_of_every_generation_are_read_and_those_of_the_newest_are_written() {
    let least = task(&conversation("d-1"), 1, 1);
    let own = vec![seq(2), seq(3)];
    let sent = Task { first: seq(2), last: position(3), count: 2, own, origin: Some(connection("L0SM9cOFvHcCIhw=")), ..least.clone() };
    let sent = Task { sender: Some(u32::MAX), ..sent };
    let targets = vec![(odd(), connection("L0SM9cOFvHcCIhw=")), (user("bob"), connection("b-1"))];
    let rest = Undelivered { targets, attempt: 4, throttled: 2, since: start().plus_ms(1) };
    let rest = Task { last: LAST, count: u64::MAX, time: UnixMillis::MAX, undelivered: Some(rest), ..sent.clone() };
    let check = Task { check: true, ..least.clone() };
    let (bench, mut written) = (Bench::new().await, String::new());
    for task in [&least, &sent, &rest, &check] {
        bench.queue.enqueue(task, 0).await.unwrap();
        let [body] = bench.receive().await.try_into().expect("one task");
        written += &(body + "\n");
    }
    for (generation, bodies) in generations("tasks.jsonl", &written) {
        let tasks: Vec<Task> = bodies.lines().map(|body| serde_json::from_str(body).unwrap()).collect();
        let mut expected = vec![least.clone(), sent.clone(), rest.clone(), check.clone()];
        if generation < 4 {
            // There were no checks; a task did not say who had sent, nor what was left of it whether that was throttled.
            expected.pop();
            for task in &mut expected {
                task.sender = None;
                task.undelivered.iter_mut().for_each(|rest| rest.throttled = 0);
            }
        }
        assert_eq!(tasks, expected, "generation {generation}");
    }
}

// holds: K1
#[tokio::test]
async fn a_row_or_a_head_that_cannot_be_read_is_the_failure_of_its_conversation_only() {
    let backend = Backend::embedded().await;
    let row = |id: &str| InboxRow::new(conversation(id), None, &member(&user("alice")));
    let mut damaged = to_json(&inbox::item(&user("alice"), &row("d-2")));
    damaged["f"] = damaged["c"].clone(); // a text where a number belongs
    let rows = [to_json(&inbox::item(&user("alice"), &row("d-1"))), damaged, to_json(&inbox::item(&user("alice"), &row("d-3")))];
    let mut damaged = to_json(&items::head::item(&conversation("d-2"), head(2)));
    damaged["s"] = damaged["c"].clone();
    let heads = [to_json(&items::head::item(&conversation("d-1"), head(1))), damaged];
    load(&backend, &json!({ "inboxes": rows, "conversations": heads }).to_string()).await;

    let ids = ["d-1", "d-2", "d-3"].map(conversation);
    let found = backend.store.inbox(&user("alice"), None, 9).await.unwrap();
    assert!(found.iter().map(|(id, _)| id).eq(&ids));
    let rows: Vec<_> = found.into_iter().map(|(_, row)| row).collect();
    let [Ok(first), Err(failure), Ok(third)] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!([first, third], [&row("d-1"), &row("d-3")]);
    assert!(failure.to_string().contains("`f`"), "{failure}");
    let found = backend.store.inbox_rows(&user("alice"), &ids).await.unwrap();
    assert_eq!(found, [Ok(Some(row("d-1"))), Err(failure.clone()), Ok(Some(row("d-3")))]);
    assert_eq!(backend.store.heads(&ids).await.unwrap(), [head(1), Head::default(), Head::default()]);
}
