//! Both models: every scene holds in every order of its steps, and every hole is found. Each test prints its line of the table; what a hole
//! prints to standard error is the shortest way into it.

use chatlane_tests_model::append::{self, Append};
use chatlane_tests_model::hello::{self, CAME, Greeting};
use chatlane_tests_model::table::{Found, Held, find, hold};

fn holds(held: &Held) {
    println!("{}\n{held}", Held::HEADER);
    assert!(held.wrong.is_empty(), "{held}");
}

fn append_holds(scene: append::Scene) {
    holds(&hold(scene.name, Append::new(scene)));
}

fn hello_holds(scene: hello::Scene) {
    holds(&hold(scene.name, Greeting::new(scene)));
}

fn all_are_found(all: impl ExactSizeIterator<Item = Found>) {
    println!("{}", Found::HEADER);
    let (holes, mut missed) = (all.len(), vec![]);
    for found in all {
        println!("{found}");
        found.script.iter().flatten().for_each(|step| eprintln!("    {step}"));
        missed.extend(found.script.is_none().then_some(found.hole));
    }
    println!("holes {}/{holes} found", holes - missed.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}

// holds: L1
#[test]
fn three_senders_get_one_lane_whoever_dies_and_whatever_lands_late() {
    append_holds(append::RETRIES);
}

// holds: L2
#[test]
fn requests_of_one_message_that_overlap_store_it_once() {
    append_holds(append::OVERLAPS);
}

// holds: L3
#[test]
fn what_is_acknowledged_is_queued() {
    append_holds(append::QUEUED);
}

// holds: L2
#[test]
fn a_restore_doubles_nothing_and_keeps_nobody_waiting() {
    append_holds(append::RESTORE);
}

#[test]
fn a_restore_of_a_lane_with_three_senders_doubles_nothing() {
    append_holds(append::RESTORE_THREE);
}

// holds: L2
#[test]
fn a_second_restore_doubles_nothing() {
    append_holds(append::TWO_RESTORES);
}

#[test]
fn a_head_or_a_task_from_before_a_restore_misleads_nobody() {
    append_holds(append::QUEUED_RESTORE);
}

// holds: L1
#[test]
fn every_hole_in_the_append_is_found() {
    let holes = append::Hole::ALL.into_iter();
    all_are_found(holes.map(|(hole, breaks, scene)| find(format!("append: {hole:?}"), Append::with(hole, breaks, scene))));
}

#[test]
fn a_device_that_says_hello_misses_nothing() {
    hello_holds(hello::STAYS);
}

#[test]
fn a_device_misses_none_of_three_messages() {
    hello_holds(hello::THREE);
}

// holds: D2
#[test]
fn a_device_misses_nothing_when_tasks_come_twice() {
    hello_holds(hello::COPIES);
}

// holds: D2
#[test]
fn a_device_that_moves_to_a_second_socket_misses_nothing() {
    hello_holds(hello::MOVES);
}

// holds: D2
#[test]
fn every_hole_around_hello_is_found() {
    let holes = hello::Hole::ALL.into_iter();
    all_are_found(holes.map(|(hole, breaks, scene)| find(format!("hello: {hole:?}"), Greeting::with(hole, breaks, scene))));
}

/// What the design does not promise, kept here so that nobody comes to rely on it.
#[test]
fn a_copy_that_passes_for_the_first_can_leave_an_entry_to_the_gap() {
    let found = find("the design, tasks that come twice".to_owned(), Greeting::judged(CAME, hello::COPIES));
    println!("{}\n{found}", Found::HEADER);
    assert!(found.script.is_some(), "it no longer does: judge it in every scene");
}
