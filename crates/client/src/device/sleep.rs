//! The device's clock. While a machine sleeps, the clock of [`Instant`] stands on most systems, and no timer runs: a connection that is dead
//! for hours would look as if nothing had been heard of it for a minute. The wall clock goes on; that it has gone much further tells of the
//! sleep, and the session's time jumps by as much. (A wall clock that is set forward looks the same and does no harm: one `ping` more.)

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chatlane_session::Moment;
use tokio::time::Instant;

/// How often the two clocks are compared: so late a sleep is noticed, at worst.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(3);

/// So much further the wall clock has gone after a sleep. Less may be a clock that was corrected.
const SLEEP_MIN: Duration = Duration::from_secs(5);

/// Moments of the session.
#[derive(Debug)]
pub(super) struct SleepClock {
    began: Instant,
    /// Time asleep, and both clocks when they were compared last.
    compared: Mutex<(Duration, Instant, SystemTime)>,
}

impl SleepClock {
    /// Its first moment is now.
    pub(super) const fn new(now: Instant, wall: SystemTime) -> Self {
        Self { began: now, compared: Mutex::new((Duration::ZERO, now, wall)) }
    }

    /// Compares the clocks. Whether the machine has slept since the last time.
    pub(super) fn has_slept(&self, now: Instant, wall: SystemTime) -> bool {
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let (asleep, before, wall_before) = *compared;
        let by_wall = wall.duration_since(wall_before).unwrap_or_default();
        let slept = by_wall.saturating_sub(now.saturating_duration_since(before));
        let has_slept = slept >= SLEEP_MIN;
        *compared = (if has_slept { asleep.saturating_add(slept) } else { asleep }, now, wall);
        has_slept
    }

    /// The session's time.
    pub(super) fn moment(&self, now: Instant) -> Moment {
        let asleep = self.compared.lock().unwrap_or_else(PoisonError::into_inner).0;
        let passed = now.saturating_duration_since(self.began).saturating_add(asleep);
        Moment(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    /// When a moment is. Later than in a day counts as in a day: no number may overflow the clock.
    pub(super) fn instant(&self, Moment(ms): Moment) -> Instant {
        let now = Instant::now();
        let ahead = Duration::from_millis(ms).saturating_sub(Duration::from_millis(self.moment(now).0));
        now + ahead.min(Duration::from_hours(24))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_by_a_sleep_and_by_nothing_less() {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let clock = SleepClock::new(start, wall);
        // So long awake and so long asleep since the start.
        let look = |awake_s: u64, asleep_s: u64| {
            let (awake, asleep) = (Duration::from_secs(awake_s), Duration::from_secs(asleep_s));
            let slept = clock.has_slept(start + awake, wall + awake + asleep);
            (slept, clock.moment(start + awake).0 / 1000)
        };
        assert_eq!(look(3, 0), (false, 3));
        assert_eq!(look(6, 4), (false, 6), "a correction");
        assert_eq!(look(9, 4 + 30_000), (true, 30_009));
        assert_eq!(look(12, 4 + 30_000), (false, 30_012));
        assert_eq!(look(15, 0), (false, 30_015), "the wall clock was set back");
        assert_eq!(look(18, 60), (true, 30_078));
    }
}
