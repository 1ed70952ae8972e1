//! An inbox row that cannot be read is the failure of its conversation, not of the others in the same request (K1).

use chatlane_chat::ports::{Created, Creations as _};
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_chat::requests::hello::{Greeting, hello};
use chatlane_chat::requests::ping::ping;
use chatlane_chat::requests::sync::sync;
use chatlane_chat::testing::builders::{caller, connection, conversation, creation, entry, position, request_id, session, user};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_protocol::frames::{CursorOutcome, SyncOutcome};
use chatlane_protocol::request::{Hello, Known, Ping, PositionIn, Positions, Sync, SyncFrom};
use chatlane_protocol::{ConversationId, ErrorCode, Position, limits};

/// Three conversations of alice with a message each; her row of the middle one is damaged.
fn damaged() -> (Stage, [ConversationId; 3]) {
    let stage = Stage::new();
    stage.ports.memory.state().inboxes.clear();
    let all = ["d1", "d2", "d3"].map(conversation);
    for id in &all {
        let creation = creation(id, &user("alice"), &user("bob"));
        assert_eq!(block_on(stage.ports.memory.create(&creation)), Ok(Created::New));
        stage.put(&entry(id, 2, "bob"));
    }
    stage.ports.memory.state().damaged.insert((user("alice"), all[1].clone()));
    (stage, all)
}

#[test]
fn hello_says_nothing_of_it_not_even_that_it_is_gone() {
    let (stage, all) = damaged();
    let known = all.iter().map(|id| Known { conversation: id.clone(), have: position(2), read: position(2), prefs: 0 });
    for known in [vec![], known.collect()] {
        let request = Hello { id: request_id("r-1"), v: limits::VERSION_MAX, after: None, known, known_to: None };
        let greeting = block_on(hello(&stage.ports, &stage.settings, 0, &user("alice"), &session("alice-1"), &request)).unwrap().answer;
        let Greeting::Welcome(answer) = greeting else { panic!("not welcome") };
        let rows: Vec<_> = answer.conversations.iter().map(|row| row.conversation.conversation.clone()).collect();
        assert_eq!((rows, answer.gone, answer.next), (vec![all[0].clone(), all[2].clone()], vec![], None));
    }
}

#[test]
fn a_sync_an_ack_and_a_ping_refuse_it_and_answer_the_others() {
    let (stage, all) = damaged();
    let conversations = all.iter().map(|id| SyncFrom { conversation: id.clone(), after: Position::ZERO }).collect();
    let request = Sync { id: request_id("r-1"), conversations, ack: vec![] };
    let pages = block_on(sync(&stage.ports, &stage.settings, &caller("alice"), &request)).unwrap().answer.pages;
    let code = |outcome: &SyncOutcome| if let SyncOutcome::Refused(refusal) = outcome { Some(refusal.code) } else { None };
    let codes: Vec<_> = pages.iter().map(|page| code(&page.outcome)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::Unavailable), None]);

    let positions = all.iter().map(|id| PositionIn::new(id.clone(), position(2))).collect();
    let request = Positions { id: request_id("r-1"), positions, private: false, quiet: false };
    let alice = caller("alice");
    let acked = cursors::answer(&stage.ports, &stage.settings, &alice, &request, Cursor::Delivered);
    let results = block_on(acked).unwrap().answer.unwrap().results;
    let code = |outcome: &CursorOutcome| if let CursorOutcome::Refused(refusal) = outcome { Some(refusal.code) } else { None };
    let codes: Vec<_> = results.iter().map(|result| code(&result.outcome)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::Unavailable), None]);

    let request = Ping { id: request_id("r-1"), open: all.to_vec() };
    let answered = block_on(ping(&stage.ports, &user("alice"), &connection("alice-1"), &request)).unwrap().answer.conversations;
    assert!(answered.iter().map(|status| &status.conversation).eq([&all[0], &all[2]]));
    // The other one is told of it as ever, but for alice's cursors.
    let answered = block_on(ping(&stage.ports, &user("bob"), &connection("bob-1"), &request)).unwrap().answer.conversations;
    let cursors: Vec<_> = answered.iter().map(|status| status.cursors.len()).collect();
    assert_eq!(cursors, [1, 0, 1]);
}
