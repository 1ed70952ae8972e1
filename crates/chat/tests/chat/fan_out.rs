//! The fan-out worker: which entries of a task go to whom, in which frames, and what happens to connections that do not take them.

mod groups;
mod not_taken;

use chatlane_chat::log::{Entry, Head};
use chatlane_chat::ports::{Connection, Failure};
use chatlane_chat::testing::builders::{
    self, connection, conversation, device, entry, entry_of_bytes, head, position, seq, session, start, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::fan_out::{FanOutOutcome, NotTheirs, REDRIVEN_AFTER_MS, Received, fan_out};
use chatlane_chat::workers::task::Task;
use chatlane_protocol::{Position, ServerFrame, UnixMillis, limits};

/// The stage with so many entries. The phones of both and alice's tablet are online: connections `alice`, `tablet` and `bob`.
fn online(tail: u64) -> Stage {
    let stage = Stage::with_entries(tail);
    for (who, name) in [("alice", "alice"), ("alice", "tablet"), ("bob", "bob")] {
        stage.ports.memory.log_in(&user(who), session(name));
    }
    stage
}

/// Entries `first` to `last`, all of which alice's phone sent.
fn task(stage: &Stage, first: u64, last: u64) -> Task {
    let own = (first..=last).map(seq).collect();
    Task { own, origin: Some(connection("alice")), ..builders::task(&stage.conversation, first, last) }
}

fn try_deliver(stage: &Stage, task: &Task, receives: u32) -> Result<FanOutOutcome, Failure> {
    receive(stage, task, Received { times: receives, accepted: task.queued })
}

/// The outcome, without who is charged for it.
fn receive(stage: &Stage, task: &Task, received: Received) -> Result<FanOutOutcome, Failure> {
    let outcome = block_on(fan_out(&stage.ports, &stage.settings.keys.users, task, received, UnixMillis::MAX))?;
    Ok(FanOutOutcome { payers: vec![], not_theirs: NotTheirs::default(), ..outcome })
}

/// The outcome, without the reason why connections did not take everything: there is one if some did not.
fn deliver(stage: &Stage, task: &Task) -> FanOutOutcome {
    let mut outcome = try_deliver(stage, task, 1).unwrap();
    assert_eq!(outcome.cause.take().is_some(), outcome.left + outcome.skipped + outcome.given_up > 0);
    outcome
}

/// The entries that the connection took, frame by frame; it has taken none after this.
fn frames(stage: &Stage, name: &str) -> Vec<Vec<chatlane_protocol::Entry>> {
    let name = connection(name);
    let mut stored = stage.ports.memory.state();
    let taken = stored.posts.extract_if(.., |(to, _)| *to == name);
    taken
        .map(|(_, frame)| {
            assert!(frame.len() <= limits::PAGE_BYTES_MAX, "{} bytes", frame.len());
            let Ok(ServerFrame::Entries(entries)) = serde_json::from_str(&frame) else { panic!("not entries: {frame}") };
            assert_eq!(entries.conversation, stage.conversation);
            entries.entries
        })
        .collect()
}

/// Their seqs.
fn seqs(stage: &Stage, name: &str) -> Vec<u64> {
    frames(stage, name).concat().iter().map(|entry| entry.position.seq.get()).collect()
}

fn connections_of(stage: &Stage, who: &str) -> Vec<String> {
    stage.ports.memory.state().sessions[&user(who)].keys().map(ToString::to_string).collect()
}

fn begun(stage: &Stage) -> Position {
    stage.ports.memory.state().heads[&stage.conversation].position
}

fn posted(connections: usize) -> FanOutOutcome {
    FanOutOutcome { posted: connections, ..FanOutOutcome::default() }
}

// --- who gets what

#[test]
fn an_entry_goes_to_every_connection_of_the_members_but_the_one_that_sent_it() {
    let stage = online(2);
    stage.ports.memory.log_in(&user("mallory"), session("stranger"));
    assert_eq!(deliver(&stage, &task(&stage, 2, 2)), posted(2));
    let expected = [vec![entry(&stage.conversation, 2, "bob").to_wire()]];
    assert_eq!(frames(&stage, "bob"), expected);
    assert_eq!(frames(&stage, "tablet"), expected);
    assert_eq!(stage.ports.memory.state().posts, []);
    assert_eq!((begun(&stage), stage.take_tasks()), (position(2), vec![]));
}

/// So `hello` tells what is unread, and in which order, without a read of the log.
#[test]
fn the_head_is_told_what_the_task_says_of_its_last_entry() {
    let stage = online(4);
    let last = Task { count: 40, time: start().plus_ms(9), ..task(&stage, 2, 4) };
    deliver(&stage, &last);
    let expected = Head { position: position(4), count: 40, time: start().plus_ms(9), group: None };
    assert_eq!(stage.ports.memory.state().heads[&stage.conversation], expected);
    // A task that comes late does not take it back.
    deliver(&stage, &task(&stage, 2, 3));
    assert_eq!(stage.ports.memory.state().heads[&stage.conversation], expected);
}

/// D2: a hello that reads the head before it is raised has written its session before this read of the sessions.
// holds: D2
#[test]
fn the_head_is_raised_before_sessions_are_read() {
    let stage = online(2);
    deliver(&stage, &task(&stage, 2, 2));
    assert!(stage.ports.is_answered_before("raise_head", "of_users"));
    assert!(stage.ports.is_answered_before("read", "post"));
    assert!(!stage.ports.is_answered_before("raise_head", "members"), "nothing waits that need not");
}

#[test]
fn the_sender_gets_entries_of_others_that_the_range_adds() {
    let stage = online(7);
    stage.deliver_up_to(3);
    assert_eq!(deliver(&stage, &task(&stage, 7, 7)), posted(3));
    assert_eq!(seqs(&stage, "alice"), [4, 5, 6]);
    assert_eq!(seqs(&stage, "bob"), [4, 5, 6, 7]);
}

// holds: M1
#[test]
fn a_member_gets_nothing_from_before_the_joining() {
    let stage = online(6);
    let key = (stage.conversation.clone(), user("bob"));
    stage.ports.memory.state().members.get_mut(&key).unwrap().visible_from = seq(5);
    let all = Task { origin: None, ..task(&stage, 3, 6) };
    assert_eq!(deliver(&stage, &all), posted(3));
    assert_eq!((seqs(&stage, "bob"), seqs(&stage, "alice")), (vec![5, 6], vec![2, 3, 4, 5, 6]));
    stage.ports.memory.state().members.get_mut(&key).unwrap().visible_from = seq(7);
    assert_eq!(try_deliver(&stage, &all, 2).unwrap(), FanOutOutcome { repeated: true, ..posted(2) });
    assert!(seqs(&stage, "bob").is_empty());
}

// holds: M1
#[test]
fn nothing_goes_to_a_session_whose_time_is_over() {
    let stage = online(2);
    stage.ports.memory.log_in(&user("bob"), Connection { expires: start(), device: device(2), ..session("over") });
    stage.ports.memory.log_in(&user("bob"), Connection { expires: start().plus_ms(1), device: device(3), ..session("nearly-over") });
    assert_eq!(deliver(&stage, &task(&stage, 2, 2)), posted(3));
    assert_eq!((seqs(&stage, "over"), seqs(&stage, "nearly-over")), (vec![], vec![2]));
    assert_eq!(connections_of(&stage, "bob").len(), 3, "a refresh may still move it");
}

#[test]
fn nobody_online_is_no_failure() {
    let stage = Stage::with_entries(2);
    assert_eq!(deliver(&stage, &task(&stage, 2, 2)), posted(0));
    assert_eq!(begun(&stage), position(2));
}

// --- which entries

// holds: D2
#[test]
fn a_first_receive_below_the_head_is_covered_by_a_later_task() {
    let stage = online(9);
    stage.deliver_up_to(9);
    assert_eq!(deliver(&stage, &task(&stage, 8, 8)), FanOutOutcome { superseded: true, ..posted(0) });
    assert_eq!((seqs(&stage, "bob"), stage.ports.count("of_users")), (vec![], 0));
    // Of the copies of one message, none is "later" than the others.
    assert_eq!(deliver(&stage, &task(&stage, 9, 9)), posted(2));
    assert_eq!(seqs(&stage, "bob"), [9]);
    // A worker may have died with it.
    assert_eq!(try_deliver(&stage, &task(&stage, 8, 8), 2).unwrap(), FanOutOutcome { repeated: true, ..posted(3) });
    assert_eq!(seqs(&stage, "bob"), [1, 2, 3, 4, 5, 6, 7, 8]);
}

// holds: D2
#[test]
fn a_first_receive_begins_where_the_head_was_or_at_its_own_first() {
    for (old_head, first, begins) in [(1, 8, 2), (5, 8, 6), (7, 8, 8), (9, 8, 8), (10, 8, 8)] {
        let stage = online(10);
        stage.deliver_up_to(old_head);
        assert_eq!(deliver(&stage, &task(&stage, first, 10)).posted, if begins < first { 3 } else { 2 }, "head {old_head}");
        assert_eq!(seqs(&stage, "bob"), (begins..=10).collect::<Vec<_>>(), "head {old_head}");
    }
}

#[test]
fn a_repeated_receive_goes_twenty_entries_back_or_to_its_own_first() {
    for (first, last, begins) in [(30, 30, 11), (11, 30, 11), (5, 29, 5), (3, 4, 1)] {
        let stage = online(30);
        stage.deliver_up_to(30);
        try_deliver(&stage, &task(&stage, first, last), 2).unwrap();
        assert_eq!(seqs(&stage, "bob"), (begins..=last).collect::<Vec<_>>(), "{first} to {last}");
    }
}

#[test]
fn of_more_than_a_hundred_entries_the_last_hundred_go() {
    // Because of the head, and because of the task itself.
    for first in [250, 120, 151, 152] {
        let stage = online(250);
        deliver(&stage, &task(&stage, first, 250));
        assert_eq!(seqs(&stage, "bob"), (151..=250).collect::<Vec<_>>(), "first {first}");
    }
}

#[test]
fn after_a_restore_the_range_begins_at_the_task() {
    let mut stage = online(3);
    stage.deliver_up_to(90);
    stage.settings.epoch = 2;
    stage.put(&Entry { position: Position::new(2, seq(4)), ..entry(&stage.conversation, 4, "bob") });
    let task = Task { last: Position::new(2, seq(4)), ..task(&stage, 4, 4) };
    assert_eq!(deliver(&stage, &task), posted(2));
    assert_eq!((seqs(&stage, "bob"), begun(&stage)), (vec![4], Position::new(2, seq(4))));
}

// holds: D1
#[test]
fn entries_are_merged_into_full_frames_in_their_order() {
    let stage = online(1);
    for number in 2..=20 {
        stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 4000));
    }
    deliver(&stage, &task(&stage, 2, 20));
    let frames = frames(&stage, "bob");
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 5]);
    assert_eq!(frames.concat().iter().map(|entry| entry.position.seq.get()).collect::<Vec<_>>(), (2..=20).collect::<Vec<_>>());
    assert_eq!(frames[0][0], entry_of_bytes(&stage.conversation, 2, "bob", 4000).to_wire());
}

