//! The anchored append: which anchors are taken, and what happens when others write, cut or restore the log at the same time.

use chatlane_chat::Did;
use chatlane_chat::log::append::ATTEMPTS_MAX;
use chatlane_chat::log::{Entry, Kept, Kind, LaterEntry};
use chatlane_chat::settings::AdmissionLimit;
use chatlane_chat::testing::builders::{conversation, entry, entry_of_bytes, member, message, message_id, position, seq, start, user};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::stage::Stage;
use chatlane_protocol::{ErrorCode, NewMessage, Outcome, Position, Seq};

/// Where the message is, if it is in the log.
fn place(outcome: &Outcome) -> (&'static str, Position) {
    match outcome {
        Outcome::Ok(stored) => ("ok", stored.position),
        Outcome::Duplicate(stored) => ("duplicate", stored.position),
        other => panic!("not in the log: {other:?}"),
    }
}

/// Entry `number` as bob writes it while somebody else is between two calls.
fn others_write(stage: &Stage, on: &'static str, entries: Vec<Entry>) {
    stage.ports.meanwhile(on, move |memory| {
        let mut stored = memory.state();
        for entry in entries {
            let log = stored.log.get_mut(&entry.conversation).unwrap();
            assert!(log.insert(entry.position.seq, entry).is_none(), "the slot is taken");
        }
    });
}

fn bobs(stage: &Stage, numbers: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    numbers.map(|number| entry(&stage.conversation, number, "bob")).collect()
}

// --- anchors

// holds: R1
#[test]
fn an_anchor_that_no_server_gave_is_unknown() {
    let stage = Stage::with_entries(3);
    for anchor in [position(4), position(99), Position::new(1, Seq::MAX), Position::new(9, seq(2)), Position::new(9, seq(99))] {
        let refusal = stage.refusal(message("m-1", anchor));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::AnchorUnknown, false), "{anchor}");
    }
    assert_eq!(stage.entries().len(), 3);
}

// holds: R1
#[test]
fn an_anchor_may_be_200_entries_behind_and_no_more() {
    let mut stage = Stage::with_entries(201);
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("ok", position(202)));
    let refusal = stage.refusal(message("m-2", position(1)));
    assert_eq!((refusal.code, refusal.retryable, refusal.tail), (ErrorCode::AnchorStale, false, Some(position(202))));
    assert_eq!(refusal.message, "the anchor is more than 200 entries behind");
    // The tail is the log's, not that of what was read.
    stage.settings.limits.admission = AdmissionLimit::Off;
    for number in 203..=300 {
        stage.put(&entry(&stage.conversation, number, "bob"));
    }
    assert_eq!(stage.refusal(message("m-2", position(1))).tail, Some(position(300)));
    assert_eq!(place(&stage.send_one(message("m-2", position(100)))), ("ok", position(301)));
}

#[test]
fn an_anchor_may_be_128_kilobytes_behind_and_no_more() {
    let stage = Stage::new();
    for number in 2..=7 {
        stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 25_000));
    }
    let refusal = stage.refusal(message("m-1", position(1)));
    assert_eq!((refusal.code, refusal.tail), (ErrorCode::AnchorStale, Some(position(7))));
    assert_eq!(refusal.message, "the anchor is more than 128 KB of entries behind");
    assert_eq!(place(&stage.send_one(message("m-1", position(2)))), ("ok", position(8)));
}

// holds: L1
#[test]
fn an_anchor_below_a_gap_is_too_old() {
    let stage = Stage::with_entries(5);
    stage.remove_entry(3);
    for anchor in [1, 2, 3] {
        let refusal = stage.refusal(message("m-1", position(anchor)));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::AnchorTooOld, false), "{anchor}");
    }
    assert_eq!(place(&stage.send_one(message("m-1", position(4)))), ("ok", position(6)));
}

#[test]
fn a_gap_that_a_second_read_fills_is_none() {
    let stage = Stage::with_entries(5);
    stage.remove_entry(3);
    others_write(&stage, "read", vec![]);
    others_write(&stage, "read", bobs(&stage, 3..=3));
    assert_eq!(place(&stage.send_one(message("m-1", position(2)))), ("ok", position(6)));
}

