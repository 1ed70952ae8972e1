//! When messages are due.

use std::time::Duration;

use chatlane_tests_support::Dice;

/// Times since the start, ascending, without end: a Poisson process, as of many people who do not know of each other. Fixed by the seed.
#[derive(Debug)]
pub struct Schedule {
    dice: Dice,
    per_s: f64,
    due_s: f64,
}

impl Schedule {
    /// `per_s` messages a second on average; above 0.
    pub fn new(per_s: f64, seed: u64) -> Self {
        Self { dice: Dice::new(seed), per_s, due_s: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.due_s -= (1.0 - self.dice.share()).ln() / self.per_s; // a share is below 1: the logarithm is of no zero
        Some(Duration::from_secs_f64(self.due_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_in_order_at_the_given_rate() {
        let due: Vec<Duration> = Schedule::new(50.0, 7).take(10_000).collect();
        assert!(due.is_sorted());
        let took = due[9_999].as_secs_f64();
        assert!((took - 200.0).abs() < 10.0, "10,000 messages at 50 a second within {took} s");
    }

    #[test]
    fn gaps_are_those_of_people_who_do_not_know_of_each_other() {
        let due: Vec<f64> = Schedule::new(1.0, 7).take(10_000).map(|due| due.as_secs_f64()).collect();
        let longer = due.windows(2).filter(|pair| pair[1] - pair[0] > 1.0).count();
        // e⁻¹ of the gaps of a Poisson process are longer than the mean.
        assert!((3_400..3_960).contains(&longer), "{longer}");
    }

    #[test]
    fn one_seed_gives_one_schedule() {
        let due = |seed| Schedule::new(10.0, seed).take(5).collect::<Vec<_>>();
        assert_eq!(due(1), due(1));
        assert_ne!(due(1), due(2));
    }
}
