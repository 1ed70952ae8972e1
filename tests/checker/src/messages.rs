//! What is done to messages: edits, deletions and reactions. Whether each was permitted is judged with the members (`members.rs`, M1); here is
//! what becomes of the messages in the tables (L1, count), what devices are told of it (M1), and what they hold in the end (D2).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::case::{Case, Fate};
use crate::delivery::{Connection, Phone};
use crate::dump::{Counters, Entry, Kind};
use crate::fold::Fold;
use crate::history::{Sight, What};
use crate::verdict::{Check, Excuse, Lines, Verdict};
use crate::words::{Body, Message, Name, Position};

pub(crate) fn judge(case: &Case, phones: &[Phone], verdict: &mut Verdict) {
    let words = Words::of(case);
    for (conversation, log) in &case.tables.logs {
        let Some(fold) = case.fold(*conversation) else { continue };
        for entry in log {
            stored(case, fold, entry, &words, verdict);
        }
        reactions(case, *conversation, fold, verdict);
        admitted(case, log, verdict);
    }
    let without_log = case.tables.reactions.iter().filter(|((conversation, _), _)| !case.tables.logs.contains_key(conversation));
    for ((conversation, target), counters) in without_log {
        verdict.check(Check::Reactions, case.is_restored(), Lines::dump([counters.line]), || {
            format!("something stands beside {target} of {}, which is not there", case.text(*conversation))
        });
    }
    told(case, verdict);
    held(case, phones, verdict);
}

/// What people wrote, as far as devices have told.
struct Words {
    sent: HashMap<Message, BTreeSet<Body>>,
    /// What was to become of each message.
    edits: HashMap<(Name, u64), BTreeSet<Body>>,
    /// What stands in some message, or in an edit of it, that is not deleted.
    said: HashSet<Body>,
}

impl Words {
    fn of(case: &Case) -> Self {
        let mut words = Self { sent: HashMap::new(), edits: HashMap::new(), said: HashSet::new() };
        for (_, line, _) in case.of_devices() {
            match &line.what {
                What::Attempt { messages, .. } => {
                    for (message, body) in messages {
                        words.sent.entry(*message).or_default().insert(*body);
                    }
                }
                What::Change { message, asked, .. } => {
                    if let (Some(target), Some(body)) = (asked.target, asked.body) {
                        words.edits.entry((message.conversation, target)).or_default().insert(body);
                    }
                }
                _ => {}
            }
        }
        for entry in case.tables.logs.values().flatten() {
            match &entry.kind {
                Kind::Message(said) => drop(words.said.insert(said.body)),
                // Of one that should say nothing it is told below.
                Kind::Edit(target, Some(body)) => {
                    let fold = case.fold(entry.message.conversation).and_then(|fold| fold.done(*target));
                    if fold.is_none_or(|done| done.deleted.is_none()) {
                        words.said.insert(*body);
                    }
                }
                _ => {}
            }
        }
        words
    }

    fn of_message(&self, message: Message, seq: u64) -> impl Iterator<Item = Body> {
        let edits = self.edits.get(&(message.conversation, seq));
        self.sent.get(&message).into_iter().chain(edits).flatten().copied()
    }
}

