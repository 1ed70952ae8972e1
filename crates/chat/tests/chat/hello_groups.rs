//! `hello` and groups: what a row says of them; and nothing is told to who was removed between the reading of their row and the rest.

use chatlane_chat::log::draft::Draft;
use chatlane_chat::log::{ChangeEntry, Role};
use chatlane_chat::ports::{Heads as _, MessageLog as _};
use chatlane_chat::requests::change::{Asked, change};
use chatlane_chat::requests::hello::{Greeting, hello};
use chatlane_chat::testing::builders::{caller, entry, message_id, position, request_id, seq, session, settings, user};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Entry, Refused};
use chatlane_protocol::frames::{ConversationRow, HelloAnswer};
use chatlane_protocol::request::{Hello, Known};
use chatlane_protocol::{ConversationId, GroupMarks, Position};

/// Alice, the owner, and bob, an admin; bob has written entry 2. All is delivered.
fn group() -> Stage {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Admin)]);
    say(&stage.ports.memory, &stage.conversation, "bob");
    stage
}

/// A message behind the tail, delivered.
fn say(memory: &Memory, lane: &ConversationId, who: &str) {
    let tail = memory.entries(lane).pop().unwrap();
    let said = Entry { facts: tail.facts, ..entry(lane, tail.position.seq.get() + 1, who) };
    assert!(block_on(memory.put(&said)).is_ok() && block_on(memory.raise_head(lane, said.head())).is_ok());
}

/// Alice removes or adds bob; delivered.
fn changes(memory: &Memory, lane: &ConversationId, id: &str, kind: ChangeEntry) {
    let draft = Draft { client_message_id: message_id(id), anchor: position(1), kind };
    let asked = Asked { id: request_id("r-2"), conversation: lane.clone(), draft };
    block_on(change(memory, &settings(), &caller("alice"), &asked)).unwrap();
    let head = memory.entries(lane).pop().unwrap().head();
    block_on(memory.raise_head(lane, head)).unwrap();
}

fn removed() -> ChangeEntry {
    ChangeEntry::Removed(vec![user("bob")])
}

fn greet(stage: &Stage, known: Vec<Known>) -> Result<HelloAnswer, Refused> {
    let request = Hello { id: request_id("r-1"), v: 1, after: None, known, known_to: None };
    match block_on(hello(&stage.ports, &stage.settings, 0, &user("bob"), &session("bob-1"), &request))?.answer {
        Greeting::Welcome(answer) => Ok(*answer),
        Greeting::Parted => panic!("no other connection"),
    }
}

fn only(answer: HelloAnswer) -> ConversationRow {
    let [row] = answer.conversations.try_into().expect("one conversation");
    row
}

#[test]
fn a_row_tells_the_role_and_what_the_group_is_at_its_head() {
    let stage = group();
    let row = only(greet(&stage, vec![]).unwrap());
    let marks = GroupMarks { members: 2, membership_changed: seq(1), settings_changed: seq(1), large: false };
    assert_eq!((row.role, row.group, row.conversation.with), (Some(Role::Admin), Some(marks), None));
    assert_eq!(row.last.unwrap().position, position(2));
}

/// The row was there when it was read, and the removal and a message came behind that: neither is told, nor where the group stands.
// holds: M1
#[test]
fn who_is_removed_while_hello_reads_is_told_nothing_of_the_group() {
    for before in ["heads", "at"] {
        let stage = group();
        let lane = stage.conversation.clone();
        stage.ports.meanwhile(before, move |memory| {
            changes(memory, &lane, "out", removed());
            say(memory, &lane, "alice");
        });
        let answer = greet(&stage, vec![]).unwrap();
        if before == "heads" {
            assert_eq!(answer.conversations, []);
        } else {
            // The head that was read is from before: as is its entry.
            let row = only(answer);
            assert_eq!((row.conversation.head, row.last.map(|last| last.position)), (position(2), Some(position(2))));
        }
    }
    // Added again meanwhile: a member, to whom that entry is told when it is asked for again.
    let stage = group();
    let lane = stage.conversation.clone();
    stage.ports.meanwhile("heads", move |memory| {
        changes(memory, &lane, "out", removed());
        say(memory, &lane, "alice");
        changes(memory, &lane, "in", ChangeEntry::Added(vec![user("bob")]));
    });
    let row = only(greet(&stage, vec![]).unwrap());
    assert_eq!((row.conversation.head, row.last), (position(5), None));
}

/// What cannot be judged is left out; the rest is told.
#[test]
fn a_last_entry_that_cannot_be_judged_is_left_out() {
    let stage = group();
    stage.change_tail(|facts| facts.membership_changed = seq(2));
    stage.ports.on("member_consistent", Fault::RequestLost);
    assert_eq!(only(greet(&stage, vec![]).unwrap()).last, None);
}

/// A group where nobody has come or gone since the row was written costs no further read.
#[test]
fn a_quiet_group_costs_what_a_direct_conversation_does() {
    let stage = group();
    greet(&stage, vec![]).unwrap();
    assert_eq!((stage.ports.count("member_consistent"), stage.ports.count("memberships")), (0, 0));
}

/// It says nothing by itself: `sync` tells whether that is the end.
#[test]
fn a_group_that_is_not_the_callers_any_more_is_gone() {
    let stage = group();
    changes(&stage.ports.memory, &stage.conversation, "out", removed());
    let known = Known { conversation: stage.conversation.clone(), have: position(2), read: Position::ZERO, prefs: 0 };
    let answer = greet(&stage, vec![known]).unwrap();
    assert_eq!((answer.conversations, answer.gone), (vec![], vec![stage.conversation.clone()]));
}
