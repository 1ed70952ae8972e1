//! `ack` and `read`: C1, cursors only move forward and never pass an entry that exists; and what the other user is told of it.

use chatlane_chat::allowance::Allowances;
use chatlane_chat::ports::{Connection, Created, Creations as _, Failure, InboxRow, ReadCursor};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::requests::cursors::{Cursor, Told, advance, answer};
use chatlane_chat::testing::builders::{
    caller, connection, conversation, creation, device, direct, entry, member, position, request_id, seq, session, start, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done};
use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, MemberCursors, ReadMark, Receipt, ServerFrame, encode};
use chatlane_protocol::request::{PositionIn, Positions};
use chatlane_protocol::{ConversationId, ErrorCode, Position, Refusal, limits};

use Cursor::{Delivered, Read};

/// Alice on this device of hers.
fn alice_on(number: u8) -> Caller {
    Caller { device: device(number), connection: Some(connection(&format!("alice-{number}"))), ..caller("alice") }
}

fn try_move(stage: &Stage, who: &Caller, cursor: Cursor, to: &[(&ConversationId, Position)]) -> Result<Done<Vec<CursorResult>>, Failure> {
    let positions: Vec<PositionIn> =
        to.iter().map(|(conversation, position)| PositionIn::new((*conversation).clone(), *position)).collect();
    let done = block_on(advance(&stage.ports, &stage.settings, who, &positions, (cursor, Told::Others), &Allowances::new()))?;
    assert!(
        done.answer.iter().map(|result| &result.conversation).eq(to.iter().map(|(conversation, _)| *conversation)),
        "one for each, in order"
    );
    Ok(done)
}

/// What becomes of one position in the conversation of alice and bob, and what was done for it.
fn move_and_tell(stage: &Stage, who: &Caller, cursor: Cursor, to: Position) -> (CursorOutcome, Did) {
    let Done { mut answer, did } = try_move(stage, who, cursor, &[(&stage.conversation, to)]).unwrap();
    (answer.remove(0).outcome, did)
}

fn move_to(stage: &Stage, who: &Caller, cursor: Cursor, to: Position) -> CursorOutcome {
    move_and_tell(stage, who, cursor, to).0
}

fn refusal(outcome: CursorOutcome) -> Refusal {
    match outcome {
        CursorOutcome::Refused(refusal) => refusal,
        CursorOutcome::Ok => panic!("not refused"),
    }
}

fn row(stage: &Stage, who: &str) -> InboxRow {
    stage.ports.memory.state().inboxes[&user(who)][&stage.conversation].clone()
}

/// Where alice's devices 1 and 2 and herself are.
fn alices(stage: &Stage) -> (Option<Position>, Option<Position>, ReadCursor) {
    let row = row(stage, "alice");
    (row.delivered.get(&device(1)).copied(), row.delivered.get(&device(2)).copied(), row.read)
}

fn read_to(number: u64) -> ReadCursor {
    ReadCursor { position: position(number), count: number - 1 }
}

/// The stage with so many entries, and with the phones of both and bob's tablet online.
fn online(tail: u64) -> Stage {
    let stage = Stage::with_entries(tail);
    for (who, name) in [("alice", "alice-1"), ("bob", "bob-1"), ("bob", "tablet")] {
        stage.ports.memory.log_in(&user(who), session(name));
    }
    stage
}

/// The receipts that were posted, with where to, in the order of the connections; there are none after this.
fn receipts(stage: &Stage) -> Vec<(String, Receipt)> {
    let mut posts: Vec<(String, Receipt)> = std::mem::take(&mut stage.ports.memory.state().posts)
        .into_iter()
        .map(|(to, frame)| {
            let Ok(ServerFrame::Receipt(receipt)) = serde_json::from_str(&frame) else { panic!("no receipt: {frame}") };
            (to.to_string(), receipt)
        })
        .collect();
    posts.sort_by(|(one, _), (other, _)| one.cmp(other));
    posts
}

