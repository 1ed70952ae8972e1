//! How many messages a conversation takes: a token bucket that travels in the entries themselves.
//!
//! Every writer reads the tail anyway, so the bucket in the tail's facts is exact across all Lambdas, and no further write keeps it.
//! Limits: 20 messages a second for long, 50 at once; below half, a sender with 8 of the last 16 messages waits for the others.
//! Not promised: exactness where clocks are wrong. Each message written by a clock that is ahead refills up to 2.5 seconds' worth.

use chatlane_protocol::UnixMillis;
use chatlane_protocol::limits::{ADMISSION_BURST, ADMISSION_PER_S};

/// The senders that are remembered.
pub const RECENT: usize = 16;

/// Of the last [`RECENT`] messages, so many make a sender a busy one.
const BUSY: usize = 8;

/// The elapsed time that refills: clamped, so that one writer with a wrong clock neither freezes nor floods the lane. Also the burst:
/// this long at the sustained rate.
const ELAPSED_MS_MAX: u32 = 2500;

// The burst that the protocol's page names.
const _: () = assert!(ADMISSION_BURST * 1000 == ADMISSION_PER_S * ELAPSED_MS_MAX);

/// The bucket after an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of a message.
    pub tokens_milli: u32,
    /// The clock of the writer that left it so. Its own, not the highest seen: else one skewed clock freezes the lane.
    pub time: UnixMillis,
    /// [`crate::log::hash::sender_hash`] of the last messages, oldest first; 0 where there was none yet.
    pub recent: [u32; RECENT],
}

/// Whether a message is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It is; its entry carries this bucket.
    Admitted(Bucket),
    /// It is not; not before this many milliseconds.
    Wait {
        /// Until there is a token for this sender, if nobody else takes it.
        retry_after_ms: u64,
    },
}

/// The most that a bucket holds at this rate.
pub fn capacity_milli(admitted_per_s: u32) -> u32 {
    admitted_per_s.saturating_mul(ELAPSED_MS_MAX)
}

impl Bucket {
    /// A full one.
    pub fn full(admitted_per_s: u32, now: UnixMillis) -> Self {
        Self { tokens_milli: capacity_milli(admitted_per_s), time: now, recent: [0; RECENT] }
    }

    /// One message of `sender` (its hash) at `now` by the writer's clock.
    pub fn admit(&self, sender: u32, now: UnixMillis, admitted_per_s: u32) -> Admission {
        let capacity = capacity_milli(admitted_per_s);
        let elapsed_ms = u32::try_from(now.since_ms(self.time)).unwrap_or(u32::MAX).min(ELAPSED_MS_MAX);
        let refill = elapsed_ms.saturating_mul(admitted_per_s);
        let tokens = self.tokens_milli.saturating_add(refill).min(capacity);

        let busy = self.recent.iter().filter(|&&recent| recent == sender).count() >= BUSY;
        // A token is 1000; a busy sender leaves the lower half of the bucket to the others.
        let needed = if busy { (capacity / 2).max(1000) } else { 1000 };
        if tokens < needed {
            let per_ms = admitted_per_s.max(1);
            return Admission::Wait { retry_after_ms: u64::from((needed - tokens).div_ceil(per_ms)).max(1) };
        }
        let mut recent = self.recent;
        recent.rotate_left(1);
        recent[RECENT - 1] = sender;
        Admission::Admitted(Self { tokens_milli: tokens - 1000, time: now, recent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 20;

    fn at(ms: u64) -> UnixMillis {
        UnixMillis::try_from(1_000_000_000 + ms).unwrap()
    }

    /// Offers one message of each sender in turn every `every_ms`; the times by which each writer's clock is off repeat. Returns how
    /// many were admitted.
    fn admitted(senders: &[u32], every_ms: u64, messages: u64, skews_ms: &[i64]) -> u64 {
        let mut bucket = Bucket::full(RATE, at(0));
        let mut admitted = 0;
        for n in 0..messages {
            let index = usize::try_from(n).unwrap();
            let now = (1_000_000_000 + n * every_ms).saturating_add_signed(skews_ms[index % skews_ms.len()]);
            match bucket.admit(senders[index % senders.len()], UnixMillis::try_from(now).unwrap(), RATE) {
                Admission::Admitted(after) => {
                    bucket = after;
                    admitted += 1;
                }
                Admission::Wait { .. } => {}
            }
        }
        admitted
    }

    #[test]
    fn fifty_at_once_then_twenty_a_second() {
        let senders: Vec<u32> = (1..=40).collect();
        assert_eq!(admitted(&senders, 0, 200, &[0]), 50);
        // 10 seconds at 100 a second: the burst and 20 a second.
        let taken = admitted(&senders, 10, 1000, &[0]);
        assert!((249..=251).contains(&taken), "{taken}");
    }

    #[test]
    fn a_wait_says_when_there_will_be_a_token() {
        let mut bucket = Bucket::full(RATE, at(0));
        bucket.tokens_milli = 400;
        let Admission::Wait { retry_after_ms } = bucket.admit(1, at(0), RATE) else { panic!("no token") };
        assert_eq!(retry_after_ms, 30);
        assert!(matches!(bucket.admit(1, at(29), RATE), Admission::Wait { .. }));
        assert!(matches!(bucket.admit(1, at(30), RATE), Admission::Admitted(_)));
    }

    #[test]
    fn below_half_a_busy_sender_waits_and_the_others_do_not() {
        let mut bucket = Bucket::full(RATE, at(0));
        bucket.tokens_milli = 20_000;
        bucket.recent = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3];
        assert_eq!(bucket.admit(1, at(0), RATE), Admission::Wait { retry_after_ms: 250 });
        assert!(matches!(bucket.admit(2, at(0), RATE), Admission::Admitted(_)));
        assert!(matches!(bucket.admit(1, at(250), RATE), Admission::Admitted(_)));
    }

    #[test]
    fn one_wrong_clock_neither_freezes_nor_floods_the_lane() {
        let day = 86_400_000;
        for skew in [day, -day] {
            let mut skews = vec![0; 400];
            skews[5] = skew;
            // 20 a second are offered; one writer in 400 is a day off.
            let taken = admitted(&(1..=40).collect::<Vec<_>>(), 50, 4000, &skews);
            assert!(taken >= 3900, "{taken}");
        }
    }
}
