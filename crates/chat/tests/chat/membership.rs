//! M1 and D2 where somebody is removed, added, or removed and added again, in every order with what reads for them, transactions seen half.
//!
//! Each test runs all schedules of its scene; a failure prints the shortest schedule that breaks.

use chatlane_chat::testing::stepping::Explored;
use chatlane_chat::testing::stepping::membership::{Change, Mutation, Reader, explore_membership};

fn report(scene: &str, explored: &Explored) {
    let Explored { schedules, states, steps_max, broken, shortest } = explored;
    println!("{scene}: {schedules} schedules of up to {steps_max} steps, through {states} states: {broken} broken");
    for (step, line) in shortest.iter().enumerate() {
        println!("{:4} {line}", step + 1);
    }
}

fn holds(change: Change, reader: Reader) {
    let explored = explore_membership(change, reader, None);
    report(&format!("{change:?}, {reader:?}"), &explored);
    assert_eq!(explored.broken, 0, "{change:?} against {reader:?}; the shortest schedule that breaks is printed above");
    assert!(explored.schedules > 1_000, "all schedules are few: {explored:?}");
}

fn is_found(mutation: Mutation, change: Change, reader: Reader) {
    let explored = explore_membership(change, reader, Some(mutation));
    report(&format!("{mutation:?}, {change:?}, {reader:?}"), &explored);
    assert!(explored.broken > 0, "{mutation:?} is not found");
}

/// A test a scene.
macro_rules! scenes {
    ($(fn $name:ident($change:ident, $reader:ident);)+) => {$(
        #[test]
        fn $name() {
            holds(Change::$change, Reader::$reader);
        }
    )+};
}

scenes! {
    // holds: M1, D2
    fn a_removal_against_hello(Removal, Hello);
    // holds: M1, D2
    fn a_removal_against_the_second_page_of_hello(Removal, SecondPage);
    // holds: M1, D2
    fn an_addition_against_the_second_page_of_hello(Addition, SecondPage);
    // holds: M1, D2
    fn a_removal_and_an_addition_against_the_second_page_of_hello(Both, SecondPage);
    // holds: M1, D2
    fn a_removal_against_sync(Removal, Sync);
    // holds: M1, D2
    fn a_removal_against_history(Removal, History);
    // holds: M1, D2
    fn an_addition_against_hello(Addition, Hello);
    // holds: M1, D2
    fn an_addition_against_sync(Addition, Sync);
    // holds: M1, D2
    fn an_addition_against_history(Addition, History);
    // holds: M1, D2
    fn a_removal_and_an_addition_against_two_and_more_workers(Both, Nobody);
    // holds: M1, D2
    fn a_removal_and_an_addition_against_hello(Both, Hello);
    // holds: M1, D2
    fn a_removal_and_an_addition_against_sync(Both, Sync);
    // holds: M1, D2
    fn a_removal_and_an_addition_against_history(Both, History);
}

/// A test a mutation, with a scene in which it does harm.
macro_rules! mutations {
    ($(fn $name:ident($mutation:ident) in $change:ident, $reader:ident;)+) => {$(
        #[test]
        fn $name() {
            is_found(Mutation::$mutation, Change::$change, Reader::$reader);
        }
    )+};
}

mutations! {
    // holds: M1
    fn a_row_that_is_not_read_again_in_sync_is_found(RowNotReadAgain) in Removal, Sync;
    // holds: M1
    fn a_row_that_is_not_read_again_in_history_is_found(RowNotReadAgain) in Removal, History;
    // holds: M1
    fn a_row_that_is_not_read_again_in_hello_is_found(RowNotReadAgain) in Removal, Hello;
    // holds: M1
    fn a_list_of_members_that_is_kept_is_found(ListKept) in Both, Nobody;
    // holds: M1
    fn rows_that_are_read_before_the_tail_are_found(RowsBeforeTail) in Both, Nobody;
}
