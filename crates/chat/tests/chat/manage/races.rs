//! Changes that are retried, of which nothing is known, and that meet others: each is stored once, and judged by what is so where it stands.

use chatlane_chat::log::append::ATTEMPTS_MAX;
use chatlane_chat::log::draft::Draft;
use chatlane_chat::log::{ChangeEntry, Kind, LaterEntry, Role};
use chatlane_chat::requests::change::{Asked, change};
use chatlane_chat::testing::builders::{caller, entry, message, message_id, position, request_id, settings, unavailable};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done, Entry, Refused};
use chatlane_protocol::frames::ChangeOutcome;
use chatlane_protocol::{ErrorCode, GroupSettings, Outcome};

use super::{added, done, four, left, locked, member, outcome, refused, removed, role, row, set, spans, stored, titled};

/// Just before the next call of this method takes effect, others ask for these and are answered.
fn meanwhile(stage: &Stage, method: &'static str, others: &[(&'static str, ChangeEntry)]) {
    let (conversation, others) = (stage.conversation.clone(), others.to_vec());
    stage.ports.meanwhile(method, move |memory| {
        for (number, (who, kind)) in others.into_iter().enumerate() {
            let draft = Draft { client_message_id: message_id(&format!("meanwhile-{number}")), anchor: position(1), kind };
            let asked = Asked { id: request_id("r-2"), conversation: conversation.clone(), draft };
            let answer = block_on(change(memory, &settings(), &caller(who), &asked)).unwrap().answer;
            assert!(matches!(answer.outcome, ChangeOutcome::Ok(_)), "{answer:?}");
        }
    });
}

/// One of each kind that alice may.
fn all() -> [ChangeEntry; 7] {
    [
        added(&["erin", "frank"]),
        removed(&["carol", "dave"]),
        left(Some("bob")),
        role("dave", Role::Owner),
        set(locked(true)),
        set(titled("a")),
        ChangeEntry::Closed,
    ]
}

// --- retries

/// Also to who has left by it.
// holds: L2, L4
#[test]
fn a_retried_change_is_answered_with_the_first_place_and_queued_until_its_delivery_has_begun() {
    for kind in all() {
        let stage = four();
        done(&stage, "alice", "change", kind.clone());
        stage.take_tasks();
        let again = stage.change("alice", "change", position(1), kind.clone()).unwrap();
        assert_eq!(again.answer.outcome, ChangeOutcome::Duplicate(stored(2)), "{kind:?}");
        assert_eq!(again.did, Did { duplicates: 1, tasks: 1, ..Did::default() }, "{kind:?}");
        assert_eq!(stage.take_tasks().len(), 1);
        stage.deliver_up_to(2);
        assert_eq!(outcome(&stage, "alice", "change", kind.clone()), ChangeOutcome::Duplicate(stored(2)), "{kind:?}");
        assert_eq!((stage.take_tasks(), stage.entries().len(), stage.ports.count("change")), (vec![], 2, 1));
    }
}

// holds: L2
#[test]
fn a_retry_of_what_was_stored_in_part_is_a_duplicate() {
    for (wanted, done_already) in [
        (added(&["bob", "erin"]), added(&["erin"])),
        (removed(&["dave", "zoe"]), removed(&["dave"])),
        (set(GroupSettings { send: Some(Role::Member), ..locked(true) }), set(locked(true))),
        (set(GroupSettings { locked: Some(false), ..titled("a") }), set(titled("a"))),
    ] {
        let stage = four();
        assert_eq!(done(&stage, "alice", "change", wanted.clone()).kind, Kind::Change(done_already));
        assert_eq!(outcome(&stage, "alice", "change", wanted), ChangeOutcome::Duplicate(stored(2)));
    }
}

// holds: L2
#[test]
fn something_else_under_the_same_id_conflicts_whatever_it_would_change() {
    let stage = four();
    done(&stage, "alice", "change", added(&["erin", "frank"]));
    stage.take_tasks();
    for other in [
        added(&["erin"]),
        removed(&["erin", "frank"]),
        role("erin", Role::Admin),
        set(locked(true)),
        left(Some("bob")),
        ChangeEntry::Closed,
    ] {
        assert_eq!(outcome(&stage, "alice", "change", other.clone()), ChangeOutcome::Conflict(stored(2)), "{other:?}");
    }
    // A message, and entry 1, are something else too; and a change is to a message.
    let sent = stage.send("alice", vec![message("m-1", position(1))]).unwrap();
    assert!(matches!(sent[..], [Outcome::Ok(_)]));
    assert_eq!(outcome(&stage, "alice", "m-1", set(locked(true))), ChangeOutcome::Conflict(stored_after_one_message(3)));
    assert_eq!(outcome(&stage, "alice", "create", set(locked(true))), ChangeOutcome::Conflict(stored(1)));
    let sent = stage.send("alice", vec![message("change", position(1))]).unwrap();
    assert!(matches!(&sent[..], [Outcome::Conflict(place)] if *place == stored(2)));
    // Of another user it is another name.
    done(&stage, "bob", "change", set(locked(true)));
}

