//! Positions that are none, and whose membership ends; what goes wrong.

use chatlane_chat::ports::MessageLog as _;
use chatlane_chat::testing::builders::{conversation, entry, entry_of_bytes, position, seq, user, wire};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_protocol::frames::{Missed, ServerFrame, Skip, SyncOutcome, encode};
use chatlane_protocol::request::SyncFrom;
use chatlane_protocol::{ConversationId, ErrorCode, Position, Seq};

use super::{add, ask, ask_with_ack, catch_up, from, missed, only, refusal};

#[test]
fn a_position_that_no_server_gave_is_unknown() {
    let stage = Stage::with_entries(4);
    for after in [position(5), position(99), Position::new(2, seq(4)), Position::new(2, seq(5)), Position::new(1, Seq::MAX)] {
        let refusal = refusal(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::AnchorUnknown, false), "{after}");
    }
}

// holds: D1
#[test]
fn a_position_from_before_a_restore_learns_what_is_common() {
    for (epochs, deployment, after, common) in [
        (&[1, 1, 1, 2, 2][..], 2, position(5), position(3)),
        (&[1, 1, 1, 2, 2], 2, position(99), position(3)),
        (&[1, 1, 1], 2, position(7), position(3)),
        (&[2, 2], 2, position(2), Position::ZERO),
    ] {
        let mut stage = Stage::restored(epochs);
        stage.settings.epoch = deployment;
        let refusal = refusal(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!((refusal.code, refusal.common), (ErrorCode::EpochChanged, Some(common)), "{after} in {epochs:?}");
        let (have, _) = catch_up(&stage, "alice", vec![from(&stage.conversation, common)]);
        let rest = &stage.entries()[usize::try_from(common.seq.get()).unwrap()..];
        assert_eq!(have.get(&stage.conversation).cloned().unwrap_or_default(), wire(rest), "{after} in {epochs:?}");
    }
}

// holds: D1
#[test]
fn a_log_with_a_gap_behind_the_position_is_too_old() {
    let stage = Stage::with_entries(6);
    stage.remove_entry(4);
    for after in [position(2), position(4), Position::ZERO] {
        let refusal = refusal(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::AnchorTooOld, false), "{after}");
    }
    stage.change_row("alice", |row| row.visible_from = seq(5));
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::AnchorTooOld);
}

// --- rights

// holds: R1
#[test]
fn a_stranger_gets_the_same_answer_whether_the_conversation_exists_or_not() {
    let stage = Stage::with_entries(40);
    let broken = Stage::with_entries(4);
    broken.remove_entry(3);
    let missing = conversation(&"x".repeat(stage.conversation.as_str().len()));
    for after in [Position::ZERO, position(1), position(40), position(99), Position::new(0, seq(1)), Position::new(9, seq(1))] {
        let told = |stage: &Stage, id: &ConversationId| {
            let frame = encode(&ServerFrame::Sync(ask(stage, "mallory", &[from(id, after)])));
            frame.replace(id.as_str(), "…")
        };
        let not_found = told(&stage, &missing);
        assert!(not_found.contains(r#""code":"not_found""#), "{not_found}");
        assert_eq!(told(&stage, &stage.conversation), not_found, "{after}");
        assert_eq!(told(&broken, &broken.conversation), not_found, "{after}");
    }
}

// holds: M1
#[test]
fn what_is_before_the_joining_is_skipped_and_the_rest_goes_on_there() {
    let stage = Stage::with_entries(6);
    stage.change_row("alice", |row| row.visible_from = seq(4));
    let all = wire(&stage.entries());
    let skip = Some(Skip { to: position(3) });
    for (after, skip, entries) in [
        (Position::ZERO, skip, &all[3..]),
        (position(1), skip, &all[3..]),
        (position(2), skip, &all[3..]),
        (position(3), None, &all[3..]),
        (position(5), None, &all[5..]),
    ] {
        let missed = only(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!(missed, Missed { skip, entries: entries.to_vec(), done: true, ended: None }, "after {after}");
    }
    // The other member was there from the start.
    assert_eq!(only(&ask(&stage, "bob", &[from(&stage.conversation, Position::ZERO)])).entries, all);
}

/// M1: the rows are read first, so what came of the log may be newer than they are.
// holds: M1
#[test]
fn who_is_removed_while_the_log_is_read_gets_nothing_of_it() {
    for (visible_from, secrets) in [(1, 0), (4, 0), (1, 150), (1, 400)] {
        let stage = Stage::with_entries(5);
        stage.change_row("alice", |row| row.visible_from = seq(visible_from));
        stage.remove_alice_meanwhile("read", 6, secrets);
        assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::NotFound, "{secrets}");
        assert!(stage.ports.is_answered_before("inbox_rows", "read"));
    }
    // What was read ends before the removal, or nothing was removed: no third read.
    for (bytes, ended) in [(1, 1), (29_000, 0)] {
        let stage = Stage::new();
        (2..=5).for_each(|number| stage.put(&entry_of_bytes(&stage.conversation, number, "bob", bytes)));
        stage.remove_alice_meanwhile("read", 6, 0);
        let answer = ask(&stage, "alice", &[from(&stage.conversation, position(1))]);
        assert_eq!(missed(&answer.pages[0]).is_some_and(|missed| missed.entries.len() == 1), ended == 0);
        assert_eq!(stage.ports.count("member_consistent"), ended);
    }
}

// holds: M1
#[test]
fn a_membership_that_changes_or_is_seen_half_is_asked_for_again() {
    let stage = Stage::with_entries(5);
    let id = stage.conversation.clone();
    stage.ports.meanwhile("read", move |memory| {
        let mut again = entry(&id, 6, "bob");
        again.facts.membership_changed = seq(6);
        assert!(block_on(memory.put(&again)).is_ok());
        memory.state().members.get_mut(&(id, user("alice"))).unwrap().visible_from = seq(6);
    });
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::Unavailable);

    let stage = Stage::with_entries(2);
    stage.change_row("alice", |row| row.visible_from = seq(9));
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::Unavailable);
}

