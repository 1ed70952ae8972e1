//! Snapshots of every frame: a change of the wire is a change of this file's snapshots and of `docs/PROTOCOL.md`.

use std::collections::BTreeSet;

use chatlane_protocol::frames::{
    ChangeAnswer, ChangeOutcome, ConversationHead, ConversationInfo, ConversationRow, ConversationStatus, CursorOutcome, CursorResult,
    CursorsAnswer, Entries, ErrorFrame, Found, Goaway, GoawayReason, GroupInfo, HelloAnswer, HistoryAnswer, InfoAnswer, InfoOutcome,
    Limits, MemberCursors, MemberInfo, MembersAnswer, Missed, OpenAnswer, PingAnswer, PrefsAnswer, PrefsChanged, ProbeAnswer, ReadMark,
    Receipt, RefreshAnswer, SendAnswer, Skip, Stored, SyncAnswer, SyncOutcome, SyncPage, TicketAnswer, Versions, encode, live_frame,
};
use chatlane_protocol::request::{
    Add, Close, Create, Delete, Edit, Hello, History, Info, Known, Leave, Members, NewMessage, Open, Ping, PositionIn, Positions, Probe,
    React, Refresh, Remove, SendMessages, SetPrefs, SetRole, SetSettings, Sync, SyncFrom, Ticket,
};
use chatlane_protocol::{
    Action, Body, ClientMessageId, Content, ConversationId, DeviceId, Entry, EntryKind, ErrorCode, GroupMarks, GroupSettings,
    History as Visible, Message, MessageResult, Metadata, Outcome, Position, Prefs, PrefsChange, Reacting, ReactionChange, ReactionCount,
    ReactionKey, Refusal, Request, RequestId, Role, Seq, ServerFrame, TicketText, Title, Token, UnixMillis, UserId, limits,
};
use serde_json::{Value, json};

fn id() -> RequestId {
    RequestId::new("1").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::new("dQ2hhdGxhbmUtZXhhbXBsZS1pZCE").unwrap()
}

/// One whose id comes after that of [`conversation`].
fn second_conversation() -> ConversationId {
    ConversationId::new("dU2Vjb25kLWV4YW1wbGUtb2YtaWQ").unwrap()
}

fn group() -> ConversationId {
    ConversationId::new("gR3JvdXAtb2YtdGhlLWV4YW1wbGU").unwrap()
}

fn message_id() -> ClientMessageId {
    ClientMessageId::new("0190a6c1-7b54-7c31-8000-5b9f0d9a1f11").unwrap()
}

fn position(seq: u64) -> Position {
    Position::new(1, Seq::try_from(seq).unwrap())
}

fn time() -> UnixMillis {
    UnixMillis::try_from(1_795_000_000_000).unwrap()
}

fn message(seq: u64, body: Body) -> Entry {
    Entry {
        position: position(seq),
        sender: user("alice"),
        client_message_id: message_id(),
        time_ms: time(),
        count: seq - 1,
        kind: EntryKind::Message(body.into()),
        as_it_came: None,
    }
}

fn seq(seq: u64) -> Seq {
    Seq::try_from(seq).unwrap()
}