/// What alice's movement looks like to each of bob's two connections.
fn told_bob(stage: &Stage, delivered: u64, read: Position) -> Vec<(String, Receipt)> {
    let cursors = MemberCursors { user: user("alice"), delivered: position(delivered), read };
    let receipt = Receipt {
        conversation: stage.conversation.clone(),
        cursors,
        read_count: None,
        read_private: false,
        ttl_ms: limits::RECEIPT_TTL_MS,
    };
    vec![("bob-1".to_owned(), receipt.clone()), ("tablet".to_owned(), receipt)]
}

// --- forward, and to entries that exist

// holds: C1
#[test]
fn ack_moves_the_device_and_read_moves_the_device_and_the_user() {
    let stage = Stage::with_entries(9);
    assert_eq!(move_to(&stage, &alice_on(1), Delivered, position(5)), CursorOutcome::Ok);
    assert_eq!(alices(&stage), (Some(position(5)), None, ReadCursor::NONE));
    assert_eq!(move_to(&stage, &alice_on(2), Read, position(7)), CursorOutcome::Ok);
    assert_eq!(alices(&stage), (Some(position(5)), Some(position(7)), read_to(7)));
    assert_eq!(row(&stage, "bob"), InboxRow::new(stage.conversation.clone(), Some(user("alice")), &member(&user("bob"))));
    assert!(stage.ports.memory.state().posts.is_empty());

    // The entry is read before a cursor moves to it.
    let stage = Stage::with_entries(3);
    move_to(&stage, &alice_on(1), Read, position(3));
    assert!(stage.ports.is_answered_before("inbox_rows", "at") && stage.ports.is_answered_before("at", "advance"));
}

// holds: C1
#[test]
fn a_lower_position_is_ok_and_moves_nothing_back() {
    let stage = online(9);
    move_to(&stage, &alice_on(1), Read, position(7));
    receipts(&stage);
    let calls = ["inbox_rows", "at", "advance"];
    let before = calls.map(|call| stage.ports.count(call));
    for (cursor, to) in [(Delivered, 7), (Delivered, 3), (Read, 7), (Read, 1)] {
        let moved = move_and_tell(&stage, &alice_on(1), cursor, position(to));
        assert_eq!(moved, (CursorOutcome::Ok, Did::default()), "{cursor:?} {to}");
        assert_eq!(alices(&stage), (Some(position(7)), None, read_to(7)), "{cursor:?} {to}");
    }
    assert_eq!(receipts(&stage), []);
    // The row says it all: no entry is read, nothing is written.
    assert_eq!(calls.map(|call| stage.ports.count(call)), [before[0] + 4, before[1], before[2]]);
    // A position of another epoch is looked up, whatever its seq.
    let refusal = refusal(move_to(&stage, &alice_on(1), Read, Position::new(0, seq(3))));
    assert_eq!((refusal.code, stage.ports.count("at")), (ErrorCode::EpochChanged, before[1] + 1));
}

/// One frame, one entry read for each place, one write.
// holds: C1
#[test]
fn an_ack_can_move_the_read_mark_too() {
    let stage = online(9);
    let both = |position_of: u64, read: u64| PositionIn {
        read: Some(if read == 0 { Position::ZERO } else { position(read) }),
        ..PositionIn::new(stage.conversation.clone(), position(position_of))
    };
    let ask = |named: PositionIn| {
        let Done { mut answer, did } =
            block_on(advance(&stage.ports, &stage.settings, &alice_on(1), &[named], (Delivered, Told::Others), &Allowances::new()))
                .unwrap();
        (answer.remove(0).outcome, did.moved)
    };
    assert_eq!(ask(both(5, 3)), (CursorOutcome::Ok, 1));
    assert_eq!(alices(&stage), (Some(position(5)), None, read_to(3)));
    assert_eq!(["inbox_rows", "at", "advance"].map(|call| stage.ports.count(call)), [1, 1, 1]);
    assert_eq!(receipts(&stage), told_bob(&stage, 5, position(3)));
    assert_eq!(ask(both(5, 3)), (CursorOutcome::Ok, 0));
    assert_eq!(ask(both(5, 5)), (CursorOutcome::Ok, 1));
    // What is read is delivered.
    assert_eq!((ask(both(5, 7)), alices(&stage)), ((CursorOutcome::Ok, 1), (Some(position(7)), None, read_to(7))));
    // Neither moves unless both exist, also where the other is lower.
    let mut old = both(9, 8);
    old.position = Position::new(0, seq(9));
    assert_eq!(refusal(ask(old).0).code, ErrorCode::EpochChanged);
    let mut none = both(9, 8);
    none.position = Position::ZERO;
    for named in [both(9, 12), both(12, 8), both(9, 0), none] {
        let (outcome, moved) = ask(named);
        assert_eq!((refusal(outcome).code, moved), (ErrorCode::AnchorUnknown, 0));
    }
    assert_eq!(alices(&stage), (Some(position(7)), None, read_to(7)));
}

