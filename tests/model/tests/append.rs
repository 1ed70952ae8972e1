//! The anchored append, in every order: L1 to L3, L4 of what is answered, and that everybody is answered.

use chatlane_tests_model::append::{self, Append, Hole, Scene};
use chatlane_tests_model::table::{Found, Held, find, hold};

fn holds(scene: Scene) {
    let held = hold(scene.name, Append::new(scene));
    println!("{}\n{held}", Held::HEADER);
    assert!(held.wrong.is_empty(), "{held}");
}

// holds: L1
#[test]
fn three_senders_get_one_lane_whoever_dies_and_whatever_lands_late() {
    holds(append::RETRIES);
}

// holds: L2
#[test]
fn requests_of_one_message_that_overlap_store_it_once() {
    holds(append::OVERLAPS);
}

// holds: L3
#[test]
fn what_is_acknowledged_is_queued() {
    holds(append::QUEUED);
}

// holds: L2
#[test]
fn a_restore_doubles_nothing_and_keeps_nobody_waiting() {
    holds(append::RESTORE);
}

#[test]
fn a_restore_of_a_lane_with_three_senders_doubles_nothing() {
    holds(append::RESTORE_THREE);
}

// holds: L2
#[test]
fn a_second_restore_doubles_nothing() {
    holds(append::TWO_RESTORES);
}

#[test]
fn a_head_or_a_task_from_before_a_restore_misleads_nobody() {
    holds(append::QUEUED_RESTORE);
}

// holds: L1
#[test]
fn every_hole_in_the_append_is_found() {
    println!("{}", Found::HEADER);
    let missed: Vec<String> = Hole::ALL
        .into_iter()
        .map(|(hole, breaks, scene)| find(format!("append: {hole:?}"), Append::with(hole, breaks, scene)))
        .inspect(|found| println!("{found}"))
        .filter(|found| found.script.is_none())
        .map(|found| found.hole)
        .collect();
    let all = Hole::ALL.len();
    println!("holes {}/{all} found", all - missed.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