/// L1: each message is what its log has made of it, and the words of one that was deleted are nowhere.
fn stored(case: &Case, fold: &Fold, entry: &Entry, words: &Words, verdict: &mut Verdict) {
    let (conversation, position) = (entry.message.conversation, entry.position);
    let at = || case.at(conversation, position);
    if let Kind::Edit(target, body) = &entry.kind {
        let is_deleted = fold.done(*target).is_some_and(|done| done.deleted.is_some());
        verdict.check(Check::Amended, body.is_none() == is_deleted, Lines::dump([entry.line]), || {
            format!("{} edits {target}; that is deleted: {is_deleted}; it has words: {}", at(), body.is_some())
        });
    }
    let Some(done) = fold.done(position.seq) else { return };
    let holds = match &entry.kind {
        Kind::Message(said) => {
            let edits: Vec<u64> = done.edits.iter().map(|(seq, _)| *seq).collect();
            let body = done.edited().and_then(|by| done.says(by));
            done.deleted.is_none() && said.edits == edits && said.edited == done.edited() && body.is_none_or(|body| body == said.body)
        }
        Kind::Deleted => done.deleted.is_some(),
        _ => true,
    };
    verdict.check(Check::Amended, holds, Lines::dump([entry.line]), || {
        format!("{} is stored as {:?}, and its log makes it {done:?}", at(), entry.kind)
    });
    if done.deleted.is_some() {
        for body in words.of_message(entry.message, position.seq).filter(|body| !words.said.contains(body)) {
            let line = case.tables.texts.get(&body);
            verdict.check(Check::Words, line.is_none(), Lines::dump(line.copied().into_iter().chain([entry.line])), || {
                format!("{} was deleted, and what it said is in the tables still", at())
            });
        }
    }
}

/// Each user's reaction is counted once.
fn reactions(case: &Case, conversation: Name, fold: &Fold, verdict: &mut Verdict) {
    let key = |seq: u64| (conversation, seq);
    for (seq, done) in fold.all() {
        let found = case.tables.reactions.get(&key(*seq));
        if found.is_none() && done.reacted.is_none() {
            continue;
        }
        let lines = || Lines::dump(found.map(|found| found.line).into_iter().chain(case.slot(conversation, *seq).map(|entry| entry.line)));
        let is_it =
            |found: &Counters| (Some(found.to), found.closed, &found.counts) == (done.reacted, done.deleted.is_some(), &done.counts());
        verdict.check(Check::Reactions, found.is_some_and(is_it), lines(), || {
            format!("beside {seq} of {} is {:?}, and counted is {found:?}", case.text(conversation), done.reactions)
        });
        if done.deleted.is_none() {
            let rows = case.tables.reacted.range((conversation, *seq, Name::FIRST)..).take_while(|(row, _)| (row.0, row.1) == key(*seq));
            let own: BTreeSet<(Name, Name)> = rows.flat_map(|((.., user), (own, _))| own.iter().map(|one| (*one, *user))).collect();
            verdict.check(Check::Reactions, own == done.reactions, lines(), || {
                format!("beside {seq} of {} is {:?}, and the users have {own:?}", case.text(conversation), done.reactions)
            });
        }
    }
    let others = case.tables.reactions.range(key(0)..=key(u64::MAX)).filter(|((_, seq), _)| fold.done(*seq).is_none());
    for ((_, seq), counters) in others {
        verdict.check(Check::Reactions, false, Lines::dump([counters.line]), || {
            format!("something stands beside {seq} of {}, which is no message", case.text(conversation))
        });
    }
}

/// What is admitted at once, in the time in which it comes back.
const BURST_MS: u64 = 3000;

