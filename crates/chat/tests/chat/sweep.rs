//! The sweeper: which entries get a check, and which checks become a task. `many` is all of it together, in virtual time.

mod many;

use chatlane_chat::Settings;
use chatlane_chat::log::Head;
use chatlane_chat::ports::{Failure, Heads as _};
use chatlane_chat::testing::builders::{self, EPOCH, conversation, head, position, seq, settings, start};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::fan_out::{FanOutOutcome, Received, fan_out};
use chatlane_chat::workers::sweep::{CHECK_AFTER_S, Swept, sweep};
use chatlane_chat::workers::task::Task;
use chatlane_protocol::{ConversationId, Position, Seq, UnixMillis};

fn try_sweep(stage: &Stage, epoch: u32, seqs: &[u64]) -> Result<Swept, Failure> {
    block_on(sweep(&stage.ports, &Settings { epoch, ..settings() }, seqs.iter().map(|number| (stage.conversation.clone(), seq(*number)))))
}

fn swept(stage: &Stage, seqs: &[u64]) -> Swept {
    try_sweep(stage, EPOCH, seqs).unwrap()
}

/// The task of entries `first` to `last`, as it is queued for nobody in particular.
fn task(stage: &Stage, first: u64, last: u64) -> Task {
    builders::task_by("bob", &stage.conversation, first, last)
}

fn check(stage: &Stage, first: u64, last: u64) -> Task {
    Task { check: true, ..task(stage, first, last) }
}

fn receive(stage: &Stage, task: &Task) -> Result<FanOutOutcome, Failure> {
    block_on(fan_out(&stage.ports, &stage.settings.keys.users, task, Received { times: 1, accepted: start() }, UnixMillis::MAX))
}

/// What a check came to that nobody had to wait for.
fn found(swept: bool) -> FanOutOutcome {
    FanOutOutcome { swept, ..FanOutOutcome::default() }
}

// holds: L4
#[test]
fn what_no_worker_has_begun_gets_one_check_for_its_conversation_which_waits() {
    let stage = Stage::with_entries(5);
    stage.deliver_up_to(3);
    assert_eq!(swept(&stage, &[5, 2, 4]), Swept { conversations: 1, checks: 1 });
    assert_eq!(stage.take_tasks(), [(check(&stage, 4, 5), CHECK_AFTER_S)]);
}

#[test]
fn what_a_head_covers_costs_the_read_of_the_head_and_nothing_else() {
    let stage = Stage::with_entries(5);
    stage.deliver_up_to(5);
    for seqs in [&[5][..], &[2, 3]] {
        assert_eq!(swept(&stage, seqs), Swept { conversations: 1, checks: 0 });
    }
    assert_eq!(stage.take_tasks(), []);
    assert_eq!((stage.ports.count("heads"), stage.ports.count("at")), (2, 0));
}

// holds: L4
#[test]
fn a_check_queues_what_is_still_above_the_head_for_everybody() {
    let stage = Stage::with_entries(5);
    stage.deliver_up_to(3);
    assert_eq!(receive(&stage, &check(&stage, 2, 5)).unwrap(), found(true));
    assert_eq!(stage.take_tasks(), [(task(&stage, 4, 5), 0)], "no origin, no own entries: nobody has had an answer");
    assert_eq!(block_on(stage.ports.heads(std::slice::from_ref(&stage.conversation))).unwrap(), [head(3)], "it is for a worker to raise");
}

#[test]
fn a_check_of_what_was_only_late_reads_the_head_and_nothing_else() {
    for begun in [5, 6] {
        let stage = Stage::with_entries(6);
        stage.deliver_up_to(begun);
        assert_eq!(receive(&stage, &check(&stage, 2, 5)).unwrap(), found(false));
        assert_eq!(stage.take_tasks(), []);
        assert_eq!(["heads", "read", "members", "of_users", "raise_head"].map(|method| stage.ports.count(method)), [1, 0, 0, 0, 0]);
    }
}

