//! Changes of a group: what each does to rows and facts, to whom it is delivered, and what is refused. Attempts that fail or meet others
//! are in `races`, and how a group begins in `create`.

mod create;
mod races;

use chatlane_chat::log::{ChangeEntry, Entry, Facts, Kind, Policy, Role};
use chatlane_chat::ports::{InboxRow, Joining, Member, ReadCursor, Span};
use chatlane_chat::requests::change::Asked;
use chatlane_chat::settings::AdmissionLimit;
use chatlane_chat::testing::builders::{
    conversation, description, entry, message, message_id, position, request_id, seq, settings, start, task_by, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ChangeOutcome, Stored};
use chatlane_protocol::limits::GROUPS_MAX;
use chatlane_protocol::request::{Add, Close, Leave, Remove, SetRole, SetSettings};
use chatlane_protocol::{ErrorCode, GroupSettings, History, Metadata, Outcome, Position, Seq, Title, UserId};

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn added(names: &[&str]) -> ChangeEntry {
    ChangeEntry::Added(users(names))
}

fn removed(names: &[&str]) -> ChangeEntry {
    ChangeEntry::Removed(users(names))
}

fn left(successor: Option<&str>) -> ChangeEntry {
    ChangeEntry::Left { successor: successor.map(user) }
}

fn role(name: &str, role: Role) -> ChangeEntry {
    ChangeEntry::Role { user: user(name), role }
}

fn set(settings: GroupSettings) -> ChangeEntry {
    ChangeEntry::Settings(settings)
}

fn locked(locked: bool) -> GroupSettings {
    GroupSettings { locked: Some(locked), ..GroupSettings::default() }
}

fn titled(title: &str) -> GroupSettings {
    GroupSettings { title: Some(Title::new(title).unwrap()), ..GroupSettings::default() }
}

/// A group that admits whatever comes.
fn group(members: &[(&str, Role)]) -> Stage {
    let mut stage = Stage::group(members);
    stage.settings.limits.admission = AdmissionLimit::Off;
    stage
}

