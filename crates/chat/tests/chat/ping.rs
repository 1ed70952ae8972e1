//! `ping`: repairs what hints have lost, for members only.

use chatlane_chat::log::{Head, Role};
use chatlane_chat::ports::{Creations as _, Failure, Heads as _, ReadCursor};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::requests::ping::ping;
use chatlane_chat::testing::builders::{
    caller, connection, conversation, creation, device, group_creation, head, position, request_id, session, start, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done};
use chatlane_protocol::frames::{ConversationStatus, MemberCursors, PingAnswer, ReadMark, ServerFrame, encode};
use chatlane_protocol::request::Ping;
use chatlane_protocol::{ConversationId, Position, limits};

fn ask(stage: &Stage, Caller { user, connection, .. }: &Caller, open: &[ConversationId]) -> Result<PingAnswer, Failure> {
    let request = Ping { id: request_id("r-1"), open: open.to_vec() };
    let Done { answer, did } = block_on(ping(&stage.ports, user, connection.as_ref().unwrap(), &request))?;
    assert_eq!(did, Did::default(), "it only reads");
    assert_eq!((&answer.id, answer.server_time_ms), (&request.id, start().plus_ms(7)));
    Ok(answer)
}

/// The stage with so many entries, all of them begun, where alice has said hello; 7 ms after the start.
fn known(tail: u64) -> Stage {
    let stage = Stage::with_entries(tail);
    stage.deliver_up_to(tail);
    stage.ports.memory.log_in(&user("alice"), session("alice-1"));
    stage.ports.memory.clock.advance_ms(7);
    stage
}

/// Bob is there.
fn bob_is_at(stage: &Stage, delivered: &[(u8, u64)], read: u64) {
    stage.change_row("bob", |row| {
        row.delivered = delivered.iter().map(|(number, at)| (device(*number), position(*at))).collect();
        if read > 0 {
            row.read = ReadCursor { position: position(read), count: read - 1 };
        }
    });
}

fn cursors(delivered: Position, read: Position) -> MemberCursors {
    MemberCursors { user: user("bob"), delivered, read }
}

// holds: D2
#[test]
fn a_connection_with_a_session_is_known_and_any_other_says_hello_again() {
    let stage = known(1);
    assert!(!ask(&stage, &caller("alice"), &[]).unwrap().resync);
    let another = Caller { connection: Some(connection("alice-2")), ..caller("alice") };
    let of_another_user = Caller { connection: Some(connection("alice-1")), ..caller("bob") };
    for who in [another, of_another_user, caller("bob")] {
        assert!(ask(&stage, &who, &[]).unwrap().resync, "{who:?}");
    }
    // What a false 410 does.
    stage.ports.memory.state().sessions.clear();
    assert!(ask(&stage, &caller("alice"), &[]).unwrap().resync);
}

#[test]
fn open_conversations_are_told_with_their_heads_and_how_far_the_other_is() {
    let stage = known(9);
    let expected = |delivered, read| ConversationStatus {
        conversation: stage.conversation.clone(),
        head: position(9),
        count: 8,
        own: Some(ReadMark { read: Position::ZERO, read_count: 0, read_private: false }),
        cursors: vec![cursors(delivered, read)],
    };
    let told = || ask(&stage, &caller("alice"), std::slice::from_ref(&stage.conversation)).unwrap().conversations;
    assert_eq!(told(), [expected(Position::ZERO, Position::ZERO)]);
    bob_is_at(&stage, &[(1, 8), (2, 5)], 3);
    assert_eq!(told(), [expected(position(8), position(3))]);
    // What is read is delivered.
    bob_is_at(&stage, &[(1, 2)], 6);
    assert_eq!(told(), [expected(position(6), position(6))]);
}

#[test]
fn the_callers_own_read_mark_is_told_with_its_count() {
    let stage = known(9);
    stage.ports.memory.change_row(&user("alice"), &stage.conversation, |row| {
        row.read = ReadCursor { position: position(7), count: 6 };
    });
    let answer = ask(&stage, &caller("alice"), std::slice::from_ref(&stage.conversation)).unwrap();
    assert_eq!(answer.conversations[0].own, Some(ReadMark { read: position(7), read_count: 6, read_private: false }));
    let of_bob = ask(&stage, &caller("bob"), std::slice::from_ref(&stage.conversation)).unwrap();
    assert_eq!(of_bob.conversations[0].own, Some(ReadMark { read: Position::ZERO, read_count: 0, read_private: false }));
}