#[test]
fn the_largest_entry_has_a_frame_of_its_own() {
    let stage = online(1);
    let empty = entry_of_bytes(&stage.conversation, 2, "bob", 1);
    let wire = |entry: &Entry| {
        let kind = entry.to_wire().kind;
        chatlane_protocol::Entry::live_frame_bytes_max(&stage.conversation, &entry.sender, &entry.client_message_id, kind)
    };
    let fits = limits::PAGE_BYTES_MAX - wire(&empty) + 1;
    for (number, bytes) in [(2, 100), (3, fits), (4, 100)] {
        stage.put(&entry_of_bytes(&stage.conversation, number, "bob", bytes));
    }
    assert_eq!(wire(&stage.entries()[2]), limits::PAGE_BYTES_MAX);
    deliver(&stage, &task(&stage, 2, 4));
    assert_eq!(frames(&stage, "bob").iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
}

// --- failures

// holds: L4
#[test]
fn a_task_whose_entries_are_not_all_there_is_repeated() {
    // In the task itself, at its end, and between the old head and it.
    for missing in [6, 7, 4] {
        let stage = online(7);
        stage.deliver_up_to(3);
        stage.remove_entry(missing);
        let error = try_deliver(&stage, &task(&stage, 6, 7), 1).unwrap_err();
        assert_eq!(error.to_string(), "read the entries of a task: not all of them are there");
        assert_eq!(stage.ports.count("post"), 0, "without {missing}");
    }
}

#[test]
fn a_task_of_no_conversation_is_repeated_until_the_queue_gives_it_up() {
    let stage = online(2);
    let unknown = Task { conversation: conversation("dUnknown"), ..task(&stage, 2, 2) };
    assert!(try_deliver(&stage, &unknown, 1).is_err());
}

// holds: L4
#[test]
fn whatever_cannot_be_reached_the_task_is_repeated_and_then_delivered() {
    for call in ["raise_head", "members", "read", "of_users", "enqueue", "remove"] {
        for fault_is_of_answer in [false, true] {
            let stage = online(2);
            stage.ports.memory.state().gone.insert(connection("tablet"));
            stage.ports.memory.state().stuck.insert(connection("bob"));
            let twice = usize::from(call == "raise_head"); // which the worker tries again itself
            (0..=twice).for_each(|_| stage.ports.on(call, if fault_is_of_answer { Fault::AnswerLost } else { Fault::RequestLost }));
            assert!(try_deliver(&stage, &task(&stage, 2, 2), 1).is_err(), "{call}");

            stage.take_tasks();
            stage.ports.memory.state().stuck.clear();
            try_deliver(&stage, &task(&stage, 2, 2), 2).unwrap();
            assert_eq!((seqs(&stage, "bob"), connections_of(&stage, "alice")), (vec![1, 2], vec!["alice".to_owned()]), "{call}");
        }
    }
}

/// L4: what the head was before cannot be told from a head that the lost answer was about.
// holds: L4
#[test]
fn a_head_whose_raising_was_not_answered_covers_nothing() {
    let stage = online(7);
    stage.deliver_up_to(4);
    stage.ports.on("raise_head", Fault::AnswerLost);
    assert_eq!(deliver(&stage, &task(&stage, 6, 6)), posted(3));
    assert_eq!(seqs(&stage, "bob"), [1, 2, 3, 4, 5, 6]);
    // Somebody else's later task may have come between the lost answer and the second try.
    stage.ports.on(
        "raise_head",
        Fault::Meanwhile(Box::new(|memory| {
            memory.state().heads.values_mut().for_each(|begun| *begun = head(7));
        })),
    );
    let superseded = deliver(&stage, &task(&stage, 5, 5));
    assert!(superseded.superseded, "an answered raise tells: the other task begins at 5");
    stage.ports.on("raise_head", Fault::AnswerLost);
    assert!(!deliver(&stage, &task(&stage, 5, 5)).superseded);
}

/// L4: the queue takes a redriven dead letter for a new message, and its task was begun long ago. One that only waits is as ever.
// holds: L4
#[test]
fn a_redriven_dead_letter_is_not_covered() {
    let stage = online(7);
    stage.deliver_up_to(7);
    let task = task(&stage, 5, 5);
    stage.ports.memory.clock.advance_ms(REDRIVEN_AFTER_MS);
    assert!(deliver(&stage, &task).superseded, "a backlog is worked off without posts");

    let accepted = task.queued.plus_ms(REDRIVEN_AFTER_MS);
    let redriven = Received { times: 1, accepted };
    let outcome = receive(&stage, &task, redriven).unwrap();
    assert_eq!(outcome, FanOutOutcome { repeated: true, ..posted(3) });
    assert_eq!(seqs(&stage, "bob"), [1, 2, 3, 4, 5]);
}

/// The gateway refuses whatever is posted: no session is to blame.
#[test]
fn posts_that_the_gateway_refuses_are_repeated_and_end_no_session() {
    let stage = online(2);
    stage.ports.memory.state().refuses_posts = true;
    assert!(try_deliver(&stage, &task(&stage, 2, 2), 1).is_err());
    assert_eq!((connections_of(&stage, "bob").len(), stage.take_tasks()), (1, vec![]));
}

#[test]
fn the_entries_that_the_old_head_adds_must_be_read() {
    let stage = online(7);
    stage.ports.meanwhile("read", |_| {});
    stage.ports.on("read", Fault::RequestLost);
    assert!(try_deliver(&stage, &task(&stage, 7, 7), 1).is_err());
}
