//! L1, L2, L3 and the counts: one log, the same in the tables and to everybody; one entry a message; nothing acknowledged is lost.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::case::{Case, Claim, Fate};
use crate::dump::{Entry, Kind};
use crate::history::{Asked, Sight, What};
use crate::verdict::{Check, Excuse, Lines, Verdict};
use crate::words::{Body, Message, Name, Position};

/// Answers the counts, for those who judge them elsewhere.
pub(crate) fn judge(case: &Case, verdict: &mut Verdict) -> Counts {
    let counts = Counts::of(case, verdict);
    heads(case, &counts, verdict);
    let lost = claims(case, &counts, verdict);
    sights(case, &counts, &lost, verdict);
    statuses(case, &counts, verdict);
    bodies(case, verdict);
    counts
}

/// How many messages each log holds up to each entry. Only logs without gaps are counted: what is missing may be a message.
#[derive(Debug)]
pub(crate) struct Counts(HashMap<Name, Vec<u64>>);

impl Counts {
    /// Judges the logs by themselves on the way.
    fn of(case: &Case, verdict: &mut Verdict) -> Self {
        let mut counts = HashMap::new();
        for (conversation, log) in &case.tables.logs {
            let (whole, counted) = (is_whole(case, log, verdict), counted(log));
            if whole {
                for (entry, count) in log.iter().zip(&counted) {
                    verdict.check(Check::StoredCounts, entry.count == *count, Lines::dump([entry.line]), || {
                        let at = case.at(*conversation, entry.position);
                        format!("the entry {at} says that there are {} messages up to it: there are {count}", entry.count)
                    });
                }
                counts.insert(*conversation, counted);
            }
        }
        for (conversation, meta) in &case.tables.metas {
            let (has_log, lines) = (case.tables.logs.contains_key(conversation) || case.is_restored(), Lines::dump([meta.line]));
            let what = || format!("{} has a title, or none, and no entry", case.text(*conversation));
            verdict.check(Check::Slots, has_log, lines.clone(), what);
            // The backups of two tables may be of two moments.
            let Some(standing) = case.standing(*conversation).filter(|_| !case.is_restored()) else { continue };
            verdict.check(Check::Titles, (&meta.title, &meta.metadata) == (&standing.title, &standing.metadata), lines, || {
                let set = (&standing.title, &standing.metadata);
                format!("{} is called {:?}, and its log has set {set:?}", case.text(*conversation), (&meta.title, &meta.metadata))
            });
        }
        Self(counts)
    }

    /// The messages up to an entry that is in the log.
    pub(crate) fn at(&self, case: &Case, conversation: Name, position: Position) -> Option<u64> {
        case.entry(conversation, position)?;
        let index = usize::try_from(position.seq.checked_sub(1)?).ok()?;
        self.0.get(&conversation)?.get(index).copied()
    }
}

fn counted(log: &[Entry]) -> Vec<u64> {
    let messages = log.iter().scan(0, |messages, entry| {
        *messages += u64::from(matches!(entry.kind, Kind::Message(_) | Kind::Deleted));
        Some(*messages)
    });
    messages.collect()
}

/// Judges the slots, the epochs and the ids of one log. Whether its slots are 1 to n.
fn is_whole(case: &Case, log: &[Entry], verdict: &mut Verdict) -> bool {
    let (mut whole, mut before) = (true, None::<&Entry>);
    let mut ids: HashMap<Message, &Entry> = HashMap::new();
    for entry in log {
        let at = || case.at(entry.message.conversation, entry.position);
        let next = before.map_or(1, |before| before.position.seq + 1);
        let created = matches!(entry.kind, Kind::Created(_) | Kind::GroupCreated(..));
        let lines = || Lines::dump(before.map(|before| before.line).into_iter().chain([entry.line]));
        whole &= entry.position.seq == next;
        verdict.check(Check::Slots, entry.position.seq == next, lines(), || {
            if entry.position.seq < next {
                format!("the slot {} has two entries", at())
            } else {
                format!("no entry {next} before {}", at())
            }
        });
        verdict.check(Check::Slots, created == (entry.position.seq == 1), Lines::dump([entry.line]), || {
            if created { format!("{} is a creation", at()) } else { format!("{} is no creation", at()) }
        });
        let epoch = before.map_or(0, |before| before.position.epoch);
        verdict.check(Check::Epochs, entry.position.epoch >= epoch, lines(), || format!("{} follows one of epoch {epoch}", at()));
        if before.is_none_or(|before| before.position.seq != entry.position.seq) {
            let first = *ids.entry(entry.message).or_insert(entry);
            let lines = Lines::dump([first.line, entry.line]);
            verdict.check(Check::OneEntry, std::ptr::eq(first, entry), lines, || {
                format!("{} is in the log at {} and at {}", case.message(&entry.message), first.position, entry.position)
            });
        }
        before = Some(entry);
    }
    whole
}

