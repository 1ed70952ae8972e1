//! D1: each device is followed through its lives, entry by entry. What it has at quiescence goes on to `quiescence.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::case::{Case, Fate};
use crate::history::{Device, Line, Stretch, What};
use crate::verdict::{Check, Lines, Verdict};
use crate::words::{Name, Position};

/// One device at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    pub device: Device,
    pub connection: Connection,
    /// The line that told how its connection stands.
    pub line: usize,
    /// What it has of each conversation.
    pub runs: BTreeMap<Name, Run>,
}

/// How a device's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// None.
    Away,
    /// Open; `hello` is not answered.
    Greeting,
    /// Nothing may be missed any more; what was missed before is being fetched.
    CatchingUp,
    /// Nothing is missing.
    Live,
}

/// What a device has of a conversation, up to `have`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub have: Position,
    /// The line that told so.
    pub line: usize,
    /// The entries that were shown and not taken back since, with their lines; ascending.
    pub shown: Vec<(Position, usize)>,
}

/// Judges D1. Answers the devices as they were at the last quiescence, in the order in which they were met.
pub(crate) fn judge(case: &Case, verdict: &mut Verdict) -> Vec<Phone> {
    let mut walk = Walk { case, phones: vec![], index: HashMap::new(), restores: 0 };
    let mut at_quiescence = vec![];
    for (index, line) in case.history.lines.iter().enumerate() {
        match (&line.what, line.device) {
            (What::Restored { .. }, _) => walk.restores += 1,
            (_, Some(device)) => walk.step(device, line, verdict),
            (_, None) => {}
        }
        if case.history.quiescent == Some(index) {
            at_quiescence.clone_from(&walk.phones);
        }
    }
    at_quiescence
}

struct Walk<'a> {
    case: &'a Case,
    phones: Vec<Phone>,
    index: HashMap<Device, usize>,
    restores: usize,
}

impl Walk<'_> {
    fn step(&mut self, device: Device, line: &Line, verdict: &mut Verdict) {
        let (case, restores) = (self.case, self.restores);
        let phone = *self.index.entry(device).or_insert_with(|| {
            self.phones.push(Phone { device, connection: Connection::Away, line: line.number, runs: BTreeMap::new() });
            self.phones.len() - 1
        });
        let phone = &mut self.phones[phone];
        let connection = match (&line.what, phone.connection) {
            // A second connection, opened beside the one that lives, takes nothing from it.
            (What::Connect, Connection::Away) => Connection::Greeting,
            (What::Hello, Connection::Away | Connection::Greeting) => Connection::CatchingUp,
            (What::Live, _) => Connection::Live,
            (What::Away | What::Restart { .. }, _) => Connection::Away,
            (_, as_before) => as_before,
        };
        if connection != phone.connection {
            (phone.connection, phone.line) = (connection, line.number);
        }
        match &line.what {
            What::Shown(sight) => {
                let (conversation, position) = sight.place;
                phone.runs.entry(conversation).or_default().show(case, conversation, position, line.number, verdict);
            }
            What::Skipped { conversation, to } => {
                let run = phone.runs.entry(*conversation).or_default();
                let lines = Lines::history([run.line, line.number].into_iter().filter(|line| *line > 0));
                verdict.check(Check::Skips, to.seq >= run.have.seq, lines, || {
                    format!("a skip to {} of a device that has {}", case.at(*conversation, *to), run.have)
                });
                if to.seq >= run.have.seq {
                    *run = Run { have: *to, line: line.number, shown: vec![] };
                }
            }
            What::RolledBack { conversation, to } => {
                verdict.check(Check::RollBacks, restores > 0, Lines::history([line.number]), || {
                    format!("taken back to {}, and there was no restore", case.at(*conversation, *to))
                });
                phone.runs.entry(*conversation).or_default().cut(*to, line.number);
            }
            What::Restart { has: Some(has), .. } => phone.restart(case, has, line.number, verdict),
            What::End { transcripts, .. } => phone.end(case, transcripts, line.number, verdict),
            _ => {}
        }
    }
}

impl Run {
    fn show(&mut self, case: &Case, conversation: Name, position: Position, line: usize, verdict: &mut Verdict) {
        let (have, next) = (self.have, self.have.seq + 1);
        let lines = Lines::history([self.line, line].into_iter().filter(|line| *line > 0));
        verdict.check(Check::Consecutive, position.seq == next, lines, || {
            let at = case.at(conversation, position);
            if position.seq < next {
                format!("{at} was shown to a device that had {have}: again, or too late")
            } else {
                format!("{at} was shown to a device that had {have}: {} entries are missing", position.seq - next)
            }
        });
        if position.seq >= next {
            self.have = position;
            self.line = line;
            self.shown.push((position, line));
        }
    }

    fn cut(&mut self, to: Position, line: usize) {
        if to.seq < self.have.seq {
            self.have = to;
            self.line = line;
            self.shown.retain(|(position, _)| position.seq <= to.seq);
        }
    }
}

impl Phone {
    /// What was shown was committed before: it is in the store that the new life begins with.
    fn restart(&mut self, case: &Case, has: &[Stretch], line: usize, verdict: &mut Verdict) {
        let stored: BTreeMap<Name, &Stretch> = has.iter().map(|stretch| (stretch.conversation, stretch)).collect();
        let known: BTreeSet<Name> = self.runs.keys().copied().chain(stored.keys().copied()).collect();
        for conversation in known {
            let (from, have) = stored.get(&conversation).map(|stretch| (stretch.from, stretch.have)).unwrap_or_default();
            let run = self.runs.entry(conversation).or_default();
            let excused = case.fate(conversation, run.have) == Fate::TakenBack;
            let lines = Lines::history([run.line, line].into_iter().filter(|line| *line > 0));
            verdict.check(Check::Restarts, have.seq >= run.have.seq || excused, lines, || {
                format!("the device had {} before it was restarted, and {} after", case.at(conversation, run.have), have)
            });
            if from.seq > run.have.seq {
                run.shown.clear();
            }
            run.cut(have, line);
            // It died after it had dropped what a restore took back and had stored what is there instead, before it could tell. What its store
            // really has is told at the end, by the transcript.
            run.shown.retain(|(position, _)| position.epoch >= have.epoch || case.fate(conversation, *position) != Fate::TakenBack);
            (run.have, run.line) = (have, line);
        }
    }

    fn end(&self, case: &Case, transcripts: &[Stretch], line: usize, verdict: &mut Verdict) {
        for kept in transcripts {
            let seqs = kept.entries.iter().map(|entry| entry.place.1.seq);
            let consecutive = seqs.eq(kept.from.seq + 1..=kept.have.seq);
            verdict.check(Check::Transcripts, consecutive, Lines::history([line]), || {
                format!("the transcript of {} is not what lies between {} and {}", case.text(kept.conversation), kept.from, kept.have)
            });
        }
        let kept: HashMap<Name, Position> = transcripts.iter().map(|kept| (kept.conversation, kept.have)).collect();
        for (conversation, run) in self.runs.iter().filter(|(_, run)| run.have.seq > 0) {
            let kept = kept.get(conversation).copied().unwrap_or_default();
            let holds = kept.seq >= run.have.seq || case.fate(*conversation, run.have) == Fate::TakenBack;
            verdict.check(Check::Transcripts, holds, Lines::history([run.line, line]), || {
                format!("{} was shown, and the transcript ends at {kept}", case.at(*conversation, run.have))
            });
        }
    }
}
