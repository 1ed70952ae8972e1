//! L5: the messages of a device, and what it does to messages, stand in a log in the order in which it attempted them first.
//!
//! Exempt is what the guarantee exempts: a message that was refused for good, or given up, and got in all the same by an attempt whose
//! outcome was not known; and one that a restore had taken back, and that was repeated behind others.

use std::collections::{HashMap, HashSet};

use crate::case::{Case, Fate};
use crate::codes::is_for_good;
use crate::history::{Device, Status, What};
use crate::verdict::{Check, Excuse, Lines, Verdict};
use crate::words::{Message, Name, Position};

pub(crate) fn judge(case: &Case, verdict: &mut Verdict) {
    let exempt = exempt(case);
    let mut attempted: HashSet<(Device, Message)> = HashSet::new();
    let mut last: HashMap<(Device, Name), (Position, Message, usize)> = HashMap::new();
    let mut composed: HashSet<(Device, Message)> = HashSet::new();
    for (_, line, device) in case.of_devices() {
        let messages: Vec<Message> = match &line.what {
            What::Composed(message, _) => {
                composed.insert((device, *message));
                continue;
            }
            What::Attempt { messages, .. } => messages.iter().map(|(message, _)| *message).collect(),
            // Only what waits in an outbox keeps its order.
            What::Change { message, .. } if composed.contains(&(device, *message)) => vec![*message],
            _ => continue,
        };
        for message in &messages {
            let Some(place) = case.place(message) else { continue };
            if !attempted.insert((device, *message)) {
                continue;
            }
            if exempt.contains(message) {
                verdict.excuse(Excuse::OutOfOrder, 1);
                continue;
            }
            let before = last.entry((device, message.conversation)).or_insert((Position::ZERO, *message, line.number));
            let lines = Lines::history([before.2, line.number]);
            verdict.check(Check::Order, place.seq >= before.0.seq, lines, || {
                format!("{} is at {place}, and {}, attempted before it, at {}", case.message(message), case.message(&before.1), before.0)
            });
            if place.seq > before.0.seq {
                *before = (place, *message, line.number);
            }
        }
    }
}

fn exempt(case: &Case) -> HashSet<Message> {
    let taken_back = |claim: &&crate::case::Claim| case.fate(claim.message.conversation, claim.position) == Fate::TakenBack;
    let mut exempt: HashSet<_> = case.claims.iter().filter(taken_back).map(|claim| claim.message).collect();
    for (_, line, _) in case.of_devices() {
        match &line.what {
            What::GivenUp(message) => {
                exempt.insert(*message);
            }
            What::Outcome(outcome) => {
                if let Status::Refused(code) = outcome.status
                    && is_for_good(case.text(code))
                {
                    exempt.insert(outcome.message);
                }
            }
            _ => {}
        }
    }
    exempt
}
