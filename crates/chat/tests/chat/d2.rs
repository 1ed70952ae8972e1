//! D2: a device that says hello misses nothing, whatever the order of the calls of hello, send and fan-out, with at most one fault.
//!
//! Each test runs all schedules of its scene; a failure prints the shortest schedule that breaks.

use chatlane_chat::testing::stepping::{Explored, Mutation, Scene, explore};

/// A search that finds fewer than so many has lost a process or a fault.
const SCHEDULES_MIN: u64 = 1_000_000;

fn report(explored: &Explored) {
    let Explored { schedules, states, steps_max, broken, shortest } = explored;
    println!("{schedules} schedules of up to {steps_max} steps, through {states} states: {broken} broken");
    for (step, line) in shortest.iter().enumerate() {
        println!("{:4} {line}", step + 1);
    }
}

fn holds(scene: Scene) {
    let explored = explore(scene, 1, None);
    report(&explored);
    assert_eq!(explored.broken, 0, "{scene:?} breaks D2; the shortest schedule that does is printed above");
    assert!(explored.schedules > SCHEDULES_MIN, "all schedules are few: {explored:?}");
}

// holds: D2
#[test]
fn a_device_that_says_hello_misses_nothing_in_any_order() {
    holds(Scene::AMessageIsSent);
}

// holds: D2
#[test]
fn nothing_is_missed_when_two_tasks_race_each_other_and_hello() {
    holds(Scene::TwoTasksAreQueued);
}

// holds: D2
#[test]
fn nothing_is_missed_by_a_device_that_moves_to_a_new_socket() {
    holds(Scene::TheDeviceMoves);
}

/// `needed`: faults without which the mutation does no harm.
fn is_found(mutation: Mutation, scene: Scene, needed: u32) {
    if needed > 0 {
        assert_eq!(explore(scene, needed - 1, Some(mutation)).broken, 0, "{mutation:?} does harm without a fault");
    }
    let explored = explore(scene, needed, Some(mutation));
    report(&explored);
    assert!(explored.broken > 0, "{mutation:?} is not found in {scene:?}");
    assert!(
        explored.broken < explored.schedules / 10,
        "{mutation:?} breaks what needs no search: {} of {}",
        explored.broken,
        explored.schedules
    );
}

/// A test a mutation, with its scene and the faults that it needs.
macro_rules! mutations {
    ($(fn $name:ident($mutation:ident) in $scene:ident with $needed:literal;)+) => {$(
        #[test]
        fn $name() {
            is_found(Mutation::$mutation, Scene::$scene, $needed);
        }
    )+};
}

mutations! {
    // holds: D2
    fn a_session_written_in_connect_is_found(SessionInConnect) in TwoTasksAreQueued with 0;
    // holds: D2
    fn heads_before_the_session_is_found(HeadsBeforeSession) in AMessageIsSent with 0;
    // holds: D2
    fn sessions_before_head_is_found(SessionsBeforeHead) in AMessageIsSent with 0;
    // holds: D2
    fn a_task_that_is_skipped_at_head_is_last_is_found(SkipAtHead) in AMessageIsSent with 1;
    // holds: D2
    fn a_repeated_task_that_is_skipped_below_the_head_is_found(RepeatedTaskSkipped) in TwoTasksAreQueued with 1;
}