// holds: L5
#[test]
fn every_message_of_a_request_is_looked_for_from_its_own_anchor() {
    let stage = Stage::with_entries(3);
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("ok", position(4)));
    // The second is anchored before what was read for the first.
    let outcomes = stage.send("alice", vec![message("m-2", position(4)), message("m-1", position(1))]).unwrap();
    assert_eq!([place(&outcomes[0]), place(&outcomes[1])], [("ok", position(5)), ("duplicate", position(4))]);
    let outcomes = stage.send("alice", vec![message("m-2", position(4)), message("m-1", Position::ZERO)]).unwrap();
    assert_eq!([place(&outcomes[0]), place(&outcomes[1])], [("duplicate", position(5)), ("duplicate", position(4))]);
    let outcomes = stage.send("alice", vec![message("m-3", position(4)), message("m-4", position(99))]).unwrap();
    assert_eq!(place(&outcomes[0]), ("ok", position(6)));
    assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.code == ErrorCode::AnchorUnknown));
}

/// What lies between is read, and nothing twice.
// holds: L5
#[test]
fn a_lower_anchor_widens_the_window_downwards() {
    let stage = Stage::with_entries(60);
    let frame = |from: u64| (0..25).map(|n| message(&format!("m-{n}"), position(from - n))).collect();
    assert!(stage.send("alice", frame(50)).unwrap().iter().all(|outcome| place(outcome).0 == "ok"));
    let (reads, rows) = (stage.ports.count("read"), stage.ports.count("member"));
    assert!(stage.send("alice", frame(50)).unwrap().iter().all(|outcome| place(outcome).0 == "duplicate"));
    assert_eq!((stage.ports.count("read") - reads, stage.ports.count("member") - rows), (25, 1));

    // Each its own bound: as far as it is from the tail.
    for (lowest, code) in [(1, ErrorCode::AnchorStale), (2, ErrorCode::AnchorStale), (3, ErrorCode::AnchorTooOld)] {
        let stage = Stage::new();
        (2..=9).for_each(|number| stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 20_000)));
        let mut outcomes = stage.send("alice", vec![message("m-1", position(9)), message("m-2", position(4))]).unwrap();
        assert_eq!(outcomes.iter().map(|outcome| place(outcome).1).collect::<Vec<_>>(), [position(10), position(11)]);
        if code == ErrorCode::AnchorTooOld {
            stage.remove_entry(5);
        }
        outcomes = stage.send("alice", vec![message("m-3", position(9)), message("m-4", position(lowest))]).unwrap();
        assert_eq!(place(&outcomes[0]), ("ok", position(12)));
        assert!(matches!(&outcomes[1], Outcome::Refused(refusal) if refusal.code == code), "from {lowest}: {outcomes:?}");
    }
}

// --- restores

#[test]
fn new_entries_carry_the_epoch_of_the_deployment() {
    let mut stage = Stage::with_entries(2);
    stage.settings.epoch = 3;
    assert_eq!(place(&stage.send_one(message("m-1", position(2)))), ("ok", Position::new(3, seq(3))));
    // A function that has not heard of the new epoch yet does not take the log back.
    stage.settings.epoch = 2;
    assert_eq!(place(&stage.send_one(message("m-2", position(2)))), ("ok", Position::new(3, seq(4))));
}

#[test]
fn an_anchor_in_a_slot_that_was_written_again_learns_what_is_common() {
    for (epochs, anchor, common) in [
        (&[1, 1, 1, 2, 2, 2][..], position(5), position(3)),
        (&[1, 1, 1, 2, 2, 2], position(4), position(3)),
        (&[1, 1, 1, 2, 2, 2], position(6), position(3)),
        (&[1, 1, 1, 2, 2, 2], position(99), position(3)),
        (&[1, 2, 2, 2, 2, 2, 2], position(7), position(1)),
        (&[1, 1, 1, 1, 1, 1, 2], position(7), position(6)),
        (&[1, 1, 2, 2, 4, 4], Position::new(2, seq(5)), Position::new(2, seq(4))),
        (&[1, 1, 2, 2, 4, 4], Position::new(3, seq(6)), Position::new(2, seq(4))),
        (&[2, 2, 2], position(2), Position::ZERO),
        (&[1, 1, 1, 2], Position::new(0, seq(2)), Position::ZERO),
    ] {
        let stage = Stage::restored(epochs);
        let refusal = stage.refusal(message("m-1", anchor));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::EpochChanged, false), "{anchor} in {epochs:?}");
        assert_eq!(refusal.common, Some(common), "{anchor} in {epochs:?}");
    }
}