/// A group with a title and metadata, for which the rest is as in every new one.
fn named(title: &str) -> GroupSettings {
    let (title, metadata) = (Title::new(title).unwrap(), Metadata::new(r#"{"color":"green"}"#).unwrap());
    GroupSettings { title: Some(title), metadata: Some(metadata), ..GroupSettings::default() }
}

/// All that a new group has beside title and metadata.
fn policy() -> GroupSettings {
    GroupSettings {
        send: Some(Role::Member),
        add: Some(Role::Admin),
        manage: Some(Role::Admin),
        locked: Some(false),
        history: Some(Visible::Joined),
        ..GroupSettings::default()
    }
}

/// All settings of a group.
fn all(title: &str) -> GroupSettings {
    let GroupSettings { title, metadata, .. } = named(title);
    GroupSettings { title, metadata, ..policy() }
}

fn requests() -> Vec<(&'static str, Request)> {
    [requests_of_conversations(), requests_of_groups(), requests_about_messages()].concat()
}

fn requests_about_messages() -> Vec<(&'static str, Request)> {
    let (conversation, client_message_id, anchor, target) = (conversation(), message_id(), position(4), seq(2));
    let body = Body::text("hello").unwrap();
    let react = |change| {
        let key = ReactionKey::new("👍").unwrap();
        let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
        Request::React(React { id: id(), conversation, client_message_id, anchor, target, key, change })
    };
    vec![
        ("edit", {
            let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
            Request::Edit(Edit { id: id(), conversation, client_message_id, anchor, target, body })
        }),
        ("delete", {
            let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
            Request::Delete(Delete { id: id(), conversation, client_message_id, anchor, target })
        }),
        ("react", react(ReactionChange::Add)),
        ("react_no_more", react(ReactionChange::Remove)),
    ]
}

fn requests_of_groups() -> Vec<(&'static str, Request)> {
    let create = Create { id: id(), client_message_id: message_id(), users: vec![], settings: GroupSettings::default() };
    let settings = GroupSettings { send: Some(Role::Moderator), history: Some(Visible::All), ..named("Friends of the tram") };
    let (conversation, client_message_id, anchor) = (group(), message_id(), position(4));
    let users = || vec![user("carol"), user("dave")];
    let leave =
        Leave { id: id(), conversation: conversation.clone(), client_message_id: client_message_id.clone(), anchor, successor: None };
    let members = Members { id: id(), conversation: conversation.clone(), after: None, limit: None };
    vec![
        ("create", Request::Create(Create { users: vec![user("carol"), user("bob")], settings: named("Tram"), ..create.clone() })),
        ("create_alone", Request::Create(create)),
        ("add", {
            let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
            Request::Add(Add { id: id(), conversation, client_message_id, anchor, users: users() })
        }),
        ("remove", {
            let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
            Request::Remove(Remove { id: id(), conversation, client_message_id, anchor, users: users() })
        }),
        ("leave", Request::Leave(leave.clone())),
        ("leave_to_a_successor", Request::Leave(Leave { successor: Some(user("bob")), ..leave })),
        ("role", {
            let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
            Request::Role(SetRole { id: id(), conversation, client_message_id, anchor, user: user("bob"), role: Role::Admin })
        }),
        ("settings", {
            let (conversation, client_message_id) = (conversation.clone(), client_message_id.clone());
            Request::Settings(SetSettings { id: id(), conversation, client_message_id, anchor, settings })
        }),
        ("close", Request::Close(Close { id: id(), conversation: conversation.clone(), client_message_id, anchor })),
        ("info", Request::Info(Info { id: id(), conversations: vec![conversation, self::conversation(), second_conversation()] })),
        ("prefs", {
            let (conversation, until) = (group(), Some(time().plus_ms(3_600_000)));
            let prefs = PrefsChange { muted_until_ms: until, mentions: Some(true), ..PrefsChange::default() };
            Request::Prefs(SetPrefs { id: id(), conversation, prefs })
        }),
        ("prefs_unmute", {
            let prefs = PrefsChange { muted_until_ms: Some(UnixMillis::ZERO), unread: Some(true), ..PrefsChange::default() };
            Request::Prefs(SetPrefs { id: id(), conversation: group(), prefs })
        }),
        ("members", Request::Members(members.clone())),
        ("members_next_page", Request::Members(Members { after: Some(user("bob")), limit: Some(200), ..members })),
    ]
}

fn requests_of_conversations() -> Vec<(&'static str, Request)> {
    let hello = Hello { id: id(), v: 1, after: None, known: vec![], known_to: None };
    let known = |conversation| Known { conversation, have: position(2), read: position(1), prefs: 0 };
    let acked = || vec![PositionIn::new(conversation(), position(3))];
    vec![
        ("hello", Request::Hello(hello.clone())),
        ("hello_known", Request::Hello(Hello { known: vec![known(conversation())], known_to: Some(conversation()), ..hello.clone() })),
        ("hello_known_with_preferences", {
            let known = vec![Known { prefs: 2, ..known(conversation()) }];
            Request::Hello(Hello { known, ..hello.clone() })
        }),
        ("hello_next_page", Request::Hello(Hello { after: Some(conversation()), known: vec![known(second_conversation())], ..hello })),
        ("open", Request::Open(Open { id: id(), with: user("bob"), client_message_id: message_id() })),
        (
            "send",
            Request::Send(SendMessages {
                id: id(),
                conversation: conversation(),
                messages: vec![
                    NewMessage::new(message_id(), position(1), Body::text("hi").unwrap()),
                    NewMessage::new(
                        ClientMessageId::new("m-2").unwrap(),
                        position(1),
                        Body::new("image/x-dot", Content::Data(vec![0, 255])).unwrap(),
                    ),
                    NewMessage {
                        reply_to: Some(seq(2)),
                        mentions: vec![user("bob")],
                        ..NewMessage::new(ClientMessageId::new("m-3").unwrap(), position(2), Body::text("hi, @bob").unwrap())
                    },
                ],
            }),
        ),
        (
            "sync",
            Request::Sync(Sync {
                id: id(),
                conversations: vec![
                    SyncFrom { conversation: conversation(), after: position(3) },
                    SyncFrom { conversation: second_conversation(), after: Position::ZERO },
                ],
                ack: acked(),
            }),
        ),
        (
            "history",
            Request::History(History { id: id(), conversation: conversation(), before: Some(Seq::try_from(3).unwrap()), limit: Some(50) }),
        ),
        ("history_from_the_end", Request::History(History { id: id(), conversation: conversation(), before: None, limit: None })),
        ("probe", Request::Probe(Probe { id: id(), conversation: conversation(), anchor: position(1), ids: vec![message_id()] })),
        ("ack", Request::Ack(Positions { id: id(), positions: acked(), private: false, quiet: false })),
        ("ack_and_read", {
            let positions = vec![PositionIn { read: Some(position(2)), ..PositionIn::new(conversation(), position(3)) }];
            Request::Ack(Positions { id: id(), positions, private: false, quiet: true })
        }),
        ("read_in_private", Request::Read(Positions { id: id(), positions: acked(), private: true, quiet: false })),
        ("read", Request::Read(Positions { id: id(), positions: acked(), private: false, quiet: false })),
        ("ticket", Request::Ticket(Ticket { id: id() })),
        ("refresh", Request::Refresh(Refresh { id: id(), token: Token::new("header.claims.signature").unwrap() })),
        ("ping", Request::Ping(Ping { id: id(), open: vec![] })),
        ("ping_open", Request::Ping(Ping { id: id(), open: vec![conversation()] })),
    ]
}

fn frames() -> Vec<(&'static str, ServerFrame)> {
    let all = [frames_of_a_connection(), frames_of_sending(), frames_of_entries(), frames_of_cursors(), frames_of_groups()];
    [all.concat(), frames_about_messages()].concat()
}

/// Muted, but not for mentions; pinned.
fn preferred() -> Prefs {
    Prefs { version: 2, muted_until_ms: Some(time().plus_ms(3_600_000)), mentions: true, pinned: true, ..Prefs::default() }
}

fn frames_about_messages() -> Vec<(&'static str, ServerFrame)> {
    let stored = Stored { position: position(5), time_ms: time(), count: 1 };
    let answer = |outcome| ChangeAnswer { id: id(), conversation: conversation(), outcome };
    let refused = |code, message: &str| ServerFrame::Error(ErrorFrame { id: Some(id()), refusal: Refusal::new(code, message) });
    let (target, thumb) = (seq(2), ReactionKey::new("👍").unwrap());
    let said = |body| Message::from(Body::text(body).unwrap());
    let with = |seq, sender, kind| Entry { sender: user(sender), kind, ..message(seq, Body::text("-").unwrap()) };
    let reply = Message { reply_to: Some(target), mentions: vec![user("bob")], ..said("hi, @bob") };
    let reacting = |change| EntryKind::Reaction(Reacting { target, key: thumb.clone(), change });
    let edit = |body| EntryKind::Edit { target, body };
    let live = vec![
        with(3, "alice", EntryKind::Message(reply)),
        with(4, "alice", edit(Some(Body::text("hello").unwrap()))),
        with(5, "bob", reacting(ReactionChange::Add)),
        with(6, "bob", reacting(ReactionChange::Remove)),
        with(7, "alice", EntryKind::Deletion { target }),
        with(8, "alice", EntryKind::Hidden),
    ];
    let reactions = vec![ReactionCount { key: thumb.clone(), count: 2, mine: Some(true) }];
    let edited = Message { edited: Some(seq(4)), reactions, reactions_to: Some(seq(6)), ..said("hello") };
    let older = vec![with(2, "alice", EntryKind::Message(edited)), with(3, "alice", EntryKind::Deleted), with(4, "alice", edit(None))];
    let history = HistoryAnswer { id: id(), conversation: conversation(), entries: older, done: false };
    vec![
        ("edit", ServerFrame::Edit(answer(ChangeOutcome::Ok(stored)))),
        ("delete", ServerFrame::Delete(answer(ChangeOutcome::Duplicate(stored)))),
        ("react", ServerFrame::React(answer(ChangeOutcome::Unchanged))),
        ("error_no_message", refused(ErrorCode::NoMessage, "there is no such message, or not any more")),
        ("error_not_editable", refused(ErrorCode::NotEditable, "the message is edited no more")),
        ("error_reactions_full", refused(ErrorCode::ReactionsFull, "the message has no room for another reaction")),
        ("entries_about_messages", ServerFrame::Entries(Entries { conversation: conversation(), entries: live })),
        ("history_of_what_was_changed", ServerFrame::History(history)),
    ]
}

fn frames_of_groups() -> Vec<(&'static str, ServerFrame)> {
    let stored = Stored { position: position(5), time_ms: time(), count: 1 };
    let answer = |outcome| ChangeAnswer { id: id(), conversation: group(), outcome };
    let created = Stored { position: position(1), count: 0, ..stored };
    let info = GroupInfo {
        at: seq(5),
        settings: GroupSettings { send: Some(Role::Moderator), ..all("Tram") },
        closed: false,
        members: 4,
        role: Role::Owner,
        membership_changed: seq(5),
        settings_changed: seq(3),
    };
    let of_a_closed_one =
        GroupInfo { at: seq(9), settings: policy(), closed: true, role: Role::Member, settings_changed: seq(9), ..info.clone() };
    let direct = GroupSettings { add: None, manage: None, ..policy() };
    let of_a_direct_one = GroupInfo {
        at: seq(2),
        settings: direct,
        members: 2,
        role: Role::Member,
        membership_changed: Seq::FIRST,
        settings_changed: Seq::ZERO,
        ..info.clone()
    };
    let told = |conversation, outcome| ConversationInfo { conversation, outcome };
    let closed = ConversationId::new("gQ2xvc2VkLWdyb3VwLWV4YW1wbGU").unwrap();
    let infos = vec![
        told(group(), InfoOutcome::Ok(info)),
        told(closed, InfoOutcome::Ok(of_a_closed_one)),
        told(conversation(), InfoOutcome::Ok(of_a_direct_one)),
        told(second_conversation(), InfoOutcome::Refused(Refusal::new(ErrorCode::NotFound, "no such conversation"))),
    ];
    let member = |name, role| MemberInfo { user: user(name), role };
    let members = vec![member("alice", Role::Owner), member("bob", Role::Admin)];
    let members = MembersAnswer { id: id(), conversation: group(), members, next: None };
    let refused = |code, message: &str| ServerFrame::Error(ErrorFrame { id: Some(id()), refusal: Refusal::new(code, message) });
    vec![
        ("create", ServerFrame::Create(answer(ChangeOutcome::Ok(created)))),
        ("add", ServerFrame::Add(answer(ChangeOutcome::Ok(stored)))),
        ("remove", ServerFrame::Remove(answer(ChangeOutcome::Duplicate(stored)))),
        ("leave", ServerFrame::Leave(answer(ChangeOutcome::Ok(stored)))),
        ("role", ServerFrame::Role(answer(ChangeOutcome::Conflict(stored)))),
        ("settings", ServerFrame::Settings(answer(ChangeOutcome::Unchanged))),
        ("close", ServerFrame::Close(answer(ChangeOutcome::Ok(stored)))),
        ("error_members_full", refused(ErrorCode::MembersFull, "the group has no room for more of them")),
        ("error_last_owner", refused(ErrorCode::LastOwner, "the last owner leaves with a successor")),
        ("error_no_member", refused(ErrorCode::NoMember, "the request names somebody who is no member")),
        ("info", ServerFrame::Info(InfoAnswer { id: id(), conversations: infos })),
        ("prefs", ServerFrame::Prefs(PrefsAnswer { id: id(), conversation: group(), prefs: preferred() })),
        (
            "prefs_changed",
            ServerFrame::PrefsChanged(PrefsChanged {
                conversation: group(),
                prefs: Prefs { version: 3, unread: true, ..Prefs::default() },
            }),
        ),
        ("members", ServerFrame::Members(members.clone())),
        ("members_more", ServerFrame::Members(MembersAnswer { next: Some(user("bob")), ..members })),
        ("entries_of_a_group", ServerFrame::Entries(Entries { conversation: group(), entries: entries_of_a_group() })),
    ]
}

/// One of each kind that only groups have.
fn entries_of_a_group() -> Vec<Entry> {
    let changed = GroupSettings { title: named("Friends of the tram").title, locked: Some(true), ..GroupSettings::default() };
    let kinds = [
        EntryKind::GroupCreated { members: vec![user("alice"), user("bob")], settings: all("Tram") },
        EntryKind::Added { users: vec![user("carol"), user("dave")] },
        EntryKind::Removed { users: vec![user("dave")] },
        EntryKind::Role { user: user("bob"), role: Role::Admin },
        EntryKind::Settings { settings: changed },
        EntryKind::Left { successor: Some(user("bob")) },
        EntryKind::Left { successor: None },
        EntryKind::Closed,
    ];
    let senders = ["alice", "alice", "alice", "alice", "alice", "alice", "carol", "bob"];
    let entries = (1..).zip(senders).zip(kinds);
    entries.map(|((seq, sender), kind)| Entry { count: 0, sender: user(sender), kind, ..message(seq, Body::text("-").unwrap()) }).collect()
}

fn frames_of_a_connection() -> Vec<(&'static str, ServerFrame)> {
    let bad = |id, code, message: &str| ServerFrame::Error(ErrorFrame { id, refusal: Refusal::new(code, message) });
    let row = ConversationRow {
        conversation: ConversationHead { conversation: conversation(), with: Some(user("bob")), head: position(2) },
        role: None,
        group: None,
        count: 1,
        time_ms: time(),
        read: position(1),
        read_count: 0,
        read_private: false,
        mentioned: None,
        prefs: None,
        last: Some(message(2, Body::text("hi").unwrap())),
    };
    let marks = GroupMarks { members: 3, membership_changed: position(4).seq, settings_changed: position(1).seq, large: false };
    let of_group = ConversationRow {
        conversation: ConversationHead { conversation: group(), with: None, head: position(9) },
        role: Some(Role::Admin),
        group: Some(marks),
        mentioned: Some(seq(8)),
        prefs: Some(preferred()),
        count: 5,
        read: position(7),
        read_count: 4,
        read_private: false,
        last: None,
        ..row.clone()
    };
    let hello = HelloAnswer {
        id: id(),
        versions: Versions { min: limits::VERSION_MIN, max: limits::VERSION_MAX },
        user: user("alice"),
        device: DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap(),
        server_time_ms: time(),
        epoch: 1,
        reconnect_in_ms: limits::RECONNECT_IN_MS,
        expires_ms: time().plus_ms(3_660_000),
        limits: Limits::DEFAULT,
        conversations: vec![row, of_group],
        gone: vec![ConversationId::new("dR29uZS1leGFtcGxlLW9mLWlk").unwrap()],
        next: Some(conversation()),
    };
    let ping = PingAnswer { id: id(), server_time_ms: time(), resync: false, conversations: vec![] };
    let limited = Refusal::new(ErrorCode::RateLimited, "too much is asked for this user: come back later").after_ms(60_000);
    let limited = ServerFrame::Error(ErrorFrame { id: Some(id()), refusal: limited });
    let expired = "the token has expired: connect again with a new one";
    vec![
        ("hello", ServerFrame::Hello(Box::new(hello))),
        ("ping", ServerFrame::Ping(ping.clone())),
        ("ping_resync", ServerFrame::Ping(PingAnswer { resync: true, ..ping })),
        (
            "ticket",
            ServerFrame::Ticket(TicketAnswer {
                id: id(),
                ticket: TicketText::new("XSyvGZKS0nCFdHNvZGSXKnDbTDJ8tSaJRlOKvIdRkGg").unwrap(),
                expires_ms: time().plus_ms(30_000),
            }),
        ),
        ("refresh", ServerFrame::Refresh(RefreshAnswer { id: id(), expires_ms: time().plus_ms(3_660_000) })),
        ("goaway", ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None })),
        ("error", bad(Some(id()), ErrorCode::NotFound, "no such conversation")),
        ("error_token_expired", bad(Some(id()), ErrorCode::TokenExpired, expired)),
        ("error_rate_limited", limited),
        ("error_without_id", bad(None, ErrorCode::BadRequest, "not one JSON object: malformed at line 1 column 1")),
    ]
}