/// What one device reads clears the others; the one that said so knows.
#[test]
fn what_has_been_read_is_told_to_the_users_other_devices_with_its_count() {
    let stage = online(9);
    let own = alice_on(1);
    stage.ports.memory.log_in(&user("alice"), session("alice-tablet"));
    stage.ports.memory.log_in(&user("alice"), Connection { expires: start(), ..session("alice-old") });
    let told_alice = |delivered, read: u64| {
        let cursors = MemberCursors { user: user("alice"), delivered: position(delivered), read: position(read) };
        let read_count = Some(read - 1);
        let (conversation, ttl_ms) = (stage.conversation.clone(), limits::RECEIPT_TTL_MS);
        let receipt = Receipt { conversation, cursors, read_count, read_private: false, ttl_ms };
        vec![("alice-tablet".to_owned(), receipt)]
    };
    let of_users = || stage.ports.count("of_users");
    move_to(&stage, &own, Delivered, position(4));
    assert_eq!(receipts(&stage), told_bob(&stage, 4, Position::ZERO), "only what is read concerns them");
    move_to(&stage, &own, Read, position(6));
    assert_eq!(receipts(&stage), [told_alice(6, 6), told_bob(&stage, 6, position(6))].concat());
    assert_eq!(of_users(), 2, "both users are asked for at once");
    move_to(&stage, &own, Read, position(6));
    assert_eq!((receipts(&stage), of_users()), (vec![], 2));
}

#[test]
fn a_quiet_request_is_answered_only_if_something_is_refused() {
    let stage = Stage::with_entries(4);
    let ask = |quiet, to| {
        let positions = vec![PositionIn::new(stage.conversation.clone(), position(to))];
        let request = Positions { id: request_id("r-1"), positions, private: false, quiet };
        block_on(answer(&stage.ports, &stage.settings, &alice_on(1), &request, Delivered)).unwrap()
    };
    let told = ask(true, 3);
    assert_eq!((told.answer, told.did.moved), (None, 1));
    assert_eq!(ask(true, 3).answer, None);
    assert_eq!(ask(false, 3).answer.unwrap().results[0].outcome, CursorOutcome::Ok);
    assert_eq!(refusal(ask(true, 9).answer.unwrap().results.remove(0).outcome).code, ErrorCode::AnchorUnknown);
}

/// In a log with two epochs a position of the older one is looked up, and moves nothing back or again.
// holds: C1
#[test]
fn a_position_of_an_older_epoch_below_the_cursor_is_looked_up_and_writes_nothing() {
    let stage = Stage::restored(&[1, 1, 1, 2, 2]);
    let ask = |named: PositionIn| {
        block_on(advance(&stage.ports, &stage.settings, &alice_on(1), &[named], (Delivered, Told::Others), &Allowances::new()))
            .unwrap()
            .answer
            .remove(0)
            .outcome
    };
    let at = Position::new(2, seq(5));
    let old = PositionIn { read: Some(position(2)), ..PositionIn::new(stage.conversation.clone(), at) };
    assert_eq!(ask(PositionIn { read: Some(at), ..old.clone() }), CursorOutcome::Ok);
    let written = stage.ports.count("advance");
    assert_eq!(ask(old), CursorOutcome::Ok);
    assert_eq!((stage.ports.count("advance"), row(&stage, "alice").read.position), (written, at));
}

/// What bob sees of alice, and whether he is told at once.
fn of_alice(stage: &Stage) -> (MemberCursors, usize) {
    let posts = std::mem::take(&mut stage.ports.memory.state().posts);
    let told = posts.iter().filter(|(to, _)| to.as_str() == "bob-1").count();
    (row(stage, "alice").told_to_others(user("alice")), told)
}

