//! A hello among fan-outs, in every order: D2.

use chatlane_tests_model::hello::{self, CAME, Greeting, Hole, Scene};
use chatlane_tests_model::table::{Found, Held, find, hold};

fn holds(scene: Scene) {
    let held = hold(scene.name, Greeting::new(scene));
    println!("{}\n{held}", Held::HEADER);
    assert!(held.wrong.is_empty(), "{held}");
}

#[test]
fn a_device_that_says_hello_misses_nothing() {
    holds(hello::STAYS);
}

#[test]
fn a_device_misses_none_of_three_messages() {
    holds(hello::THREE);
}

// holds: D2
#[test]
fn a_device_misses_nothing_when_tasks_come_twice() {
    holds(hello::COPIES);
}

// holds: D2
#[test]
fn a_device_that_moves_to_a_second_socket_misses_nothing() {
    holds(hello::MOVES);
}

/// What the design does not promise, kept here so that nobody comes to rely on it.
#[test]
fn a_copy_that_passes_for_the_first_can_leave_an_entry_to_the_gap() {
    let found = find("the design, tasks that come twice".to_owned(), Greeting::judged(CAME, hello::COPIES));
    println!("{}\n{found}", Found::HEADER);
    assert!(found.script.is_some(), "it no longer does: judge it in every scene");
}

// holds: D2
#[test]
fn every_hole_around_hello_is_found() {
    println!("{}", Found::HEADER);
    let missed: Vec<String> = Hole::ALL
        .into_iter()
        .map(|(hole, breaks, scene)| find(format!("hello: {hole:?}"), Greeting::with(hole, breaks, scene)))
        .inspect(|found| println!("{found}"))
        .filter(|found| found.script.is_none())
        .map(|found| found.hole)
        .collect();
    let all = Hole::ALL.len();
    println!("holes {}/{all} found", all - missed.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
