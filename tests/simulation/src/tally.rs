//! What many runs have met. A run that does no work proves nothing, and neither does a fault that never hits.

use std::collections::BTreeMap;
use std::fmt;

use chatlane_protocol::frames::{CursorOutcome, SyncOutcome};
use chatlane_protocol::{ErrorCode, Outcome as OfMessage, ServerFrame};
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
    /// All of them.
    const ALL: [&'static str; 22] = [
        "ack, read: refused",
        "error: token_expired",
        "goaway",
        "hello: next page",
        "history: not done",
        "ping: resync",
        "probe: found",
        "probe: not done",
        "send: anchor_stale",
        "send: duplicate",
        "send: epoch_changed",
        "send: not_attempted",
        "send: not_found",
        "send: too_large",
        "send: unavailable",
        "sync: epoch_changed",
        "sync: not done",
        "shown: displaced",
        "shown: failed",
        "shown: rolled back",
        "shown: rolled back to nothing",
        "shown: skipped",
    ];

    fn add(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub(crate) fn shown(&mut self, shown: &Shown) {
        match shown {
            Shown::Connection(ConnectionState::Displaced) => self.add("shown: displaced"),
            Shown::Outgoing { state: OutgoingState::Failed(_), .. } => self.add("shown: failed"),
            Shown::RolledBack { position, .. } if position.seq.get() == 0 => self.add("shown: rolled back to nothing"),
            Shown::RolledBack { .. } => self.add("shown: rolled back"),
            Shown::Skipped { .. } => self.add("shown: skipped"),
            _ => {}
        }
    }

    pub(crate) fn answered(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Send(answer) => {
                for result in &answer.results {
                    match &result.outcome {
                        OfMessage::Duplicate(_) => self.add("send: duplicate"),
                        OfMessage::NotAttempted => self.add("send: not_attempted"),
                        OfMessage::Refused(refusal) => self.add(in_send(refusal.code)),
                        OfMessage::Ok(_) | OfMessage::Conflict(_) => {}
                    }
                }
            }
            ServerFrame::Sync(answer) => {
                for page in &answer.pages {
                    match &page.outcome {
                        SyncOutcome::Ok(missed) if !missed.done => self.add("sync: not done"),
                        SyncOutcome::Refused(refusal) if refusal.code == ErrorCode::EpochChanged => self.add("sync: epoch_changed"),
                        SyncOutcome::Refused(refusal) if refusal.code == ErrorCode::NotFound => self.add("sync: not_found"),
                        SyncOutcome::Ok(_) | SyncOutcome::Refused(_) => {}
                    }
                }
            }
            ServerFrame::Ack(answer) | ServerFrame::Read(answer)
                if answer.results.iter().any(|result| matches!(result.outcome, CursorOutcome::Refused(_))) =>
            {
                self.add("ack, read: refused");
            }
            ServerFrame::Probe(answer) => {
                if !answer.done {
                    self.add("probe: not done");
                }
                if !answer.found.is_empty() {
                    self.add("probe: found");
                }
            }
            ServerFrame::History(answer) if !answer.done => self.add("history: not done"),
            ServerFrame::Goaway(_) => self.add("goaway"),
            ServerFrame::Hello(answer) if answer.next.is_some() => self.add("hello: next page"),
            ServerFrame::Ping(answer) if answer.resync => self.add("ping: resync"),
            ServerFrame::Error(error) if error.refusal.code == ErrorCode::TokenExpired => self.add("error: token_expired"),
            _ => {}
        }
    }
}

const fn in_send(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::AnchorStale => "send: anchor_stale",
        ErrorCode::Busy => "send: busy",
        ErrorCode::EpochChanged => "send: epoch_changed",
        ErrorCode::NotFound => "send: not_found",
        ErrorCode::RateLimited => "send: rate_limited",
        ErrorCode::TooLarge => "send: too_large",
        ErrorCode::Unavailable => "send: unavailable",
        _ => "send: refused otherwise",
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
        idle.extend(Met::ALL.iter().filter(|name| !self.met.0.contains_key(*name)).map(|name| format!("`{name}` was never met")));
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
