//! Connections that do not take what is posted to them: gone, stuck, throttled, or not reached in time.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use chatlane_chat::ports::Clock as _;
use chatlane_chat::testing::builders::{connection, entry, entry_of_bytes, position, seq, session, start, user};
use chatlane_chat::testing::desk::{AtDesk, SharedDesk, lock};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::fan_out::{FanOutOutcome, NotTheirs, POSTING_ENDS_MS_BEFORE, Received, fan_out};
use chatlane_chat::workers::task::{Task, Undelivered};
use chatlane_protocol::UnixMillis;

use super::{begun, connections_of, deliver, online, posted, seqs, task, try_deliver};

// holds: D2
#[test]
fn a_connection_that_is_gone_is_removed_and_no_other() {
    let stage = online(2);
    stage.ports.memory.state().gone.insert(connection("tablet"));
    assert_eq!(deliver(&stage, &task(&stage, 2, 2)), FanOutOutcome { gone: 1, ..posted(1) });
    assert_eq!((connections_of(&stage, "alice"), connections_of(&stage, "bob")), (vec!["alice".to_owned()], vec!["bob".to_owned()]));
    assert_eq!(stage.take_tasks(), []);
}

// holds: L4
#[test]
fn what_could_not_be_posted_is_left_to_a_task_for_those_connections_only() {
    let stage = online(5);
    stage.deliver_up_to(3);
    stage.ports.memory.state().stuck.extend([connection("tablet"), connection("bob")]);
    assert_eq!(deliver(&stage, &task(&stage, 5, 5)), FanOutOutcome { left: 2, ..posted(1) });

    let mut left = stage.take_tasks();
    left[0].0.undelivered.as_mut().unwrap().targets.sort();
    let targets = vec![(user("alice"), connection("tablet")), (user("bob"), connection("bob"))];
    // From where this worker began: the next one does not learn the old head.
    let expected =
        Task { first: seq(4), undelivered: Some(Undelivered { targets, attempt: 1, throttled: 0, since: start() }), ..task(&stage, 5, 5) };
    assert_eq!(left, [(expected.clone(), 1)]);
    assert_eq!(connections_of(&stage, "bob"), ["bob"]);

    // By then others have written, and the head is higher: it is neither written nor a reason to skip.
    stage.ports.memory.state().stuck.clear();
    stage.ports.memory.state().posts.clear();
    stage.put(&entry(&stage.conversation, 6, "bob"));
    stage.deliver_up_to(6);
    let raised = stage.ports.count("raise_head");
    assert_eq!(deliver(&stage, &expected), posted(2));
    assert_eq!((seqs(&stage, "tablet"), seqs(&stage, "bob"), seqs(&stage, "alice")), (vec![4, 5], vec![4, 5], vec![]));
    assert_eq!((stage.ports.count("raise_head"), begun(&stage)), (raised, position(6)));
}

#[test]
fn a_target_that_has_left_meanwhile_is_left_alone() {
    let stage = online(2);
    let undelivered = Undelivered { targets: vec![(user("bob"), connection("closed"))], attempt: 1, throttled: 0, since: start() };
    assert_eq!(deliver(&stage, &Task { undelivered: Some(undelivered), ..task(&stage, 2, 2) }), posted(0));
    assert_eq!(stage.take_tasks(), []);
}

// holds: D2
#[test]
fn after_five_attempts_a_connection_is_given_up() {
    let stage = online(2);
    stage.ports.memory.state().stuck.insert(connection("bob"));
    let mut next = task(&stage, 2, 2);
    let mut delays = vec![];
    for attempt in 1..5 {
        assert_eq!(deliver(&stage, &next).left, 1, "attempt {attempt}");
        let (left, wait_s) = stage.take_tasks().remove(0);
        assert_eq!(left.undelivered.as_ref().unwrap().attempt, attempt);
        delays.push(wait_s);
        next = left;
    }
    assert_eq!(delays, [1, 2, 4, 8]);
    assert_eq!(connections_of(&stage, "bob"), ["bob"]);
    assert_eq!(deliver(&stage, &next), FanOutOutcome { given_up: 1, ..posted(0) });
    assert_eq!((connections_of(&stage, "bob"), stage.take_tasks()), (vec![], vec![]));
    assert_eq!(connections_of(&stage, "alice"), ["alice", "tablet"]);
}