/// Every entry but the first takes a thousand for each kilobyte that is written for it, begun or whole, and half of all at most: changes of
/// groups also for each row of a member. A reaction takes it only while half is left; what only takes a right away does not wait. Where no entry of a log takes anything, there was no
/// limit.
fn admitted(case: &Case, log: &[Entry], verdict: &mut Verdict) {
    let buckets = || log.windows(2).filter_map(|two| Some((two[0].bucket?, &two[1], two[1].bucket?)));
    if !buckets().any(|(before, _, left)| before != left) {
        return;
    }
    for (before, entry, left) in buckets().filter(|(_, entry, _)| entry.kind != Kind::Other) {
        let full = before.rate * BURST_MS;
        // What the entry before owes is a time that is yet to come.
        let is_wrong = before.time > entry.time + BURST_MS;
        let elapsed_ms = if is_wrong { BURST_MS } else { entry.time.saturating_sub(before.time).min(BURST_MS) };
        let there = full.min(before.tokens + elapsed_ms * before.rate);
        let owed = left.time.saturating_sub(entry.time) * before.rate;
        let owed_before = if is_wrong || there > 0 { 0 } else { before.time.saturating_sub(entry.time) * before.rate };
        let less = (there + owed).checked_sub(left.tokens + owed_before);
        let rows = match &entry.kind {
            Kind::Added(users) | Kind::Removed(users) => users.len() as u64,
            Kind::Left(successor) => 1 + u64::from(successor.is_some()),
            Kind::Role(..) => 1,
            _ => 0,
        };
        let is_reaction = matches!(entry.kind, Kind::Reaction(..));
        // What is owed is rounded up to a millisecond.
        let is_whole = |less: u64| less % 1000 < before.rate && (owed > 0 || less.is_multiple_of(1000));
        let waits = !entry.kind.only_takes();
        let is_cut = !waits && owed == full; // no more than this is ever owed
        let takes =
            |less: u64| is_cut || less / 1000 == full / 2000 || less > 1000 * rows && is_whole(less) && (less == 1000 || !is_reaction);
        let needed = if is_reaction { full / 2 } else { 1000 * u64::from(waits) };
        let holds = left.time >= entry.time && (owed == 0 || left.tokens == 0) && less.is_some_and(takes) && there >= needed;
        verdict.check(Check::Admitted, holds, Lines::dump([entry.line]), || {
            format!("{} leaves {left:?} of {before:?}", case.at(entry.message.conversation, entry.position))
        });
    }
}

/// What one entry was told as, wherever.
struct Telling<'a> {
    kind: &'a str,
    place: (Name, Position),
    target: Option<u64>,
    edited: Option<u64>,
    reply_to: Option<u64>,
}

/// M1: nobody is told of what lies outside their part of the log, and what lies within it is not hidden from them.
fn told(case: &Case, verdict: &mut Verdict) {
    let sights = case.sights().filter_map(|(line, device, sight)| {
        let Sight { place, target, edited, reply_to, .. } = *sight;
        Some((line, device.user, Telling { kind: case.text(sight.kind?), place, target, edited, reply_to }))
    });
    for (line, user, telling) in sights {
        one_told(case, user, &telling, line.number, verdict);
    }
    for (_, line, device) in case.of_devices() {
        let What::Received { conversation, told, .. } = &line.what else { continue };
        for told in told {
            let place = (*conversation, told.position);
            let telling = Telling { kind: case.text(told.kind), place, target: told.target, edited: told.edited, reply_to: told.reply_to };
            one_told(case, device.user, &telling, line.number, verdict);
        }
    }
}

fn one_told(case: &Case, user: Name, telling: &Telling<'_>, line: usize, verdict: &mut Verdict) {
    let (conversation, position) = telling.place;
    let Some(standing) = case.standing(conversation).filter(|standing| standing.is_direct || !case.is_restored()) else { return };
    let (Some(stored), Some(fold)) = (case.entry(conversation, position), case.fold(conversation)) else { return };
    if case.fate(conversation, position) != Fate::Stored || !standing.may_see(user, position.seq) {
        return; // judged elsewhere
    }
    let spans: Vec<(u64, u64)> = standing.spans(user, position.seq).collect();
    let within = |target: u64| spans.iter().any(|(from, _)| *from <= target);
    let (allowed, why) = match telling.kind {
        "hidden" => {
            let is_before = stored.kind.target().is_some_and(|target| spans.iter().any(|(from, _)| target < *from));
            let edits = fold.done(position.seq).map(|done| done.edits.as_slice()).unwrap_or_default();
            let is_newer = spans.iter().any(|(_, end)| edits.iter().any(|(by, _)| by > end));
            (is_before || is_newer, "was hidden from")
        }
        "edit" | "deletion" | "reaction" => {
            let is_it = telling.target.is_none_or(|target| Some(target) == stored.kind.target());
            (is_it && stored.kind.target().is_none_or(within), "tells of what is before the part of")
        }
        "message" if telling.edited.is_none() && telling.reply_to.is_none() => return,
        "message" => {
            let is_of_then = telling.edited.is_none_or(|by| spans.iter().any(|(_, end)| by <= *end));
            (is_of_then && telling.reply_to.is_none_or(within), "tells of what is outside the part of")
        }
        _ => return,
    };
    verdict.check(Check::ToldOf, allowed, Lines::history([line]).and_dump([stored.line]), || {
        format!("{}, as a {}, {why} {}", case.at(conversation, position), telling.kind, case.text(user))
    });
}

