//! The real append in 100,000 seeded schedules, and each of its mutations in at most 10,000 (L1 to L5, M1, R1).
//!
//! `CHATLANE_SEED=n` makes each test here run the one schedule of that seed and print its script. A failure prints the command.

use std::ops::Range;

use chatlane_chat::testing::interleave::{Explored, Fault, Guarantee, Mutation, Schedule, explore, repeat};

/// Schedules have the seeds from here on.
const BASE: u64 = 1;

/// What the real append survives, in two halves so that two cores share them.
const SURVIVED: u64 = 100_000;

/// Within so many a mutation is found.
const FOUND_WITHIN: u64 = 10_000;

/// The seed that the environment asks for.
fn asked() -> Option<u64> {
    let seed = std::env::var("CHATLANE_SEED").ok()?;
    Some(seed.parse().expect("CHATLANE_SEED must be a number, as printed by a failing run"))
}

fn print(test: &str, schedule: &Schedule) {
    println!("{}", schedule.script.join("\n"));
    match &schedule.violation {
        Some(violation) => println!("seed {} broke {violation}", schedule.seed),
        None => println!("seed {} broke nothing", schedule.seed),
    }
    println!("repeat it: CHATLANE_SEED={} cargo test -p chatlane-chat --test interleaver -- --nocapture --exact {test}", schedule.seed);
}

fn survives(test: &str, seeds: Range<u64>) {
    if let Some(seed) = asked() {
        let schedule = repeat(seed, None);
        print(test, &schedule);
        assert_eq!(schedule.violation, None);
        return;
    }
    println!("seeds {} to {}", seeds.start, seeds.end - 1);
    let expected = seeds.end - seeds.start;
    let Explored { tally, broken } = explore(seeds, None);
    println!("{tally}");
    if let Some(schedule) = broken {
        print(test, &schedule);
        panic!("the append broke a guarantee under seed {}", schedule.seed);
    }
    assert_eq!(tally.schedules, expected);
    assert!(tally.stored > 0 && tally.effects > 0 && tally.retried > 0 && tally.duplicates > 0 && tally.taken > 0, "{tally}");
    for fault in Fault::ALL {
        assert!(tally.of(fault) > 0, "{fault:?} never hit");
    }
}

// holds: L1
#[test]
fn the_append_survives_the_first_half_of_the_schedules() {
    survives("the_append_survives_the_first_half_of_the_schedules", BASE..BASE + SURVIVED / 2);
}

#[test]
fn the_append_survives_the_second_half_of_the_schedules() {
    survives("the_append_survives_the_second_half_of_the_schedules", BASE + SURVIVED / 2..BASE + SURVIVED);
}

fn breaks(test: &str, mutation: Mutation, expected: &[Guarantee]) {
    if let Some(seed) = asked() {
        let schedule = repeat(seed, Some(mutation));
        print(test, &schedule);
        let found = schedule.violation.map(|violation| violation.guarantee);
        assert!(found.is_some_and(|found| expected.contains(&found)), "{mutation:?} is not found under seed {seed}: {found:?}");
        return;
    }
    let Explored { tally, broken } = explore(BASE..BASE + FOUND_WITHIN, Some(mutation));
    let schedule = broken.unwrap_or_else(|| panic!("{mutation:?} was not found in {FOUND_WITHIN} schedules\n{tally}"));
    print(test, &schedule);
    println!("found in schedule {} of {FOUND_WITHIN}", tally.schedules);
    let violation = schedule.violation.expect("the schedule that was found broke a guarantee");
    assert!(expected.contains(&violation.guarantee), "{violation}");
}

/// A test a mutation, with what it may break.
macro_rules! mutations {
    ($(fn $name:ident($mutation:ident) breaks $($guarantee:ident),+;)+) => {$(
        #[test]
        fn $name() {
            breaks(stringify!($name), Mutation::$mutation, &[$(Guarantee::$guarantee),+]);
        }
    )+};
}

mutations! {
    // holds: L2
    fn a_newer_anchor_on_retry_is_found(NewerAnchorOnRetry) breaks L2;
    // holds: L2
    fn the_tail_taken_as_anchor_is_found(TailTakenAsAnchor) breaks L2;
    // holds: L2
    fn an_anchor_trusted_beyond_the_tail_is_found(AnchorBeyondTailTrusted) breaks L1;
    // holds: L2
    fn a_bare_seq_anchor_over_a_raised_epoch_is_found(BareSeqAnchor) breaks L2;
    // holds: L1
    fn a_read_with_a_gap_that_is_accepted_is_found(NonContiguousReadAccepted) breaks L2;
    // holds: L5
    fn a_batch_that_goes_on_is_found(BatchGoesOn) breaks L5;
    // holds: L2
    fn an_own_put_that_is_not_recognised_is_found(OwnPutNotRecognised) breaks L2;
    // holds: L3
    fn an_unknown_put_that_is_acknowledged_is_found(UnknownPutAcknowledged) breaks L2, L3;
    // holds: L4
    fn a_duplicate_whose_delivery_is_not_queued_is_found(DuplicateNotQueued) breaks L4;
    // holds: M1
    fn a_row_that_is_not_read_again_is_found(RowNotReadAgain) breaks M1;
    // holds: M1
    fn a_row_that_is_read_again_for_recent_changes_only_is_found(RowReadAgainForRecentChangesOnly) breaks M1;
    // holds: R1
    fn a_log_that_is_read_before_the_row_is_found(LogBeforeRow) breaks R1;
}

#[test]
fn one_seed_gives_one_history() {
    for seed in (BASE..).take(200) {
        let first = repeat(seed, None);
        assert_eq!(first, repeat(seed, None));
        assert!(!first.script.is_empty());
        let unrecorded = explore(seed..seed + 1, None);
        assert_eq!(unrecorded.tally, first.tally, "recording changes nothing");
    }
    assert_ne!(repeat(BASE, None).script, repeat(BASE + 1, None).script);
}
