//! How much a conversation takes: a token bucket that travels in the entries themselves. An entry takes a token for each kilobyte, begun or
//! whole, that is written for it: its own, and what it changes (the message that it edits, the rows of the members whom it adds). So nobody
//! fills the lane with few large ones: whoever reads it, and whose anchor must be near its end, pays by the byte. None takes more than half
//! a bucket. One token is enough to be admitted: where an entry takes more than there is, the lane makes up for it before it admits the next.
//! What takes a right away (a member, a role, the group from all) does not wait at all: else those who fill the lane would keep out who
//! removes them, and who leaves. Nobody fills it by that, because what gives the right back waits.
//!
//! Every writer reads the tail anyway, so the bucket in the tail's facts is exact across all Lambdas, and no further write keeps it.
//! Limits: 20 tokens a second for long, 60 at once; below half, a sender with 8 of the last 16 messages waits for the others.
//! Not promised: exactness where clocks are wrong. Each entry written by a wrong clock refills up to twice 3 seconds' worth.

use chatlane_protocol::UnixMillis;
use chatlane_protocol::limits::{ADMISSION_BURST, ADMISSION_PER_S};

/// The senders that are remembered.
pub const RECENT: usize = 16;

/// Of the last [`RECENT`] messages, so many make a sender a busy one.
const BUSY: usize = 8;

/// The elapsed time that refills: clamped, so that one writer with a wrong clock neither freezes nor floods the lane. Also the burst:
/// this long at the sustained rate.
const ELAPSED_MS_MAX: u32 = 3000;

/// What a token stands for.
const TOKEN_BYTES: usize = 1024;

/// One token.
const TOKEN_MILLI: u32 = 1000;

// The burst that the protocol's page names.
const _: () = assert!(ADMISSION_BURST * 1000 == ADMISSION_PER_S * ELAPSED_MS_MAX);