/// D2: a live device of a member holds each message as its log makes it.
fn held(case: &Case, phones: &[Phone], verdict: &mut Verdict) {
    let live: HashMap<_, _> =
        phones.iter().filter(|phone| phone.connection == Connection::Live).map(|phone| (phone.device, phone)).collect();
    let taken_back = taken_back(case);
    for (_, line, device) in case.of_devices() {
        let What::End { transcripts, .. } = &line.what else { continue };
        if !live.contains_key(&device) {
            continue;
        }
        for kept in transcripts.iter().filter(|kept| case.is_member(kept.conversation, device.user)) {
            if case.is_restored() && !case.is_direct(kept.conversation) {
                continue; // who may have been told of what is not known
            }
            let head = case.tables.heads.get(&kept.conversation).map(|head| head.position.seq).unwrap_or_default();
            let Some(fold) = case.fold(kept.conversation).filter(|_| kept.have.seq >= head) else { continue };
            let have = kept.have.seq;
            let member = case.standing(kept.conversation).and_then(|standing| standing.members.get(&device.user));
            let from = member.map_or(u64::MAX, |member| member.from);
            // What is before it, from an earlier membership, is not told of any more.
            for sight in kept.entries.iter().filter(|sight| sight.place.1.seq >= from) {
                let Some(stored) = case.entry(kept.conversation, sight.place.1) else { continue };
                let about = stored.kind.target().unwrap_or(stored.position.seq);
                if taken_back.contains(&(kept.conversation, about)) {
                    verdict.excuse(Excuse::KeptOverARestore, 1);
                    continue;
                }
                let Some(differs) = difference(case, fold, (sight, stored), (device.user, have)) else { continue };
                if !differs.is_empty() && was_hidden(case, stored, device.user) {
                    verdict.excuse(Excuse::Hidden, 1);
                    continue;
                }
                let lines = Lines::history([line.number]).and_dump([stored.line]);
                verdict.check(Check::Held, differs.is_empty(), lines, || {
                    let (device, at) = (case.text(device.id), case.at(kept.conversation, sight.place.1));
                    format!(
                        "the device {device} holds another {differs} of {at} than its log makes it: {sight:?}, {:?}",
                        fold.done(stored.position.seq)
                    )
                });
            }
        }
    }
}

/// Whether something of this was told to the user as a place only, in an earlier membership: who is added again may see it, and is not told
/// again. That is what was about a message from before that membership, and a message that was edited behind its end.
fn was_hidden(case: &Case, stored: &Entry, user: Name) -> bool {
    let (conversation, seq) = (stored.message.conversation, stored.position.seq);
    let is_about = |by: u64, target: u64| case.slot(conversation, by).is_some_and(|by| by.kind.target() == Some(target));
    let spans = case.standing(conversation).and_then(|standing| standing.left.get(&user)).into_iter().flatten();
    spans.map(|span| (span.from, span.end.seq)).any(|(from, end)| {
        let told = from..=end;
        let is_from_before = stored.kind.target().is_some_and(|target| target < from) && told.contains(&seq);
        let is_of_before = seq < from && told.clone().any(|by| is_about(by, seq));
        let is_edited_since = || {
            let edits = case.fold(conversation).and_then(|fold| fold.done(seq)).map(|done| &done.edits);
            edits.is_some_and(|edits| edits.iter().any(|(by, _)| *by > end))
        };
        is_from_before || is_of_before || told.contains(&seq) && is_edited_since()
    })
}