#[test]
fn an_anchor_beyond_a_tail_that_was_restored_is_from_before_the_restore() {
    let mut stage = Stage::with_entries(3);
    stage.settings.epoch = 2;
    let refusal = stage.refusal(message("m-1", position(7)));
    assert_eq!((refusal.code, refusal.common), (ErrorCode::EpochChanged, Some(position(3))));
    assert_eq!(place(&stage.send_one(message("m-1", position(3)))), ("ok", Position::new(2, seq(4))));
}

#[test]
fn what_is_common_cannot_be_told_of_a_log_with_gaps() {
    // In search of entry 5, entry 3 is asked for first.
    for missing in [vec![3], vec![3, 4, 5]] {
        let stage = Stage::restored(&[1, 1, 1, 1, 2]);
        let anchor = if missing.len() == 1 { position(5) } else { position(99) };
        for number in missing {
            stage.remove_entry(number);
            stage.put(&Entry { position: Position::new(1, seq(number + 100)), ..entry(&stage.conversation, 1, "bob") });
        }
        assert_eq!(stage.refusal(message("m-1", anchor)).code, ErrorCode::AnchorTooOld);
    }
}

#[test]
fn a_row_without_a_log_is_a_creation_half_seen() {
    let mut stage = Stage::new();
    let half = conversation("dHalf");
    let row = ((half.clone(), user("alice")), member(&user("alice")));
    stage.ports.memory.state().members.insert(row.0, row.1);
    let mut code = |anchor, epoch| {
        stage.settings.epoch = epoch;
        let outcome = stage.send_to(&half, "alice", vec![message("m-1", anchor)]).unwrap().remove(0);
        let Outcome::Refused(refusal) = outcome else { panic!("not refused") };
        refusal.code
    };
    assert_eq!(code(Position::ZERO, 1), ErrorCode::Busy);
    assert_eq!(code(position(1), 1), ErrorCode::AnchorUnknown);
    assert_eq!(code(position(1), 2), ErrorCode::AnchorUnknown);
}

// --- races

// holds: L1
#[test]
fn who_loses_the_slot_takes_the_next_free_one() {
    let stage = Stage::new();
    others_write(&stage, "put", bobs(&stage, 2..=4));
    let (outcome, did) = stage.send_and_tell(message("m-1", position(1)));
    assert_eq!((place(&outcome), did), (("ok", position(5)), Did { stored: 1, attempts: 2, tasks: 1, ..Did::default() }));
    assert_eq!((stage.ports.count("read"), stage.ports.count("put"), stage.ports.count("member")), (2, 2, 1));
    let counts: Vec<u64> = stage.entries().iter().map(|entry| entry.facts.count).collect();
    assert_eq!(counts, [0, 1, 2, 3, 4]);
}

#[test]
fn after_six_lost_slots_it_is_busy() {
    let stage = Stage::new();
    for number in 2..8 {
        others_write(&stage, "put", bobs(&stage, number..=number));
    }
    let refusal = stage.refusal(message("m-1", position(1)));
    assert_eq!((refusal.code, refusal.retryable, refusal.retry_after_ms), (ErrorCode::Busy, true, Some(100)));
    assert_eq!(stage.ports.count("put"), ATTEMPTS_MAX);
    for _ in 0..ATTEMPTS_MAX {
        stage.ports.on("put", Fault::Contended);
    }
    let (outcome, did) = stage.send_and_tell(message("m-1", position(1)));
    assert!(matches!(outcome, Outcome::Refused(refusal) if refusal.code == ErrorCode::Busy));
    assert_eq!(did, Did { attempts: ATTEMPTS_MAX, ..Did::default() });
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("ok", position(8)));
}