/// A single read sees a transaction item by item: the row of a new member may not be there yet.
#[test]
fn a_row_that_is_not_there_yet_is_read_again_when_the_membership_is() {
    let stage = Stage::with_entries(3);
    let id = stage.conversation.clone();
    let row = stage.ports.memory.state().inboxes.get_mut(&user("alice")).unwrap().remove(&id).unwrap();
    stage.ports.meanwhile("inbox_rows", |_| {});
    stage.ports.meanwhile("inbox_rows", move |memory| {
        memory.state().inboxes.get_mut(&user("alice")).unwrap().insert(id, row);
    });
    assert_eq!(only(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).entries.len(), 2);
    // Gone again: removed meanwhile.
    stage.ports.memory.state().inboxes.clear();
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::NotFound);
}

// --- what goes wrong

#[test]
fn a_conversation_that_cannot_be_read_is_asked_for_again_and_keeps_no_other_back() {
    for (before, call) in [(0, "read"), (1, "read"), (0, "member_consistent"), (0, "read_back")] {
        let mut stage = Stage::with_entries(5);
        let other = add(&stage, "dOther", 2);
        let (mut asked, mut failing) = (vec![from(&stage.conversation, position(1)), from(&other, position(1))], 0);
        match call {
            "read_back" => (stage.settings.epoch, asked[0].after) = (2, position(99)),
            "member_consistent" => stage.change_tail(|facts| facts.membership_changed = seq(5)),
            _ => failing = before,
        }
        (0..before).for_each(|_| stage.ports.meanwhile(call, |_| {}));
        stage.ports.on(call, Fault::AnswerLost);
        let answer = ask(&stage, "alice", &asked);
        assert_eq!((answer.pages.len(), answer.done), (2, true), "{call}");
        for (index, page) in answer.pages.iter().enumerate() {
            match &page.outcome {
                SyncOutcome::Ok(missed) => assert!(index != failing && missed.done, "{call}"),
                SyncOutcome::Refused(refusal) => {
                    assert_eq!((index, refusal.code, refusal.retryable), (failing, ErrorCode::Unavailable, true), "{call}");
                }
            }
        }
    }
}

/// Without the rows nobody gets anything; with those of an earlier round what was read by then is a page.
#[test]
fn where_no_rows_can_be_read_the_sync_ends_there() {
    for before in [0, 1] {
        let stage = Stage::with_entries(5);
        let asked: Vec<SyncFrom> = [stage.conversation.clone(), add(&stage, "dOther", 2)].iter().map(|id| from(id, position(1))).collect();
        (0..before).for_each(|_| stage.ports.meanwhile("inbox_rows", |_| {}));
        stage.ports.on("inbox_rows", Fault::AnswerLost);
        let answer = ask_with_ack(&stage, "alice", asked, vec![]);
        assert_eq!(answer.ok().map(|answer| (answer.pages.len(), answer.done)), (before == 1).then_some((1, false)));
    }
}