/// A restore, as it is told about a message or a conversation.
fn epoch_changed() -> Refusal {
    Refusal { common: Some(position(7)), ..Refusal::new(ErrorCode::EpochChanged, "the log was restored since") }
}

fn frames_of_sending() -> Vec<(&'static str, ServerFrame)> {
    let conversation = conversation();
    let head = ConversationHead { conversation: conversation.clone(), with: Some(user("bob")), head: position(2) };
    let stored = Stored { position: position(2), time_ms: time(), count: 1 };
    let stale = Refusal::new(ErrorCode::AnchorStale, "the anchor is more than 200 entries behind");
    let outcomes = [
        Outcome::Ok(stored),
        Outcome::Duplicate(stored),
        Outcome::Conflict(stored),
        Outcome::Refused(Refusal::new(ErrorCode::RateLimited, "the conversation takes no more for the moment").after_ms(50)),
        Outcome::Refused(Refusal { tail: Some(position(999)), ..stale }),
        Outcome::Refused(epoch_changed()),
        Outcome::NotAttempted,
    ];
    let results = outcomes.map(|outcome| MessageResult { client_message_id: message_id(), outcome }).to_vec();
    let found = vec![Found { client_message_id: message_id(), stored }];
    vec![
        ("open", ServerFrame::Open(OpenAnswer { id: id(), conversation: head })),
        ("send", ServerFrame::Send(SendAnswer { id: id(), conversation: conversation.clone(), results })),
        ("probe", ServerFrame::Probe(ProbeAnswer { id: id(), conversation, found, reached: position(999), done: true })),
    ]
}

