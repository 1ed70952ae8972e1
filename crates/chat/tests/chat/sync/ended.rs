//! Who was removed, or has left, is told what was for them, and where it ended; nothing behind it, and no more than that to anybody.

use chatlane_chat::log::{ChangeEntry, Role};
use chatlane_chat::testing::builders::{entry_of_bytes, message, seq};
use chatlane_chat::testing::faulty::Fault;
use chatlane_protocol::frames::Skip;
use chatlane_protocol::{ErrorCode, Outcome};

use super::*;

/// Alice, the owner, and bob, who has written entries 2 to 4; by entry 5 bob is removed; alice has written entries 6 and 7.
fn removed() -> Stage {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member)]);
    for number in 2..=4 {
        stage.put(&following(&stage, number, "bob"));
    }
    remove(&stage, "out");
    for number in 6..=7 {
        stage.put(&following(&stage, number, "alice"));
    }
    stage
}

/// A message behind the tail, with its facts.
fn following(stage: &Stage, number: u64, sender: &str) -> chatlane_chat::Entry {
    let facts = stage.entries().pop().unwrap().facts;
    chatlane_chat::Entry { facts, ..entry(&stage.conversation, number, sender) }
}

fn remove(stage: &Stage, id: &str) {
    stage.change("alice", id, position(1), ChangeEntry::Removed(vec![user("bob")])).unwrap();
}

fn add(stage: &Stage, id: &str) {
    stage.change("alice", id, position(1), ChangeEntry::Added(vec![user("bob")])).unwrap();
}

fn seqs(missed: &Missed) -> Vec<u64> {
    missed.entries.iter().map(|entry| entry.position.seq.get()).collect()
}

// holds: M1
#[test]
fn who_was_removed_is_told_everything_up_to_that_and_where_it_ended() {
    let stage = removed();
    for (after, expected) in [(0, vec![1, 2, 3, 4, 5]), (3, vec![4, 5]), (4, vec![5]), (5, vec![]), (7, vec![]), (99, vec![])] {
        let after = if after == 0 { Position::ZERO } else { position(after) };
        let missed = only(&ask(&stage, "bob", &[from(&stage.conversation, after)]));
        assert_eq!((seqs(&missed), missed.done, missed.ended), (expected, true, Some(position(5))), "after {after}");
    }
    assert_eq!(only(&ask(&stage, "alice", &[from(&stage.conversation, position(3))])).ended, None);
    assert_eq!(refusal(&ask(&stage, "mallory", &[from(&stage.conversation, position(3))])).code, ErrorCode::NotFound);
}

/// At the end or behind it, nothing of the log is read: whether a position exists there is not told either.
// holds: M1, R1
#[test]
fn behind_the_end_nothing_is_read() {
    let stage = removed();
    for after in [position(5), position(6), position(99), Position::new(9, seq(6))] {
        assert_eq!(only(&ask(&stage, "bob", &[from(&stage.conversation, after)])).ended, Some(position(5)), "{after}");
    }
    assert_eq!(stage.ports.count("read") - 1, 0, "but for the one by which bob was removed");
}

// holds: M1
#[test]
fn who_was_added_again_goes_on_there_and_ends_there_when_removed_again() {
    let stage = removed();
    add(&stage, "again");
    let missed = only(&ask(&stage, "bob", &[from(&stage.conversation, position(5))]));
    assert_eq!((missed.skip, seqs(&missed), missed.ended), (Some(Skip { to: position(7) }), vec![8], None));
    stage.put(&following(&stage, 9, "alice"));
    remove(&stage, "out again");
    stage.put(&following(&stage, 11, "alice"));
    for (after, skip) in [(2, true), (5, true), (7, false), (8, false)] {
        let missed = only(&ask(&stage, "bob", &[from(&stage.conversation, position(after))]));
        let first = if skip { 8 } else { after + 1 };
        assert_eq!((missed.skip.is_some(), seqs(&missed), missed.ended), (skip, (first..=10).collect(), Some(position(10))), "{after}");
    }
}