#[test]
fn after_two_minutes_a_connection_is_given_up() {
    let stage = online(2);
    stage.ports.memory.state().stuck.insert(connection("bob"));
    deliver(&stage, &task(&stage, 2, 2));
    let (left, _) = stage.take_tasks().remove(0);
    stage.ports.memory.clock.advance_ms(119_999);
    assert_eq!(deliver(&stage, &left).left, 1);
    let (left, _) = stage.take_tasks().remove(0);
    assert_eq!(left.undelivered.as_ref().unwrap().since, start(), "counted from the first attempt");
    stage.ports.memory.clock.advance_ms(1);
    assert_eq!(deliver(&stage, &left), FanOutOutcome { given_up: 1, ..posted(0) });
    assert_eq!(connections_of(&stage, "bob"), Vec::<String>::new());
}

// holds: D1
#[test]
fn after_a_frame_that_was_not_taken_no_other_is_posted() {
    let stage = Stage::new();
    stage.ports.memory.log_in(&user("bob"), session("bob"));
    for number in 2..=20 {
        stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 4000));
    }
    stage.ports.meanwhile("post", |_| {});
    stage.ports.on("post", Fault::RequestLost);
    assert_eq!(deliver(&stage, &task(&stage, 2, 20)), FanOutOutcome { left: 1, ..posted(0) });
    assert_eq!((stage.ports.count("post"), seqs(&stage, "bob")), (2, (2..=8).collect::<Vec<_>>()));
    // The next task begins again: receivers drop what they have (D1).
    let (left, _) = stage.take_tasks().remove(0);
    assert_eq!(deliver(&stage, &left), posted(1));
    assert_eq!(seqs(&stage, "bob"), (2..=20).collect::<Vec<_>>());
}

// --- throttled

fn throttle(stage: &Stage, name: &str) {
    stage.ports.memory.state().throttled.insert(connection(name));
}

/// The only task that is left, when its time has come.
fn next_task(stage: &Stage) -> Task {
    let [(task, wait_s)] = <[_; 1]>::try_from(stage.take_tasks()).expect("one task");
    stage.ports.memory.clock.advance_ms(u64::from(wait_s) * 1000);
    task
}

/// What the next task does; how often a connection has been throttled is no reason to take its session.
fn throttled_again(stage: &Stage) -> FanOutOutcome {
    let outcome = deliver(stage, &next_task(stage));
    assert_eq!(connections_of(stage, "bob"), ["bob"]);
    outcome
}

// holds: L4
#[test]
fn who_is_throttled_for_less_than_two_minutes_gets_the_entry_and_keeps_the_session() {
    let stage = online(2);
    throttle(&stage, "bob");
    assert_eq!(deliver(&stage, &task(&stage, 2, 2)), FanOutOutcome { throttled: 1, left: 1, ..posted(1) });
    for _ in 0..3 {
        assert_eq!(throttled_again(&stage), FanOutOutcome { throttled: 1, left: 1, ..posted(0) });
    }
    stage.ports.memory.state().throttled.clear();
    assert_eq!(deliver(&stage, &next_task(&stage)), posted(1));
    let past_ms = stage.ports.memory.clock.now().since_ms(start());
    assert_eq!((seqs(&stage, "bob"), past_ms), (vec![2], 120_000), "the last attempt is at the end of two minutes");
}

/// The price of one entry to a socket that does not read: five posts and five tasks in two minutes, and its session stays.
// holds: L4, D2
#[test]
fn after_two_minutes_of_throttling_the_entry_is_given_up_and_not_the_session() {
    let stage = online(2);
    throttle(&stage, "bob");
    let (mut next, mut tasks, mut delays) = (task(&stage, 2, 2), 0, vec![]);
    let last = loop {
        tasks += 1;
        let outcome = deliver(&stage, &next);
        let Some((task, wait_s)) = stage.take_tasks().pop() else { break outcome };
        delays.push(wait_s);
        stage.ports.memory.clock.advance_ms(u64::from(wait_s) * 1000);
        next = task;
    };
    assert_eq!(last, FanOutOutcome { throttled: 1, skipped: 1, ..posted(0) });
    assert_eq!((tasks, delays, stage.ports.count("post")), (5, vec![2, 8, 32, 78], 5 + 1), "and one post to alice's tablet");
    assert_eq!(connections_of(&stage, "bob"), ["bob"]);

    // The next entry is posted to it; by that the device sees the gap.
    stage.ports.memory.state().throttled.clear();
    stage.put(&entry(&stage.conversation, 3, "alice"));
    assert_eq!(deliver(&stage, &task(&stage, 3, 3)), posted(2));
    assert_eq!(seqs(&stage, "bob"), [3]);
}