fn frames_of_entries() -> Vec<(&'static str, ServerFrame)> {
    let hi = |seq| vec![message(seq, Body::text("hi").unwrap())];
    let sync = |outcomes: Vec<SyncOutcome>, done, acked| {
        let pages = outcomes.into_iter().map(|outcome| SyncPage { conversation: conversation(), outcome }).collect();
        ServerFrame::Sync(SyncAnswer { id: id(), pages, done, acked })
    };
    let removed = EntryKind::Removed { users: vec![user("bob")] };
    let removal = vec![Entry { kind: removed, count: 40, ..message(42, Body::text("-").unwrap()) }];
    let every_form = vec![
        SyncOutcome::Ok(Missed { skip: None, entries: vec![], done: true, ended: None }),
        SyncOutcome::Ok(Missed { skip: Some(Skip { to: position(40) }), entries: hi(41), done: true, ended: None }),
        SyncOutcome::Ok(Missed { skip: None, entries: removal, done: true, ended: Some(position(42)) }),
        SyncOutcome::Refused(Refusal::new(ErrorCode::NotFound, "no such conversation")),
        SyncOutcome::Refused(epoch_changed()),
    ];
    let members = vec![user("alice"), user("bob")];
    let created = Entry { count: 0, kind: EntryKind::Created { members }, ..message(1, Body::text("-").unwrap()) };
    let image = message(3, Body::new("image/x-dot", Content::Data(vec![0, 255])).unwrap());
    let entries = [vec![created], hi(2), vec![image]].concat();
    vec![
        ("entries", ServerFrame::Entries(Entries { conversation: conversation(), entries })),
        ("sync", sync(vec![SyncOutcome::Ok(Missed { skip: None, entries: hi(4), done: false, ended: None })], false, true)),
        ("sync_of_every_form", sync(every_form, true, false)),
        ("history", ServerFrame::History(HistoryAnswer { id: id(), conversation: conversation(), entries: hi(2), done: false })),
    ]
}