/// Page by page: what is not the last one says so.
#[test]
fn a_long_end_comes_in_pages() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member)]);
    for number in 2..=6 {
        let facts = stage.entries().pop().unwrap().facts;
        stage.put(&chatlane_chat::Entry { facts, ..entry_of_bytes(&stage.conversation, number, "alice", 12_000) });
    }
    remove(&stage, "out");
    let (mut after, mut came) = (position(1), vec![]);
    for page in 1.. {
        let missed = only(&ask(&stage, "bob", &[from(&stage.conversation, after)]));
        assert_eq!(missed.ended, Some(position(7)));
        after = missed.entries.last().unwrap().position;
        came.extend(seqs(&missed));
        if missed.done {
            assert!(page > 1);
            break;
        }
    }
    assert_eq!(came, [2, 3, 4, 5, 6, 7]);
    // Beside others, too, where the first read is a glance.
    let both = ask(&stage, "bob", &[from(&conversation("dNone"), position(1)), from(&stage.conversation, position(5))]);
    assert_eq!(both.pages.iter().filter_map(missed).map(seqs).collect::<Vec<_>>(), [[6, 7]]);
}

/// The row was read before the removal, the log behind it: what is answered ends with the removal.
// holds: M1
#[test]
fn who_is_removed_while_the_log_is_read_is_told_the_end() {
    for secrets in [0, 1, 3] {
        let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member)]);
        let (lane, settings) = (stage.conversation.clone(), stage.settings.clone());
        stage.ports.meanwhile("read", move |memory| {
            let draft = chatlane_chat::log::draft::Draft {
                client_message_id: chatlane_chat::testing::builders::message_id("out"),
                anchor: position(1),
                kind: ChangeEntry::Removed(vec![user("bob")]),
            };
            let asked = chatlane_chat::requests::change::Asked { id: request_id("r-2"), conversation: lane.clone(), draft };
            block_on(chatlane_chat::requests::change::change(memory, &settings, &caller("alice"), &asked)).unwrap();
            for number in 3..3 + secrets {
                let facts = memory.entries(&lane).pop().unwrap().facts;
                let secret = chatlane_chat::Entry { facts, ..entry(&lane, number, "alice") };
                assert!(block_on(chatlane_chat::ports::MessageLog::put(memory, &secret)).is_ok());
            }
        });
        let missed = only(&ask(&stage, "bob", &[from(&stage.conversation, position(1))]));
        assert_eq!((seqs(&missed), missed.done, missed.ended), (vec![2], true, Some(position(2))), "{secrets}");
    }
}

#[test]
fn a_membership_that_cannot_be_read_is_asked_for_again() {
    let stage = removed();
    stage.ports.on("memberships", Fault::RequestLost);
    assert_eq!(refusal(&ask(&stage, "bob", &[from(&stage.conversation, position(1))])).code, ErrorCode::Unavailable);
}

/// An own message is found where it was stored; nothing is stored any more.
// holds: L2, M1
#[test]
fn who_was_removed_learns_where_own_messages_are_and_sends_no_more() {
    let stage = removed();
    let outcome = |id: &str, anchor| stage.send("bob", vec![message(id, anchor)]).unwrap().remove(0);
    for anchor in [Position::ZERO, position(1), position(3)] {
        let Outcome::Duplicate(found) = outcome("bob-3", anchor) else { panic!("it is there") };
        assert_eq!(found.position, position(3), "{anchor}");
    }
    for (id, anchor) in [("bob-3", position(4)), ("new", position(1)), ("new", position(5)), ("new", position(6)), ("new", position(99))] {
        let Outcome::Refused(refusal) = outcome(id, anchor) else { panic!("not a member: {id} {anchor}") };
        assert_eq!(refusal.code, ErrorCode::NotFound, "{id} {anchor}");
    }
    assert_eq!(stage.entries().len(), 7);
    let mallorys = stage.send("mallory", vec![message("bob-3", position(1))]).unwrap().remove(0);
    assert!(matches!(mallorys, Outcome::Refused(refusal) if refusal.code == ErrorCode::NotFound));
}