/// However late the tasks are, and however wrong the clocks: also by attempts alone, and by time alone.
#[test]
fn throttling_is_given_up_by_attempts_and_by_time() {
    for (throttled, past_ms, wait_s) in
        [(0, 0, Some(2)), (3, 0, Some(120)), (4, 0, None), (1, 119_999, Some(1)), (0, 120_000, None), (u32::MAX, 0, None)]
    {
        let stage = online(2);
        throttle(&stage, "bob");
        let undelivered = Undelivered { targets: vec![(user("bob"), connection("bob"))], attempt: 0, throttled, since: start() };
        stage.ports.memory.clock.advance_ms(past_ms);
        let outcome = deliver(&stage, &Task { undelivered: Some(undelivered), ..task(&stage, 2, 2) });
        let left = usize::from(wait_s.is_some());
        assert_eq!(outcome, FanOutOutcome { throttled: 1, left, skipped: 1 - left, ..posted(0) }, "{throttled} times, {past_ms} ms");
        assert_eq!(stage.take_tasks().pop().map(|(_, wait_s)| wait_s), wait_s, "{throttled} times, {past_ms} ms");
        assert_eq!(connections_of(&stage, "bob"), ["bob"]);
    }
}

/// What is written to a socket that does not read costs a post an entry: only the last one is tried again.
#[test]
fn who_was_throttled_is_not_posted_to_again_when_a_later_entry_follows() {
    let stage = online(2);
    throttle(&stage, "bob");
    deliver(&stage, &task(&stage, 2, 2));
    let earlier = next_task(&stage);
    stage.put(&entry(&stage.conversation, 3, "alice"));
    let posts = stage.ports.count("post");
    assert_eq!(deliver(&stage, &earlier), FanOutOutcome { skipped: 1, ..posted(0) });
    assert_eq!((stage.ports.count("post"), stage.take_tasks()), (posts, vec![]));

    deliver(&stage, &task(&stage, 3, 3));
    stage.ports.memory.state().throttled.clear();
    assert_eq!(deliver(&stage, &next_task(&stage)), posted(1));
    assert_eq!(seqs(&stage, "bob"), [3]);
}

/// Ten entries to eight sockets that do not read: each is posted to each of them, and only the last one again, four times; each has one
/// further task, the last one four. Nobody else is online.
#[test]
fn sockets_that_do_not_read_multiply_neither_posts_nor_tasks() {
    let stage = Stage::with_entries(11);
    sockets_of_bob(&stage, 8);
    stage.ports.memory.state().throttled.extend((0..8).map(|n| connection(&format!("bob-{n:03}"))));
    let (mut tasks, mut queue) = (0, VecDeque::new());
    queue.extend((2..=11).map(|number| task(&stage, number, number)));
    while let Some(next) = queue.pop_front() {
        deliver(&stage, &next);
        tasks += 1;
        queue.extend(stage.take_tasks().into_iter().map(|(task, _)| task));
    }
    assert_eq!((tasks, stage.ports.count("post")), (10 + 9 + 4, 8 * (10 + 4)));
    assert_eq!(connections_of(&stage, "bob").len(), 8);
}

#[test]
fn whether_a_later_entry_follows_has_to_be_known() {
    let stage = online(2);
    throttle(&stage, "bob");
    deliver(&stage, &task(&stage, 2, 2));
    let left = next_task(&stage);
    stage.ports.meanwhile("read", |_| {});
    stage.ports.on("read", Fault::RequestLost);
    assert!(try_deliver(&stage, &left, 2).is_err());
}