/// Entries 1 to 9 had been delivered; a restore cut all but 1 and 2, and entry 3 was written since, at a seq that the head had passed.
// holds: L4
#[test]
fn a_head_of_before_a_restore_covers_nothing_that_came_since() {
    let stage = Stage::restored(&[1, 1, 2]);
    stage.deliver_up_to(9);
    assert_eq!(try_sweep(&stage, 2, &[3]).unwrap().checks, 1);
    let last = Position::new(2, seq(3));
    let expected = Task { last, ..check(&stage, 3, 3) };
    assert_eq!(stage.take_tasks(), [(expected.clone(), CHECK_AFTER_S)]);
    assert!(receive(&stage, &expected).unwrap().swept);
    assert_eq!(stage.take_tasks(), [(Task { check: false, ..expected }, 0)]);
}

#[test]
fn what_was_delivered_before_the_epoch_rose_gets_no_check() {
    let stage = Stage::with_entries(3);
    stage.deliver_up_to(3);
    assert_eq!(try_sweep(&stage, 2, &[3]).unwrap().checks, 0);
    // A sweeper that has not heard of it yet.
    let risen = Head { position: Position::new(2, seq(3)), ..head(3) };
    block_on(stage.ports.raise_head(&stage.conversation, risen)).unwrap();
    assert_eq!(swept(&stage, &[3]).checks, 0);
    assert_eq!(stage.take_tasks(), []);
}

/// The next one is above a head of the epoch that it carries too.
#[test]
fn a_sweeper_that_has_not_heard_of_an_epoch_finds_what_is_above_a_head_of_it() {
    let stage = Stage::restored(&[1, 2, 2]);
    block_on(stage.ports.raise_head(&stage.conversation, Head { position: Position::new(2, seq(2)), ..head(2) })).unwrap();
    assert_eq!(swept(&stage, &[3]).checks, 1);
}

#[test]
fn a_slot_that_is_empty_now_gets_no_check() {
    let stage = Stage::with_entries(2);
    assert_eq!(swept(&stage, &[7]), Swept { conversations: 1, checks: 0 });
    assert_eq!(swept(&stage, &[]), Swept::default());
    assert_eq!(stage.take_tasks(), []);
}

#[test]
fn whatever_cannot_be_reached_the_sweep_fails_and_finds_the_same_when_it_is_repeated() {
    for method in ["heads", "at", "enqueue"] {
        let stage = Stage::with_entries(2);
        stage.ports.on(method, Fault::RequestLost);
        assert!(try_sweep(&stage, EPOCH, &[2]).is_err(), "{method}");
        assert_eq!(stage.take_tasks(), []);
        assert_eq!(swept(&stage, &[2]).checks, 1);
        assert_eq!(stage.take_tasks(), [(check(&stage, 2, 2), CHECK_AFTER_S)]);
    }
}

#[test]
fn whatever_cannot_be_reached_a_check_fails_and_does_the_same_when_it_is_repeated() {
    for method in ["heads", "enqueue"] {
        let stage = Stage::with_entries(2);
        stage.ports.on(method, Fault::RequestLost);
        assert!(receive(&stage, &check(&stage, 2, 2)).is_err(), "{method}");
        assert_eq!(stage.take_tasks(), []);
        assert!(receive(&stage, &check(&stage, 2, 2)).unwrap().swept);
        assert_eq!(stage.take_tasks(), [(task(&stage, 2, 2), 0)]);
    }
}

#[test]
fn conversations_are_looked_at_a_hundred_at_a_time() {
    let stage = Stage::with_entries(2);
    let unknown = (0..150).map(|number| (conversation(&format!("d-{number:03}")), Seq::FIRST));
    let all: Vec<(ConversationId, Seq)> = unknown.chain([(stage.conversation.clone(), seq(2))]).collect();
    assert_eq!(block_on(sweep(&stage.ports, &settings(), all)).unwrap(), Swept { conversations: 151, checks: 1 });
    assert_eq!((stage.ports.count("heads"), stage.ports.count("at")), (2, 2));
    assert_eq!(stage.take_tasks()[0].0.last, position(2));
}
