//! C1: cursors only move forward, and never pass an entry that exists. What is in the tables, and what others are shown, must have been
//! told by a device; what a device told, it (or, for what is read, its user) must have been shown; what the server took, it must keep.

use std::collections::{HashMap, HashSet};

use crate::case::{Case, Fate};
use crate::history::{Cursor, Device, Reached, What};
use crate::verdict::{Check, Lines, Verdict};
use crate::words::{Name, Position};

/// The highest of each, with its line.
type Highest<K> = HashMap<(K, Name), (Position, usize)>;

fn raise<K: Eq + std::hash::Hash>(highest: &mut Highest<K>, key: (K, Name), position: Position, line: usize) {
    let known = highest.entry(key).or_insert((position, line));
    if position > known.0 {
        *known = (position, line);
    }
}

pub(crate) fn judge(case: &Case, verdict: &mut Verdict) {
    let told = Told::of(case);
    told_what_is_there(case, &told, verdict);
    shown(case, &told, verdict);
    tables(case, &told, verdict);
    kept(case, verdict);
}

/// How far devices have told at most, and what they had been shown, by the whole history.
#[derive(Default)]
struct Told {
    /// By a device, whatever it told: `read` implies delivered.
    by_device: Highest<Name>,
    /// The same, of the furthest device of a user.
    delivered: Highest<Name>,
    read: Highest<Name>,
    /// The entries that a user has seen, on any device.
    seen: Highest<Name>,
}

impl Told {
    fn of(case: &Case) -> Self {
        let mut told = Self::default();
        for (_, line, device) in case.of_devices() {
            match &line.what {
                What::Told { cursor, conversation, position } => {
                    raise(&mut told.by_device, (device.id, *conversation), *position, line.number);
                    raise(&mut told.delivered, (device.user, *conversation), *position, line.number);
                    if *cursor == Cursor::Read {
                        raise(&mut told.read, (device.user, *conversation), *position, line.number);
                    }
                }
                What::Shown(sight) | What::Older(sight) => {
                    raise(&mut told.seen, (device.user, sight.place.0), sight.place.1, line.number);
                }
                What::Restart { has: Some(has), .. } => {
                    for stretch in has.iter().filter(|stretch| stretch.have.seq > stretch.from.seq) {
                        raise(&mut told.seen, (device.user, stretch.conversation), stretch.have, line.number);
                    }
                }
                _ => {}
            }
        }
        told
    }
}

fn told_what_is_there(case: &Case, told: &Told, verdict: &mut Verdict) {
    let mut had: Highest<Device> = HashMap::new();
    for (_, line, device) in case.of_devices() {
        match &line.what {
            // History fills what was skipped, up to the entry where the conversation goes on: then the device has that entry too.
            What::Shown(sight) | What::Older(sight) => raise(&mut had, (device, sight.place.0), sight.place.1, line.number),
            What::Restart { has: Some(has), .. } => {
                for stretch in has.iter().filter(|stretch| stretch.have.seq > stretch.from.seq) {
                    raise(&mut had, (device, stretch.conversation), stretch.have, line.number);
                }
            }
            What::Told { cursor, conversation, position } => {
                let most = match cursor {
                    Cursor::Delivered => had.get(&(device, *conversation)),
                    Cursor::Read => told.seen.get(&(device.user, *conversation)),
                };
                let most = most.map(|(most, _)| *most).unwrap_or_default();
                verdict.check(Check::ToldWhatIsThere, *position <= most, Lines::history([line.number]), || {
                    format!("a device told {}, and {most} was shown", case.at(*conversation, *position))
                });
            }
            What::Taken { conversation, position, .. } => {
                let fate = case.fate(*conversation, *position);
                verdict.check(Check::CursorsExist, fate != Fate::Missing, Lines::history([line.number]), || {
                    format!("the server took {}, which is no entry", case.at(*conversation, *position))
                });
            }
            _ => {}
        }
    }
}

/// The cursors of others, as a device shows them. A new life may begin with lower ones: they need not be in its store.
fn shown(case: &Case, told: &Told, verdict: &mut Verdict) {
    /// With the restores before it, and its line.
    type Before = (Reached, usize, usize);
    let mut last: HashMap<Device, HashMap<(Name, Name), Before>> = HashMap::new();
    let mut restores = 0;
    for line in &case.history.lines {
        restores += usize::from(matches!(line.what, What::Restored { .. }));
        let Some(device) = line.device else { continue };
        if matches!(line.what, What::Restart { .. }) {
            last.remove(&device);
        }
        let What::Cursors(reached) = &line.what else { continue };
        let Reached { conversation, of, delivered, read } = *reached;
        let lines = Lines::history([line.number]);
        for (position, told) in [(delivered, &told.delivered), (read, &told.read)] {
            exists(case, (conversation, position), &lines, verdict);
            let most = told.get(&(of, conversation)).map(|(most, _)| *most).unwrap_or_default();
            let holds = position <= most || came_by_joining(case, (of, conversation), position);
            verdict.check(Check::CursorsTold, holds, lines.clone(), || {
                format!("{} is shown to be at {}, and told {most}", case.text(of), case.at(conversation, position))
            });
        }
        let of_life = last.entry(device).or_default();
        if let Some((before, of_restore, number)) = of_life.insert((conversation, of), (*reached, restores, line.number)) {
            let forward = |before: Position, now: Position| {
                let anew = began_anew(case, (of, conversation), before);
                now >= before || of_restore < restores || case.fate(conversation, before) == Fate::TakenBack || anew
            };
            let holds = forward(before.delivered, delivered) && forward(before.read, read);
            verdict.check(Check::Forward, holds, Lines::history([number, line.number]), || {
                let (of, conversation) = (case.text(of), case.text(conversation));
                let (from, to) = ((before.delivered, before.read), (delivered, read));
                format!("{of} went back in {conversation}: from {} and {} to {} and {}", from.0, from.1, to.0, to.1)
            });
        }
    }
}