// holds: C1
#[test]
fn who_reads_in_private_is_told_on_all_devices_and_nobody_else_is() {
    let stage = Stage::with_entries(9);
    for who in ["bob-1", "alice-2"] {
        stage.ports.memory.log_in(&user(&who[..who.len() - 2]), session(who));
    }
    let read = |to: u64, private: bool| {
        let positions = vec![PositionIn::new(stage.conversation.clone(), position(to))];
        let request = Positions { id: request_id("r-1"), positions, private, quiet: false };
        let answer = block_on(answer(&stage.ports, &stage.settings, &alice_on(1), &request, Read)).unwrap().answer.unwrap();
        assert_eq!(answer.results[0].outcome, CursorOutcome::Ok);
    };
    let seen = |delivered, read| MemberCursors { user: user("alice"), delivered: position(delivered), read: position(read) };
    let own = |read, read_private| ReadMark { read: position(read), read_count: read - 1, read_private };
    read(3, false);
    assert_eq!(row(&stage, "alice").read_mark(), own(3, false));
    assert_eq!(of_alice(&stage), (seen(3, 3), 1));
    read(6, true);
    // Her other devices know that it was in private, so what they move behind it is no news to others either.
    assert_eq!(row(&stage, "alice").read_mark(), own(6, true));
    let own_receipts = stage
        .ports
        .memory
        .state()
        .posts
        .iter()
        .filter(|(to, frame)| to.as_str() == "alice-2" && frame.contains(r#""read_count":5,"read_private":true"#))
        .count();
    assert_eq!(own_receipts, 1);
    // That a device has it is no secret.
    assert_eq!(of_alice(&stage), (seen(6, 3), 1));
    read(8, true);
    assert_eq!((row(&stage, "alice").read, of_alice(&stage).0), (read_to(8), seen(8, 3)));
    // Behind what was read in private, but further than others know.
    read(5, false);
    assert_eq!((row(&stage, "alice").read, of_alice(&stage).0), (read_to(8), seen(8, 5)));
    let written = stage.ports.count("advance");
    read(4, false);
    read(7, true);
    assert_eq!((of_alice(&stage).0, stage.ports.count("advance")), (seen(8, 5), written));
    read(9, false);
    assert_eq!((row(&stage, "alice").read_mark(), of_alice(&stage).0), (own(9, false), seen(9, 9)));
}

// holds: C1
#[test]
fn who_begins_by_reading_in_private_has_read_nothing_for_the_others() {
    let stage = Stage::with_entries(4);
    let positions = [PositionIn::new(stage.conversation.clone(), position(3))];
    let (who, allowances) = (alice_on(1), Allowances::new());
    let moved = block_on(advance(&stage.ports, &stage.settings, &who, &positions, (Read, Told::Nobody), &allowances)).unwrap();
    assert_eq!(moved.did.moved, 1);
    assert_eq!(of_alice(&stage).0, MemberCursors { user: user("alice"), delivered: position(3), read: Position::ZERO });
}

/// A user of browsers has a new device with every private window: the row stays small.
// holds: C1
#[test]
fn a_row_keeps_the_furthest_devices() {
    let stage = Stage::with_entries(60);
    for number in 1..=20 {
        move_to(&stage, &alice_on(number), Delivered, position(u64::from(number) + 10));
    }
    let kept = |stage: &Stage| row(stage, "alice").delivered.values().map(|at| at.seq.get()).collect::<Vec<_>>();
    assert_eq!(kept(&stage), (15..=30).collect::<Vec<_>>());
    // One that has no more than any of them finds no room: nothing is written, however often it says so.
    let written = stage.ports.count("advance");
    for to in [2, 15] {
        assert_eq!(move_and_tell(&stage, &alice_on(1), Delivered, position(to)), (CursorOutcome::Ok, Did::default()));
    }
    assert_eq!((kept(&stage), stage.ports.count("advance")), ((15..=30).collect::<Vec<_>>(), written));
    // But what the user has read moves, and what is made up is refused as ever.
    assert_eq!(move_to(&stage, &alice_on(1), Read, position(9)), CursorOutcome::Ok);
    assert_eq!((row(&stage, "alice").read, kept(&stage)), (read_to(9), (15..=30).collect()));
    assert_eq!(refusal(move_to(&stage, &alice_on(1), Delivered, position(99))).code, ErrorCode::AnchorUnknown);
    assert_eq!(move_to(&stage, &alice_on(1), Delivered, position(16)), CursorOutcome::Ok);
    assert_eq!(kept(&stage), [16, 16].into_iter().chain(17..=30).collect::<Vec<_>>());
    // A row of before there was a limit becomes small with some writes.
    stage.change_row("alice", |row| row.delivered = (0..100).map(|number| (device(number), position(20))).collect());
    for (to, left) in [(21, 68), (22, 36), (23, 16), (24, 16)] {
        move_to(&stage, &alice_on(50), Delivered, position(to));
        assert_eq!((kept(&stage).len(), row(&stage, "alice").delivered[&device(50)]), (left, position(to)));
    }
}

/// C1: a count that came from anywhere but the entry would make unread counts drift for good.
#[test]
fn the_read_count_is_that_of_the_entry() {
    let stage = Stage::new();
    let mut counted = entry(&stage.conversation, 2, "bob");
    counted.facts.count = 40;
    stage.put(&counted);
    move_to(&stage, &alice_on(1), Read, position(2));
    assert_eq!(row(&stage, "alice").read, ReadCursor { position: position(2), count: 40 });
}

// holds: C1
#[test]
fn a_position_that_names_no_entry_moves_nothing() {
    let restored = Stage::restored(&[1, 1, 1, 1, 2]);
    let (unknown, changed) = (ErrorCode::AnchorUnknown, ErrorCode::EpochChanged);
    for cursor in [Delivered, Read] {
        for (to, code, common) in [
            (Position::new(2, seq(6)), unknown, None),
            (Position::new(3, seq(5)), unknown, None),
            (Position::new(2, seq(4)), unknown, None),
            (position(5), changed, Some(position(4))),
            (position(99), changed, Some(position(4))),
            // Before the first: no entry, and no reason to drop anything.
            (Position::ZERO, unknown, None),
            (Position::new(2, seq(0)), unknown, None),
        ] {
            let refusal = refusal(move_to(&restored, &alice_on(1), cursor, to));
            assert_eq!((refusal.code, refusal.retryable, refusal.common), (code, false, common), "{cursor:?} {to}");
        }
    }
    assert_eq!((alices(&restored), restored.ports.count("advance")), ((None, None, ReadCursor::NONE), 0));
    assert_eq!(move_to(&restored, &alice_on(1), Read, Position::new(2, seq(5))), CursorOutcome::Ok);
}

/// What each of them needs is a search of the log.
#[test]
fn of_many_positions_of_before_a_restore_eight_are_looked_into_at_a_time() {
    let mut stage = Stage::with_entries(3);
    stage.settings.epoch = 2;
    let ids: Vec<ConversationId> = (0..12).map(|n| conversation(&format!("d{n:03}"))).collect();
    for id in &ids {
        assert!(block_on(stage.ports.memory.create(&creation(id, &user("alice"), &user("carol")))).is_ok());
    }
    let to: Vec<(&ConversationId, Position)> = ids.iter().map(|id| (id, position(7))).collect();
    let results = try_move(&stage, &alice_on(1), Delivered, &to).unwrap().answer;
    let codes: Vec<ErrorCode> = results.into_iter().map(|result| refusal(result.outcome).code).collect();
    assert_eq!((&codes[..8], &codes[8..]), (&[ErrorCode::EpochChanged; 8][..], &[ErrorCode::Busy; 4][..]));
    assert_eq!(stage.ports.count("read_back"), 8);
}

/// Each of them is looked for once more, as a whole.
#[test]
fn of_many_conversations_that_are_not_the_callers_sixteen_are_told_at_a_time() {
    let stage = Stage::with_entries(3);
    let ids: Vec<ConversationId> = (0..20).map(|n| conversation(&format!("d{n:03}"))).collect();
    let to: Vec<(&ConversationId, Position)> = ids.iter().chain([&stage.conversation]).map(|id| (id, position(2))).collect();
    let mut results = try_move(&stage, &alice_on(1), Delivered, &to).unwrap().answer;
    assert_eq!(results.pop().unwrap().outcome, CursorOutcome::Ok, "it harms no other");
    let codes: Vec<ErrorCode> = results.into_iter().map(|result| refusal(result.outcome).code).collect();
    assert_eq!((&codes[..16], &codes[16..]), (&[ErrorCode::NotFound; 16][..], &[ErrorCode::Busy; 4][..]));
    assert_eq!(stage.ports.count("memberships"), 16);
}

#[test]
fn a_refused_position_harms_no_other_and_results_keep_their_order() {
    let stage = Stage::with_entries(4);
    let (nobodys, other) = (conversation("dNobodys"), conversation("dOther"));
    assert!(block_on(stage.ports.memory.create(&creation(&other, &user("alice"), &user("carol")))).is_ok());
    let to = [(&nobodys, position(1)), (&stage.conversation, position(9)), (&other, position(1))];
    let codes: Vec<Option<ErrorCode>> = try_move(&stage, &alice_on(1), Read, &to)
        .unwrap()
        .answer
        .into_iter()
        .map(|result| match result.outcome {
            CursorOutcome::Ok => None,
            CursorOutcome::Refused(refusal) => Some(refusal.code),
        })
        .collect();
    assert_eq!(codes, [Some(ErrorCode::NotFound), Some(ErrorCode::AnchorUnknown), None]);
}

// holds: C1
#[test]
fn a_stranger_moves_and_makes_nothing_and_learns_nothing() {
    let stage = online(40);
    let missing = conversation(&"x".repeat(stage.conversation.as_str().len()));
    for cursor in [Delivered, Read] {
        for to in [Position::ZERO, position(1), position(40), position(99), Position::new(0, seq(1)), Position::new(9, seq(1))] {
            let frame = |id: &ConversationId| {
                let results = try_move(&stage, &caller("mallory"), cursor, &[(id, to)]).unwrap().answer;
                let frame = encode(&ServerFrame::Ack(CursorsAnswer { id: request_id("r-1"), results }));
                frame.replace(id.as_str(), "…")
            };
            assert_eq!(frame(&stage.conversation), frame(&missing), "{cursor:?} {to}");
            assert!(frame(&missing).contains(r#""code":"not_found""#));
        }
    }
    assert!(!stage.ports.memory.state().inboxes.contains_key(&user("mallory")));
    assert_eq!(receipts(&stage), []);
}

// --- receipts

// holds: C1
#[test]
fn what_moves_is_told_to_the_other_users_live_sessions_and_to_nobody_else() {
    let stage = online(9);
    stage.ports.memory.log_in(&user("bob"), Connection { expires: start(), ..session("expired") });
    stage.ports.memory.log_in(&user("carol"), session("carol-1"));
    let (_, did) = move_and_tell(&stage, &alice_on(1), Delivered, position(5));
    assert_eq!(did, Did { moved: 1, posted: 2, ..Did::default() });
    assert_eq!(receipts(&stage), told_bob(&stage, 5, Position::ZERO));
    move_to(&stage, &alice_on(1), Read, position(5));
    assert_eq!(receipts(&stage), told_bob(&stage, 5, position(5)));
    move_to(&stage, &alice_on(1), Read, position(8));
    assert_eq!(receipts(&stage), told_bob(&stage, 8, position(8)));
}

#[test]
fn a_device_behind_another_of_its_user_is_no_news() {
    let stage = online(9);
    move_to(&stage, &alice_on(1), Delivered, position(5));
    receipts(&stage);
    let (_, did) = move_and_tell(&stage, &alice_on(2), Delivered, position(3));
    assert_eq!(did, Did { moved: 1, ..Did::default() });
    move_to(&stage, &alice_on(2), Delivered, position(5));
    assert_eq!((receipts(&stage), stage.ports.count("of_users")), (vec![], 1));
    move_to(&stage, &alice_on(2), Delivered, position(6));
    assert_eq!(receipts(&stage), told_bob(&stage, 6, Position::ZERO));
    // Read on one device what came to another.
    move_to(&stage, &alice_on(1), Read, position(5));
    assert_eq!(receipts(&stage), told_bob(&stage, 6, position(5)));
}

#[test]
fn what_is_read_is_delivered() {
    let stage = online(9);
    stage.change_row("alice", |row| row.read = read_to(7));
    // Others know that already.
    move_to(&stage, &alice_on(1), Delivered, position(4));
    assert_eq!(receipts(&stage), vec![]);
    move_to(&stage, &alice_on(1), Delivered, position(8));
    assert_eq!(receipts(&stage), told_bob(&stage, 8, position(7)));
}

#[test]
fn a_refused_position_is_not_told() {
    let stage = online(4);
    move_to(&stage, &alice_on(1), Read, position(9));
    assert_eq!((receipts(&stage), stage.ports.count("of_users")), (vec![], 0));
}

/// How many receipts each of these users is posted for one `ack` of alice's, who has entry 1 of a conversation with each.
fn receipts_of_one_ack(stage: &Stage, others: &[(String, usize)]) -> Vec<usize> {
    let lanes: Vec<ConversationId> = others.iter().map(|(name, _)| direct(&user("alice"), &user(name))).collect();
    for ((name, devices), lane) in others.iter().zip(&lanes) {
        assert!(matches!(block_on(stage.ports.create(&creation(lane, &user("alice"), &user(name)))), Ok(Created::New)));
        (0..*devices).for_each(|number| stage.ports.memory.log_in(&user(name), session(&format!("{name}-{number}"))));
    }
    let to: Vec<_> = lanes.iter().map(|lane| (lane, position(1))).collect();
    let Done { did, .. } = try_move(stage, &caller("alice"), Delivered, &to).unwrap();
    let told = receipts(stage);
    assert_eq!(did.posted, told.len());
    others.iter().map(|(name, _)| told.iter().filter(|(to, _)| to.starts_with(&format!("{name}-"))).count()).collect()
}

#[test]
fn the_receipts_of_a_request_are_shared_by_those_whom_they_are_for() {
    // Not by their names; of another user four devices are told, and the others find it by their next `ping`.
    let others = [("a", 16), ("b", 16), ("c", 1), ("d", 3)].map(|(name, devices)| (name.to_owned(), devices));
    assert_eq!(receipts_of_one_ack(&Stage::new(), &others), [4, 4, 1, 3]);
    // Where there are more of them, nobody is always the last.
    let crowd: Vec<(String, usize)> = (0..40).map(|number| (format!("u{number:02}"), 1)).collect();
    let mut told = vec![0; 40];
    for ms in 0..40 {
        let stage = Stage::new();
        stage.ports.memory.clock.advance_ms(ms);
        told.iter_mut().zip(receipts_of_one_ack(&stage, &crowd)).for_each(|(told, now)| *told += now);
    }
    assert_eq!(told, [32; 40]);
}

#[test]
fn a_conversation_without_an_other_has_no_receipts() {
    let stage = online(4);
    stage.change_row("alice", |row| row.with = None);
    assert_eq!(move_to(&stage, &alice_on(1), Read, position(3)), CursorOutcome::Ok);
    assert_eq!(receipts(&stage), []);
}

// holds: C1
#[test]
fn a_receipt_that_is_lost_harms_nothing() {
    let stage = online(4);
    stage.ports.memory.state().gone.insert(connection("tablet"));
    stage.ports.on("post", Fault::RequestLost);
    let nobody_is_told = (CursorOutcome::Ok, Did { moved: 1, ..Did::default() });
    assert_eq!(move_and_tell(&stage, &alice_on(1), Read, position(2)), nobody_is_told);
    stage.ports.on("of_users", Fault::RequestLost);
    assert_eq!(move_and_tell(&stage, &alice_on(1), Read, position(3)), nobody_is_told);
    assert_eq!((receipts(&stage), alices(&stage)), (vec![], (Some(position(3)), None, read_to(3))));
    // Nor is it made up for by a repetition: that moves nothing.
    move_to(&stage, &alice_on(1), Read, position(3));
    assert_eq!(receipts(&stage), []);
    // Connections are the fan-out's to remove.
    assert_eq!(stage.ports.memory.state().sessions[&user("bob")].len(), 2);
}

// --- many, and what goes wrong

#[test]
fn a_hundred_positions_are_one_read_and_a_write_each_and_one_look_for_sessions() {
    let stage = Stage::new();
    let ids: Vec<ConversationId> = (0..100).map(|n| conversation(&format!("d{n:03}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        let with = user(&format!("user-{n}"));
        assert!(block_on(stage.ports.memory.create(&creation(id, &user("alice"), &with))).is_ok());
        stage.ports.memory.log_in(&user(&format!("user-{n}")), session(&format!("c-{n:03}")));
    }
    let to: Vec<(&ConversationId, Position)> = ids.iter().map(|id| (id, position(1))).collect();
    let Done { answer, did } = try_move(&stage, &alice_on(1), Read, &to).unwrap();
    assert_eq!(did, Did { moved: 100, posted: 32, ..Did::default() }, "receipts are hints: the others' next `ping` brings theirs");
    assert!(answer.iter().all(|result| result.outcome == CursorOutcome::Ok));
    // Everybody is told of the conversation with them, and of no other.
    let told = receipts(&stage).into_iter().map(|(to, receipt)| (to.replace("c-", "d"), receipt.conversation.to_string()));
    assert!(told.clone().all(|(to, conversation)| to == conversation) && told.count() == 32);
    let calls = ["at", "inbox_rows", "advance", "of_users", "post"];
    assert_eq!(calls.map(|call| stage.ports.count(call)), [1, 1, 100, 1, 32]);
}

#[test]
fn a_write_that_fails_refuses_its_position_only() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let stage = online(4);
        let other = conversation("dOther");
        assert!(block_on(stage.ports.memory.create(&creation(&other, &user("alice"), &user("carol")))).is_ok());
        stage.ports.on("advance", fault);
        let to = [(&stage.conversation, position(3)), (&other, position(1))];
        let Done { answer: mut results, did } = try_move(&stage, &alice_on(1), Read, &to).unwrap();
        assert_eq!(did.moved, 1, "as far as is known");
        assert_eq!(results.pop().unwrap().outcome, CursorOutcome::Ok);
        let unavailable = refusal(results.pop().unwrap().outcome);
        assert_eq!((unavailable.code, unavailable.retryable, unavailable.retry_after_ms), (ErrorCode::Unavailable, true, Some(100)));
        assert!(!unavailable.message.contains("it is lost"), "clients never see the backend's text");

        assert_eq!(move_to(&stage, &alice_on(1), Read, position(3)), CursorOutcome::Ok);
        assert_eq!(alices(&stage), (Some(position(3)), None, read_to(3)));
    }
}

#[test]
fn nothing_moves_unless_the_entries_could_be_read() {
    for call in ["inbox_rows", "at"] {
        let stage = online(4);
        stage.ports.on(call, Fault::AnswerLost);
        assert!(try_move(&stage, &alice_on(1), Read, &[(&stage.conversation, position(3))]).is_err());
        assert_eq!((alices(&stage), stage.ports.count("advance")), ((None, None, ReadCursor::NONE), 0));
    }
}

#[test]
fn why_a_position_is_bad_must_be_read_to_be_told() {
    for call in ["read_back", "read"] {
        let mut stage = Stage::with_entries(4);
        stage.settings.epoch = 2;
        stage.ports.on(call, Fault::AnswerLost);
        assert_eq!(refusal(move_to(&stage, &alice_on(1), Delivered, position(99))).code, ErrorCode::Unavailable, "{call}");
    }
}

/// Two devices of one user, and a receipt for what moved: whoever comes last says what is true.
#[test]
fn a_cursor_that_another_device_moves_meanwhile_is_told_as_it_is() {
    let stage = online(9);
    let id = stage.conversation.clone();
    stage.ports.meanwhile("advance", move |memory| {
        memory.change_row(&user("alice"), &id, |row| row.delivered = [(device(2), position(8))].into());
    });
    move_to(&stage, &alice_on(1), Delivered, position(5));
    assert_eq!(receipts(&stage), [], "the other device's own receipt tells of 8");
    move_to(&stage, &alice_on(1), Delivered, position(9));
    assert_eq!(receipts(&stage), told_bob(&stage, 9, Position::ZERO));
}