fn heads(case: &Case, counts: &Counts, verdict: &mut Verdict) {
    for (conversation, head) in case.tables.heads.iter().filter(|(_, head)| head.position.seq > 0) {
        let (fate, lines) = (case.fate(*conversation, head.position), Lines::dump([head.line]));
        verdict.check(Check::HeadsExist, fate != Fate::Missing, lines.clone(), || {
            format!("the head {} names no entry", case.at(*conversation, head.position))
        });
        if let (Some(told), Some(count)) = (head.count, counts.at(case, *conversation, head.position)) {
            verdict.check(Check::StoredCounts, told == count, lines, || {
                format!("the head {} says {told} messages: there are {count}", case.at(*conversation, head.position))
            });
        }
    }
    for ((user, conversation), row) in &case.tables.inboxes {
        let Some((read, told)) = row.read else { continue };
        if let Some(count) = counts.at(case, *conversation, read) {
            verdict.check(Check::StoredCounts, told == count, Lines::dump([row.row.line]), || {
                format!("{} has read {}, where it says {told} messages: there are {count}", case.text(*user), case.at(*conversation, read))
            });
        }
    }
}

/// L2 and L3: the message is where the answers say. Answers what is acknowledged and lost.
fn claims(case: &Case, counts: &Counts, verdict: &mut Verdict) -> HashSet<(Name, Position)> {
    let mut lost = HashSet::new();
    for Claim { message, position, count, time, acknowledged, line, .. } in &case.claims {
        let (stored, place) = (case.entry(message.conversation, *position), case.place(message));
        let is_it = stored.is_some_and(|stored| stored.message == *message);
        let taken_back = case.fate(message.conversation, *position) == Fate::TakenBack;
        let lines = Lines::history([*line]).and_dump(stored.map(|stored| stored.line));
        verdict.excuse(Excuse::TakenBack, u64::from(taken_back));
        let elsewhere = if is_it || taken_back { None } else { place };
        verdict.check(Check::OneAnswer, elsewhere.is_none(), lines.clone(), || {
            let elsewhere = elsewhere.unwrap_or_default();
            format!("the answer for {} names {position}, the entry is at {elsewhere}", case.message(message))
        });
        if *acknowledged {
            let durable = is_it || taken_back || place.is_some();
            verdict.check(Check::Durable, durable, lines.clone(), || {
                format!("{} was acknowledged at {position} and is not in the log", case.message(message))
            });
            if !durable {
                lost.insert((message.conversation, *position));
            }
        }
        if let (true, Some(stored)) = (is_it, stored) {
            told(case, counts, (stored, *count, *time), &lines, verdict);
        }
    }
    for (_, line, _) in case.of_devices() {
        let What::Opened { conversation, head } = line.what else { continue };
        let lines = Lines::history([line.number]);
        verdict.check(Check::Durable, case.fate(conversation, head) != Fate::Missing, lines, || {
            format!("{} was opened and is not in the log", case.at(conversation, head))
        });
    }
    lost
}

/// The count and the time of an entry as somebody was told.
fn told(case: &Case, counts: &Counts, told: (&Entry, Option<u64>, Option<u64>), lines: &Lines, verdict: &mut Verdict) {
    let (stored, count, time) = told;
    let at = || case.at(stored.message.conversation, stored.position);
    if let (Some(told), Some(count)) = (count, counts.at(case, stored.message.conversation, stored.position)) {
        verdict.check(Check::ToldCounts, told == count, lines.clone(), || {
            format!("{} was told with {told} messages up to it: there are {count}", at())
        });
    }
    if let Some(time) = time {
        verdict.check(Check::Seen, time == stored.time, lines.clone(), || {
            format!("{} was told with the time {time}: it is of {}", at(), stored.time)
        });
    }
}

/// L1: what devices have is what is stored; what a restore took back was the same for all who had it.
fn sights(case: &Case, counts: &Counts, lost: &HashSet<(Name, Position)>, verdict: &mut Verdict) {
    let mut taken_back: BTreeMap<(Name, Position), (Message, usize)> = BTreeMap::new();
    let mut alike = |place: (Name, Position), message: Message, line: usize, verdict: &mut Verdict| {
        let (first, of) = *taken_back.entry(place).or_insert((message, line));
        verdict.check(Check::LostAlike, first == message, Lines::history([of, line]), || {
            format!("{} was {} to one and {} to another", case.at(place.0, place.1), case.message(&first), case.message(&message))
        });
    };
    for claim in &case.claims {
        if case.fate(claim.message.conversation, claim.position) == Fate::TakenBack {
            alike((claim.message.conversation, claim.position), claim.message, claim.line, verdict);
        }
    }
    for (line, _, sight) in case.sights() {
        let (conversation, position) = sight.place;
        let message = Message { conversation, sender: sight.sender, id: sight.id };
        match case.fate(conversation, position) {
            Fate::Stored => {
                let Some(stored) = case.entry(conversation, position) else { continue };
                let lines = Lines::history([line.number]).and_dump([stored.line]);
                let differs = difference(case, sight, stored);
                verdict.check(Check::Seen, differs.is_none(), lines.clone(), || {
                    let differs = differs.unwrap_or_default();
                    format!("a device has another {} at {} than the log", differs, case.at(conversation, position))
                });
                told(case, counts, (stored, sight.count, sight.time), &lines, verdict);
            }
            Fate::TakenBack => alike((conversation, position), message, line.number, verdict),
            Fate::Missing if lost.contains(&sight.place) => {}
            Fate::Missing => {
                let at = case.at(conversation, position);
                verdict.check(Check::Seen, false, Lines::history([line.number]), || format!("a device has {at}, the log has not"));
            }
        }
    }
}