/// The bucket after an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of a token.
    pub tokens_milli: u32,
    /// The clock of the writer that left it so, or up to 3 seconds later where the lane has to make up for what was taken. Its own, not the
    /// highest seen: else one skewed clock freezes the lane.
    pub time: UnixMillis,
    /// [Hashes](crate::log::hash::UserKey::sender) of the senders of the last messages, oldest first; 0 where there was none yet.
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
        /// Until there are tokens enough for this sender, if nobody else takes them.
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

    /// One entry of `sender` (its hash) for which so many bytes are written, at `now` by the writer's clock.
    pub fn admit(&self, sender: u32, bytes: usize, now: UnixMillis, admitted_per_s: u32) -> Admission {
        let busy = self.recent.iter().filter(|&&recent| recent == sender).count() >= BUSY;
        self.admit_from(busy, sender, bytes, now, admitted_per_s)
    }

    /// The same of what leaves the lower half of the bucket to the messages, whoever sends it.
    pub fn admit_beside(&self, sender: u32, bytes: usize, now: UnixMillis, admitted_per_s: u32) -> Admission {
        self.admit_from(true, sender, bytes, now, admitted_per_s)
    }

    /// The same of what does not wait. The lane makes up for it for 3 seconds at most.
    pub fn admit_at_once(&self, sender: u32, bytes: usize, now: UnixMillis, admitted_per_s: u32) -> Admission {
        self.admit_with(0, sender, bytes, now, admitted_per_s)
    }

    fn admit_from(&self, upper_half: bool, sender: u32, bytes: usize, now: UnixMillis, admitted_per_s: u32) -> Admission {
        // A busy sender leaves the lower half of the bucket to the others.
        let needed = if upper_half { capacity_milli(admitted_per_s) / 2 } else { TOKEN_MILLI };
        self.admit_with(needed, sender, bytes, now, admitted_per_s)
    }

    fn admit_with(&self, needed: u32, sender: u32, bytes: usize, now: UnixMillis, admitted_per_s: u32) -> Admission {
        let (capacity, per_ms) = (capacity_milli(admitted_per_s), admitted_per_s.max(1));
        // A little ahead of now is what the lane has to make up for, or another clock; more is a wrong clock.
        let ahead_ms = u32::try_from(self.time.since_ms(now)).unwrap_or(u32::MAX);
        let (elapsed_ms, ahead_ms) = match ahead_ms {
            0 => (u32::try_from(now.since_ms(self.time)).unwrap_or(u32::MAX).min(ELAPSED_MS_MAX), 0),
            1..=ELAPSED_MS_MAX => (0, ahead_ms),
            _ => (ELAPSED_MS_MAX, 0),
        };
        let tokens = self.tokens_milli.saturating_add(elapsed_ms.saturating_mul(admitted_per_s)).min(capacity);
        if tokens < needed {
            return Admission::Wait { retry_after_ms: u64::from((needed - tokens).div_ceil(per_ms) + ahead_ms).max(1) };
        }
        let taken = u32::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u32::MAX).saturating_mul(TOKEN_MILLI).min(capacity / 2);
        let mut recent = self.recent;
        recent.rotate_left(1);
        recent[RECENT - 1] = sender;
        let owed_before_ms = if tokens == 0 { ahead_ms } else { 0 };
        let owed_ms = (owed_before_ms + taken.saturating_sub(tokens).div_ceil(per_ms)).min(ELAPSED_MS_MAX);
        Admission::Admitted(Self { tokens_milli: tokens.saturating_sub(taken), time: now.plus_ms(owed_ms.into()), recent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 20;

    /// Bytes of a message that takes one token.
    const SMALL: usize = 300;

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
            match bucket.admit(senders[index % senders.len()], SMALL, UnixMillis::try_from(now).unwrap(), RATE) {
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
    fn sixty_at_once_then_twenty_a_second() {
        let senders: Vec<u32> = (1..=40).collect();
        assert_eq!(admitted(&senders, 0, 200, &[0]), 60);
        // 10 seconds at 100 a second: the burst and 20 a second.
        let taken = admitted(&senders, 10, 1000, &[0]);
        assert!((259..=261).contains(&taken), "{taken}");
    }

    #[test]
    fn a_wait_says_when_there_will_be_a_token() {
        let mut bucket = Bucket::full(RATE, at(0));
        bucket.tokens_milli = 400;
        let Admission::Wait { retry_after_ms } = bucket.admit(1, SMALL, at(0), RATE) else { panic!("no token") };
        assert_eq!(retry_after_ms, 30);
        assert!(matches!(bucket.admit(1, SMALL, at(29), RATE), Admission::Wait { .. }));
        assert!(matches!(bucket.admit(1, SMALL, at(30), RATE), Admission::Admitted(_)));
    }

    #[test]
    fn below_half_a_busy_sender_waits_and_the_others_do_not() {
        let mut bucket = Bucket::full(RATE, at(0));
        bucket.tokens_milli = 25_000;
        bucket.recent = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3];
        assert_eq!(bucket.admit(1, SMALL, at(0), RATE), Admission::Wait { retry_after_ms: 250 });
        assert!(matches!(bucket.admit(2, SMALL, at(0), RATE), Admission::Admitted(_)));
        assert!(matches!(bucket.admit(1, SMALL, at(250), RATE), Admission::Admitted(_)));
    }

    /// What a flooder of the largest messages gets: three at once, then 20 KB a second.
    #[test]
    fn a_message_takes_a_token_for_each_kilobyte() {
        let bucket = Bucket::full(RATE, at(0));
        for (bytes, left) in [(0, 60_000), (1, 59_000), (1024, 59_000), (1025, 58_000), (28 * 1024, 32_000)] {
            let Admission::Admitted(after) = bucket.admit(1, bytes, at(0), RATE) else { panic!("{bytes} bytes") };
            assert_eq!(after.tokens_milli, left, "{bytes} bytes");
        }
        let largest = 28 * 1024;
        let mut bucket = bucket;
        let mut admitted = vec![];
        for ms in (0..10_000).step_by(10) {
            if let Admission::Admitted(after) = bucket.admit(u32::try_from(ms).unwrap(), largest, at(ms), RATE) {
                bucket = after;
                admitted.push(ms);
            }
        }
        assert_eq!(admitted[..5], [0, 10, 20, 1250, 2650], "the fifth is the first beyond 128 KB");
        assert_eq!(admitted.len(), 10);
        // The largest takes half of a full bucket, also where the lane is slow.
        for (rate, bytes) in [(2, largest), (RATE, 600 * 1024)] {
            let half = capacity_milli(rate) / 2;
            assert!(
                matches!(Bucket::full(rate, at(0)).admit(1, bytes, at(0), rate), Admission::Admitted(after) if after.tokens_milli == half)
            );
        }
    }

    /// Three who write little, so often that there is never more than a token, do not keep out what takes 30; and wait until it is made up for.
    #[test]
    fn those_who_write_little_do_not_keep_out_what_takes_much() {
        let mut bucket = Bucket { tokens_milli: 0, ..Bucket::full(RATE, at(0)) };
        let mut admit = |sender, bytes, ms| match bucket.admit(sender, bytes, at(ms), RATE) {
            Admission::Admitted(after) => {
                bucket = after;
                true
            }
            Admission::Wait { .. } => false,
        };
        let mut small = (0..1000).filter(|ms| admit(u32::try_from(ms % 3).unwrap(), SMALL, *ms)).count();
        assert_eq!(small, 19);
        assert!((1000..1060).any(|ms| admit(4, 100 * 1024, ms)), "one of sixty attempts");
        small = (1060..10_000).filter(|ms| admit(u32::try_from(ms % 3).unwrap(), SMALL, *ms)).count();
        assert!((148..=150).contains(&small), "{small} in nine seconds, of which one and a half went to the large one");
    }

    /// Four who fill the lane with the largest messages, and try again at the very moment at which it opens.
    #[test]
    fn what_does_not_wait_is_admitted_however_full_the_lane_is_and_made_up_for() {
        let mut bucket = Bucket::full(RATE, at(0));
        let mut at_once = 0;
        let mut large = 0;
        for ms in 0..30_000 {
            if ms % 5_000 == 2_500 {
                let Admission::Admitted(after) = bucket.admit_at_once(9, 2 * 1024, at(ms), RATE) else { panic!("it waits") };
                bucket = after;
                at_once += 2;
            }
            for sender in 1..=4 {
                if let Admission::Admitted(after) = bucket.admit(sender, 20 * 1024, at(ms), RATE) {
                    bucket = after;
                    large += 20;
                }
            }
        }
        assert_eq!(at_once, 12);
        assert!((640..=680).contains(&(large + at_once)), "{large}: 60, 20 a second for half a minute, and what is owed in the end");
        // However much does not wait, the lane is open again 3 seconds later.
        for _ in 0..100 {
            let Admission::Admitted(after) = bucket.admit_at_once(9, 30 * 1024, at(30_000), RATE) else { panic!("it waits") };
            bucket = after;
        }
        assert!(matches!(bucket.admit(1, SMALL, at(33_049), RATE), Admission::Wait { retry_after_ms: 1 }));
        assert!(matches!(bucket.admit(1, SMALL, at(33_050), RATE), Admission::Admitted(_)));
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
