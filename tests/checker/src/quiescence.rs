//! L4, D2 and liveness: what must be true when faults have stopped and what converges has converged. Nothing is judged here if the history
//! has no `quiescent` line; after the last one nothing may be written any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::case::{Case, Fate};
use crate::delivery::{Connection, Phone};
use crate::dump::Kind;
use crate::history::{Device, Status, What};
use crate::log::Counts;
use crate::verdict::{Check, Excuse, Lines, Verdict};
use crate::words::{Message, Name, Position};

pub(crate) fn judge(case: &Case, counts: &Counts, phones: &[Phone], verdict: &mut Verdict) {
    let Some(quiescent) = case.history.quiescent else { return };
    begun(case, quiescent, verdict);
    for phone in phones {
        has_everything(case, phone, verdict);
    }
    caught_up(phones, verdict);
    let connected: HashMap<Device, &Phone> =
        phones.iter().filter(|phone| phone.connection != Connection::Away).map(|phone| (phone.device, phone)).collect();
    settled(case, quiescent, &connected, verdict);
    unread(case, counts, &connected, verdict);
}

/// L4: to a sender who was told that a message is stored, by an answer or by being shown it, its delivery was promised. What no sender was
/// told of may wait for its sender, or for the sweeper; what is from before a restore may have lost its head to it.
fn begun(case: &Case, quiescent: usize, verdict: &mut Verdict) {
    let mut owed: BTreeMap<Name, (Position, usize)> = BTreeMap::new();
    let answered = case.claims.iter().filter(|claim| claim.settles && claim.index < quiescent);
    let answered = answered.filter(|claim| case.place(&claim.message) == Some(claim.position));
    let answered = answered.map(|claim| (claim.message.conversation, claim.position, claim.line));
    let seen = case.of_devices().take_while(|(index, ..)| *index < quiescent).filter_map(|(_, line, device)| match &line.what {
        What::Opened { conversation, head } => Some((*conversation, *head, line.number)),
        What::Shown(sight) if sight.sender == device.user => Some((sight.place.0, sight.place.1, line.number)),
        _ => None,
    });
    let seen = seen.filter(|(conversation, position, _)| case.fate(*conversation, *position) == Fate::Stored);
    for (conversation, position, line) in answered.chain(seen).filter(|(_, position, _)| !case.is_from_before(*position)) {
        let most = owed.entry(conversation).or_insert((position, line));
        *most = (*most).max((position, line));
    }
    for (conversation, log) in &case.tables.logs {
        let head = case.tables.heads.get(conversation).map(|head| head.position).unwrap_or_default();
        let begun = owed.get(conversation).map_or(head, |(position, _)| head.max(*position));
        let beyond = log.len() - log.partition_point(|entry| entry.position <= begun);
        verdict.excuse(Excuse::BeyondTheHead, beyond as u64);
    }
    for (conversation, (position, line)) in owed {
        let head = case.tables.heads.get(&conversation);
        let reached = head.map(|head| head.position).unwrap_or_default();
        let lines = Lines::history([line]).and_dump(head.map(|head| head.line));
        verdict.check(Check::Begun, reached >= position, lines, || {
            format!("its sender was told of {}, and the head is at {reached}", case.at(conversation, position))
        });
    }
}

/// D2: up to the head. And no live device goes on showing what a restore took back.
fn has_everything(case: &Case, phone: &Phone, verdict: &mut Verdict) {
    if phone.connection != Connection::Live {
        return;
    }
    for (conversation, head) in &case.tables.heads {
        if case.is_member(*conversation, phone.device.user) && case.fate(*conversation, head.position) == Fate::Stored {
            let (have, line) = phone.runs.get(conversation).map_or((Position::ZERO, phone.line), |run| (run.have, run.line));
            let lines = Lines::history([line, phone.line]).and_dump([head.line]);
            verdict.check(Check::Everything, have.seq >= head.position.seq, lines, || {
                let (device, at) = (case.text(phone.device.id), case.at(*conversation, head.position));
                format!("the device {device} is live and has {have}, the head is {at}")
            });
        }
    }
    // Of what its user does not belong to any more, nobody tells it.
    for (conversation, run) in phone.runs.iter().filter(|(conversation, _)| !is_left(case, **conversation, phone.device.user)) {
        for (position, line) in &run.shown {
            let fate = case.fate(*conversation, *position);
            verdict.check(Check::NoneTakenBack, fate != Fate::TakenBack, Lines::history([*line, phone.line]), || {
                format!("the device {} is live and has {}", case.text(phone.device.id), case.at(*conversation, *position))
            });
        }
    }
}

fn is_left(case: &Case, conversation: Name, user: Name) -> bool {
    let has_left = case.standing(conversation).is_some_and(|standing| !standing.members.contains_key(&user));
    has_left || !case.is_direct(conversation) && !case.tables.inboxes.contains_key(&(user, conversation))
}

fn caught_up(phones: &[Phone], verdict: &mut Verdict) {
    for phone in phones.iter().filter(|phone| phone.connection != Connection::Away) {
        let live = phone.connection == Connection::Live;
        verdict.check(Check::CaughtUp, live, Lines::history([phone.line]), || match phone.connection {
            Connection::Greeting => "a device is connected and has no answer to its hello".to_owned(),
            Connection::Away | Connection::CatchingUp | Connection::Live => "a device is still catching up".to_owned(),
        });
    }
}