// holds: L2
#[test]
fn an_own_put_that_was_sent_twice_is_recognised() {
    let stage = Stage::new();
    stage.ports.on("put", Fault::Resent);
    let (outcome, did) = stage.send_and_tell(message("m-1", position(1)));
    assert_eq!((place(&outcome), did), (("duplicate", position(2)), Did { duplicates: 1, attempts: 1, tasks: 1, ..Did::default() }));
    assert_eq!((stage.entries().len(), stage.take_tasks().len()), (2, 1));
    assert_eq!(stage.ports.count("read"), 1, "the occupant says it all");
}

#[test]
fn an_own_put_is_recognised_at_the_last_attempt_too() {
    let stage = Stage::new();
    for number in 2..7 {
        others_write(&stage, "put", bobs(&stage, number..=number));
    }
    stage.ports.on("put", Fault::Resent);
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("duplicate", position(7)));
}

// holds: L2
#[test]
fn an_earlier_attempt_that_lands_late_is_found_behind_others() {
    let stage = Stage::new();
    let mut late = vec![entry(&stage.conversation, 2, "bob"), entry(&stage.conversation, 3, "alice")];
    let again = NewMessage { body: chatlane_chat::testing::builders::text("alice-3"), ..message("alice-3", position(1)) };
    others_write(&stage, "put", late.clone());
    assert_eq!(place(&stage.send_one(again.clone())), ("duplicate", position(3)));

    // The same in the very slot of this attempt, with another body: somebody used the id twice.
    late = vec![entry_of_bytes(&stage.conversation, 4, "alice", 9)];
    late[0].client_message_id = message("m-1", position(1)).client_message_id;
    others_write(&stage, "put", late);
    assert!(matches!(stage.send_one(message("m-1", position(3))), Outcome::Conflict(stored) if stored.position == position(4)));
}

// holds: L1
#[test]
fn a_slot_below_an_entry_that_was_seen_is_never_claimed() {
    let stage = Stage::new();
    let seen = entry(&stage.conversation, 2, "bob");
    others_write(&stage, "put", vec![seen.clone()]);
    // A read that does not show what the put has shown.
    stage.ports.meanwhile("read", |_| {});
    let lane = stage.conversation.clone();
    stage.ports.meanwhile("read", move |memory| {
        memory.state().log.get_mut(&lane).unwrap().remove(&seq(2)).unwrap();
    });
    others_write(&stage, "put", vec![seen]);
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("ok", position(3)));
    assert_eq!(stage.ports.count("put"), 2, "slot 2 was not tried again");
}

// holds: L1
#[test]
fn a_log_that_is_cut_under_a_writer_ends_the_attempt() {
    // The tail itself, or an entry above it.
    for cut in [1, 3] {
        let stage = Stage::new();
        let (lane, others) = (stage.conversation.clone(), bobs(&stage, 2..=4));
        stage.ports.meanwhile("put", move |memory| {
            let mut stored = memory.state();
            let log = stored.log.get_mut(&lane).unwrap();
            log.extend(others.into_iter().map(|entry| (entry.position.seq, entry)));
            log.remove(&seq(cut));
        });
        assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::AnchorTooOld, "without {cut}");
    }
}

#[test]
fn a_log_that_is_restored_under_a_writer_ends_the_attempt() {
    let stage = Stage::with_entries(2);
    let (lane, other) = (stage.conversation.clone(), bobs(&stage, 3..=3));
    stage.ports.meanwhile("put", move |memory| {
        let mut stored = memory.state();
        let log = stored.log.get_mut(&lane).unwrap();
        log.get_mut(&seq(2)).unwrap().position.epoch = 2;
        log.extend(other.into_iter().map(|entry| (entry.position.seq, entry)));
    });
    assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::AnchorTooOld);
}

#[test]
fn a_log_that_is_gone_ends_the_attempt() {
    let stage = Stage::new();
    let lane = stage.conversation.clone();
    stage.ports.on("put", Fault::Contended);
    stage.ports.meanwhile("read", |_| {});
    stage.ports.meanwhile("read", move |memory| {
        memory.state().log.remove(&lane);
    });
    assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::AnchorTooOld);
}