#[test]
fn a_head_is_told_whether_or_not_the_session_is_known() {
    let stage = known(4);
    stage.ports.memory.state().sessions.clear();
    let answer = ask(&stage, &caller("alice"), std::slice::from_ref(&stage.conversation)).unwrap();
    assert!(answer.resync);
    assert_eq!(answer.conversations[0].head, position(4));
}

/// R1: not by a status, not by an empty one, not by an error.
#[test]
fn conversations_of_others_are_left_out_as_if_they_did_not_exist() {
    let stage = known(4);
    let (carols, missing) = (conversation("dCarols"), conversation("dMissing"));
    assert!(block_on(stage.ports.memory.create(&creation(&carols, &user("carol"), &user("bob")))).is_ok());
    stage.ports.memory.state().heads.insert(carols.clone(), head(1));
    let answer = ask(&stage, &caller("alice"), &[missing, stage.conversation.clone(), carols.clone()]).unwrap();
    assert_eq!(answer.conversations.iter().map(|status| &status.conversation).collect::<Vec<_>>(), [&stage.conversation]);

    let calls = |open: &[ConversationId]| {
        let before = ["inbox_rows", "heads"].map(|call| stage.ports.count(call));
        let answer = encode(&ServerFrame::Ping(ask(&stage, &caller("mallory"), open).unwrap()));
        let after = ["inbox_rows", "heads"].map(|call| stage.ports.count(call));
        (answer, after[0] - before[0], after[1] - before[1])
    };
    assert_eq!(calls(&[carols]), calls(&[conversation("dMissing")]));
}

#[test]
fn a_ping_without_open_conversations_reads_nobodys_cursors() {
    let stage = known(4);
    assert_eq!(ask(&stage, &caller("alice"), &[]).unwrap().conversations, []);
    assert_eq!(stage.ports.count("inbox_rows"), 1, "asked for no rows");
}

#[test]
fn a_conversation_without_an_other_or_without_the_others_row_has_no_cursors() {
    for of_alice in [true, false] {
        let stage = known(4);
        if of_alice {
            stage.change_row("alice", |row| row.with = None);
        } else {
            stage.ports.memory.state().inboxes.remove(&user("bob"));
        }
        let answer = ask(&stage, &caller("alice"), std::slice::from_ref(&stage.conversation)).unwrap();
        assert_eq!((answer.conversations[0].head, answer.conversations[0].cursors.len()), (position(4), 0));
    }
}

#[test]
fn twenty_conversations_are_told_in_the_order_asked_and_fit_a_page() {
    let stage = known(1);
    let mut open: Vec<ConversationId> = (0..limits::OPEN_CONVERSATIONS_MAX).map(|n| conversation(&format!("{n:064}"))).collect();
    open.reverse();
    for (n, id) in open.iter().enumerate() {
        let with = user(&format!("{n:02}{}", "\u{1}".repeat(limits::USER_ID_BYTES_MAX - 2)));
        assert!(block_on(stage.ports.memory.create(&creation(id, &user("alice"), &with))).is_ok());
    }
    let answer = ask(&stage, &caller("alice"), &open).unwrap();
    assert!(answer.conversations.iter().map(|status| &status.conversation).eq(&open));
    assert!(answer.conversations.iter().all(|status| status.cursors.len() == 1));
    assert!(encode(&ServerFrame::Ping(answer)).len() <= limits::PAGE_BYTES_MAX);
    assert_eq!(["session", "heads", "inbox_rows", "rows_of"].map(|call| stage.ports.count(call)), [1, 1, 1, 20]);
}

/// A group of so many, all of whom have read as much as their number; their names are of so many bytes, as JSON six times as many.
fn group(count: u64, bytes: usize) -> Stage {
    let name = |number: u64| format!("{number:03}{}", "\u{1}".repeat(bytes));
    let names: Vec<String> = (0..count).map(name).collect();
    let members: Vec<(&str, Role)> = names.iter().map(|name| (name.as_str(), Role::Owner)).collect();
    let stage = Stage::group(&members);
    let first = stage.entries().remove(0);
    block_on(stage.ports.memory.raise_head(&stage.conversation, Head { position: position(2), ..first.head() })).unwrap();
    for (number, name) in names.iter().enumerate() {
        stage.change_row(name, |row| row.read = ReadCursor { position: position(number as u64 + 1), count: 0 });
    }
    stage.ports.memory.clock.advance_ms(7);
    stage
}