/// Messages of a device that are not settled, each with the line that told of it last.
type Open = BTreeMap<Message, usize>;

fn settled(case: &Case, quiescent: usize, connected: &HashMap<Device, &Phone>, verdict: &mut Verdict) {
    let mut open: HashMap<Device, Open> = HashMap::new();
    let mut rows: HashMap<Device, BTreeSet<Message>> = HashMap::new();
    let mut targets: HashMap<Message, u64> = HashMap::new();
    for (index, line, device) in case.of_devices() {
        let of_device = open.entry(device).or_default();
        match &line.what {
            _ if index > quiescent => {}
            What::Composed(message, target) => {
                targets.extend(target.map(|target| (*message, target)));
                rows.entry(device).or_default().insert(*message);
                of_device.insert(*message, line.number);
            }
            What::Attempt { messages, .. } => {
                for (message, _) in messages {
                    // Not anew: a copy may leave the device after its message was settled.
                    if rows.entry(device).or_default().insert(*message) {
                        of_device.insert(*message, line.number);
                    }
                }
            }
            What::Outcome(outcome) => match outcome.status {
                Status::Acknowledged(_) | Status::Found(_) | Status::Unchanged => drop(of_device.remove(&outcome.message)),
                Status::Conflict(_) | Status::Refused(_) | Status::NotAttempted => {}
            },
            What::Shown(sight) | What::Older(sight) => {
                of_device.remove(&Message { conversation: sight.place.0, sender: sight.sender, id: sight.id });
            }
            What::GivenUp(message) => drop(of_device.remove(message)),
            What::Restart { outbox: Some(outbox), .. } => {
                vanished(case, (of_device, &targets), outbox, line.number, verdict);
                *of_device = outbox.iter().map(|message| (*message, line.number)).collect();
            }
            _ => {}
        }
    }
    let given_up: BTreeSet<Message> =
        case.of_devices().filter_map(|(_, line, _)| if let What::GivenUp(message) = line.what { Some(message) } else { None }).collect();
    for phone in connected.values() {
        let (all, open) = (rows.get(&phone.device), open.get(&phone.device));
        for message in all.into_iter().flatten() {
            let line = open.and_then(|open| open.get(message)).copied();
            let is_settled = line.is_none() || given_up.contains(message);
            verdict.check(Check::Settled, is_settled, Lines::history(line), || {
                format!("{} is neither acknowledged, nor met, nor given up", case.message(message))
            });
        }
    }
    for (_, line, device) in case.of_devices() {
        let What::End { outbox, .. } = &line.what else { continue };
        for message in outbox.iter().filter(|_| connected.contains_key(&device)) {
            verdict.check(Check::Settled, given_up.contains(message), Lines::history([line.number]), || {
                format!("{} is still in the outbox", case.message(message))
            });
        }
    }
}

/// A row leaves the outbox only when its message is in the log, or was, or is given up; or what it was about is deleted.
fn vanished(case: &Case, (open, targets): (&Open, &HashMap<Message, u64>), outbox: &[Message], line: usize, verdict: &mut Verdict) {
    for (message, told) in open.iter().filter(|(message, _)| !outbox.contains(message)) {
        let done = targets.get(message).and_then(|target| case.fold(message.conversation)?.done(*target));
        let holds = case.place(message).is_some() || case.is_restored() || done.is_some_and(|done| done.deleted.is_some());
        verdict.check(Check::Settled, holds, Lines::history([*told, line]), || {
            format!("{} has left the outbox and is not in the log", case.message(message))
        });
    }
}

/// Another device's reading is told with the next `hello` only: a user with several devices may be shown more, never less. So may one who has
/// read among entries of kinds that are no messages, and that the device may count as messages.
fn unread(case: &Case, counts: &Counts, connected: &HashMap<Device, &Phone>, verdict: &mut Verdict) {
    if case.is_restored() {
        return;
    }
    let greets = |what: &What| matches!(what, What::Hello | What::Told { .. });
    let greeters: BTreeSet<(Name, Name)> =
        case.of_devices().filter(|(_, line, _)| greets(&line.what)).map(|(.., device)| (device.id, device.user)).collect();
    for (_, line, device) in case.of_devices() {
        let What::End { transcripts, .. } = &line.what else { continue };
        if connected.get(&device).is_none_or(|phone| phone.connection != Connection::Live) {
            continue;
        }
        let alone = greeters.iter().filter(|(_, user)| *user == device.user).count() == 1;
        for kept in transcripts.iter().filter(|kept| !is_left(case, kept.conversation, device.user)) {
            let Some((unread, count)) = kept.unread.zip(counts.at(case, kept.conversation, kept.have)) else { continue };
            let read = case.tables.inboxes.get(&(device.user, kept.conversation)).and_then(|row| row.read);
            let expected = count.saturating_sub(read.map_or(0, |(_, count)| count));
            let log = case.tables.logs.get(&kept.conversation).map(Vec::as_slice).unwrap_or_default();
            let is_exact = alone && log.iter().skip(1).all(|entry| matches!(entry.kind, Kind::Message(_) | Kind::Deleted));
            let holds = if is_exact { unread == expected } else { (expected..=count).contains(&unread) };
            verdict.check(Check::Unread, holds, Lines::history([line.number]), || {
                format!("{unread} messages of {} are shown as unread: there are {expected}", case.text(kept.conversation))
            });
        }
    }
}