/// However far: the tail is the end of the log.
#[test]
fn a_lane_that_runs_away_makes_the_anchor_stale() {
    for tail in [202, 300] {
        let stage = Stage::new();
        others_write(&stage, "put", bobs(&stage, 2..=tail));
        let refusal = stage.refusal(message("m-1", position(1)));
        assert_eq!((refusal.code, refusal.tail), (ErrorCode::AnchorStale, Some(position(tail))));
    }
}

#[test]
fn what_a_frame_has_stored_itself_does_not_make_its_anchor_stale() {
    let mut stage = Stage::with_entries(191);
    stage.settings.limits.admission = AdmissionLimit::Off;
    let frame = (1..=25).map(|n| message(&format!("m-{n}"), position(1))).collect();
    let outcomes = stage.send("alice", frame).unwrap();
    let places: Vec<_> = outcomes.iter().map(|outcome| place(outcome).1).collect();
    assert_eq!(places, (192..=216).map(position).collect::<Vec<_>>());
}

#[test]
fn what_an_answer_tells_must_have_been_read() {
    // What came between, the tail behind a stale anchor, and what is common with the log of before a restore: read in two ways.
    let raced = Stage::new();
    others_write(&raced, "put", bobs(&raced, 2..=2));
    let epochs = &[1, 1, 1, 2, 2, 2];
    for (stage, anchor, before, call) in [
        (raced, position(1), 1, "read"),
        (Stage::with_entries(202), position(1), 0, "read_back"),
        (Stage::restored(epochs), position(5), 0, "read_back"),
        (Stage::restored(epochs), position(5), 1, "read"),
    ] {
        (0..before).for_each(|_| stage.ports.meanwhile(call, |_| {}));
        stage.ports.on(call, Fault::RequestLost);
        assert_eq!(stage.refusal(message("m-1", anchor)).code, ErrorCode::Unavailable, "{call} from {anchor}");
    }
}

// --- rights

// holds: M1
#[test]
fn a_member_who_is_removed_while_sending_writes_nothing() {
    let stage = Stage::new();
    let lane = stage.conversation.clone();
    let mut removal = entry(&lane, 2, "bob");
    removal.facts.membership_changed = seq(2);
    removal.facts.removed = seq(2);
    stage.ports.meanwhile("put", move |memory| {
        let mut stored = memory.state();
        stored.members.remove(&(lane.clone(), user("alice"))).unwrap();
        stored.log.get_mut(&lane).unwrap().insert(seq(2), removal);
    });
    assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::NotFound);
    assert_eq!(stage.entries().len(), 2);
}

// holds: M1
#[test]
fn a_policy_that_changes_while_sending_is_obeyed() {
    let stage = Stage::new();
    let mut closing = entry(&stage.conversation, 2, "bob");
    closing.facts.policy.closed = true;
    others_write(&stage, "put", vec![closing]);
    assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::Forbidden);
}

// holds: M1
#[test]
fn a_row_older_than_a_recent_change_of_membership_is_read_again_as_a_whole() {
    for (tail, settled) in [(2, 1), (201, 1), (202, 0)] {
        let stage = Stage::new();
        for number in 2..=tail {
            let mut entry = entry(&stage.conversation, number, "bob");
            entry.facts.membership_changed = seq(2);
            stage.put(&entry);
        }
        assert_eq!(place(&stage.send_one(message("m-1", position(tail)))), ("ok", position(tail + 1)));
        assert_eq!(stage.ports.count("member_consistent"), settled, "tail {tail}");
    }
}

/// Whatever the clock says: it may jump.
// holds: M1
#[test]
fn a_row_that_was_read_long_before_the_log_is_read_again_as_a_whole() {
    for (jump_ms, pass_ms, settled) in [(0, 500, 0), (0, 501, 1), (86_400_000, 0, 0)] {
        let stage = Stage::new();
        stage.ports.meanwhile("read", move |memory| {
            memory.clock.set(start().plus_ms(jump_ms));
            memory.clock.advance_ms(pass_ms);
        });
        assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("ok", position(2)));
        assert_eq!(stage.ports.count("member_consistent"), settled, "{pass_ms} ms");
    }
}

