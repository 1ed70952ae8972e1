//! What a sync tells beside its pages: acknowledgements that move cursors, own messages whose delivery is queued.

use chatlane_chat::testing::builders::{conversation, position, seq, session, task_by, user};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::task::Task;
use chatlane_chat::{Did, Done};
use chatlane_protocol::{ConversationId, Position, Seq};

use super::{ask, ask_and_tell, ask_with_ack, at, from, only};

fn delivered(stage: &Stage) -> Option<Position> {
    let stored = stage.ports.memory.state();
    stored.inboxes[&user("alice")][&stage.conversation].delivered.values().copied().next()
}

// holds: C1
#[test]
fn what_a_sync_acknowledges_moves_the_devices_cursor_and_is_told_to_the_other() {
    let stage = Stage::with_entries(5);
    stage.ports.memory.log_in(&user("bob"), session("bob-1"));
    let (wanted, ack) = (vec![from(&stage.conversation, position(3))], vec![at(&stage.conversation, 3)]);
    let Done { answer, did } = ask_and_tell(&stage, "alice", wanted, ack).unwrap();
    assert_eq!((only(&answer).entries.len(), answer.acked, delivered(&stage)), (2, true, Some(position(3))));
    assert_eq!(did, Did { moved: 1, posted: 1, ..Did::default() });
    assert_eq!(stage.ports.count("post"), 1);
}

// holds: C1
#[test]
fn a_sync_without_ack_moves_no_cursor() {
    let stage = Stage::with_entries(5);
    let answer = ask(&stage, "alice", &[from(&stage.conversation, position(3))]);
    assert!(!answer.acked);
    assert_eq!((delivered(&stage), stage.ports.count("advance"), stage.ports.count("at")), (None, 0, 0));
}

// holds: C1
#[test]
fn an_ack_that_fails_does_not_fail_its_sync_which_says_so() {
    let stage = || Stage::with_entries(5);
    for (call, fault) in [("at", Fault::RequestLost), ("advance", Fault::RequestLost), ("advance", Fault::AnswerLost)] {
        let stage = stage();
        stage.ports.on(call, fault);
        let ack = vec![at(&stage.conversation, 3)];
        let answer = ask_with_ack(&stage, "alice", vec![from(&stage.conversation, position(3))], ack).unwrap();
        assert_eq!((only(&answer).entries.len(), answer.acked), (2, false), "{call}");
    }
    for (ack, moved) in [
        (vec![at(&stage().conversation, 99), at(&conversation("dNobodys"), 1)], None),
        (vec![at(&stage().conversation, 3), at(&conversation("dNobodys"), 1)], Some(position(3))),
    ] {
        let stage = stage();
        let answer = ask_with_ack(&stage, "alice", vec![from(&stage.conversation, position(3))], ack).unwrap();
        assert_eq!((only(&answer).entries.len(), answer.acked, delivered(&stage)), (2, false, moved));
    }
}

/// First and last of each queued task: bob has asked for it, and it leaves out nothing as its sender's own.
fn queued(stage: &Stage) -> Vec<(ConversationId, Seq, Position)> {
    let of = |(queued, delay): (Task, u32)| {
        let last = queued.last.seq.get();
        assert_eq!((&queued, delay), (&task_by("bob", &queued.conversation, queued.first.get(), last), 0));
        (queued.conversation, queued.first, queued.last)
    };
    stage.take_tasks().into_iter().map(of).collect()
}

// holds: L4
#[test]
fn who_is_shown_own_messages_whose_delivery_nobody_began_has_it_queued_before() {
    // L4: the attempt died before its enqueue, and who finds the message here sends it never again.
    let stage = Stage::with_entries(4);
    let task = |first, last| (stage.conversation.clone(), seq(first), position(last));
    let all = [from(&stage.conversation, position(1))];
    let did = ask_and_tell(&stage, "bob", all.to_vec(), vec![]).unwrap().did;
    assert_eq!((queued(&stage), did), (vec![task(2, 4)], Did { tasks: 1, ..Did::default() }));
    stage.deliver_up_to(3);
    ask(&stage, "bob", &all);
    assert_eq!(queued(&stage), [task(4, 4)]);
    ask(&stage, "bob", &[from(&stage.conversation, position(4))]);
    assert_eq!(queued(&stage), [], "of what is not shown nothing is promised");
    ask(&stage, "alice", &all);
    assert_eq!(queued(&stage), [], "those of others are for their senders to repeat");
    stage.deliver_up_to(4);
    ask(&stage, "bob", &all);
    assert_eq!(queued(&stage), []);
}

// holds: L4
#[test]
fn own_messages_are_shown_only_when_their_delivery_is_queued() {
    for (call, fault) in [("heads", Fault::RequestLost), ("enqueue", Fault::RequestLost), ("enqueue", Fault::AnswerLost)] {
        let stage = Stage::with_entries(3);
        stage.ports.on(call, fault);
        let all = vec![from(&stage.conversation, position(1))];
        assert!(ask_with_ack(&stage, "bob", all.clone(), vec![]).is_err());
        stage.take_tasks();
        ask(&stage, "bob", &all);
        assert_eq!(queued(&stage), [(stage.conversation.clone(), seq(2), position(3))]);
    }
}