/// In what an entry on a device differs from the stored one.
fn difference(case: &Case, sight: &Sight, stored: &Entry) -> Option<&'static str> {
    let says = |by| case.fold(stored.message.conversation).and_then(|fold| fold.done(stored.position.seq)?.says(by));
    // What it said before somebody edited it is in the log no more, or in an earlier edit.
    let body = match (&stored.kind, sight.edited) {
        // … or of an edit.
        (Kind::Message(_), Some(_)) if case.is_restored() => None,
        (Kind::Message(said), by) if by == said.edited => Some(said.body),
        (Kind::Message(_), Some(by)) => says(by),
        (Kind::Edit(_, body), _) => *body,
        _ => None,
    };
    // A device keeps what a restore has taken back of a deletion.
    let was_deleted = |seen: &str| case.is_restored() && seen == "deleted" && matches!(stored.kind, Kind::Message(_));
    let has_become = |seen: &str| seen == "hidden" || (seen, &stored.kind) == ("message", &Kind::Deleted) || was_deleted(seen);
    let other = |seen: Option<&str>, stored: Option<&str>| seen.is_some_and(|seen| !has_become(seen)) && stored.is_some() && seen != stored;
    if sight.sender != stored.message.sender {
        Some("sender")
    } else if sight.id != stored.message.id {
        Some("id")
    } else if other(sight.kind.map(|kind| case.text(kind)), stored.kind.word()) {
        Some("kind")
    } else if sight.target.is_some() && sight.target != stored.kind.target() {
        Some("target")
    } else if sight.body.is_some_and(|seen| body.is_some_and(|stored: Body| stored != seen)) {
        Some("body")
    } else {
        None
    }
}

/// Heads and read marks as the server told them.
fn statuses(case: &Case, counts: &Counts, verdict: &mut Verdict) {
    for (_, line, _) in case.of_devices() {
        let What::Status { conversation, head, count, read, read_count } = line.what else { continue };
        let lines = Lines::history([line.number]);
        if head.seq > 0 {
            verdict.check(Check::HeadsExist, case.fate(conversation, head) != Fate::Missing, lines.clone(), || {
                format!("the head {} was told and names no entry", case.at(conversation, head))
            });
        }
        for (position, told) in [(Some(head), count), (read, read_count)] {
            let (Some(position), Some(told)) = (position, told) else { continue };
            let Some(count) = counts.at(case, conversation, position) else { continue };
            verdict.check(Check::ToldCounts, told == count, lines.clone(), || {
                format!("{} was told with {told} messages up to it: there are {count}", case.at(conversation, position))
            });
        }
    }
}

/// L1: what is stored is what its sender sent.
fn bodies(case: &Case, verdict: &mut Verdict) {
    let mut sent: HashMap<Message, Vec<(Body, usize)>> = HashMap::new();
    for (_, line, _) in case.of_devices() {
        let messages = match &line.what {
            What::Attempt { messages, .. } => messages.clone(),
            What::Change { message, asked: Asked { body: Some(body), .. }, .. } => vec![(*message, *body)],
            _ => continue,
        };
        for (message, body) in &messages {
            let bodies = sent.entry(*message).or_default();
            if bodies.iter().all(|(known, _)| known != body) {
                bodies.push((*body, line.number));
            }
        }
    }
    for entry in case.tables.logs.values().flatten() {
        let stored = match &entry.kind {
            Kind::Message(said) if said.edited.is_none() => &said.body, // else what it says is an edit's
            Kind::Edit(_, Some(body)) => body,
            _ => continue,
        };
        let Some(bodies) = sent.get(&entry.message) else { continue };
        let lines = Lines::dump([entry.line]).and_history(bodies.iter().map(|(_, line)| *line));
        verdict.check(Check::Sent, bodies.iter().any(|(body, _)| body == stored), lines, || {
            format!("{} is stored with a body that was never sent", case.message(&entry.message))
        });
    }
}