fn frames_of_cursors() -> Vec<(&'static str, ServerFrame)> {
    let conversation = conversation();
    let cursors = MemberCursors { user: user("bob"), delivered: position(3), read: position(2) };
    let moved = CursorResult { conversation: conversation.clone(), outcome: CursorOutcome::Ok };
    let refusal = Refusal::new(ErrorCode::AnchorUnknown, "the position names no entry of this conversation");
    let refused = CursorResult { conversation: second_conversation(), outcome: CursorOutcome::Refused(refusal) };
    let own = Some(ReadMark { read: position(3), read_count: 2, read_private: false });
    let own_cursors = MemberCursors { user: user("alice"), delivered: position(3), read: position(3) };
    let own_receipt = Receipt {
        conversation: conversation.clone(),
        cursors: own_cursors,
        read_count: Some(2),
        read_private: false,
        ttl_ms: limits::RECEIPT_TTL_MS,
    };
    let status =
        ConversationStatus { conversation: conversation.clone(), head: position(3), count: 2, own, cursors: vec![cursors.clone()] };
    let ping = PingAnswer { id: id(), server_time_ms: time(), resync: false, conversations: vec![status] };
    vec![
        ("ack", ServerFrame::Ack(CursorsAnswer { id: id(), results: vec![moved.clone()] })),
        ("read", ServerFrame::Read(CursorsAnswer { id: id(), results: vec![moved, refused] })),
        (
            "receipt",
            ServerFrame::Receipt(Receipt { conversation, cursors, read_count: None, read_private: false, ttl_ms: limits::RECEIPT_TTL_MS }),
        ),
        ("receipt_own", ServerFrame::Receipt(own_receipt)),
        ("ping_open", ServerFrame::Ping(ping)),
    ]
}

