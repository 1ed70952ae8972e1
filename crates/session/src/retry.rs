//! When something that failed is tried again: full jitter, and never before the server allows it.

use super::Moment;
use super::step::Step;

/// The attempts of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    failures: u32,
    not_before: Moment,
}

impl Retry {
    /// Nothing has failed yet.
    pub(super) const NEW: Self = Self { failures: 0, not_before: Moment(0) };

    /// When the next attempt may be made; in the past if at once.
    pub(super) const fn not_before(&self) -> Moment {
        self.not_before
    }

    /// An attempt failed. The next one is made after `retry_after_ms`, if the server named it, and a random part of a pause whose bound
    /// doubles with each failure: many devices that fail together do not come back together.
    pub(super) fn fail(&mut self, step: &mut Step, retry_after_ms: Option<u64>) {
        let (min, max) = (step.settings.back_off_min_ms, step.settings.back_off_max_ms);
        let doubled = min.saturating_mul(1 << self.failures.min(16));
        let jitter_ms = step.dice.up_to(doubled.min(max), "back_off");
        self.failures = self.failures.saturating_add(1);
        self.not_before = step.now.plus_ms(retry_after_ms.unwrap_or(0).saturating_add(jitter_ms));
    }

    /// An attempt succeeded: the next failure is the first one again.
    pub(super) const fn succeed(&mut self) {
        *self = Self::NEW;
    }

    /// What made the attempts fail is gone (there is a new socket): again at once, but the bound stays.
    pub(super) const fn forgive(&mut self) {
        self.not_before = Moment(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chatlane_protocol::{DeviceId, UserId};

    use super::*;
    use crate::Settings;

    fn step(at: u64, random: u64) -> Step {
        let device = DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap();
        Step::new(Moment(at), random, Arc::new(Settings::new(UserId::new("alice").unwrap(), device)))
    }

    /// The pauses after 1, 2, 3 … failures, each with its own random number.
    fn pauses(seed: u64, retry_after_ms: Option<u64>) -> Vec<u64> {
        let mut retry = Retry::NEW;
        (0..10)
            .map(|failure| {
                retry.fail(&mut step(0, seed + failure), retry_after_ms);
                retry.not_before().0
            })
            .collect()
    }

    #[test]
    fn the_bound_doubles_up_to_half_a_minute_and_jitter_is_full() {
        let bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000];
        let many: Vec<_> = (0..200).map(|seed| pauses(seed * 100, None)).collect();
        for (failure, bound) in bounds.into_iter().enumerate() {
            let at = || many.iter().map(|pauses| pauses[failure]);
            assert!(at().all(|pause| pause <= bound));
            assert!(at().any(|pause| pause < bound / 4) && at().any(|pause| pause > bound / 4 * 3), "{failure}");
        }
    }

    #[test]
    fn a_pause_that_the_server_names_is_the_least() {
        assert!(pauses(1, Some(60_000)).into_iter().all(|pause| (60_000..=90_000).contains(&pause)));
    }

    #[test]
    fn success_begins_anew_and_forgiveness_only_ends_the_pause() {
        let mut retry = Retry::NEW;
        for seed in 0..8 {
            retry.fail(&mut step(100, seed), None);
        }
        retry.forgive();
        assert_eq!((retry.not_before(), retry.failures), (Moment(0), 8));
        retry.succeed();
        assert_eq!(retry, Retry::NEW);
    }
}