/// The messages of which somebody was told what a restore has taken back: an edit, a deletion, a reaction. Devices keep that, because nobody
/// tells them how the message was.
fn taken_back(case: &Case) -> HashSet<(Name, u64)> {
    let mut found = HashSet::new();
    if !case.is_restored() {
        return found;
    }
    let is_stored = |conversation, position| case.fate(conversation, position) == Fate::Stored;
    let about = |conversation, by| case.slot(conversation, by).and_then(|entry| entry.kind.target());
    for (_, _, sight) in case.sights() {
        let ((conversation, position), seq) = (sight.place, sight.place.1.seq);
        found.extend(sight.target.filter(|_| !is_stored(conversation, position)).map(|target| (conversation, target)));
        let mut tells_of = sight.edited.into_iter().chain(sight.reacted);
        let is_deleted = case.fold(conversation).and_then(|fold| fold.done(seq)?.deleted).is_some();
        let seems_deleted = sight.kind.is_some_and(|kind| case.text(kind) == "deleted");
        if tells_of.any(|by| about(conversation, by) != Some(seq)) || seems_deleted && !is_deleted {
            found.insert((conversation, seq));
        }
    }
    let mut asked = HashMap::new();
    for (_, line, _) in case.of_devices() {
        match &line.what {
            What::Received { conversation, told, .. } => {
                for told in told {
                    found.extend(told.target.filter(|_| !is_stored(*conversation, told.position)).map(|target| (*conversation, target)));
                    if told.edited.is_some_and(|by| about(*conversation, by) != Some(told.position.seq)) {
                        found.insert((*conversation, told.position.seq));
                    }
                }
            }
            What::Change { message, asked: what, .. } => asked.extend(what.target.map(|target| (*message, target))),
            _ => {}
        }
    }
    for claim in case.claims.iter().filter(|claim| !is_stored(claim.message.conversation, claim.position)) {
        found.extend(asked.get(&claim.message).map(|target| (claim.message.conversation, *target)));
    }
    found
}

/// In what a message on a device differs from what its log makes of it; empty: in nothing. `None`: it is no message.
fn difference(case: &Case, fold: &Fold, (sight, stored): (&Sight, &Entry), (user, have): (Name, u64)) -> Option<&'static str> {
    let seen = case.text(sight.kind?);
    if let Kind::Edit(..) = &stored.kind {
        let deleted = stored.kind.target().and_then(|target| fold.done(target)?.deleted);
        let is_deleted = deleted.is_some_and(|by| by <= have);
        return Some(if is_deleted && sight.body.is_some() { "words" } else { "" });
    }
    let done = fold.done(stored.position.seq)?;
    if done.edits.iter().map(|(by, _)| *by).chain(done.reacted).any(|by| by > have) {
        return None; // it is not caught up with
    }
    if done.deleted.is_some() {
        return Some(match seen {
            "deleted" if sight.body.is_none() => "",
            _ => "kind",
        });
    }
    if seen != "message" {
        return Some("kind");
    }
    let Kind::Message(said) = &stored.kind else { return None };
    let counts: BTreeMap<Name, u64> = sight.reactions.iter().map(|(key, count, _)| (*key, *count)).collect();
    let mine = |(key, _, mine): &(Name, u64, Option<bool>)| mine.unwrap_or_default() == done.reactions.contains(&(*key, user));
    Some(if sight.edited != done.edited() {
        "edit"
    } else if sight.body.is_some_and(|body| body != said.body) {
        "body"
    } else if counts != done.counts() {
        "count of reactions"
    } else if !sight.reactions.iter().all(mine) {
        "own reaction"
    } else {
        ""
    })
}