fn exists(case: &Case, (conversation, position): (Name, Position), lines: &Lines, verdict: &mut Verdict) {
    if position.seq > 0 {
        let fate = case.fate(conversation, position);
        verdict.check(Check::CursorsExist, fate != Fate::Missing, lines.clone(), || {
            format!("a cursor is at {}, which is no entry", case.at(conversation, position))
        });
    }
}

/// Who joins a group has read what was there; whoever that was in a log that does not say so, and before a restore.
fn came_by_joining(case: &Case, (user, conversation): (Name, Name), position: Position) -> bool {
    !case.is_direct(conversation)
        && case.standing(conversation).is_none_or(|standing| case.is_restored() || position.seq <= standing.read_at_joining(user))
}

/// The rows of who leaves a group go, with the cursors.
fn began_anew(case: &Case, (user, conversation): (Name, Name), position: Position) -> bool {
    !case.is_direct(conversation)
        && case.standing(conversation).is_none_or(|standing| case.is_restored() || standing.may_have_begun_anew(user, position.seq))
}

fn tables(case: &Case, told: &Told, verdict: &mut Verdict) {
    for ((user, conversation), row) in &case.tables.inboxes {
        let read = row.read.map(|(read, _)| (*user, read, &told.read));
        let delivered = row.delivered.iter().map(|(device, position)| (*device, *position, &told.by_device));
        for (of, position, told) in read.into_iter().chain(delivered) {
            let lines = Lines::dump([row.row.line]);
            exists(case, (*conversation, position), &lines, verdict);
            let most = told.get(&(of, *conversation)).map(|(most, _)| *most).unwrap_or_default();
            let holds = position <= most || came_by_joining(case, (*user, *conversation), position);
            verdict.check(Check::CursorsTold, holds, lines, || {
                format!("the cursor of {} is at {}, and told was {most}", case.text(of), case.at(*conversation, position))
            });
        }
    }
}

/// What was told and taken since the last restore is there, or more. (What was taken before may have gone with it.)
fn kept(case: &Case, verdict: &mut Verdict) {
    let (mut delivered, mut read): (Highest<Device>, Highest<Name>) = (HashMap::new(), HashMap::new());
    let mut since: HashSet<(Device, Cursor, Name, Position)> = HashSet::new();
    let mut restored = false;
    for line in &case.history.lines {
        match (line.device, &line.what) {
            (_, What::Restored { .. }) => {
                (delivered, read, since, restored) = (HashMap::new(), HashMap::new(), HashSet::new(), true);
            }
            (Some(device), What::Told { cursor, conversation, position }) => {
                since.insert((device, *cursor, *conversation, *position));
            }
            (Some(device), What::Taken { cursor, conversation, position })
                if !restored || since.contains(&(device, *cursor, *conversation, *position)) =>
            {
                raise(&mut delivered, (device, *conversation), *position, line.number);
                if *cursor == Cursor::Read {
                    raise(&mut read, (device.user, *conversation), *position, line.number);
                }
            }
            _ => {}
        }
    }
    let delivered = delivered.into_iter().map(|((device, conversation), most)| ((device.user, conversation), Some(device.id), most));
    let read = read.into_iter().map(|(key, most)| (key, None, most));
    for ((user, conversation), device, (position, line)) in delivered.chain(read) {
        if began_anew(case, (user, conversation), position) {
            continue;
        }
        let row = case.tables.inboxes.get(&(user, conversation));
        let kept = row.and_then(|row| match device {
            Some(device) => row.delivered.iter().find(|(of, _)| *of == device).map(|(_, kept)| *kept),
            None => row.read.map(|(kept, _)| kept),
        });
        let kept = kept.unwrap_or_default();
        let lines = Lines::history([line]).and_dump(row.map(|row| row.row.line));
        verdict.check(Check::CursorsKept, kept >= position, lines, || {
            let of = case.text(device.unwrap_or(user));
            format!("the server took {} of {of}, and has {kept}", case.at(conversation, position))
        });
    }
}
