//! The only source of chance. The algorithm is fixed here, so that a seed means the same for ever.

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): any seed is a good one,
/// neighbouring seeds give unrelated sequences.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One number for these parts, whatever was drawn before: what is decided by it stays decided when a script is shortened elsewhere.
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, part| mixed(hash.wrapping_add(GOLDEN) ^ mixed(part.wrapping_add(GOLDEN))))
}

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// 0 to `n` − 1; `n` is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let high = (u128::from(self.next()) * (n as u128)) >> 64;
        usize::try_from(high).unwrap_or(0)
    }

    /// `low` to `high`, both included.
    pub(crate) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
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
    fn what_parts_decide_differs_with_each_of_them() {
        let all = [hash(&[1, 2, 3]), hash(&[1, 2, 4]), hash(&[1, 3, 3]), hash(&[2, 2, 3]), hash(&[2, 1, 3])];
        assert!((1..all.len()).all(|one| !all[..one].contains(&all[one])));
    }
}
