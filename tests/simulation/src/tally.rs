//! What many runs have met. A run that does no work proves nothing, and neither does a fault that never hits.

use std::collections::BTreeMap;
use std::fmt;

use crate::fault::{Fault, Hits};
use crate::met::Met;
use crate::run::Outcome;
use crate::script::Performed;

/// Of many runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many.
    pub runs: u64,
    /// Entries in their logs.
    pub entries: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Deliveries that a restore had cut off, and that were begun only by the next message.
    pub never_begun: u64,
    /// Virtual time of all of them.
    pub virtual_ms: u64,
    /// Operations by name.
    pub performed: Performed,
    /// The rarer answers and sights.
    pub met: Met,
    /// Faults.
    pub hits: BTreeMap<Fault, Hits>,
}

impl Tally {
    /// Counts a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.entries += outcome.entries;
        self.dead_letters += outcome.dead_letters;
        self.never_begun += outcome.never_begun;
        self.virtual_ms += outcome.virtual_ms;
        self.merge(&outcome.performed, &outcome.met, &outcome.hits);
    }

    /// Counts what another one has counted.
    pub fn add_all(&mut self, other: &Self) {
        self.runs += other.runs;
        self.entries += other.entries;
        self.dead_letters += other.dead_letters;
        self.never_begun += other.never_begun;
        self.virtual_ms += other.virtual_ms;
        self.merge(&other.performed, &other.met, &other.hits);
    }

    fn merge(&mut self, performed: &Performed, met: &Met, hits: &BTreeMap<Fault, Hits>) {
        self.met.add(met);
        for (name, (tried, effect)) in performed {
            let counts = self.performed.entry(name).or_default();
            *counts = (counts.0 + tried, counts.1 + effect);
        }
        for (fault, Hits { could, hit }) in hits {
            let counts = self.hits.entry(*fault).or_default();
            *counts = Hits { could: counts.could + could, hit: counts.hit + hit };
        }
    }

    /// Operations, and those that took effect.
    pub fn operations(&self) -> (u64, u64) {
        self.performed.values().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// What these runs have not met as they should: operations without effect, faults that hit less than 1 % of what they can hit, answers
    /// that never came.
    pub fn idle(&self) -> Vec<String> {
        let (tried, effect) = self.operations();
        let mut idle = vec![];
        if 2 * effect < tried {
            idle.push(format!("only {effect} of {tried} operations took effect"));
        }
        for fault in Fault::ALL {
            let Hits { could, hit } = self.hits.get(&fault).copied().unwrap_or_default();
            if hit == 0 || 100 * hit < could {
                idle.push(format!("`{}` hit {hit} of {could} {}", fault.words().0, fault.words().1));
            }
        }
        idle.extend(self.met.missing().map(|name| format!("`{name}` was never met")));
        idle
    }

    /// The kinds of operations that took effect less often than this.
    pub fn rarer_than(&self, each: u64) -> impl Iterator<Item = String> {
        let rarer = self.performed.iter().filter(move |(_, (_, effect))| *effect < each);
        rarer.map(|(name, (_, effect))| format!("`{name}` took effect {effect} times"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "percentages for people")]
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tried, effect) = self.operations();
        writeln!(
            f,
            "{} runs, {tried} operations, {effect} took effect ({:.1} %); {} entries, {} deliveries begun only by the next message, {} dead \
             letters redriven, {} virtual hours",
            self.runs,
            percent(effect, tried),
            self.entries,
            self.never_begun,
            self.dead_letters,
            self.virtual_ms / 3_600_000
        )?;
        for (name, (tried, effect)) in &self.performed {
            writeln!(f, "  {name:<32} {effect:>9} of {tried:>9}           {:>5.1} %", percent(*effect, *tried))?;
        }
        for (name, count) in &self.met.0 {
            writeln!(f, "  {name:<32} {count:>9}")?;
        }
        let faults = self.hits.values().any(|hits| hits.hit > 0); // else there were to be none
        for (fault, Hits { could, hit }) in self.hits.iter().filter(|_| faults) {
            let (name, of) = fault.words();
            writeln!(f, "  {name:<32} {hit:>9} of {could:>9} {of:<12} {:>4.1} %", percent(*hit, *could))?;
        }
        Ok(())
    }
}
