//! What a run met: operations, faults and the server's rarer answers. A run that does not meet a fault proves nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use chatlane_protocol::frames::{CursorOutcome, ServerFrame, SyncOutcome};
use chatlane_protocol::{ErrorCode, Outcome};

/// Counts, by name.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Tried, took effect.
    pub operations: BTreeMap<&'static str, (u64, u64)>,
    pub faults: BTreeMap<&'static str, u64>,
    pub answers: BTreeMap<&'static str, u64>,
    pub entries: u64,
    pub virtual_ms: u64,
    /// The longest way from the last fault to rest.
    pub rest_ms_max: u64,
}

impl Tally {
    pub fn operation(&mut self, name: &'static str, took_effect: bool) {
        let counts = self.operations.entry(name).or_default();
        counts.0 += 1;
        counts.1 += u64::from(took_effect);
    }

    /// A line that was tried before takes effect now.
    pub fn effect(&mut self, name: &'static str) {
        self.operations.entry(name).or_default().1 += 1;
    }

    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub fn met(&mut self, name: &'static str) {
        *self.answers.entry(name).or_default() += 1;
    }

    /// Counts what is not everyday in an answer.
    pub fn answer(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Send(answer) => {
                for result in &answer.results {
                    match &result.outcome {
                        Outcome::Duplicate(_) => self.met("send: duplicate"),
                        Outcome::NotAttempted => self.met("send: not_attempted"),
                        Outcome::Refused(refusal) => self.met(in_send(refusal.code)),
                        Outcome::Ok(_) | Outcome::Conflict(_) => {}
                    }
                }
            }
            ServerFrame::Sync(answer) => {
                for page in &answer.pages {
                    match &page.outcome {
                        SyncOutcome::Ok(missed) if !missed.done => self.met("sync: not done"),
                        SyncOutcome::Refused(refusal) if refusal.code == ErrorCode::EpochChanged => self.met("sync: epoch_changed"),
                        SyncOutcome::Ok(_) | SyncOutcome::Refused(_) => {}
                    }
                }
            }
            ServerFrame::Ack(answer) | ServerFrame::Read(answer)
                if answer.results.iter().any(|result| matches!(result.outcome, CursorOutcome::Refused(_))) =>
            {
                self.met("ack, read: refused");
            }
            ServerFrame::Probe(answer) => {
                if !answer.done {
                    self.met("probe: not done");
                }
                if !answer.found.is_empty() {
                    self.met("probe: found");
                }
            }
            ServerFrame::Goaway(_) => self.met("goaway"),
            ServerFrame::Hello(answer) if answer.next.is_some() => self.met("hello: next page"),
            ServerFrame::Ping(answer) if answer.resync => self.met("ping: resync"),
            ServerFrame::Error(error) => self.met(in_error(error.refusal.code)),
            _ => {}
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (name, (tried, effect)) in &other.operations {
            let counts = self.operations.entry(name).or_default();
            *counts = (counts.0 + tried, counts.1 + effect);
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &other.answers {
            *self.answers.entry(name).or_default() += count;
        }
        self.entries += other.entries;
        self.virtual_ms += other.virtual_ms;
        self.rest_ms_max = self.rest_ms_max.max(other.rest_ms_max);
    }
}

const fn in_send(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::AnchorStale => "send: anchor_stale",
        ErrorCode::EpochChanged => "send: epoch_changed",
        ErrorCode::TooLarge => "send: too_large",
        ErrorCode::Forbidden => "send: forbidden",
        ErrorCode::RateLimited => "send: rate_limited",
        ErrorCode::Busy => "send: busy",
        _ => "send: refused otherwise",
    }
}

const fn in_error(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TokenExpired => "error: token_expired",
        ErrorCode::TokenRefused => "error: token_refused",
        ErrorCode::Unavailable => "error: unavailable",
        ErrorCode::EpochChanged => "error: epoch_changed",
        ErrorCode::Resync => "error: resync",
        _ => "error: otherwise",
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tried, effect) = self.operations.values().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
        writeln!(f, "operations: {tried}, of which {effect} took effect")?;
        for (name, (tried, effect)) in &self.operations {
            writeln!(f, "    {name:<24}{effect:>8} of {tried}")?;
        }
        writeln!(f, "faults: {}", self.faults.values().sum::<u64>())?;
        for (name, count) in &self.faults {
            writeln!(f, "    {name:<42}{count:>8}")?;
        }
        writeln!(f, "rarer answers:")?;
        for (name, count) in &self.answers {
            writeln!(f, "    {name:<42}{count:>8}")?;
        }
        let minutes = self.virtual_ms / 60_000;
        write!(f, "entries: {}, virtual minutes: {minutes}, longest way to rest: {} s", self.entries, self.rest_ms_max / 1000)
    }
}