/// The same by `probe`, for what is too far behind to be sent.
// holds: L2, M1
#[test]
fn a_probe_of_who_was_removed_goes_up_to_the_end() {
    let stage = removed();
    let probe = |who: &str, anchor: Position, id: &str| {
        let request = chatlane_protocol::request::Probe {
            id: request_id("r-1"),
            conversation: stage.conversation.clone(),
            anchor,
            ids: vec![chatlane_chat::testing::builders::message_id(id)],
        };
        block_on(chatlane_chat::requests::probe::probe(&stage.ports, &stage.settings, &caller(who), &request)).map(|done| done.answer)
    };
    for (anchor, id, found) in [(0, "bob-3", true), (2, "bob-3", true), (4, "bob-3", false), (1, "other", false), (5, "other", false)] {
        let anchor = if anchor == 0 { Position::ZERO } else { position(anchor) };
        let answer = probe("bob", anchor, id).unwrap();
        assert_eq!((answer.found.len(), answer.reached, answer.done), (usize::from(found), position(5), true), "{anchor} {id}");
    }
    for (who, anchor) in [("bob", 6), ("bob", 99), ("mallory", 1)] {
        assert!(matches!(probe(who, position(anchor), "bob-3"), Err(chatlane_chat::Refused::NotFound)), "{who} {anchor}");
    }
}

/// Removed, added again and removed again between the row and its second reading: what was read by the first row is not all for them.
// holds: M1
#[test]
fn who_has_come_and_gone_while_the_log_is_read_asks_again() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member)]);
    let (lane, settings) = (stage.conversation.clone(), stage.settings.clone());
    stage.ports.meanwhile("read", move |memory| {
        let (out, back) = (ChangeEntry::Removed(vec![user("bob")]), ChangeEntry::Added(vec![user("bob")]));
        for (number, kind) in [out.clone(), back, out].into_iter().enumerate() {
            let client_message_id = chatlane_chat::testing::builders::message_id(&format!("change-{number}"));
            let draft = chatlane_chat::log::draft::Draft { client_message_id, anchor: position(1), kind };
            let asked = chatlane_chat::requests::change::Asked { id: request_id("r-2"), conversation: lane.clone(), draft };
            block_on(chatlane_chat::requests::change::change(memory, &settings, &caller("alice"), &asked)).unwrap();
            let tail = memory.entries(&lane).pop().unwrap();
            let secret = chatlane_chat::Entry { facts: tail.facts, ..entry(&lane, tail.position.seq.get() + 1, "alice") };
            assert!(block_on(chatlane_chat::ports::MessageLog::put(memory, &secret)).is_ok());
        }
    });
    let asked = [from(&stage.conversation, position(1))];
    assert_eq!(refusal(&ask(&stage, "bob", &asked)).code, ErrorCode::Unavailable);
    let missed = only(&ask(&stage, "bob", &asked));
    assert_eq!((missed.skip, seqs(&missed), missed.ended), (Some(Skip { to: position(3) }), vec![4, 5, 6], Some(position(6))));
}

/// What a restore has taken back is told to who was removed since, too.
#[test]
fn after_a_restore_the_end_is_of_its_epoch() {
    let mut stage = removed();
    stage.settings.epoch = 2;
    stage.change("alice", "in", position(1), ChangeEntry::Added(vec![user("bob")])).unwrap();
    remove(&stage, "out again");
    let told = refusal(&ask(&stage, "bob", &[from(&stage.conversation, position(40))]));
    assert_eq!((told.code, told.common), (ErrorCode::EpochChanged, Some(position(7))));
    assert_eq!(only(&ask(&stage, "bob", &[from(&stage.conversation, Position::new(2, seq(9)))])).ended, Some(Position::new(2, seq(9))));
}

/// An own change whose enqueue died is queued with what the head is to tell.
// holds: L4
#[test]
fn a_change_that_sync_queues_tells_what_the_group_is() {
    let stage = removed();
    stage.take_tasks();
    ask(&stage, "alice", &[from(&stage.conversation, position(4))]);
    let [(task, 0)] = &stage.take_tasks()[..] else { panic!("one task") };
    assert_eq!((task.first, task.group), (seq(5), stage.entries().pop().unwrap().facts.group_marks()));
}
