//! M1: nobody writes or reads beyond their membership. Each log is folded entry by entry: whether the entry was permitted at the one before
//! it, whether its facts are those of the fold, and whether the rows in the tables are those of its end.
//!
//! A log with an entry of an unknown kind may say otherwise, and is not judged.

use std::collections::{BTreeSet, HashMap};

use crate::case::{Case, Fate};
use crate::dump::{Entry, Row};
use crate::fold::Fold;
use crate::history::What;
use crate::standing::{Member, Standing};
use crate::verdict::{Check, Excuse, Lines, Verdict};
use crate::words::{Name, Position};

pub(crate) fn judge(case: &Case, verdict: &mut Verdict) {
    let mut sums = Sums::default();
    for (conversation, log) in &case.tables.logs {
        match case.standing(*conversation) {
            None => verdict.excuse(Excuse::MembersUnknown, 1),
            Some(end) => {
                entries(case, log, &mut sums, verdict);
                // The backups of two tables may be of two moments.
                if !case.is_restored() {
                    rows(case, *conversation, log, end, verdict);
                }
            }
        }
    }
    for ((conversation, user), (_, line)) in &case.tables.left {
        let Some(standing) = case.standing(*conversation).filter(|_| !case.is_restored()) else { continue };
        verdict.check(Check::Left, standing.left.contains_key(user), Lines::dump([*line]), || {
            format!("{} has spans in {}, and never left it", case.text(*user), case.text(*conversation))
        });
    }
    readers(case, verdict);
    received(case, verdict);
}

fn entries(case: &Case, log: &[Entry], sums: &mut Sums, verdict: &mut Verdict) {
    let Some((first, others)) = log.split_first() else { return };
    let Some(mut standing) = Standing::of_first(first) else { return };
    let mut fold = Fold::default();
    sender(case, &standing, first, verdict);
    facts(case, &standing, first, sums, verdict);
    for entry in others {
        if sender(case, &standing, entry, verdict) {
            let forbidden = standing.forbids(entry).or_else(|| fold.forbids(&standing, entry));
            verdict.check(Check::Permitted, forbidden.is_none(), Lines::dump([entry.line]), || {
                let why = forbidden.unwrap_or_default();
                format!("{} was not permitted: {why}", case.at(entry.message.conversation, entry.position))
            });
        }
        fold.follow(entry);
        if standing.follow(entry).is_none() {
            return;
        }
        facts(case, &standing, entry, sums, verdict);
    }
}

fn sender(case: &Case, standing: &Standing, entry: &Entry, verdict: &mut Verdict) -> bool {
    let is_member = standing.members.contains_key(&entry.message.sender);
    verdict.check(Check::Senders, is_member, Lines::dump([entry.line]), || {
        let (at, sender) = (case.at(entry.message.conversation, entry.position), case.text(entry.message.sender));
        format!("{at} is of {sender}, who is no member there")
    });
    is_member
}

/// The sums that entries tell of their members, each with the line that told it first. Of the same members it is the same everywhere.
type Sums = HashMap<BTreeSet<Name>, (u64, usize)>;

fn facts(case: &Case, standing: &Standing, entry: &Entry, sums: &mut Sums, verdict: &mut Verdict) {
    let Some(facts) = &entry.facts else { return };
    let at = || case.at(entry.message.conversation, entry.position);
    let differs = standing.differs_from(facts);
    verdict.check(Check::Facts, differs.is_none(), Lines::dump([entry.line]), || {
        format!("{} says another {} than its log up to there", at(), differs.unwrap_or_default())
    });
    if let Some(sum) = facts.sum {
        let members = standing.members.keys().copied().collect();
        let (first, line) = *sums.entry(members).or_insert((sum, entry.line));
        verdict.check(Check::Facts, sum == first, Lines::dump([line, entry.line]), || {
            format!("{} says the sum {sum} of its members, and of the same there was {first}", at())
        });
    }
}

