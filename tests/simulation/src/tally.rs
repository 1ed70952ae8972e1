//! What many runs have met. A run that does no work proves nothing, and neither does a fault that never hits.

use std::collections::BTreeMap;
use std::fmt;

use chatlane_session::{ConnectionState, OutgoingState, Shown};

use crate::fault::{Fault, Hits};
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
    /// Deliveries that were begun only by the next message.
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

/// The rarer answers of the server, and what a person sees rarely: that they were met shows that the repairs that they lead to have run.
#[derive(Clone, Debug, Default)]
pub struct Met(BTreeMap<&'static str, u64>);

impl Met {
    /// Answers: how their frames begin, and what is in them.
    const ANSWERS: [(&'static str, &'static str, &'static str); 18] = [
        (r#"{"type":"ack""#, r#""status":"refused""#, "ack: refused"),
        (r#"{"type":"error""#, r#""code":"token_expired""#, "error: token_expired"),
        (r#"{"type":"goaway""#, "", "goaway"),
        (r#"{"type":"hello""#, r#","next":"#, "hello: next page"),
        (r#"{"type":"history""#, r#""done":false"#, "history: not done"),
        (r#"{"type":"ping""#, r#""resync":true"#, "ping: resync"),
        (r#"{"type":"probe""#, r#""found":[{"#, "probe: found"),
        (r#"{"type":"probe""#, r#""done":false"#, "probe: not done"),
        (r#"{"type":"read""#, r#""status":"refused""#, "read: refused"),
        (r#"{"type":"send""#, r#""code":"anchor_stale""#, "send: anchor_stale"),
        (r#"{"type":"send""#, r#""status":"duplicate""#, "send: duplicate"),
        (r#"{"type":"send""#, r#""code":"epoch_changed""#, "send: epoch_changed"),
        (r#"{"type":"send""#, r#""status":"not_attempted""#, "send: not_attempted"),
        (r#"{"type":"send""#, r#""code":"not_found""#, "send: not_found"),
        (r#"{"type":"send""#, r#""code":"too_large""#, "send: too_large"),
        (r#"{"type":"send""#, r#""code":"unavailable""#, "send: unavailable"),
        (r#"{"type":"sync""#, r#""code":"epoch_changed""#, "sync: epoch_changed"),
        (r#"{"type":"sync""#, r#""done":false"#, "sync: not done"),
    ];
    const SIGHTS: [&'static str; 4] = ["shown: displaced", "shown: failed", "shown: rolled back", "shown: skipped"];

    pub(crate) fn answered(&mut self, text: &str) {
        for (_, _, name) in Self::ANSWERS.iter().filter(|(begin, word, _)| text.starts_with(begin) && text.contains(word)) {
            *self.0.entry(name).or_default() += 1;
        }
    }

    pub(crate) fn shown(&mut self, shown: &Shown) {
        let index = match shown {
            Shown::Connection(ConnectionState::Displaced) => 0,
            Shown::Outgoing { state: OutgoingState::Failed(_), .. } => 1,
            Shown::RolledBack { .. } => 2,
            Shown::Skipped { .. } => 3,
            _ => return,
        };
        *self.0.entry(Self::SIGHTS[index]).or_default() += 1;
    }

    fn missing(&self) -> impl Iterator<Item = &'static str> {
        let all = Self::ANSWERS.iter().map(|(_, _, name)| *name).chain(Self::SIGHTS);
        all.filter(|name| !self.0.contains_key(name))
    }
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
        for (name, count) in &met.0 {
            *self.met.0.entry(name).or_default() += count;
        }
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