fn stored_after_one_message(number: u64) -> chatlane_protocol::frames::Stored {
    chatlane_protocol::frames::Stored { count: 1, ..stored(number) }
}

// holds: K1
#[test]
fn an_own_id_in_an_entry_of_a_later_kind_is_a_duplicate() {
    let stage = four();
    let kind = Kind::Later(LaterEntry { kind: "renamed".to_owned(), wire: None });
    let facts = stage.entries()[0].facts.clone();
    stage.put(&Entry { kind, facts, ..entry(&stage.conversation, 2, "alice") });
    assert!(
        matches!(outcome(&stage, "alice", "alice-2", set(titled("a"))), ChangeOutcome::Duplicate(place) if place.position == position(2))
    );
    done(&stage, "alice", "change", set(titled("a")));
}

// --- what fails

// holds: L2, L3
#[test]
fn whatever_is_lost_a_change_is_retried_and_stored_once() {
    let title = set(titled("a"));
    for (call, kind) in [
        ("member", title.clone()),
        ("read", title.clone()),
        ("memberships", title.clone()),
        ("descriptions", title.clone()),
        ("change", title.clone()),
        ("change", added(&["erin"])),
        ("enqueue", removed(&["dave"])),
    ] {
        let stage = four();
        stage.ports.on(call, Fault::RequestLost);
        let lost = stage.change("alice", "change", position(1), kind.clone()).unwrap_err();
        assert_eq!((lost.to_wire(), stage.take_tasks()), (unavailable(), vec![]), "{call}");
        let again = outcome(&stage, "alice", "change", kind);
        assert_eq!(again, if call == "enqueue" { ChangeOutcome::Duplicate(stored(2)) } else { ChangeOutcome::Ok(stored(2)) }, "{call}");
        assert_eq!((stage.entries().len(), stage.take_tasks().len()), (2, 1), "{call}");
    }
}

// holds: L3
#[test]
fn a_duplicate_is_not_answered_unless_its_delivery_has_begun_or_is_queued() {
    for call in ["heads", "enqueue"] {
        let stage = four();
        done(&stage, "alice", "change", set(locked(true)));
        stage.take_tasks();
        stage.ports.on(call, Fault::RequestLost);
        assert!(matches!(stage.change("alice", "change", position(1), set(locked(true))), Err(Refused::Failed(_))), "{call}");
        assert_eq!(outcome(&stage, "alice", "change", set(locked(true))), ChangeOutcome::Duplicate(stored(2)));
    }
}

// holds: L2
#[test]
fn a_change_of_which_nothing_is_known_is_found_by_the_retry() {
    let stage = four();
    stage.ports.on("change", Fault::AnswerLost);
    assert!(matches!(stage.change("alice", "change", position(1), removed(&["dave"])), Err(Refused::Failed(_))));
    assert_eq!(outcome(&stage, "alice", "change", removed(&["dave"])), ChangeOutcome::Duplicate(stored(2)));
    assert_eq!((spans(&stage, "dave").len(), stage.take_tasks().len()), (1, 1));
}

/// Also by who has left by it.
// holds: L2
#[test]
fn an_own_change_that_was_sent_twice_is_recognised() {
    for kind in all() {
        let stage = four();
        stage.ports.on("change", Fault::Resent);
        let Done { answer, did } = stage.change("alice", "change", position(1), kind.clone()).unwrap();
        assert_eq!(answer.outcome, ChangeOutcome::Duplicate(stored(2)), "{kind:?}");
        assert_eq!(did, Did { duplicates: 1, attempts: 1, tasks: 1, ..Did::default() });
        assert_eq!((stage.entries().len(), stage.ports.count("memberships")), (2, 1));
    }
}

#[test]
fn a_change_that_meets_a_transaction_is_judged_again_and_is_busy_after_six() {
    let stage = four();
    stage.ports.on("change", Fault::Contended);
    let Done { answer, did } = stage.change("alice", "change", position(1), removed(&["dave"])).unwrap();
    assert_eq!((answer.outcome, did), (ChangeOutcome::Ok(stored(2)), Did { stored: 1, attempts: 2, tasks: 1, ..Did::default() }));
    assert_eq!(stage.ports.count("memberships"), 2);

    let stage = four();
    (0..ATTEMPTS_MAX).for_each(|_| stage.ports.on("change", Fault::Contended));
    let refused = stage.change("alice", "change", position(1), removed(&["dave"])).unwrap_err();
    assert!(matches!(refused, Refused::Busy), "{refused:?}");
    assert_eq!((stage.ports.count("change"), stage.entries().len(), stage.take_tasks()), (ATTEMPTS_MAX, 1, vec![]));
}