/// Neither kind of attempt counts as one of the other kind, in whatever order they come.
#[test]
fn a_session_is_not_given_up_for_attempts_that_were_throttled() {
    let stage = online(2);
    stage.ports.memory.state().stuck.insert(connection("bob"));
    throttle(&stage, "tablet");
    assert_eq!(deliver(&stage, &task(&stage, 2, 2)), FanOutOutcome { throttled: 1, left: 2, ..posted(0) });
    let rests = stage.take_tasks().into_iter().map(|(task, wait_s)| (task.undelivered.unwrap(), wait_s)).collect::<Vec<_>>();
    let rest = |who: &str, name: &str, attempt, throttled| {
        let targets = vec![(user(who), connection(name))];
        Undelivered { targets, attempt, throttled, since: start() }
    };
    assert_eq!(rests, [(rest("bob", "bob", 1, 0), 1), (rest("alice", "tablet", 0, 1), 2)]);

    // Four times throttled, four times unknown: the session stays until the fifth time unknown.
    let both = Undelivered { targets: rests.into_iter().flat_map(|(rest, _)| rest.targets).collect(), ..rest("bob", "bob", 3, 4) };
    let both = Task { undelivered: Some(both), ..task(&stage, 2, 2) };
    assert_eq!(deliver(&stage, &both), FanOutOutcome { throttled: 1, left: 1, skipped: 1, ..posted(0) });
    assert_eq!((connections_of(&stage, "alice"), connections_of(&stage, "bob").len()), (vec!["alice".to_owned(), "tablet".to_owned()], 1));
    let last = next_task(&stage);
    assert_eq!(last.undelivered, Some(rest("bob", "bob", 4, 4)));
    assert_eq!(deliver(&stage, &last), FanOutOutcome { given_up: 1, ..posted(0) });
    assert_eq!(connections_of(&stage, "bob"), Vec::<String>::new());
}

/// Two minutes in which a connection was throttled, or nobody had time for it, do not make it a dead one.
#[test]
fn a_session_is_given_up_after_two_minutes_only_where_every_attempt_was_unknown() {
    for (attempt, throttled, gives_up) in [(1, 0, true), (0, 0, false), (0, 3, false), (3, 1, false), (4, 4, true)] {
        let stage = online(2);
        stage.ports.memory.state().stuck.insert(connection("bob"));
        let undelivered = Undelivered { targets: vec![(user("bob"), connection("bob"))], attempt, throttled, since: start() };
        stage.ports.memory.clock.advance_ms(120_000);
        let outcome = deliver(&stage, &Task { undelivered: Some(undelivered), ..task(&stage, 2, 2) });
        let given_up = usize::from(gives_up);
        assert_eq!(outcome, FanOutOutcome { given_up, skipped: 1 - given_up, ..posted(0) }, "{attempt} unknown, {throttled} throttled");
        assert_eq!((connections_of(&stage, "bob").len(), stage.take_tasks()), (1 - given_up, vec![]));
    }
}

/// So the queue stays fair to the others, however long it takes.
#[test]
fn what_is_left_keeps_its_sender() {
    let stage = online(2);
    throttle(&stage, "bob");
    deliver(&stage, &Task { sender: Some(7), ..task(&stage, 2, 2) });
    assert_eq!(next_task(&stage).sender, Some(7));
}

#[test]
fn what_the_gateway_says_first_is_the_cause() {
    let stage = online(2);
    throttle(&stage, "bob");
    let cause = try_deliver(&stage, &task(&stage, 2, 2), 1).unwrap().cause;
    assert_eq!(cause.map(|cause| cause.to_string()).as_deref(), Some("post to a connection: it is throttled"));
}

// --- the end of the function

/// A worker whose function ends `ends_ms` after the start, by a clock that only posts move: each is answered after a second, and was
/// posted or timed out. The outcome, and when it has ended.
fn run_slowly(stage: &Stage, task: &Task, ends_ms: u64, hangs: bool) -> (FanOutOutcome, u64) {
    let (now_ms, desk) = (Arc::new(Mutex::new(0)), SharedDesk::<Memory>::default());
    let clock = Arc::clone(&now_ms);
    let ports = AtDesk { desk: Arc::clone(&desk), clock: move || start().plus_ms(*lock(&clock)) };
    let received = Received { times: 1, accepted: task.queued };
    let mut worker = pin!(fan_out(&ports, &stage.settings.keys.users, task, received, start().plus_ms(ends_ms)));
    let mut waiting = VecDeque::new();
    loop {
        if let Poll::Ready(outcome) = worker.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (FanOutOutcome { payers: vec![], not_theirs: NotTheirs::default(), ..outcome.unwrap() }, *lock(&now_ms));
        }
        let calls = std::mem::take(&mut lock(&desk).calls);
        let all_wait = calls.is_empty();
        for call in calls {
            if call.method == "post" {
                waiting.push_back((*lock(&now_ms) + 1000, call));
            } else {
                call.answer(call.take_effect(&stage.ports.memory));
            }
        }
        if all_wait {
            let (at_ms, call) = waiting.pop_front().expect("the worker waits for something");
            *lock(&now_ms) = at_ms;
            if hangs { call.lose() } else { call.answer(call.take_effect(&stage.ports.memory)) }
        }
    }
}

