//! R1: bad input changes nothing; a stranger learns nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::case::Case;
use crate::codes::{is_for_good, is_known};
use crate::dump::Kind;
use crate::history::{Status, What};
use crate::verdict::{Check, Excuse, Lines, Verdict};
use crate::words::{Message, Name};

pub(crate) fn judge(case: &Case, verdict: &mut Verdict) {
    rows(case, verdict);
    let sent = Sent::of(case);
    forged(case, &sent, verdict);
    refused(case, &sent, verdict);
    bad(case, verdict);
    strangers(case, verdict);
}

/// R1: no rows for strangers.
fn rows(case: &Case, verdict: &mut Verdict) {
    let of_members = case.tables.members.iter().map(|((conversation, user), row)| (*conversation, *user, row.line));
    let inboxes = case.tables.inboxes.iter().map(|((user, conversation), inbox)| (*conversation, *user, inbox.row.line));
    for (conversation, user, line) in of_members.chain(inboxes) {
        let exists = case.tables.logs.contains_key(&conversation) || case.is_restored();
        verdict.check(Check::StrangersRows, exists && !case.is_stranger(conversation, user), Lines::dump([line]), || {
            format!("{} has a row in {} and is no member", case.text(user), case.text(conversation))
        });
    }
    for (user, (line, devices)) in &case.tables.sessions {
        for device in devices {
            let known = case.history.devices.get(device) == Some(user);
            verdict.check(Check::StrangersRows, known, Lines::dump([*line]), || {
                format!("{} has a session of the device {}, which is not theirs in the history", case.text(*user), case.text(*device))
            });
        }
    }
}

/// What left the devices.
#[derive(Default)]
struct Sent {
    /// Messages, with the (life, request) of each attempt; a request without a name is one of its own.
    attempts: HashMap<Message, Vec<(usize, Option<Name>)>>,
    /// The same, of the attempts that were refused for good, or not made.
    refused: HashMap<Message, HashSet<(usize, Name)>>,
    /// Users and the ids that they gave to `open`.
    opened: HashSet<(Name, Name)>,
    /// Changes of groups and of messages, and the kinds of entries that they asked for.
    changes: HashMap<Message, Vec<Name>>,
}

impl Sent {
    fn of(case: &Case) -> Self {
        let mut sent = Self::default();
        let mut lives: HashMap<Name, usize> = HashMap::new();
        let mut lives_all = 0;
        for (_, line, device) in case.of_devices() {
            let begins = matches!(line.what, What::Restart { .. }) || !lives.contains_key(&device.id);
            if begins {
                lives_all += 1;
                lives.insert(device.id, lives_all);
            }
            let life = lives[&device.id];
            match &line.what {
                What::Open { id } => {
                    sent.opened.insert((device.user, *id));
                }
                What::Change { request, message, asked } => {
                    sent.attempts.entry(*message).or_default().push((life, *request));
                    sent.changes.entry(*message).or_default().push(asked.kind);
                }
                What::Attempt { request, messages } => {
                    for (message, _) in messages {
                        sent.attempts.entry(*message).or_default().push((life, *request));
                    }
                }
                What::Outcome(outcome) => {
                    let nothing_stored = match outcome.status {
                        Status::Refused(code) => is_for_good(case.text(code)),
                        Status::NotAttempted | Status::Unchanged => true,
                        Status::Acknowledged(_) | Status::Found(_) | Status::Conflict(_) => false,
                    };
                    if let (true, Some(request)) = (nothing_stored, outcome.request) {
                        sent.refused.entry(outcome.message).or_default().insert((life, request));
                    }
                }
                _ => {}
            }
        }
        sent
    }
}