#[test]
fn every_request_looks_like_this() {
    let all: serde_json::Map<_, _> =
        requests().into_iter().map(|(name, it)| (name.to_owned(), serde_json::to_value(it).unwrap())).collect();
    insta::assert_json_snapshot!(all);
}

#[test]
fn every_frame_of_the_server_looks_like_this() {
    let all: serde_json::Map<_, _> = frames().into_iter().map(|(name, it)| (name.to_owned(), serde_json::to_value(it).unwrap())).collect();
    insta::assert_json_snapshot!(all);
}

#[test]
fn every_request_is_read_back() {
    for (name, request) in requests() {
        assert_eq!(Request::parse(&encode(&request)).unwrap(), request, "{name}");
    }
}

#[test]
fn every_frame_of_the_server_is_read_back() {
    for (name, frame) in frames() {
        assert_eq!(serde_json::from_str::<ServerFrame>(&encode(&frame)).unwrap(), frame, "{name}");
    }
}

#[test]
fn every_action_has_its_requests_and_its_answer() {
    let words = |json: Vec<serde_json::Value>, field: &str| -> BTreeSet<String> {
        json.iter().filter_map(|it| Some(it[field].as_str()?.to_owned())).collect()
    };
    let requests: Vec<_> = requests().into_iter().map(|(_, it)| serde_json::to_value(it).unwrap()).collect();
    let frames: Vec<_> = frames().into_iter().map(|(_, it)| serde_json::to_value(it).unwrap()).collect();
    let names: BTreeSet<_> = Action::ALL.iter().map(|action| action.name().to_owned()).collect();
    assert_eq!(words(requests, "action"), names);
    assert!(words(frames, "type").is_superset(&names));
}