/// Nobody else is online.
fn sockets_of_bob(stage: &Stage, number: usize) {
    (0..number).for_each(|n| stage.ports.memory.log_in(&user("bob"), session(&format!("bob-{n:03}"))));
}

/// How many targets, how many attempts, and how long it waits.
fn left_by_attempts(stage: &Stage) -> Vec<(usize, u32, u32)> {
    let tasks = stage.ports.memory.state().queue.clone();
    let rest = |(task, wait_s): (Task, u32)| task.undelivered.map(|rest| (rest.targets.len(), rest.attempt, wait_s));
    tasks.into_iter().filter_map(rest).collect()
}

// holds: L4
#[test]
fn two_hundred_and_fifty_sockets_that_hang_do_not_outlast_the_function() {
    const FUNCTION_MS: u64 = 10_000;
    let stage = Stage::with_entries(2);
    sockets_of_bob(&stage, 250);
    let (outcome, ended_ms) = run_slowly(&stage, &task(&stage, 2, 2), FUNCTION_MS, true);
    assert_eq!((outcome.left, outcome.given_up, ended_ms), (250, 0, FUNCTION_MS - POSTING_ENDS_MS_BEFORE));
    // Who was not reached was not tried.
    assert_eq!(left_by_attempts(&stage), [(192, 1, 1), (58, 0, 1)]);

    // All are reached, and at last given up, each of them after five attempts.
    let (mut tasks, mut given_up) = (0, 0);
    while let Some((next, _)) = { stage.ports.memory.state().queue.pop() } {
        let (outcome, ended_ms) = run_slowly(&stage, &next, FUNCTION_MS, true);
        assert!(ended_ms <= FUNCTION_MS - POSTING_ENDS_MS_BEFORE, "{ended_ms} ms");
        (tasks, given_up) = (tasks + 1, given_up + outcome.given_up);
    }
    assert_eq!((tasks, given_up), (9, 250));
}

/// A machine whose clock is a day ahead has no time for anything, and a task that nobody can post is no reason to end a session.
#[test]
fn some_are_posted_to_however_late_it_is_and_who_is_never_reached_keeps_the_session() {
    let stage = Stage::with_entries(2);
    sockets_of_bob(&stage, 40);
    let (outcome, _) = run_slowly(&stage, &task(&stage, 2, 2), 0, false);
    assert_eq!((outcome.posted, outcome.left), (32, 8));
    let cause = outcome.cause.expect("it says why");
    assert_eq!(cause.to_string(), "post to connections: the function's time is nearly over");
    assert_eq!(left_by_attempts(&stage), [(8, 0, 1)]);

    let (rest, _) = stage.take_tasks().remove(0);
    let mut rest = rest.undelivered.unwrap();
    rest.since = UnixMillis::ZERO;
    let sessions = stage.ports.memory.state().sessions[&user("bob")].keys().cloned().map(|name| (user("bob"), name)).collect();
    let late = Task { undelivered: Some(Undelivered { targets: sessions, ..rest }), ..task(&stage, 2, 2) };
    let (outcome, _) = run_slowly(&stage, &late, 0, false);
    assert_eq!((outcome.posted, outcome.skipped, outcome.given_up), (32, 8, 0));
    assert_eq!((connections_of(&stage, "bob").len(), stage.take_tasks()), (40, vec![]));
}

/// The next task begins again with the first frame: receivers drop what they have (D1).
#[test]
fn who_has_got_a_part_of_the_frames_when_the_time_is_over_is_not_reached() {
    let stage = Stage::new();
    sockets_of_bob(&stage, 33);
    for number in 2..=20 {
        stage.put(&entry_of_bytes(&stage.conversation, number, "bob", 4000));
    }
    // Three frames each: three seconds for the first 32, and one frame for the last.
    let (outcome, ended_ms) = run_slowly(&stage, &task(&stage, 2, 20), POSTING_ENDS_MS_BEFORE + 3_500, false);
    assert_eq!((outcome.posted, outcome.left, ended_ms), (32, 1, 4_000));
    assert_eq!(seqs(&stage, "bob-032"), (2..=8).collect::<Vec<_>>());
    assert_eq!(left_by_attempts(&stage), [(1, 0, 1)]);
}