/// With an anchor that was guessed, behind the removal; also where that is no recent one any more when the log is read.
// holds: M1
#[test]
fn a_member_who_is_removed_between_row_and_log_writes_nothing_and_learns_no_place() {
    for (anchor, secrets) in [(1, 0), (3, 1), (102, 100), (302, 300), (1, 300), (2, 300)] {
        let stage = Stage::new();
        stage.remove_alice_meanwhile("read", 2, secrets);
        let refusal = stage.refusal(message("m-1", position(anchor)));
        assert_eq!((refusal.code, refusal.tail), (ErrorCode::NotFound, None), "{anchor}, {secrets}");
        assert_eq!(stage.entries().len() as u64, 2 + secrets);
    }
}

/// But learns where an own entry is.
// holds: L2
#[test]
fn who_is_removed_meanwhile_finds_own_entries() {
    let stage = Stage::new();
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("ok", position(2)));
    stage.remove_alice_meanwhile("read", 3, 0);
    assert_eq!(place(&stage.send_one(message("m-1", position(1)))), ("duplicate", position(2)));
}

#[test]
fn rights_that_cannot_be_read_again_are_none() {
    for call in ["member", "member_consistent"] {
        let stage = Stage::new();
        let mut change = entry(&stage.conversation, 2, "bob");
        change.facts.membership_changed = seq(2);
        others_write(&stage, "put", vec![change]);
        stage.ports.on(call, Fault::RequestLost);
        assert_eq!(stage.refusal(message("m-1", position(1))).code, ErrorCode::Unavailable, "{call}");
        if call == "member" {
            assert_eq!(stage.ports.count("put"), 0);
            stage.send_one(message("m-1", position(1)));
        }
        assert_eq!(stage.entries().len(), if call == "member" { 3 } else { 2 }, "{call}");
    }
}

// holds: K1
#[test]
fn what_a_later_version_keeps_in_the_facts_and_the_policy_stands_in_the_next_entry() {
    let stage = Stage::with_entries(2);
    let later = |name: &str| Kept::from([(name.to_owned(), "in the backend's words".to_owned())]);
    stage.change_tail(|facts| (facts.later, facts.policy.later) = (later("zz"), later("q")));
    assert!(matches!(stage.send_one(message("m-1", position(1))), Outcome::Ok(_)));
    let facts = &stage.entries()[2].facts;
    assert_eq!((&facts.later, &facts.policy.later), (&later("zz"), &later("q")));
}

// holds: K1
#[test]
fn an_own_id_in_an_entry_of_a_later_kind_is_a_duplicate() {
    let stage = Stage::with_entries(2);
    let kind = Kind::Later(LaterEntry { kind: "edit".to_owned(), wire: None });
    stage.put(&Entry { kind, ..entry(&stage.conversation, 3, "alice") });
    let again = NewMessage { client_message_id: message_id("alice-3"), ..message("m-1", position(2)) };
    assert!(matches!(stage.send_one(again), Outcome::Duplicate(stored) if stored.position == position(3)));
    // And the lane goes on behind it.
    assert!(matches!(stage.send_one(message("m-2", position(3))), Outcome::Ok(stored) if stored.position == position(4)));
}

#[test]
fn the_messages_of_who_opened_a_direct_conversation_are_counted_until_the_other_writes() {
    let stage = Stage::new();
    stage.change_tail(|facts| facts.unanswered = Some(0));
    let unanswered = || stage.entries().last().unwrap().facts.unanswered;
    for (who, id, expected) in [("alice", "m-1", Some(1)), ("alice", "m-2", Some(2)), ("bob", "m-3", None), ("alice", "m-4", None)] {
        let sent = stage.send(who, vec![message(id, position(1))]).unwrap();
        assert!(matches!(sent[..], [Outcome::Ok(_)]), "{sent:?}");
        assert_eq!(unanswered(), expected, "after {id}");
    }
}