// --- others

#[test]
fn a_change_that_loses_its_slot_to_a_message_takes_the_next_with_rows_of_there() {
    let stage = four();
    let (conversation, facts) = (stage.conversation.clone(), stage.entries()[0].facts.clone());
    stage.ports.meanwhile("change", move |memory| {
        let message = Entry { facts, ..entry(&conversation, 2, "dave") };
        memory.state().log.get_mut(&conversation).unwrap().insert(message.position.seq, message);
    });
    assert_eq!(outcome(&stage, "alice", "add", added(&["erin"])), ChangeOutcome::Ok(stored(3)));
    let erin = member(&stage, "erin").unwrap();
    assert_eq!(
        (erin.visible_from, erin.version, row(&stage, "erin").unwrap().read.position),
        (position(3).seq, position(3).seq, position(3))
    );
}

/// Bob is an admin no more where his change would stand, though not removed; whichever call the demotion comes before.
// holds: M1
#[test]
fn who_is_demoted_while_changing_something_changes_nothing() {
    for call in ["read", "memberships", "change"] {
        for kind in [role("carol", Role::Member), added(&["erin"]), set(locked(true)), removed(&["carol"])] {
            let stage = four();
            meanwhile(&stage, call, &[("alice", role("bob", Role::Member))]);
            let refused = stage.change("bob", "change", position(1), kind.clone()).unwrap_err();
            assert!(matches!(refused, Refused::Forbidden), "{call} {kind:?}: {refused:?}");
            assert_eq!(stage.entries().len(), 2);
        }
    }
}

/// Each would demote the other: nobody demotes an equal, so the first to be above the other is the only one.
// holds: M1
#[test]
fn two_admins_cannot_demote_each_other() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Admin)]);
    for (who, other) in [("bob", "carol"), ("carol", "bob")] {
        assert_eq!(refused(&stage, who, &role(other, Role::Member)), ErrorCode::Forbidden);
    }
    meanwhile(&stage, "change", &[("alice", role("carol", Role::Owner))]);
    let demoting = stage.change("alice", "demote", position(1), role("carol", Role::Member)).unwrap_err();
    assert!(matches!(demoting, Refused::Forbidden), "she is an owner where that would stand: {demoting:?}");
    assert_eq!(member(&stage, "carol").unwrap().role, Role::Owner);
}

// holds: M1
#[test]
fn who_is_removed_while_changing_something_changes_nothing() {
    for call in ["read", "memberships", "change"] {
        let stage = four();
        meanwhile(&stage, call, &[("alice", removed(&["bob"]))]);
        let refused = stage.change("bob", "change", position(1), removed(&["carol"])).unwrap_err();
        assert!(matches!(refused, Refused::NotFound), "{call}: {refused:?}");
        assert!(member(&stage, "carol").is_some());
    }
}

// holds: M1
#[test]
fn of_two_owners_who_leave_at_once_one_stays() {
    for call in ["read", "memberships", "change"] {
        let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Owner), ("carol", Role::Member)]);
        meanwhile(&stage, call, &[("bob", left(None))]);
        let refused = stage.change("alice", "leave", position(1), left(None)).unwrap_err();
        assert!(matches!(refused, Refused::LastOwner), "{call}: {refused:?}");
        assert_eq!(member(&stage, "alice").unwrap().role, Role::Owner);
        assert_eq!(stage.entries()[1].facts.owners, 1);
    }
}

#[test]
fn of_the_last_two_members_who_leave_at_once_both_go_and_the_group_closes() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Owner)]);
    meanwhile(&stage, "change", &[("bob", left(None))]);
    done(&stage, "alice", "leave", left(None));
    assert!(stage.entries()[2].facts.policy.closed);
}

#[test]
fn a_successor_who_leaves_meanwhile_is_none() {
    let stage = four();
    meanwhile(&stage, "change", &[("dave", left(None))]);
    let refused = stage.change("alice", "leave", position(1), left(Some("dave"))).unwrap_err();
    assert!(matches!(refused, Refused::NoMember), "{refused:?}");
    assert!(member(&stage, "alice").is_some());
}

