//! The real append in 100,000 seeded schedules of a direct conversation, 20,000 of a group and of a message in one, and each of its mutations in at most 10,000
//! (L1 to L5, M1, R1).
//!
//! `CHATLANE_SEED=n` makes each test here run the one schedule of that seed and print its script. A failure prints the command.
//! `CHATLANE_SCHEDULES=n` makes the tests of groups and messages run so many.

use std::ops::Range;

use chatlane_chat::testing::interleave::{Explored, Fault, Guarantee, Mutation, Race, Scene, Schedule, explore, repeat};

/// Schedules have the seeds from here on.
const BASE: u64 = 1;

/// What the real append survives, in two halves so that two cores share them.
const SURVIVED: u64 = 100_000;

/// The same of a group, where nothing else is asked for.
const SURVIVED_BY_GROUPS: u64 = 20_000;

/// Within so many a mutation is found.
const FOUND_WITHIN: u64 = 10_000;

/// The seed that the environment asks for.
fn asked() -> Option<u64> {
    number("CHATLANE_SEED")
}

fn number(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    Some(number.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {number}")))
}

fn print(test: &str, schedule: &Schedule) {
    println!("{}", schedule.script.join("\n"));
    match &schedule.violation {
        Some(violation) => println!("seed {} broke {violation}", schedule.seed),
        None => println!("seed {} broke nothing", schedule.seed),
    }
    println!(
        "repeat it: CHATLANE_SEED={} cargo test -p chatlane-chat --test chat -- --nocapture --exact interleaver::{test}",
        schedule.seed
    );
}

fn survives(test: &str, scene: Scene, seeds: Range<u64>) {
    if let Some(seed) = asked() {
        let schedule = repeat(scene, seed, None);
        print(test, &schedule);
        assert_eq!(schedule.violation, None);
        return;
    }
    println!("seeds {} to {}", seeds.start, seeds.end - 1);
    let expected = seeds.end - seeds.start;
    let Explored { tally, broken } = explore(scene, seeds, None);
    println!("{tally}");
    if let Some(schedule) = broken {
        print(test, &schedule);
        panic!("the append broke a guarantee under seed {}", schedule.seed);
    }
    assert_eq!(tally.schedules, expected);
    assert!(tally.stored > 0 && tally.effects > 0 && tally.retried > 0 && tally.duplicates > 0 && tally.taken > 0, "{tally}");
    for fault in Fault::ALL.into_iter().filter(|fault| fault.is_of(scene)) {
        assert!(tally.of(fault) > 0, "{fault:?} never hit");
    }
    for race in Race::ALL.into_iter().filter(|race| race.scene() == scene) {
        assert!(tally.met_in(race) > expected / 1000, "{race:?} is too rare: {tally}");
    }
}

// holds: L1
#[test]
fn the_append_survives_the_first_half_of_the_schedules() {
    survives("the_append_survives_the_first_half_of_the_schedules", Scene::Direct, BASE..BASE + SURVIVED / 2);
}

#[test]
fn the_append_survives_the_second_half_of_the_schedules() {
    survives("the_append_survives_the_second_half_of_the_schedules", Scene::Direct, BASE + SURVIVED / 2..BASE + SURVIVED);
}

fn of_a_group(half: u64) -> Range<u64> {
    let schedules = number("CHATLANE_SCHEDULES").unwrap_or(SURVIVED_BY_GROUPS);
    BASE + half * schedules / 2..BASE + (half + 1) * schedules / 2
}

// holds: L2, M1
#[test]
fn a_group_survives_the_first_half_of_the_schedules() {
    survives("a_group_survives_the_first_half_of_the_schedules", Scene::Group, of_a_group(0));
}

#[test]
fn a_group_survives_the_second_half_of_the_schedules() {
    survives("a_group_survives_the_second_half_of_the_schedules", Scene::Group, of_a_group(1));
}

// holds: L2, M1
#[test]
fn a_message_survives_the_first_half_of_the_schedules() {
    survives("a_message_survives_the_first_half_of_the_schedules", Scene::Message, of_a_group(0));
}

#[test]
fn a_message_survives_the_second_half_of_the_schedules() {
    survives("a_message_survives_the_second_half_of_the_schedules", Scene::Message, of_a_group(1));
}

fn breaks(test: &str, scene: Scene, mutation: Mutation, expected: &[Guarantee]) {
    if let Some(seed) = asked() {
        let schedule = repeat(scene, seed, Some(mutation));
        print(test, &schedule);
        let found = schedule.violation.map(|violation| violation.guarantee);
        assert!(found.is_some_and(|found| expected.contains(&found)), "{mutation:?} is not found under seed {seed}: {found:?}");
        return;
    }
    let Explored { tally, broken } = explore(scene, BASE..BASE + FOUND_WITHIN, Some(mutation));
    let schedule = broken.unwrap_or_else(|| panic!("{mutation:?} was not found in {FOUND_WITHIN} schedules\n{tally}"));
    print(test, &schedule);
    println!("found in schedule {} of {FOUND_WITHIN}", tally.schedules);
    let violation = schedule.violation.expect("the schedule that was found broke a guarantee");
    assert!(expected.contains(&violation.guarantee), "{violation}");
}

/// A test a mutation, with what it may break.
macro_rules! mutations {
    ($(fn $name:ident($mutation:ident in $scene:ident) breaks $($guarantee:ident),+;)+) => {$(
        #[test]
        fn $name() {
            breaks(stringify!($name), Scene::$scene, Mutation::$mutation, &[$(Guarantee::$guarantee),+]);
        }
    )+};
}

mutations! {
    // holds: L2
    fn a_newer_anchor_on_retry_is_found(NewerAnchorOnRetry in Direct) breaks L2;
    // holds: L2
    fn the_tail_taken_as_anchor_is_found(TailTakenAsAnchor in Direct) breaks L2;
    // holds: L2
    fn an_anchor_trusted_beyond_the_tail_is_found(AnchorBeyondTailTrusted in Direct) breaks L1;
    // holds: L2
    fn a_bare_seq_anchor_over_a_raised_epoch_is_found(BareSeqAnchor in Direct) breaks L2;
    // holds: L1
    fn a_read_with_a_gap_that_is_accepted_is_found(NonContiguousReadAccepted in Direct) breaks L2;
    // holds: L5
    fn a_batch_that_goes_on_is_found(BatchGoesOn in Direct) breaks L5;
    // holds: L2
    fn an_own_put_that_is_not_recognised_is_found(OwnPutNotRecognised in Direct) breaks L2;
    // holds: L3
    fn an_unknown_put_that_is_acknowledged_is_found(UnknownPutAcknowledged in Direct) breaks L2, L3;
    // holds: L4
    fn a_duplicate_whose_delivery_is_not_queued_is_found(DuplicateNotQueued in Direct) breaks L4;
    // holds: M1
    fn a_row_that_is_not_read_again_is_found(RowNotReadAgain in Direct) breaks M1;
    // holds: M1
    fn a_row_that_is_read_again_for_recent_changes_only_is_found(RowReadAgainForRecentChangesOnly in Direct) breaks M1;
    // holds: R1
    fn a_log_that_is_read_before_the_row_is_found(LogBeforeRow in Direct) breaks R1;
    // holds: M1
    fn a_change_that_is_judged_by_the_first_row_is_found(JudgedByTheFirstRow in Group) breaks M1;
    // holds: M1
    fn a_lower_role_that_is_not_noticed_is_found(RowAgainOnRemovalOnly in Group) breaks M1;
    // holds: M1
    fn a_role_that_is_no_change_of_membership_is_found(RoleIsNoChangeOfMembership in Group) breaks Facts, M1;
    // holds: M1
    fn rows_that_are_read_before_and_written_whatever_they_are_are_found(RowsReadBefore in Group) breaks M1, Facts, Rows;
    // holds: M1
    fn a_row_that_is_read_again_plainly_is_found(RowAgainReadPlainly in Group) breaks M1;
    // holds: M1
    fn owners_who_are_not_counted_are_found(OwnersNotCounted in Group) breaks M1;
    // holds: M1
    fn a_message_that_is_read_before_and_written_whatever_it_is_is_found(MessageReadBefore in Message) breaks M1, Rows;
    // holds: M1
    fn reactions_that_are_read_before_and_written_whatever_they_are_are_found(ReactionsReadBefore in Message) breaks M1, Rows;
    // holds: L2
    fn a_newer_anchor_on_the_retry_of_a_change_is_found(NewerAnchorOnRetryOfAChange in Group) breaks L2;
    // holds: M1
    fn a_row_that_is_not_read_again_is_found_in_a_group(RowNotReadAgain in Group) breaks M1;
}

#[test]
fn one_seed_gives_one_history() {
    for (scene, seed) in
        [Scene::Direct, Scene::Group, Scene::Message].into_iter().flat_map(|scene| (BASE..).take(200).map(move |seed| (scene, seed)))
    {
        let first = repeat(scene, seed, None);
        assert_eq!(first, repeat(scene, seed, None));
        assert!(!first.script.is_empty());
        let unrecorded = explore(scene, seed..seed + 1, None);
        assert_eq!(unrecorded.tally, first.tally, "recording changes nothing");
        assert_ne!(first.script, repeat(scene, seed + 1, None).script);
    }
}
