//! What is left to further tasks, and what is given up.

use chatlane_protocol::{Seq, UnixMillis};

use super::posting::{Posted, Targets};
use crate::workers::task::{Task, Undelivered};

/// So often a connection is posted to in vain, or so long. Then its *session* is given up where the outcomes were unknown: it may be
/// dead. Where it was throttled or never reached, the *entries* are given up for it.
const ATTEMPTS_MAX: u32 = 5;
const GIVE_UP_AFTER_MS: u64 = 120_000;

/// What becomes of the connections that were not posted to.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Further tasks, and how many seconds each waits. The connections of one have fared alike: attempts of either kind do not count as
    /// attempts of the other.
    pub(super) tasks: Vec<(Task, u32)>,
    /// Their sessions are given up.
    pub(super) given_up: Targets,
    /// For so many connections the entries are given up.
    pub(super) skipped: usize,
}

/// Decides it at `now`. The further tasks begin at entry `first`.
pub(super) fn leave(task: &Task, first: Seq, posted: &Posted, now: UnixMillis) -> Left {
    let (attempt, throttled, since) =
        task.undelivered.as_ref().map_or((0, 0, now), |before| (before.attempt, before.throttled, before.since));
    let over_in_s = GIVE_UP_AFTER_MS.saturating_sub(now.since_ms(since)).div_ceil(1000);
    let over_in_s = u32::try_from(over_in_s).unwrap_or(u32::MAX);
    let is_over = |attempts: u32| over_in_s == 0 || attempts >= ATTEMPTS_MAX;
    // The time alone says that a connection is dead only where nothing else has taken it.
    let is_dead = |attempts: u32| attempts >= ATTEMPTS_MAX || (attempt > 0 && throttled == 0);
    let further = |targets: &Targets, attempt: u32, throttled: u32| {
        let undelivered = Undelivered { targets: targets.clone(), attempt, throttled, since };
        Task { first, undelivered: Some(undelivered), ..task.clone() }
    };

    let mut left = Left::default();
    match (&posted.unknown, attempt.saturating_add(1)) {
        (unknown, attempts) if is_over(attempts) && is_dead(attempts) => left.given_up.clone_from(unknown),
        (unknown, attempts) if is_over(attempts) => left.skipped += unknown.len(),
        (unknown, attempts) => left.tasks.push((further(unknown, attempts, throttled), 1 << attempt)),
    }
    match (&posted.throttled, throttled.saturating_add(1)) {
        (full, attempts) if is_over(attempts) => left.skipped += full.len(),
        // After 2, 8 and 32 seconds, and when the time is over: few posts to those who do not read.
        (full, attempts) => left.tasks.push((further(full, attempt, attempts), (2 << (2 * throttled)).min(over_in_s))),
    }
    match &posted.unreached {
        unreached if is_over(0) => left.skipped += unreached.len(),
        unreached => left.tasks.push((further(unreached, attempt, throttled), 1)),
    }
    left.tasks.retain(|(task, _)| task.undelivered.as_ref().is_some_and(|rest| !rest.targets.is_empty()));
    left
}
