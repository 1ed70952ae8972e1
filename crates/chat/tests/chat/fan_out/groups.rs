//! Groups: an entry goes to the members at it, and to whom it names. Rows that are not those members are not used.

use chatlane_chat::log::{ChangeEntry, Role};
use chatlane_chat::ports::{Member, MessageLog as _};
use chatlane_chat::testing::builders::member;
use chatlane_protocol::UserId;

use super::*;

const ALL: [&str; 4] = ["alice", "bob", "carol", "dave"];

const NOTHING: [Vec<u64>; 4] = [vec![], vec![], vec![], vec![]];

/// Alice, the owner, bob and carol; dave is no member. All are online, each by a connection of their name.
fn group() -> Stage {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member), ("carol", Role::Member)]);
    for who in ALL {
        stage.ports.memory.log_in(&user(who), session(who));
    }
    stage
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn change(stage: &Stage, who: &str, kind: ChangeEntry) -> u64 {
    let id = format!("change-{}", stage.entries().len());
    stage.change(who, &id, position(1), kind).unwrap();
    stage.entries().len() as u64
}

/// A message behind the tail, with its facts.
fn say(stage: &Stage, who: &str) -> u64 {
    let tail = stage.entries().pop().unwrap();
    let number = tail.position.seq.get() + 1;
    stage.put(&Entry { facts: tail.facts, ..entry(&stage.conversation, number, who) });
    number
}

fn plain(stage: &Stage, first: u64, last: u64) -> Task {
    builders::task(&stage.conversation, first, last)
}

/// The seqs that each has been posted.
fn posted(stage: &Stage) -> [Vec<u64>; 4] {
    ALL.map(|who| frames(stage, who).concat().iter().map(|entry| entry.position.seq.get()).collect())
}

/// A user's row as one sees it who reads a transaction half; answers how it was.
fn hide(stage: &Stage, who: &str, as_before: Option<Member>) -> Option<Member> {
    let mut stored = stage.ports.memory.state();
    let key = (stage.conversation.clone(), user(who));
    match as_before {
        Some(member) => stored.members.insert(key, member),
        None => stored.members.remove(&key),
    }
}

// holds: M1
#[test]
fn an_entry_goes_to_the_members_and_to_whom_it_names() {
    let stage = group();
    let added = change(&stage, "alice", ChangeEntry::Added(users(&["dave"])));
    deliver(&stage, &plain(&stage, added, added));
    assert_eq!(posted(&stage), [vec![2], vec![2], vec![2], vec![2]]);

    let removed = change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    let said = say(&stage, "alice");
    let left = change(&stage, "carol", ChangeEntry::Left { successor: None });
    let last = say(&stage, "alice");
    deliver(&stage, &plain(&stage, removed, last));
    assert_eq!(posted(&stage), [vec![3, 4, 5, 6], vec![3], vec![5], vec![3, 4, 5, 6]]);
    assert_eq!((removed, said, left, last), (3, 4, 5, 6));
}

/// A task that comes late: what it has not begun is delivered, also to those who were removed by it.
// holds: M1, L4
#[test]
fn whom_an_entry_below_the_task_names_gets_it() {
    let stage = group();
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    let said = say(&stage, "alice");
    deliver(&stage, &plain(&stage, said, said));
    assert_eq!(posted(&stage), [vec![2, 3], vec![2], vec![2, 3], vec![]]);
}

// holds: M1
#[test]
fn who_was_removed_and_added_again_gets_nothing_from_between() {
    let stage = group();
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    say(&stage, "alice");
    change(&stage, "alice", ChangeEntry::Added(users(&["bob"])));
    let last = say(&stage, "alice");
    deliver(&stage, &plain(&stage, 2, last));
    assert_eq!(posted(&stage), [vec![2, 3, 4, 5], vec![2, 4, 5], vec![2, 3, 4, 5], vec![]]);
}

/// Others have come and gone since the task was queued: the rows are newer, and nobody gets what is not for them.
// holds: M1, D2
#[test]
fn rows_that_are_newer_than_the_task_are_used() {
    let stage = group();
    let said = say(&stage, "alice");
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    change(&stage, "alice", ChangeEntry::Added(users(&["dave"])));
    let outcome = deliver(&stage, &plain(&stage, said, said));
    assert!(!outcome.unsettled);
    assert_eq!(posted(&stage), [vec![2], vec![], vec![2], vec![]]);
}

/// A query has seen a removal half: the entry of it, and not yet that the row is gone. It is asked again; then the task waits.
// holds: M1
#[test]
fn rows_that_are_older_than_the_task_are_not_used() {
    let stage = group();
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    let said = say(&stage, "alice");
    hide(&stage, "bob", Some(member(&user("bob"))));
    stage.take_tasks();
    let task = plain(&stage, said, said);
    let outcome = try_deliver(&stage, &task, 1).unwrap();
    assert_eq!(outcome, FanOutOutcome { unsettled: true, ..FanOutOutcome::default() });
    assert_eq!((posted(&stage), stage.ports.count("members")), (NOTHING, 3));

    // It comes again in a second, and no later task covers it. By then the transaction is over.
    let [(again, 1)] = &stage.take_tasks()[..] else { panic!("queued again") };
    assert!(Task { queued: task.queued, ..again.clone() } == Task { first: seq(2), ..task }, "entry 2 was above the head too");
    stage.deliver_up_to(9);
    hide(&stage, "bob", None);
    let outcome = receive(&stage, again, Received { times: 1, accepted: start() }).unwrap();
    assert!(outcome.repeated && !outcome.superseded);
    assert_eq!(posted(&stage), [vec![1, 2, 3], vec![2], vec![1, 2, 3], vec![]]);
}

