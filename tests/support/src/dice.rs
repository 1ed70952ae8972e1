//! Chance. The algorithm is fixed here, so that a seed means the same for ever.

use std::hash::{BuildHasher as _, RandomState};

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): any seed is a good one,
/// neighbouring seeds give unrelated sequences.
#[derive(Clone, Debug)]
pub struct Dice(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One number for these parts, whatever was drawn before: what is decided by it stays decided when a script is shortened elsewhere.
pub fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, part| mixed(hash.wrapping_add(GOLDEN) ^ mixed(part.wrapping_add(GOLDEN))))
}

impl Dice {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence each time.
    pub fn unpredictable() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// 0 to `n` − 1; `n` is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        let high = (u128::from(self.next()) * (n as u128)) >> 64;
        usize::try_from(high).unwrap_or(0)
    }

    /// `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True once in `n` times; `n` is not 0.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// 0 to 1, the latter excluded.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what the type has")]
    pub const fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Puts them into any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut dice = Dice::new(1_234_567);
        assert_eq!(dice.next(), 6_457_827_717_110_365_317);
        assert_eq!(dice.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_in_their_range_and_come_to_its_ends() {
        let mut dice = Dice::new(7);
        let draws = (0..1000).map(|_| (dice.below(3), dice.between(4, 6), dice.share()));
        let draws: Vec<_> = draws.collect();
        assert!(draws.iter().all(|(below, between, share)| *below < 3 && (4..=6).contains(between) && (0.0..1.0).contains(share)));
        assert!((0..3).all(|n| draws.iter().any(|(below, between, _)| (*below, *between) == (n, 4 + n as u64))));
    }

    #[test]
    fn what_parts_decide_differs_with_each_of_them() {
        let all = [hash(&[1, 2, 3]), hash(&[1, 2, 4]), hash(&[1, 3, 3]), hash(&[2, 2, 3]), hash(&[2, 1, 3])];
        assert!((1..all.len()).all(|one| !all[..one].contains(&all[one])));
    }
}