/// R1: every entry is what a device of its sender sent.
fn forged(case: &Case, sent: &Sent, verdict: &mut Verdict) {
    for entry in case.tables.logs.values().flatten() {
        let message = &entry.message;
        let by_its_sender = match entry.kind {
            Kind::Created(_) | Kind::GroupCreated(..) => sent.opened.contains(&(message.sender, message.id)),
            Kind::Message(_) | Kind::Deleted => sent.attempts.contains_key(message),
            Kind::Other => continue,
            _ => sent.changes.get(message).is_some_and(|kinds| kinds.iter().any(|kind| entry.kind.word() == Some(case.text(*kind)))),
        };
        verdict.check(Check::Forged, by_its_sender, Lines::dump([entry.line]), || {
            format!("{} is stored and no device of the sender sent it", case.message(message))
        });
    }
}

/// R1: of a message, every attempt of which was answered with a refusal for good, nothing is stored.
fn refused(case: &Case, sent: &Sent, verdict: &mut Verdict) {
    let mut refused: Vec<_> = sent.refused.iter().collect();
    refused.sort_by_key(|(message, _)| **message);
    for (message, answers) in refused {
        let attempts = sent.attempts.get(message).map(Vec::as_slice).unwrap_or_default();
        let all = attempts.iter().all(|(life, request)| request.is_some_and(|request| answers.contains(&(*life, request))));
        if all {
            let entry = case.place(message).and_then(|place| case.entry(message.conversation, place));
            verdict.check(Check::Refused, entry.is_none(), Lines::dump(entry.map(|entry| entry.line)), || {
                format!("every attempt of {} was refused for good, and it is stored", case.message(message))
            });
        }
    }
}

/// R1: a bad request gets one typed error, and nothing of it is stored.
fn bad(case: &Case, verdict: &mut Verdict) {
    let attempted: HashSet<(Name, Name)> = case
        .of_devices()
        .flat_map(|(_, line, _)| if let What::Attempt { messages, .. } = &line.what { messages.as_slice() } else { &[] })
        .map(|(message, _)| (message.sender, message.id))
        .collect();
    let stored: HashMap<(Name, Name), usize> =
        case.tables.logs.values().flatten().map(|entry| ((entry.message.sender, entry.message.id), entry.line)).collect();
    for (_, line, device) in case.of_devices() {
        let What::Bad { ids, code, answers } = &line.what else { continue };
        for id in ids.iter().filter(|id| !attempted.contains(&(device.user, **id))) {
            let entry = stored.get(&(device.user, *id));
            verdict.check(Check::BadInput, entry.is_none(), Lines::history([line.number]).and_dump(entry.copied()), || {
                format!("`{}` was in a bad request and is stored", case.text(*id))
            });
        }
        if code.is_some() || answers.is_some() {
            let typed = code.is_none_or(|code| is_known(case.text(code))) && answers.is_none_or(|answers| answers <= 1);
            verdict.check(Check::Typed, typed, Lines::history([line.number]), || {
                format!("a bad request got {} answers, `{}`", answers.unwrap_or(1), code.map_or("", |code| case.text(code)))
            });
        }
    }
}

/// R1: what strangers are answered about a conversation of others is what anybody is answered about none. An answer that says that the
/// outcome is unknown tells nothing either way.
fn strangers(case: &Case, verdict: &mut Verdict) {
    let mut of_none: BTreeMap<Name, BTreeSet<&str>> = BTreeMap::new();
    let mut of_others = vec![];
    for (_, line, device) in case.of_devices() {
        let What::Stranger { conversation, action, answer } = &line.what else { continue };
        if answer.contains("\"unavailable\"") {
            verdict.excuse(Excuse::NotComparable, 1);
            continue;
        }
        if !case.tables.logs.contains_key(conversation) {
            of_none.entry(*action).or_default().insert(answer);
        } else if case.is_stranger(*conversation, device.user) {
            of_others.push((line.number, *action, answer));
        }
    }
    for (line, action, answer) in of_others {
        let Some(of_none) = of_none.get(&action) else {
            verdict.excuse(Excuse::NotComparable, 1);
            continue;
        };
        verdict.check(Check::Strangers, of_none.contains(answer.as_str()), Lines::history([line]), || {
            format!("a stranger's `{}` was answered otherwise than one about nothing", case.text(action))
        });
    }
}