/// One of each role; erin, frank … are strangers.
fn four() -> Stage {
    group(&[("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Moderator), ("dave", Role::Member)])
}

/// Place `number`, with no messages before it.
fn stored(number: u64) -> Stored {
    Stored { position: position(number), time_ms: start(), count: 0 }
}

/// What became of a change that knows entry 1.
fn outcome(stage: &Stage, who: &str, id: &str, kind: ChangeEntry) -> ChangeOutcome {
    stage.change(who, id, position(1), kind).unwrap().answer.outcome
}

/// The change has to be stored.
fn done(stage: &Stage, who: &str, id: &str, kind: ChangeEntry) -> Entry {
    let outcome = outcome(stage, who, id, kind);
    assert!(matches!(outcome, ChangeOutcome::Ok(_)), "{id}: {outcome:?}");
    stage.entries().pop().unwrap()
}

/// Why it was refused; nothing is stored, and nothing queued.
fn refused(stage: &Stage, who: &str, kind: &ChangeEntry) -> ErrorCode {
    let (before, _of_before) = (stage.entries(), stage.take_tasks());
    let refused = stage.change(who, "refused", position(1), kind.clone()).unwrap_err();
    assert_eq!((stage.entries(), stage.take_tasks()), (before, vec![]), "{kind:?}");
    refused.to_wire().code
}

fn member(stage: &Stage, who: &str) -> Option<Member> {
    stage.ports.memory.state().members.get(&(stage.conversation.clone(), user(who))).cloned()
}

fn row(stage: &Stage, who: &str) -> Option<InboxRow> {
    stage.ports.memory.state().inboxes.get(&user(who)).and_then(|rows| rows.get(&stage.conversation)).cloned()
}

fn spans(stage: &Stage, who: &str) -> Vec<Span> {
    stage.ports.memory.state().left.get(&(stage.conversation.clone(), user(who))).cloned().unwrap_or_default()
}

fn span(from: u64, end: u64) -> Span {
    Span { from: seq(from), end: position(end) }
}

fn member_since(who: &str, role: Role, visible_from: u64, version: u64) -> Member {
    Member { user: user(who), role, visible_from: seq(visible_from), version: seq(version) }
}

/// The sum of the members' hashes.
fn sum(names: &[&str]) -> u64 {
    settings().keys.users.sum(&users(names))
}

// --- what each does

// holds: M1
#[test]
fn who_is_added_gets_both_rows_sees_the_entry_and_has_read_what_was_there() {
    let stage = four();
    for number in 1..=2 {
        let sent = stage.send("dave", vec![message(&format!("m-{number}"), position(1))]).unwrap();
        assert!(matches!(sent[..], [Outcome::Ok(_)]));
    }
    stage.take_tasks();
    let before = stage.entries().pop().unwrap().facts;
    let Done { answer, did } = stage.change("bob", "add", position(1), added(&["erin", "frank"])).unwrap();
    assert_eq!(answer.outcome, ChangeOutcome::Ok(Stored { count: 2, ..stored(4) }));
    assert_eq!(did, Did { stored: 1, attempts: 1, tasks: 1, ..Did::default() });

    let entry = stage.entries().pop().unwrap();
    assert_eq!(
        (&entry.sender, &entry.client_message_id, &entry.kind),
        (&user("bob"), &message_id("add"), &Kind::Change(added(&["erin", "frank"])))
    );
    let members_sum = Some(sum(&["alice", "bob", "carol", "dave", "erin", "frank"]));
    assert_eq!(entry.facts, Facts { members: 6, members_sum, membership_changed: seq(4), ..before });
    for who in ["erin", "frank"] {
        let joined = member_since(who, Role::Member, 4, 4);
        let read = ReadCursor { position: position(4), count: 2 };
        let Joining { member: expected, row: expected_row } = Joining::of_group(&stage.conversation, joined, read);
        assert_eq!((member(&stage, who), row(&stage, who)), (Some(expected), Some(expected_row)));
    }
    // Its count says nothing is unread of it: for all connections, also the sender's.
    let (task, delay) = stage.take_tasks().remove(0);
    assert_eq!((task.count, task.own.len(), task.origin.clone(), delay), (2, 0, None, 0));
    assert_eq!((task.first, task.last, task.sender), (seq(4), position(4), task_by("bob", &stage.conversation, 4, 4).sender));
}

// holds: L3, R1
#[test]
fn a_quiet_change_costs_a_row_a_read_the_rows_as_a_whole_one_transaction_and_one_task() {
    let stage = four();
    done(&stage, "alice", "remove", removed(&["bob", "dave"]));
    let calls = ["member", "read", "memberships", "change", "enqueue", "member_consistent", "descriptions", "members", "heads", "put"];
    assert_eq!(calls.map(|call| stage.ports.count(call)), [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
    for (first, then) in [("member", "read"), ("read", "memberships"), ("memberships", "change"), ("change", "enqueue")] {
        assert!(stage.ports.is_answered_before(first, then), "{first} before {then}");
    }
}

#[test]
fn who_is_added_sees_all_where_the_settings_say_so_at_that_time() {
    let stage = four();
    let history = |history| set(GroupSettings { history: Some(history), ..GroupSettings::default() });
    done(&stage, "alice", "all", history(History::All));
    done(&stage, "alice", "add-1", added(&["erin"]));
    done(&stage, "alice", "joined", history(History::Joined));
    done(&stage, "alice", "add-2", added(&["frank"]));
    assert_eq!(member(&stage, "erin"), Some(member_since("erin", Role::Member, 1, 3)));
    assert_eq!(row(&stage, "erin").unwrap().visible_from, Seq::FIRST);
    assert_eq!(row(&stage, "erin").unwrap().read.position, position(3), "nothing of it is unread");
    assert_eq!(member(&stage, "frank"), Some(member_since("frank", Role::Member, 5, 5)));
}

#[test]
fn who_is_a_member_already_is_left_out_of_an_addition_and_who_is_none_of_a_removal() {
    let stage = four();
    let entry = done(&stage, "alice", "add", added(&["bob", "erin", "frank"]));
    assert_eq!((entry.kind, entry.facts.members), (Kind::Change(added(&["erin", "frank"])), 6));
    assert_eq!(member(&stage, "bob"), Some(member_since("bob", Role::Admin, 1, 1)));
    let entry = done(&stage, "alice", "remove", removed(&["dave", "erin", "zoe"]));
    assert_eq!((entry.kind, entry.facts.members), (Kind::Change(removed(&["dave", "erin"])), 4));
}

#[test]
fn who_is_removed_keeps_nothing_but_the_spans_of_the_membership() {
    let stage = four();
    let before = stage.entries()[0].facts.clone();
    let entry = done(&stage, "carol", "remove", removed(&["dave"]));
    let members_sum = Some(sum(&["alice", "bob", "carol"]));
    assert_eq!(entry.facts, Facts { members: 3, members_sum, membership_changed: seq(2), removed: seq(2), ..before.clone() });
    assert_eq!((member(&stage, "dave"), row(&stage, "dave"), spans(&stage, "dave")), (None, None, vec![span(1, 2)]));
    // Whoever comes back begins anew, and keeps the span of before.
    done(&stage, "alice", "add", added(&["dave"]));
    assert_eq!(spans(&stage, "dave"), [span(1, 2)]);
    let entry = done(&stage, "alice", "remove", removed(&["dave"]));
    assert_eq!(entry.facts, Facts { members: 3, members_sum, membership_changed: seq(4), removed: seq(4), ..before });
    assert_eq!(spans(&stage, "dave"), [span(1, 2), span(3, 4)]);
}

#[test]
fn of_the_spans_the_last_twenty_are_kept() {
    let stage = four();
    for turn in 0..12 {
        done(&stage, "alice", &format!("remove-{turn}"), removed(&["dave"]));
        done(&stage, "alice", &format!("add-{turn}"), added(&["dave"]));
        // Leaving is no other end than being removed.
        done(&stage, "dave", &format!("leave-{turn}"), left(None));
        done(&stage, "alice", &format!("again-{turn}"), added(&["dave"]));
    }
    let spans = spans(&stage, "dave");
    assert_eq!((spans.len(), spans[0], spans[19]), (20, span(9, 10), span(47, 48)));
}

#[test]
fn who_leaves_is_a_member_no_more() {
    let stage = four();
    let before = stage.entries()[0].facts.clone();
    let entry = done(&stage, "dave", "leave", left(None));
    assert_eq!(entry.kind, Kind::Change(left(None)));
    let members_sum = Some(sum(&["alice", "bob", "carol"]));
    assert_eq!(entry.facts, Facts { members: 3, members_sum, membership_changed: seq(2), removed: seq(2), ..before });
    assert_eq!((member(&stage, "dave"), row(&stage, "dave"), spans(&stage, "dave")), (None, None, vec![span(1, 2)]));
}

#[test]
fn a_successor_is_an_owner_from_the_entry_on() {
    let stage = four();
    let before = stage.entries()[0].facts.clone();
    stage.change_row("dave", |row| row.read = ReadCursor { position: position(1), count: 0 });
    let entry = done(&stage, "alice", "leave", left(Some("dave")));
    assert_eq!(entry.kind, Kind::Change(left(Some("dave"))));
    let members_sum = Some(sum(&["bob", "carol", "dave"]));
    assert_eq!(entry.facts, Facts { members: 3, owners: 1, members_sum, membership_changed: seq(2), removed: seq(2), ..before });
    assert_eq!(member(&stage, "dave"), Some(member_since("dave", Role::Owner, 1, 2)));
    let row = row(&stage, "dave").unwrap();
    assert_eq!((row.role, row.version, row.read.position), (Role::Owner, seq(2), position(1)));
    assert_eq!(member(&stage, "alice"), None);
}

#[test]
fn a_successor_who_is_an_owner_stays_one_and_is_not_named() {
    let stage = group(&[("alice", Role::Owner), ("bob", Role::Owner)]);
    let entry = done(&stage, "alice", "leave", left(Some("bob")));
    assert_eq!((entry.kind, entry.facts.owners), (Kind::Change(left(None)), 1));
    assert_eq!(member(&stage, "bob"), Some(member_since("bob", Role::Owner, 1, 1)));
}

#[test]
fn the_last_owner_leaves_with_a_successor_or_as_the_last_member() {
    let stage = group(&[("alice", Role::Owner), ("bob", Role::Admin)]);
    assert_eq!(refused(&stage, "alice", &left(None)), ErrorCode::LastOwner);
    done(&stage, "bob", "leave", left(None));
    let before = stage.entries()[1].facts.clone();
    let entry = done(&stage, "alice", "leave", left(None));
    let policy = Policy { closed: true, ..before.policy.clone() };
    let [membership_changed, removed, settings_changed] = [seq(3); 3];
    assert_eq!(
        entry.facts,
        Facts { members: 0, owners: 0, members_sum: Some(0), membership_changed, removed, settings_changed, policy, ..before }
    );
    assert!(stage.ports.memory.state().members.is_empty());
}

#[test]
fn a_role_changes_in_both_rows_and_is_a_change_of_membership() {
    let stage = four();
    let before = stage.entries()[0].facts.clone();
    stage.change_row("dave", |row| row.read = ReadCursor { position: position(1), count: 0 });
    let entry = done(&stage, "bob", "role", role("dave", Role::Moderator));
    assert_eq!(entry.facts, Facts { membership_changed: seq(2), ..before.clone() });
    assert_eq!(member(&stage, "dave"), Some(member_since("dave", Role::Moderator, 1, 2)));
    let changed = row(&stage, "dave").unwrap();
    assert_eq!((changed.role, changed.version, changed.read.position), (Role::Moderator, seq(2), position(1)));
    let entry = done(&stage, "alice", "owner", role("dave", Role::Owner));
    assert_eq!(entry.facts, Facts { membership_changed: seq(3), owners: 2, ..before });
}

#[test]
fn settings_change_in_the_facts_and_title_and_metadata_beside_them() {
    let stage = four();
    let before = stage.entries()[0].facts.clone();
    let wanted = GroupSettings { metadata: Some(Metadata::new("{}").unwrap()), send: Some(Role::Admin), ..titled("a title") };
    let entry = done(&stage, "bob", "set", set(wanted.clone()));
    assert_eq!(entry.kind, Kind::Change(set(wanted)));
    let policy = Policy { send: Role::Admin, ..before.policy.clone() };
    assert_eq!(entry.facts, Facts { settings_changed: seq(2), policy, ..before });
    let described = || stage.ports.memory.state().descriptions[&stage.conversation].clone();
    assert_eq!(described(), description("a title", "{}"));
    // Of several settings the entry names those that were others; of title and metadata each stays where the other changes.
    let wanted = GroupSettings { send: Some(Role::Admin), locked: Some(true), ..titled("") };
    let entry = done(&stage, "bob", "again", set(wanted));
    assert_eq!(entry.kind, Kind::Change(set(GroupSettings { locked: Some(true), ..titled("") })));
    assert_eq!(described(), description("", "{}"));
    // What does not name them does not read them.
    let reads = stage.ports.count("descriptions");
    done(&stage, "bob", "unlock", set(locked(false)));
    assert_eq!((stage.ports.count("descriptions"), described()), (reads, description("", "{}")));
}

// holds: M1
#[test]
fn a_lock_leaves_the_group_to_its_admins_and_a_closed_one_is_only_left() {
    let stage = four();
    let send = |who: &str, id: &str| match stage.send(who, vec![message(id, position(1))]).unwrap().remove(0) {
        Outcome::Refused(refusal) => Err(refusal.code),
        _ => Ok(()),
    };
    done(&stage, "bob", "lock", set(locked(true)));
    assert_eq!((send("dave", "m-1"), send("bob", "m-2")), (Err(ErrorCode::Forbidden), Ok(())));
    assert_eq!(refused(&stage, "carol", &removed(&["dave"])), ErrorCode::Forbidden);
    done(&stage, "dave", "leave", left(None));
    done(&stage, "bob", "unlock", set(locked(false)));
    assert_eq!(send("carol", "m-3"), Ok(()));

    let before = stage.entries().pop().unwrap().facts;
    let entry = done(&stage, "alice", "close", ChangeEntry::Closed);
    let policy = Policy { closed: true, ..before.policy.clone() };
    assert_eq!(entry.facts, Facts { policy, settings_changed: entry.position.seq, ..before });
    assert_eq!(send("alice", "m-4"), Err(ErrorCode::Forbidden));
    for kind in [added(&["erin"]), removed(&["bob"]), role("bob", Role::Member), set(locked(true)), ChangeEntry::Closed] {
        assert_eq!(refused(&stage, "alice", &kind), ErrorCode::Forbidden, "{kind:?}");
    }
    // Its owner needs no successor there, for whom there would be nothing to do.
    for user in ["alice", "carol", "bob"] {
        done(&stage, user, &format!("{user} leaves"), left(None));
    }
    let last = stage.entries().pop().unwrap().facts;
    assert_eq!((last.members, last.owners, last.members_sum, last.policy.closed), (0, 0, Some(0), true));
}

/// The lane takes it as it takes a message: the entry and each row that is written are a kilobyte.
#[test]
fn a_change_takes_a_token_for_each_row_and_waits_where_there_are_none() {
    let mut stage = four();
    stage.settings.limits.admission = AdmissionLimit::PerConversation;
    let tokens = || stage.entries().pop().unwrap().facts.bucket.tokens_milli;
    for (id, kind, left) in [
        ("add", added(&["erin", "frank", "grace"]), 56_000),
        ("role", role("erin", Role::Moderator), 54_000),
        ("remove", removed(&["erin", "frank"]), 51_000),
        ("set", set(titled("a title")), 50_000),
    ] {
        done(&stage, "alice", id, kind);
        assert_eq!(tokens(), left, "{id}");
    }
    stage.change_tail(|facts| facts.bucket.tokens_milli = 0);
    for kind in
        [added(&["frank"]), role("dave", Role::Moderator), set(titled("another")), set(GroupSettings { locked: Some(true), ..titled("x") })]
    {
        assert_eq!(refused(&stage, "alice", &kind), ErrorCode::RateLimited, "{kind:?}");
    }
    // What only takes a right away does not wait, and is owed.
    for (number, kind) in [removed(&["grace"]), role("bob", Role::Member), set(locked(true)), left(Some("bob"))].into_iter().enumerate() {
        done(&stage, "alice", &format!("takes {number}"), kind);
    }
    done(&stage, "bob", "close", ChangeEntry::Closed);
    done(&stage, "carol", "leave", left(None));
    let bucket = stage.entries().pop().unwrap().facts.bucket;
    assert_eq!((bucket.tokens_milli, bucket.time), (0, start().plus_ms(550)), "11 tokens");
}

#[test]
fn who_is_in_two_thousand_groups_is_brought_into_no_further_one() {
    let stage = four();
    stage.ports.memory.fill_inbox("erin", GROUPS_MAX - 1);
    stage.ports.memory.fill_inbox("frank", GROUPS_MAX);
    assert_eq!(refused(&stage, "alice", &added(&["erin", "frank"])), ErrorCode::MembersFull);
    done(&stage, "alice", "add", added(&["erin"]));
    assert_eq!(refused(&stage, "alice", &added(&["frank"])), ErrorCode::MembersFull);
    // Who is a member already is not brought in.
    stage.ports.memory.fill_inbox("bob", GROUPS_MAX + 1);
    done(&stage, "alice", "more", added(&["bob", "grace"]));
    done(&stage, "erin", "leave", left(None));
    done(&stage, "alice", "again", added(&["erin"]));
}

#[test]
fn a_user_adds_so_many_others_on_a_day() {
    let mut stage = four();
    stage.settings.limits.added_a_day_max = 3;
    done(&stage, "alice", "two", added(&["bob", "erin", "frank"]));
    assert_eq!(refused(&stage, "alice", &added(&["grace", "heidi"])), ErrorCode::MembersFull);
    done(&stage, "bob", "of another", added(&["grace", "heidi"]));
    done(&stage, "alice", "third", added(&["ivan"]));
    stage.ports.memory.clock.advance_ms(24 * 60 * 60 * 1000);
    done(&stage, "alice", "next day", added(&["judy"]));
    // What cannot be counted is not done.
    stage.ports.on("count_added", Fault::RequestLost);
    assert_eq!(refused(&stage, "alice", &added(&["kim"])), ErrorCode::Unavailable);
    stage.ports.on("groups_of", Fault::RequestLost);
    assert_eq!(refused(&stage, "alice", &added(&["kim"])), ErrorCode::Unavailable);
}

#[test]
fn requests_ask_for_changes_that_name_users_in_the_order_of_their_ids() {
    let (id, conversation, client_message_id, anchor) = (request_id("r-1"), conversation("gGroup"), message_id("m-1"), position(3));
    macro_rules! kind {
        ($Request:ident { $($field:ident: $value:expr),* }) => {{
            let (id, conversation, client_message_id) = (id.clone(), conversation.clone(), client_message_id.clone());
            let asked = Asked::from(&$Request { id, conversation, client_message_id, anchor, $($field: $value),* });
            assert_eq!((&asked.id, &asked.conversation), (&request_id("r-1"), &Stage::group(&[("alice", Role::Owner)]).conversation));
            assert_eq!((asked.draft.client_message_id, asked.draft.anchor), (message_id("m-1"), anchor));
            asked.draft.kind
        }};
    }
    assert_eq!(kind!(Add { users: users(&["bob", "alice"]) }), added(&["alice", "bob"]));
    assert_eq!(kind!(Remove { users: users(&["bob", "alice"]) }), removed(&["alice", "bob"]));
    assert_eq!(kind!(Leave { successor: Some(user("bob")) }), left(Some("bob")));
    assert_eq!(kind!(SetRole { user: user("bob"), role: Role::Admin }), role("bob", Role::Admin));
    assert_eq!(kind!(SetSettings { settings: locked(true) }), set(locked(true)));
    assert_eq!(kind!(Close {}), ChangeEntry::Closed);
}

// --- nothing to do

#[test]
fn what_is_so_already_is_answered_unchanged_and_writes_nothing() {
    let stage = four();
    for kind in [
        added(&["bob", "dave"]),
        removed(&["erin"]),
        role("dave", Role::Member),
        set(GroupSettings { send: Some(Role::Member), history: Some(History::Joined), ..locked(false) }),
        set(titled("")),
    ] {
        let Done { answer, did } = stage.change("alice", "same", position(1), kind.clone()).unwrap();
        assert_eq!((answer.outcome, did.stored, did.tasks), (ChangeOutcome::Unchanged, 0, 0), "{kind:?}");
    }
    assert_eq!((stage.ports.count("change"), stage.entries().len(), stage.take_tasks()), (0, 1, vec![]));
}

// holds: M1
#[test]
fn who_may_not_do_something_does_not_learn_whether_it_is_so_already() {
    let stage = four();
    for kind in [added(&["bob"]), removed(&["erin"]), role("dave", Role::Member), set(locked(false)), set(titled(""))] {
        assert_eq!(refused(&stage, "dave", &kind), ErrorCode::Forbidden, "{kind:?}");
    }
}

// --- refusals

// holds: M1
#[test]
fn each_role_does_what_the_table_says_and_no_more() {
    let of_the_owner =
        [ChangeEntry::Closed, role("bob", Role::Member), role("dave", Role::Admin), role("dave", Role::Owner), removed(&["bob"])];
    let of_admins = [added(&["erin"]), role("dave", Role::Moderator), role("carol", Role::Member), set(locked(true)), removed(&["carol"])];
    let of_moderators = [removed(&["dave"])];
    let lowest =
        [(Role::Owner, &of_the_owner[..]), (Role::Admin, &of_admins), (Role::Moderator, &of_moderators), (Role::Member, &[left(None)])];
    let everybody = [("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Moderator), ("dave", Role::Member)];
    for (lowest, kinds) in lowest {
        for (kind, (who, has)) in kinds.iter().flat_map(|kind| everybody.map(|one| (kind, one))) {
            let expected = match (kind, who) {
                (ChangeEntry::Left { .. }, "alice") => Some(ErrorCode::LastOwner),
                // Nobody is below oneself.
                (ChangeEntry::Role { user: target, .. }, who) if target.as_str() == who => Some(ErrorCode::Forbidden),
                (ChangeEntry::Removed(target), who) if target[0].as_str() == who => Some(ErrorCode::Forbidden),
                _ => (has < lowest).then_some(ErrorCode::Forbidden),
            };
            let stage = four();
            match expected {
                Some(code) => assert_eq!(refused(&stage, who, kind), code, "{who}: {kind:?}"),
                None => _ = done(&stage, who, "do", kind.clone()),
            }
        }
    }
}

// holds: M1
#[test]
fn of_several_to_be_removed_each_has_to_be_below() {
    let stage = four();
    assert_eq!(refused(&stage, "carol", &removed(&["bob", "dave"])), ErrorCode::Forbidden);
    assert_eq!(refused(&stage, "carol", &removed(&["carol", "dave"])), ErrorCode::Forbidden);
    assert!(member(&stage, "dave").is_some());
}

// holds: M1
#[test]
fn settings_say_who_adds_and_manages() {
    let stage = four();
    done(&stage, "alice", "add-by-all", set(GroupSettings { add: Some(Role::Member), ..GroupSettings::default() }));
    done(&stage, "dave", "add", added(&["erin"]));
    done(&stage, "alice", "owner-manages", set(GroupSettings { manage: Some(Role::Owner), ..GroupSettings::default() }));
    assert_eq!(refused(&stage, "bob", &set(locked(true))), ErrorCode::Forbidden);
    assert_eq!(refused(&stage, "bob", &role("dave", Role::Moderator)), ErrorCode::Forbidden);
    done(&stage, "alice", "send-by-admins", set(GroupSettings { send: Some(Role::Admin), ..GroupSettings::default() }));
    let sent = stage.send("carol", vec![message("m-1", position(1))]).unwrap();
    assert!(matches!(&sent[..], [Outcome::Refused(refusal)] if refusal.code == ErrorCode::Forbidden));
}

#[test]
fn nobody_changes_a_direct_conversation() {
    let stage = Stage::new();
    for kind in [
        added(&["erin"]),
        added(&["bob"]),
        removed(&["bob"]),
        left(None),
        left(Some("bob")),
        role("bob", Role::Moderator),
        set(locked(true)),
        set(titled("a")),
        ChangeEntry::Closed,
    ] {
        assert_eq!(refused(&stage, "alice", &kind), ErrorCode::Forbidden, "{kind:?}");
        assert_eq!(refused(&stage, "erin", &kind), ErrorCode::NotFound, "{kind:?}");
    }
}

// holds: R1
#[test]
fn strangers_and_who_has_left_are_told_that_there_is_no_such_group() {
    let stage = four();
    done(&stage, "dave", "leave", left(None));
    for who in ["erin", "dave"] {
        for kind in [added(&["dave"]), removed(&["bob"]), left(None), set(titled("a")), ChangeEntry::Closed] {
            assert_eq!(refused(&stage, who, &kind), ErrorCode::NotFound, "{who}: {kind:?}");
        }
    }
}

#[test]
fn a_role_and_ownership_go_to_members_only() {
    let stage = four();
    for kind in [role("erin", Role::Admin), left(Some("erin")), left(Some("alice"))] {
        assert_eq!(refused(&stage, "alice", &kind), ErrorCode::NoMember, "{kind:?}");
    }
    assert_eq!(refused(&stage, "dave", &role("erin", Role::Admin)), ErrorCode::Forbidden);
}

// holds: M1
#[test]
fn only_an_owner_names_a_successor() {
    let stage = four();
    for who in ["bob", "carol"] {
        assert_eq!(refused(&stage, who, &left(Some("dave"))), ErrorCode::Forbidden);
    }
}

/// What such a role may is not known: nobody here is above it, and it may nothing but leave.
// holds: K1, M1
#[test]
fn a_role_of_a_later_version_is_left_as_it_is() {
    let stage = group(&[("alice", Role::Owner), ("zoe", Role::Later)]);
    for kind in [role("zoe", Role::Member), removed(&["zoe"]), left(Some("zoe"))] {
        assert_eq!(refused(&stage, "alice", &kind), ErrorCode::Forbidden, "{kind:?}");
    }
    assert_eq!(refused(&stage, "zoe", &added(&["erin"])), ErrorCode::Forbidden);
    done(&stage, "zoe", "leave", left(None));
}

#[test]
fn a_group_holds_two_hundred_members() {
    let names: Vec<String> = (0..198).map(|number| format!("member-{number}")).collect();
    let members: Vec<(&str, Role)> =
        [("alice", Role::Owner)].into_iter().chain(names.iter().map(|name| (name.as_str(), Role::Member))).collect();
    let stage = group(&members);
    assert_eq!(refused(&stage, "alice", &added(&["erin", "frank"])), ErrorCode::MembersFull);
    // Who is a member already takes no room.
    assert_eq!(done(&stage, "alice", "add", added(&["erin", "member-7"])).facts.members, 200);
    assert_eq!(refused(&stage, "alice", &added(&["frank"])), ErrorCode::MembersFull);
    assert_eq!(outcome(&stage, "alice", "nobody", added(&["erin"])), ChangeOutcome::Unchanged);
    done(&stage, "erin", "leave", left(None));
    done(&stage, "alice", "add-2", added(&["frank"]));
}

#[test]
fn a_group_has_twenty_owners() {
    let names: Vec<String> = (0..19).map(|number| format!("owner-{number}")).collect();
    let owners = names.iter().map(|name| (name.as_str(), Role::Owner));
    let members: Vec<(&str, Role)> = [("alice", Role::Owner), ("bob", Role::Admin)].into_iter().chain(owners).collect();
    let stage = group(&members);
    assert_eq!(refused(&stage, "alice", &role("bob", Role::Owner)), ErrorCode::MembersFull);
    // One goes, one comes.
    assert_eq!(done(&stage, "alice", "leave", left(Some("bob"))).facts.owners, 20);
    done(&stage, "owner-1", "leave", left(None));
    done(&stage, "owner-2", "add", added(&["alice"]));
    assert_eq!(done(&stage, "owner-2", "role", role("alice", Role::Owner)).facts.owners, 20);
}

/// The longest ids of what JSON takes six bytes to write.
#[test]
fn a_change_whose_entry_no_frame_holds_is_refused_before_anything_is_read() {
    let stage = four();
    let users: Vec<UserId> = (0..40).map(|number| user(&format!("{number:02}{}", "\u{1}".repeat(126)))).collect();
    let refused = stage.change("alice", "add", position(1), ChangeEntry::Added(users.clone())).unwrap_err();
    assert!(matches!(refused, Refused::TooLarge { frame_bytes } if frame_bytes > 28 * 1024), "{refused:?}");
    assert_eq!((refused.to_wire().code, stage.ports.counts().len()), (ErrorCode::TooLarge, 0));
    done(&stage, "alice", "half", ChangeEntry::Added(users[..20].to_vec()));
}

// --- anchors

// holds: R1
#[test]
fn a_change_is_judged_by_its_anchor_as_a_message_is() {
    let change = |stage: &Stage, anchor: Position| stage.change("alice", "lock", anchor, set(locked(true)));
    let refusal = |stage: &Stage, anchor| change(stage, anchor).unwrap_err().to_wire();
    let messages = |stage: &Stage, to: u64| {
        let facts = stage.entries()[0].facts.clone();
        (2..=to).for_each(|number| stage.put(&Entry { facts: facts.clone(), ..entry(&stage.conversation, number, "bob") }));
    };
    let stage = four();
    messages(&stage, 300);
    let too_far = refusal(&stage, position(99));
    assert_eq!((too_far.code, too_far.tail), (ErrorCode::AnchorStale, Some(position(300))));
    for unknown in [position(301), Position::new(9, seq(3))] {
        assert_eq!(refusal(&stage, unknown).code, ErrorCode::AnchorUnknown);
    }
    stage.remove_entry(250);
    assert_eq!(refusal(&stage, position(249)).code, ErrorCode::AnchorTooOld);
    assert_eq!(stage.ports.count("memberships"), 0, "no row is looked at");
    let mut stage = four();
    messages(&stage, 3);
    stage.settings.epoch = 2;
    let restored = refusal(&stage, position(7));
    assert_eq!((restored.code, restored.common), (ErrorCode::EpochChanged, Some(position(3))));
    // The entry carries the epoch of the deployment.
    let ChangeOutcome::Ok(stored) = change(&stage, position(3)).unwrap().answer.outcome else { panic!("not stored") };
    assert_eq!(stored.position, Position::new(2, seq(4)));
}