#[test]
fn who_is_added_by_two_at_once_is_added_once() {
    let stage = four();
    meanwhile(&stage, "change", &[("bob", added(&["erin"]))]);
    assert_eq!(outcome(&stage, "alice", "add", added(&["erin"])), ChangeOutcome::Unchanged);
    let stage = four();
    meanwhile(&stage, "change", &[("bob", added(&["erin"]))]);
    let entry = done(&stage, "alice", "add", added(&["erin", "frank"]));
    assert_eq!((entry.kind, entry.facts.members), (Kind::Change(added(&["frank"])), 6));
}

#[test]
fn a_target_that_is_another_where_the_change_would_stand_is_judged_as_that() {
    // Removed by the one, promoted by the other.
    let stage = four();
    meanwhile(&stage, "change", &[("alice", role("dave", Role::Admin))]);
    assert!(matches!(stage.change("bob", "remove", position(1), removed(&["dave"])).unwrap_err(), Refused::Forbidden));
    let stage = four();
    meanwhile(&stage, "change", &[("bob", removed(&["dave"]))]);
    assert!(matches!(stage.change("alice", "role", position(1), role("dave", Role::Admin)).unwrap_err(), Refused::NoMember));
    // Removed and added again: another membership, which the change is about too.
    let stage = four();
    meanwhile(&stage, "change", &[("bob", removed(&["dave"])), ("bob", added(&["dave"]))]);
    let entry = done(&stage, "alice", "role", role("dave", Role::Admin));
    assert_eq!((entry.position, member(&stage, "dave").unwrap().visible_from), (position(4), position(3).seq));
}

/// What is read is not of one moment where others come between: nothing is answered by such a mixture.
#[test]
fn a_change_is_refused_or_unchanged_only_where_it_is_so_at_one_entry() {
    // The title is that of entry 2, the lock that of entry 1: so it never was.
    let stage = four();
    meanwhile(&stage, "descriptions", &[("bob", set(GroupSettings { locked: Some(true), ..titled("a") }))]);
    let entry = done(&stage, "alice", "set", set(GroupSettings { locked: Some(false), ..titled("a") }));
    assert_eq!((entry.position, entry.kind), (position(3), Kind::Change(set(locked(false)))));
    // Bob may add at entry 1 as an admin, at 3 as anybody.
    let stage = four();
    let by_all = set(GroupSettings { add: Some(Role::Member), ..GroupSettings::default() });
    meanwhile(&stage, "memberships", &[("alice", by_all), ("alice", role("bob", Role::Member))]);
    assert_eq!(outcome(&stage, "bob", "add", added(&["erin"])), ChangeOutcome::Ok(stored(4)));
}

/// It lands between the log and the rows.
// holds: L2
#[test]
fn an_earlier_attempt_that_lands_late_is_found_and_not_refused() {
    for kind in [left(None), removed(&["dave"]), added(&["erin"])] {
        let stage = four();
        let who = if kind == left(None) { "dave" } else { "bob" };
        meanwhile(&stage, "memberships", &[(who, kind.clone())]);
        assert_eq!(outcome(&stage, who, "meanwhile-0", kind.clone()), ChangeOutcome::Duplicate(stored(2)), "{kind:?}");
    }
}

// holds: M1
#[test]
fn a_lock_that_comes_first_is_obeyed_by_changes_and_messages() {
    let stage = four();
    meanwhile(&stage, "change", &[("bob", set(locked(true)))]);
    assert!(matches!(stage.change("carol", "remove", position(1), removed(&["dave"])).unwrap_err(), Refused::Forbidden));
    let stage = four();
    meanwhile(&stage, "put", &[("bob", set(locked(true)))]);
    let sent = stage.send("dave", vec![message("m-1", position(1))]).unwrap();
    assert!(matches!(&sent[..], [Outcome::Refused(refusal)] if refusal.code == ErrorCode::Forbidden));
    let stage = four();
    meanwhile(&stage, "change", &[("alice", ChangeEntry::Closed)]);
    assert!(matches!(stage.change("bob", "lock", position(1), set(locked(true))).unwrap_err(), Refused::Forbidden));
}

// holds: M1
#[test]
fn a_message_of_who_is_demoted_below_the_senders_meanwhile_is_not_stored() {
    let stage = four();
    done(&stage, "alice", "send-by-admins", set(GroupSettings { send: Some(Role::Admin), ..GroupSettings::default() }));
    meanwhile(&stage, "put", &[("alice", role("bob", Role::Member))]);
    let sent = stage.send("bob", vec![message("m-1", position(1))]).unwrap();
    assert!(matches!(&sent[..], [Outcome::Refused(refusal)] if refusal.code == ErrorCode::Forbidden));
}