#[test]
fn a_frame_has_the_id_that_its_json_has() {
    for (name, frame) in frames() {
        let json = serde_json::to_value(&frame).unwrap();
        assert_eq!(frame.id().map(RequestId::as_str), json["id"].as_str(), "{name}");
    }
}

#[test]
fn every_error_code_has_its_word_and_says_whether_to_retry() {
    let all = [
        ErrorCode::BadRequest,
        ErrorCode::UnknownAction,
        ErrorCode::UpgradeRequired,
        ErrorCode::TokenExpired,
        ErrorCode::TokenRefused,
        ErrorCode::Resync,
        ErrorCode::NotFound,
        ErrorCode::Forbidden,
        ErrorCode::MembersFull,
        ErrorCode::LastOwner,
        ErrorCode::NoMember,
        ErrorCode::NoMessage,
        ErrorCode::NotEditable,
        ErrorCode::ReactionsFull,
        ErrorCode::TooLarge,
        ErrorCode::AnchorUnknown,
        ErrorCode::AnchorStale,
        ErrorCode::AnchorTooOld,
        ErrorCode::EpochChanged,
        ErrorCode::RateLimited,
        ErrorCode::Busy,
        ErrorCode::Unavailable,
    ];
    let words: serde_json::Map<_, _> =
        all.iter().map(|code| (encode(code).trim_matches('"').to_owned(), code.retryable().into())).collect();
    insta::assert_json_snapshot!(words);
}