/// Every member has the two rows, as the log made them. Whoever ceased to be one has the spans, and nothing else if they are none again.
fn rows(case: &Case, conversation: Name, log: &[Entry], end: &Standing, verdict: &mut Verdict) {
    let last = log.last().map(|entry| entry.line);
    let name = case.text(conversation);
    for (user, member) in &end.members {
        let row = case.tables.members.get(&(conversation, *user));
        let inbox = case.tables.inboxes.get(&(*user, conversation)).map(|inbox| &inbox.row);
        let found = [row, inbox];
        let lines = Lines::dump(found.iter().flatten().map(|row| row.line).chain(last));
        verdict.check(Check::Rows, found.iter().all(|row| row.is_some_and(|row| is_of(row, member))), lines, || {
            format!("{} is a member of {name}, {member:?}; the two rows are {found:?}", case.text(*user))
        });
    }
    for (user, inbox) in end.members.keys().filter_map(|user| Some((user, case.tables.inboxes.get(&(*user, conversation))?))) {
        let (read, joined) = (inbox.read.map_or(Position::ZERO, |(read, _)| read), end.read_at_joining(*user));
        verdict.check(Check::ReadAtJoining, read.seq >= joined, Lines::dump([inbox.row.line]), || {
            format!("{} joined {name} at {joined}, and has read only {read}", case.text(*user))
        });
    }
    for user in end.left.keys() {
        let (key, is_member) = ((conversation, *user), end.members.contains_key(user));
        let left = case.tables.left.get(&key);
        let was = case.tables.was.get(&(*user, conversation));
        let row = case.tables.members.get(&key).or_else(|| case.tables.inboxes.get(&(*user, conversation)).map(|inbox| &inbox.row));
        let lines = Lines::dump(left.map(|(_, line)| *line).into_iter().chain(was.copied()).chain(row.map(|row| row.line)).chain(last));
        let kept = left.map(|(spans, _)| spans.as_slice()).unwrap_or_default();
        let holds = kept == end.kept(*user) && was.is_some() && (is_member || row.is_none());
        verdict.check(Check::Left, holds, lines, || {
            let (spans, was) = (end.kept(*user), was.is_some());
            let user = case.text(*user);
            format!(
                "{user} was a member of {name} in {spans:?}: kept is {kept:?}, that they were: {was}; they are: {is_member}, by {row:?}"
            )
        });
    }
}

fn is_of(row: &Row, member: &Member) -> bool {
    (row.role, row.from, row.version) == (Some(member.role), member.from, member.version)
}

/// What a user was shown lies where they were a member; where the log says so. What a restore took back may have made them one: then only
/// direct conversations are judged, whose members never change.
fn readers(case: &Case, verdict: &mut Verdict) {
    let sights = case.sights().map(|(line, device, sight)| (line, device, sight.place));
    for (line, device, (conversation, position)) in sights {
        let Some(standing) = judged(case, conversation) else { continue };
        let may = may_see(case, standing, device.user, (conversation, position));
        verdict.check(Check::Readers, may, Lines::history([line.number]), || {
            format!("{} was shown {}, which is not for them", case.text(device.user), case.at(conversation, position))
        });
    }
    let others = case.of_devices().filter_map(|(_, line, device)| match line.what {
        What::Status { conversation, head, .. } | What::Opened { conversation, head } => Some((line, device, conversation, head)),
        What::Cursors(reached) => Some((line, device, reached.conversation, reached.delivered.max(reached.read))),
        _ => None,
    });
    for (line, device, conversation, position) in others {
        let Some(standing) = judged(case, conversation) else { continue };
        verdict.check(Check::Readers, standing.reaches(device.user, position.seq), Lines::history([line.number]), || {
            format!("{} was told of {}, which is not for them", case.text(device.user), case.at(conversation, position))
        });
    }
}

/// Whatever a device makes of it.
fn received(case: &Case, verdict: &mut Verdict) {
    for (_, line, device) in case.of_devices() {
        let What::Received { conversation, positions, .. } = &line.what else { continue };
        let Some(standing) = judged(case, *conversation) else { continue };
        for position in positions {
            let may = may_see(case, standing, device.user, (*conversation, *position));
            verdict.check(Check::Received, may, Lines::history([line.number]), || {
                format!("{} was sent {}, which is not for them", case.text(device.user), case.at(*conversation, *position))
            });
        }
    }
}

fn judged(case: &Case, conversation: Name) -> Option<&Standing> {
    case.standing(conversation).filter(|standing| standing.is_direct || !case.is_restored())
}

fn may_see(case: &Case, standing: &Standing, user: Name, (conversation, position): (Name, Position)) -> bool {
    // An entry that is not there is nobody's; that it was shown is judged by L1.
    standing.may_see(user, position.seq) || standing.knows(user) && case.fate(conversation, position) != Fate::Stored
}