#[test]
fn a_group_of_up_to_twenty_tells_how_far_each_of_the_others_is() {
    let told = |stage: &Stage, who: &str| {
        let answer = ask(stage, &caller(who), std::slice::from_ref(&stage.conversation)).unwrap();
        let of = |one: &MemberCursors| (one.user.as_str()[..3].to_owned(), one.read.seq.get());
        answer.conversations[0].cursors.iter().map(of).collect::<Vec<_>>()
    };
    let stage = group(3, 0);
    assert_eq!(told(&stage, "001"), [("000".to_owned(), 1), ("002".to_owned(), 3)]);
    // What was read in private is not told; where a row cannot be read nobody is, since who is missing is no member.
    stage.change_row("000", |row| row.shown = Some(Position::ZERO));
    assert_eq!(told(&stage, "001"), [("000".to_owned(), 0), ("002".to_owned(), 3)]);
    stage.ports.memory.state().damaged.insert((user("002"), stage.conversation.clone()));
    assert_eq!(told(&stage, "001"), []);
    assert_eq!((told(&group(20, 0), "000").len(), told(&group(21, 0), "000").len()), (19, 0));
    let larger = group(21, 0);
    told(&larger, "000");
    assert_eq!(larger.ports.count("members"), 0);
    // Who was removed meanwhile is told nothing.
    let stage = group(3, 0);
    let lane = stage.conversation.clone();
    stage.ports.meanwhile("members", move |memory| drop(memory.state().members.remove(&(lane, user("001")))));
    assert_eq!(told(&stage, "001"), []);
}

#[test]
fn the_cursors_of_a_group_are_told_if_a_page_and_a_hundred_rows_have_room_for_all() {
    // Two of twenty members with names of 780 bytes, six with short ones.
    for (groups, bytes, all) in [(2, 120, vec![19, 0]), (6, 0, vec![19, 19, 19, 19, 19, 0])] {
        let stage = group(20, bytes);
        let names: Vec<String> = stage.ports.memory.state().members.values().map(|member| member.user.to_string()).collect();
        let members: Vec<(&str, Role)> = names.iter().map(|name| (name.as_str(), Role::Owner)).collect();
        let mut open = vec![stage.conversation.clone()];
        for number in 1..groups {
            let lane = conversation(&format!("gMore{number}"));
            let creation = group_creation(&lane, &members);
            assert!(block_on(stage.ports.memory.create(&creation)).is_ok());
            block_on(stage.ports.memory.raise_head(&lane, creation.entry.head())).unwrap();
            open.push(lane);
        }
        let answer = ask(&stage, &Caller { user: user(&names[0]), ..caller("alice") }, &open).unwrap();
        assert_eq!(answer.conversations.iter().map(|status| status.cursors.len()).collect::<Vec<_>>(), all);
        assert!(encode(&ServerFrame::Ping(answer)).len() <= limits::PAGE_BYTES_MAX);
    }
}

#[test]
fn whatever_cannot_be_read_the_ping_is_repeated() {
    for (before, call) in [(0, "session"), (0, "heads"), (0, "inbox_rows")] {
        let stage = known(4);
        (0..before).for_each(|_| stage.ports.meanwhile(call, |_| {}));
        stage.ports.on(call, Fault::AnswerLost);
        let open = std::slice::from_ref(&stage.conversation);
        assert!(ask(&stage, &caller("alice"), open).is_err(), "{call}");
        assert!(!ask(&stage, &caller("alice"), open).unwrap().resync, "{call}");
    }
}

#[test]
fn where_the_cursors_of_others_cannot_be_read_the_rest_is_told() {
    for (call, stage, who) in [("rows_of", known(4), "alice"), ("members", group(3, 0), "001"), ("rows_of", group(3, 0), "001")] {
        stage.ports.on(call, Fault::AnswerLost);
        let answer = ask(&stage, &caller(who), std::slice::from_ref(&stage.conversation)).unwrap();
        assert_eq!((answer.conversations.len(), answer.conversations[0].cursors.len()), (1, 0), "{call}");
    }
}

/// Else whoever is removed between the two is told how far the group has gone on without them.
// holds: M1
#[test]
fn the_rows_are_read_behind_the_heads() {
    let stage = known(3);
    ask(&stage, &caller("alice"), std::slice::from_ref(&stage.conversation)).unwrap();
    assert!(stage.ports.is_answered_before("heads", "inbox_rows"));
}