#[test]
fn a_client_goes_on_past_what_it_does_not_know() {
    let frame = r#"{"type":"typing","conversation":"d1","ttl_ms":5000}"#;
    assert_eq!(serde_json::from_str::<ServerFrame>(frame).unwrap(), ServerFrame::Unknown);

    let goaway = r#"{"type":"goaway","reason":"deploy","retry_after_ms":2000}"#;
    let expected = Goaway { reason: GoawayReason::Unknown, retry_after_ms: Some(2000) };
    assert_eq!(serde_json::from_str::<ServerFrame>(goaway).unwrap(), ServerFrame::Goaway(expected));

    let entry = r#"{"position":{"epoch":1,"seq":9},"sender":"a","client_message_id":"m","time_ms":1,"count":3,"kind":"reaction","to":4}"#;
    let entry: Entry = serde_json::from_str(entry).unwrap();
    assert_eq!((entry.position, entry.kind), (position(9), EntryKind::Unknown));

    let error = r#"{"type":"error","code":"under_water","retryable":true,"message":"glug"}"#;
    let ServerFrame::Error(error) = serde_json::from_str(error).unwrap() else { panic!("an error frame") };
    assert_eq!((error.refusal.code, error.refusal.retryable), (ErrorCode::Unknown, true));
}

// holds: K1
#[test]
fn what_is_not_known_of_an_entry_is_written_again_as_it_came() {
    let known = r#""position":{"epoch":1,"seq":9},"sender":"a","client_message_id":"m","time_ms":1,"count":3"#;
    for said in [
        r#""kind":"reaction","to":4,"with":{"name":"wave","tone":null},"weight":1.5"#,
        r#""kind":"message","body":{"content_type":"text/plain","text":"hi","mood":"glad"},"edited":{"count":2}"#,
        r#""kind":"created","members":["a","b"],"title":"us""#,
    ] {
        let came = format!("{{{known},{said}}}");
        let entry: Entry = serde_json::from_str(&came).unwrap();
        let again = serde_json::from_str::<Value>(&encode(&entry)).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(&came).unwrap());
        assert_eq!(serde_json::from_str::<Entry>(&encode(&entry)).unwrap(), entry);
        // Also in a frame.
        let frame = format!(r#"{{"type":"entries","conversation":"d1","entries":[{came}]}}"#);
        let ServerFrame::Entries(entries) = serde_json::from_str(&frame).unwrap() else { panic!("entries") };
        assert_eq!(entries.entries, [entry]);
    }
    let plain = format!(r#"{{{known},"kind":"created","members":["a"]}}"#);
    assert_eq!(serde_json::from_str::<Entry>(&plain).unwrap().as_it_came, None);
}

// holds: K1
#[test]
fn a_server_passes_on_what_a_later_writer_said_and_nothing_in_the_place_of_its_own_fields() {
    let entry = Entry { kind: EntryKind::Unknown, ..message(9, Body::text("-").unwrap()) };
    let said = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text).unwrap();
    let told = encode(&entry.clone().saying(said(r#"{"kind":"reaction","to":4,"sender":"mallory","position":1}"#)));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["kind"], &told["to"], &told["sender"]), (&json!("reaction"), &json!(4), &json!("alice")));
    assert_eq!(told["position"]["seq"], 9);
    for nothing in ["{}", r#"{"kind":7}"#] {
        assert_eq!(entry.clone().saying(said(nothing)), entry);
    }
}

#[test]
fn joined_entries_are_the_same_text_as_an_encoded_frame() {
    let entries = vec![message(2, Body::text("\u{0} \"quoted\" ü").unwrap()), message(3, Body::text("b").unwrap())];
    let encoded: Vec<String> = entries.iter().map(encode).collect();
    let frame = ServerFrame::Entries(Entries { conversation: conversation(), entries });
    assert_eq!(live_frame(&conversation(), &encoded), encode(&frame));
}

#[test]
fn the_measured_size_is_that_of_the_longest_live_frame() {
    let body = Body::text("hi").unwrap();
    let longest = Entry {
        position: Position::new(u32::MAX, Seq::MAX),
        time_ms: UnixMillis::MAX,
        count: limits::INTEGER_MAX,
        ..message(2, body.clone())
    };
    let frame = ServerFrame::Entries(Entries { conversation: conversation(), entries: vec![longest] });
    assert_eq!(
        Entry::live_frame_bytes_max(&conversation(), &user("alice"), &message_id(), EntryKind::Message(body.into())),
        encode(&frame).len()
    );
}