/// The number alone would agree: a removal and an addition, both seen half.
// holds: M1
#[test]
fn as_many_others_are_not_the_members() {
    let stage = group();
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    change(&stage, "alice", ChangeEntry::Added(users(&["dave"])));
    let said = say(&stage, "alice");
    hide(&stage, "bob", Some(member(&user("bob"))));
    let daves = hide(&stage, "dave", None);
    assert!(try_deliver(&stage, &plain(&stage, said, said), 1).unwrap().unsettled);
    assert_eq!(posted(&stage), NOTHING);
    // Over while it is asked again.
    let id = stage.conversation.clone();
    stage.ports.meanwhile("read_back", move |memory| {
        let mut stored = memory.state();
        stored.members.remove(&(id.clone(), user("bob")));
        stored.members.insert((id, user("dave")), daves.unwrap());
    });
    assert!(!try_deliver(&stage, &plain(&stage, said, said), 1).unwrap().unsettled);
    assert_eq!(posted(&stage), [vec![4], vec![], vec![4], vec![4]]);
}

/// First the tail, then the rows: the other way round, the row of who was removed and added again between the two would be an old one.
// holds: M1
#[test]
fn the_rows_are_read_behind_the_tail() {
    let stage = group();
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    let said = say(&stage, "alice");
    hide(&stage, "bob", Some(member(&user("bob"))));
    let (id, settings) = (stage.conversation.clone(), stage.settings.clone());
    stage.ports.meanwhile("read_back", move |memory| {
        memory.state().members.remove(&(id.clone(), user("bob")));
        let draft = chatlane_chat::log::draft::Draft {
            client_message_id: builders::message_id("again"),
            anchor: position(1),
            kind: ChangeEntry::Added(users(&["bob"])),
        };
        let asked = chatlane_chat::requests::change::Asked { id: builders::request_id("r-2"), conversation: id, draft };
        block_on(chatlane_chat::requests::change::change(memory, &settings, &builders::caller("alice"), &asked)).unwrap();
    });
    deliver(&stage, &plain(&stage, said, said));
    assert_eq!(posted(&stage), [vec![2, 3], vec![2], vec![2, 3], vec![]], "entry 3 is not for bob");
}

/// A task that has waited already does not wait for ever: rows are read as a whole, of those whom the query finds.
// holds: M1, L4
#[test]
fn where_a_task_has_waited_the_rows_are_read_as_a_whole() {
    let stage = group();
    change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
    let said = say(&stage, "alice");
    // As if somebody had miscounted: the facts never agree with the rows.
    stage.change_tail(|facts| facts.members = 7);
    let outcome = try_deliver(&stage, &plain(&stage, said, said), 2).unwrap();
    assert!(!outcome.unsettled);
    assert_eq!(posted(&stage), [vec![1, 2, 3], vec![2], vec![1, 2, 3], vec![]]);
    assert_eq!(stage.ports.count("memberships"), 1 + 1, "one is the change's own");
}

#[test]
fn what_cannot_be_read_of_the_members_is_repeated_by_the_queue() {
    for (method, fault) in [("members", Fault::RequestLost), ("read_back", Fault::RequestLost)] {
        let stage = group();
        change(&stage, "alice", ChangeEntry::Removed(users(&["bob"])));
        hide(&stage, "bob", Some(member(&user("bob"))));
        stage.ports.on(method, fault);
        assert!(try_deliver(&stage, &plain(&stage, 2, 2), 1).is_err(), "{method}");
    }
    let stage = group();
    stage.change_tail(|facts| facts.members = 7);
    for fault in ["enqueue", "memberships"] {
        stage.ports.on(fault, Fault::RequestLost);
        assert!(try_deliver(&stage, &plain(&stage, 1, 1), if fault == "enqueue" { 1 } else { 2 }).is_err(), "{fault}");
    }
}

/// The head tells what a group is, so that `hello` does not read it.
#[test]
fn the_head_tells_what_a_group_is() {
    let stage = group();
    let added = change(&stage, "alice", ChangeEntry::Added(users(&["dave"])));
    let [(task, 0)] = &stage.take_tasks()[..] else { panic!("one task") };
    deliver(&stage, task);
    let head = stage.ports.memory.state().heads[&stage.conversation];
    let marks = head.group.unwrap();
    assert_eq!((marks.members, marks.membership_changed, marks.settings_changed, marks.large), (4, seq(added), seq(1), false));
    let read = block_on(stage.ports.memory.read(&stage.conversation, seq(added), chatlane_chat::ports::ReadBound::ONE)).unwrap();
    assert_eq!(read[0].head(), head);
}
